"""Rating by commands and by keys, the better reply, taking back, and a program that is killed meanwhile."""

from contextlib import closing

import pytest

from shammah.app import App
from shammah.config import resolve
from shammah.home import Home

ALT_C, ALT_G, ALT_M, CTRL_C, CTRL_D, ENTER = "\x1bc", "\x1bg", "\x1bm", "\x03", "\x04", "\r"
ANSWERS = {
    "The reply was not right": "It is Canberra.",
    "Rewrite": "It is Canberra.",
    "Australia": "It is Sydney.",
    "twice": ["First.", "Second."],
    "colour": "Blue.",
}
OFFER = "Fix it? Enter: let the model rewrite it"
BARE = "What should it have said? (Enter skips)"


@pytest.fixture(scope="module")
def shared(chats):
    return chats(ANSWERS, columns=100, SHAMMAH_LORA_TRAINING_AUTO="false")


@pytest.fixture
def chat(shared):
    return shared.begin()


def examples(home):
    root = Home(home)
    with closing(App(root, resolve(root.config_file))) as app:
        return list(app.desk.examples.find())


@pytest.mark.parametrize(
    "key, level", [(ALT_G, "good"), (ALT_M, "medium"), (ALT_C, "critical")], ids=["good", "medium", "critical"]
)
def test_a_key_on_an_empty_line_rates_the_reply(chat, key, level):
    chat.enter("a colour?", "Blue.")
    chat.send(key)
    if level == "good":
        chat.until("Feedback recorded (weight: 1x)")
    else:
        chat.wait(lambda t: BARE in t.said() and t.line().startswith("fix>"))
        chat.send(ENTER)
    chat.begin()
    assert chat.turns()[-1].feedback == level


def test_a_rating_key_on_a_filled_line_is_no_rating(chat):
    chat.enter("a colour?", "Blue.")
    chat.send("text")
    chat.wait(lambda t: t.line() == "> text")
    chat.send(ALT_G)
    chat.send("!")
    chat.wait(lambda t: t.line() in ("> text!", "> textg!"))
    chat.begin()
    assert chat.turns()[-1].feedback is None


def test_ctrl_c_turns_an_offer_down_and_the_rating_stays(chat):
    chat.enter("the capital of Australia?", "It is Sydney.")
    chat.enter("/critical It is Canberra", OFFER, prompt="fix>")
    chat.send(CTRL_C)
    chat.until("Skipped; /review or /fix can do it later")
    assert chat.turns()[-1].feedback == "critical"


def test_what_is_said_of_a_rating(chat):
    chat.enter("the capital of Australia?", "It is Sydney.")
    chat.enter("/good It has a harbour", "Feedback recorded (weight: 1x)", "Note: It has a harbour", "Training buffer:")


def test_fix_stores_the_better_reply(chat):
    chat.enter("the capital of Australia?", "It is Sydney.")
    chat.enter("/fix It is Canberra.", "Better reply stored (weight: 3x)")
    (example,) = [one for one in examples(chat.home) if one.target == "It is Canberra."]
    assert example.rejected == "It is Sydney." and example.state == "ready"


def test_a_reply_that_is_as_it_was_is_no_fix(chat):
    chat.enter("a colour?", "Blue.")
    chat.enter("/fix Blue.", "That is the reply as it was")


def test_unrate_takes_it_back(chat):
    chat.enter("a colour?", "Blue.")
    chat.enter("/good", "Feedback recorded")
    chat.enter("/unrate", "Rating taken back")
    assert chat.turns()[-1].feedback is None


def test_retry_then_undo_then_a_new_conversation(chat):
    chat.enter("say it twice", "First.")
    chat.enter("/retry", "Second.")
    assert chat.turns()[-1].retry_of == chat.turns()[-2].id
    chat.enter("/undo", "Took back 1 turn")
    chat.enter("/clear", "A new conversation.")
    chat.enter("a colour?", "Blue.")
    assert chat.turns()[-1].conversation_id != chat.turns()[-2].conversation_id


def test_teach_needs_no_reply(chat):
    chat.enter("/clear", "A new conversation.")
    chat.enter('/teach "when asked who leads, say Ada leads."', "Training buffer:")
    assert "Ada leads." in [one.target for one in examples(chat.home)]


def test_a_program_that_is_killed_at_an_offer_has_kept_the_rating(chats):
    chat = chats(ANSWERS, columns=100)
    chat.enter("the capital of Australia?", "It is Sydney.")
    chat.enter("/critical It is Canberra", OFFER, prompt="fix>")
    chat.kill()
    chat.end()
    (turn,), (example,) = chat.turns(), examples(chat.home)
    assert (turn.feedback, example.state) == ("critical", "needs review")
    again = chats(ANSWERS, "-c", home=chat.home, columns=100)
    again.begin()
    again.enter("/fix It is Canberra.", "Better reply stored (weight: 10x)")
    again.send(CTRL_D)
    assert again.end() == 0
