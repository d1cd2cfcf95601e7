"""The offer after a rating, and every other way to say what a reply should have been, in a real terminal."""

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shammah.store import Conversations

CTRL_C, CTRL_D, ENTER, ALT_ENTER = "\x03", "\x04", "\r", "\x1b\r"
QUESTION, REPLY, NOTE = "What is the capital of Australia?", "It is Sydney.", "The capital of Australia is Canberra"
OFFER = "Fix it? Enter: let the model rewrite it"
GOOD, BETTER = "Canberra is the capital.", "The capital is Canberra."
# With the note before it the question is answered rightly, twice.
ANSWERS = {f"{NOTE} & Australia?": [GOOD, BETTER], "not right": GOOD, "Australia?": REPLY, "": "Well."}
HOPELESS = {f"{NOTE} & Australia?": [REPLY, "I am sorry, I made a mistake."], "not right": "", "Australia?": REPLY}


@pytest.fixture
def offered(talker):
    """A chat in which the offer stands."""

    def start(rating=f"/critical {NOTE}", answers=ANSWERS, expected=OFFER, **options):
        chat = talker(answers, **options)
        chat.wait_for_prompt()
        chat.say(QUESTION, REPLY)
        chat.say(rating, expected, "fix>")
        return chat

    return start


def only(kept):
    (example,) = kept().examples.find()
    return example


def queries(kept):
    return [turn.query for turn in reversed(Conversations(kept()._database).search(limit=None))]


class TestTheKeys:
    @pytest.mark.parametrize("key", [ENTER, "r", "R"], ids=["enter", "r", "R"])
    def test_the_model_rewrites_and_enter_keeps_it(self, offered, kept, key):
        chat = offered()
        chat.press(key, "Enter: keep it · e: edit · r: another · s: skip", "fix>")
        assert f"\n{GOOD}\nEnter: keep it" in chat.text()
        chat.press(ENTER, "Better reply stored (weight: 10x)")
        chat.wait("Better reply stored (weight: 10x)\n   Training buffer: 1 example (10.0 weighted)")
        chat.leave()
        example = only(kept)
        assert (example.target, example.rejected, example.source) == (GOOD, REPLY, "rewrite")
        assert (example.state, example.level, example.note) == ("ready", "critical", NOTE)
        assert chat.text().count("From now on a rule") == 1, "the rule is told when it is made"

    def test_another_rewrite(self, offered, kept):
        chat = offered()
        chat.press(ENTER, GOOD, "fix>")
        chat.press("r", BETTER, "fix>")
        chat.press(ENTER, "Better reply stored")
        chat.leave()
        assert only(kept).target == BETTER

    def test_when_there_is_no_other_the_one_before_can_be_kept(self, offered, kept):
        chat = offered()
        chat.press(ENTER, GOOD, "fix>")
        chat.press("r", BETTER, "fix>")
        chat.press("r", "Enter: keep the one before · e: edit it · s: skip", "fix>")
        chat.press(ENTER, "Better reply stored")
        chat.leave()
        assert only(kept).target == BETTER

    def test_e_opens_the_editor_on_the_reply(self, offered, kept, editor, tmp_path):
        chat = offered(VISUAL=editor("It is\n  Canberra."), EDITOR="false")
        chat.press("e", "Better reply stored")
        chat.leave()
        assert (tmp_path / "seen").read_text() == REPLY + "\n"
        assert (only(kept).target, only(kept).source) == ("It is\n  Canberra.", "fix")

    def test_e_opens_the_editor_on_the_rewrite(self, offered, kept, editor, tmp_path):
        chat = offered(EDITOR=editor("Canberra."))
        chat.press(ENTER, GOOD, "fix>")
        chat.press("e", "Better reply stored")
        chat.leave()
        assert (tmp_path / "seen").read_text() == GOOD + "\n"
        assert (only(kept).target, only(kept).source) == ("Canberra.", "fix")

    @pytest.mark.parametrize("text", [REPLY, "", "  \n"], ids=["unchanged", "empty", "blank"])
    def test_an_edit_that_changes_nothing_leaves_the_offer_open(self, offered, kept, editor, text):
        chat = offered(EDITOR=editor(text))
        chat.press("e", "Nothing changed", "fix>")
        chat.press("s", "Skipped; /review or /fix can do it later")
        chat.leave()
        assert only(kept).target is None

    @pytest.mark.parametrize("key", ["s", CTRL_C, CTRL_D], ids=["s", "ctrl-c", "ctrl-d"])
    def test_skipping(self, offered, kept, key):
        chat = offered()
        chat.press(key, "Skipped; /review or /fix can do it later")
        chat.leave()
        assert (only(kept).target, only(kept).state) == (None, "needs review")

    def test_skipping_a_rewrite(self, offered, kept):
        chat = offered()
        chat.press(ENTER, GOOD, "fix>")
        chat.press("s", "Skipped;")
        chat.leave()
        assert only(kept).target is None


class TestWhatIsTypedInstead:
    @pytest.mark.parametrize("message", ["explain it", "really?", "so what", "e4 or e5", "Es ist gut"])
    def test_a_message_that_begins_with_a_key(self, offered, kept, message):
        chat = offered()
        chat.say(message, "Well.")
        chat.leave()
        assert queries(kept) == [QUESTION, message] and only(kept).target is None

    def test_a_message_typed_letter_by_letter(self, offered, kept):
        chat = offered()
        chat.send("e")
        time.sleep(0.05)
        chat.send("x")
        time.sleep(0.4)  # longer than a key has to stand alone
        chat.say("plain it", "Well.")
        chat.leave()
        assert queries(kept) == [QUESTION, "explain it"] and only(kept).target is None

    def test_a_pasted_message(self, offered, kept):
        chat = offered()
        chat.say("\x1b[200~e\nsecond line\x1b[201~", "Well.")
        chat.leave()
        assert queries(kept) == [QUESTION, "e\nsecond line"]

    def test_a_key_that_was_taken_back_does_not_count(self, offered, kept):
        chat = offered()
        chat.send("e\x7fW")
        chat.say("ho?", "Well.")
        chat.leave()
        assert queries(kept) == [QUESTION, "Who?"]

    def test_a_command(self, offered, kept):
        chat = offered()
        chat.say(f"/fix {BETTER}", "Better reply stored (weight: 10x)")
        chat.leave()
        assert only(kept).target == BETTER

    def test_what_was_typed_ahead_is_the_next_message(self, talker, kept):
        chat = talker(ANSWERS)
        chat.wait_for_prompt()
        chat.say(QUESTION, REPLY)
        chat.send(f"/critical {NOTE}" + ENTER + "so it goes" + ENTER)
        chat.wait("Well.")
        chat.wait(lambda t: t.line() == ">")
        chat.leave()
        assert queries(kept) == [QUESTION, "so it goes"] and only(kept).target is None

    def test_leaving(self, offered):
        chat = offered()
        chat.send("exit" + ENTER)
        assert chat.end() == 0


class TestRewriting:
    def test_when_none_passes_it_says_why_and_offers_to_edit(self, offered, kept, editor):
        chat = offered(answers=HOPELESS, EDITOR=editor(BETTER))
        chat.press(ENTER, "e: edit the reply · s: skip", "fix>")
        said = re.search(r"None of \d rewrites passes the checks: (.*)", chat.text())[1]
        assert "it is the rejected reply again" in said and "it talks about the correction" in said
        chat.press("e", "Better reply stored")
        chat.leave()
        assert (only(kept).target, only(kept).source) == (BETTER, "fix")

    def test_ctrl_c_stops_it(self, offered, kept):
        chat = offered(TALKER_PAUSE="0.3")
        chat.send(ENTER)
        chat.wait("Rewriting ...")
        chat.interrupt()
        chat.wait("Skipped;")
        chat.wait(lambda t: t.line() == ">")
        chat.leave()
        assert only(kept).target is None

    def test_it_waits_for_the_model_and_need_not(self, talker, kept, tmp_path):
        chat = talker(ANSWERS)
        chat.wait_for_prompt()
        chat.say(QUESTION, REPLY)
        chat.leave()
        again = talker(ANSWERS, "-c", TALKER_WAITS_FOR=str(tmp_path / "loaded"))
        again.wait_for_prompt()
        again.say(f"/critical {NOTE}", OFFER, "fix>")
        again.send(ENTER)
        again.wait(lambda t: t.line().startswith("Loading"))  # the editor is closed: Ctrl+C is a signal from here on
        again.interrupt()
        again.wait("Skipped;")
        again.wait(lambda t: t.line() == ">")
        (tmp_path / "loaded").touch()
        again.say(f"/critical {NOTE}", OFFER, "fix>")
        again.press(ENTER, GOOD, "fix>")
        again.press("s", "Skipped;")
        again.leave()


class TestBareRatings:
    QUESTION = "What should it have said? (Enter skips)"

    def test_the_better_reply_is_asked_for(self, offered, kept):
        chat = offered("/medium", expected=self.QUESTION)
        chat.wait("   It needs a better reply before it can be trained on")
        chat.send("It is" + ALT_ENTER)
        chat.say("Canberra.", "Better reply stored (weight: 3x)")
        chat.wait("Training buffer: 1 example (3.0 weighted)")
        chat.leave()
        assert (only(kept).target, only(kept).source, only(kept).state) == ("It is\nCanberra.", "fix", "ready")

    @pytest.mark.parametrize("key", [ENTER, CTRL_C, CTRL_D], ids=["enter", "ctrl-c", "ctrl-d"])
    def test_it_can_be_left_open(self, offered, kept, key):
        chat = offered("/critical", expected=self.QUESTION)
        chat.send(key)
        chat.wait(lambda t: t.line() == ">")
        chat.leave()
        assert only(kept).state == "needs target"

    def test_a_command_is_a_command(self, offered, kept):
        chat = offered("/critical", expected=self.QUESTION)
        chat.say("/good", "Feedback changed (weight: 1x)")
        chat.leave()
        assert only(kept).target == REPLY

    def test_what_was_typed_before_it_was_asked_is_no_answer(self, talker, kept):
        chat = talker(ANSWERS)
        chat.wait_for_prompt()
        chat.say(QUESTION, REPLY)
        chat.send("/critical" + ENTER + "so it goes" + ENTER)
        chat.wait("Well.")
        chat.wait(lambda t: t.line() == ">")
        chat.leave()
        assert queries(kept) == [QUESTION, "so it goes"] and only(kept).state == "needs target"


class TestFix:
    def test_inline_on_an_earlier_reply(self, talker, kept):
        chat = talker(ANSWERS)
        chat.wait_for_prompt()
        chat.say(QUESTION, REPLY)
        chat.say("and you?", "Well.")
        chat.say(f"/fix #1 {BETTER}", "Better reply stored (weight: 3x)")
        chat.say("/fix 42", "2 examples (6.0 weighted)")
        chat.say("/fix Well.", "That is the reply as it was")
        chat.leave()
        targets = {example.prompt: example.target for example in kept().examples.find()}
        assert targets == {QUESTION: BETTER, "and you?": "42"}

    def test_in_the_editor_whose_terminal_is_an_ordinary_one(self, talker, kept, editor, tmp_path):
        chat = talker(ANSWERS, EDITOR=editor(BETTER))
        chat.wait_for_prompt()
        chat.say(QUESTION, REPLY)
        chat.say("/fix", "Better reply stored")
        assert re.search(r"[^-]icanon", (tmp_path / "stty").read_text()), "the editor gets lines"
        assert re.search(r"[^-]echo\b", (tmp_path / "stty").read_text())
        chat.say("/fix", "Nothing changed")
        assert (tmp_path / "seen").read_text() == BETTER + "\n", "it opens on the better reply"
        chat.send("typed" + ENTER)
        chat.wait("Well.")
        chat.wait(lambda t: t.line() == ">")
        chat.leave()
        assert only(kept).target == BETTER

    def test_an_editor_that_fails(self, talker):
        chat = talker(ANSWERS, VISUAL="false")
        chat.wait_for_prompt()
        chat.say(QUESTION, REPLY)
        chat.say("/fix", "Editing failed. Set VISUAL or EDITOR")
        chat.leave()


def test_on_a_dumb_terminal_the_offer_is_answered_by_a_line(talker, kept):
    chat = talker(ANSWERS, TERM="dumb")
    chat.wait_for_prompt()
    chat.say(QUESTION, REPLY)
    chat.say(f"/critical {NOTE}", OFFER, "fix>")
    chat.say("", GOOD, "fix>")
    chat.say("", "Better reply stored")
    chat.say("/medium", "Feedback changed (weight: 3x)")
    chat.say(QUESTION, REPLY)
    chat.say(f"/critical {NOTE}", OFFER, "fix>")
    chat.say("explain", "Well.")
    chat.leave()
    assert b"\x1b" not in chat.raw
    assert {example.target for example in kept().examples.find()} == {GOOD, None}


def test_a_pipe_is_never_asked(talker, home, kept):
    """Lines that come from a file: the chat itself, told that it may talk to one."""
    program = (
        "import sys, runpy; sys.argv = ['shammah'];"
        "from shammah.app import App; from shammah.ui.repl import Repl; from shammah.ui.render import Screen;"
        "talker = runpy.run_path({path!r});"
        "App.load_model = lambda self: talker['Talker']({answers!r});"
        "app = App.build(); code = Repl(app, Screen()).run(); app.close(); sys.exit(code)"
    )
    code = program.format(path=str(Path(__file__).with_name("talker.py")), answers=ANSWERS)
    lines = f"{QUESTION}\n/critical {NOTE}\n/medium\nso it goes\n"
    done = subprocess.run([sys.executable, "-c", code], input=lines, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "Fix it?" not in done.stderr and "What should" not in done.stderr
    assert queries(kept) == [QUESTION, "so it goes"]
