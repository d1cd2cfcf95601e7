"""The chat in a real terminal, as a user drives it, with a tiny real model."""

import os
import re
import sys
import time

import pytest
from support.standing_adapters import FIRST, SECOND, put_speaking

from shammah.store import Conversations, Database
from shammah.store.activations import Activations

ENTER, CTRL_D, CTRL_J, ALT_ENTER, UP = "\r", "\x04", "\n", "\x1b\r", "\x1b[A"


def turns(home):
    database = Database(home / "shammah.db")
    try:
        return list(reversed(Conversations(database).search(limit=None)))
    finally:
        database.close()


def is_answering(chat):
    """Whether a reply to "go on" has begun, and not only the loading before it."""
    return re.search(r"> go on\n(?!Loading|\s*$).{5}", chat.text()) is not None


def test_a_turn_and_a_follow_up(terminal, home):
    chat = terminal()
    chat.wait_for_prompt()
    chat.send("hello" + ENTER)
    chat.wait_for_prompt(2)
    chat.send("and again" + ENTER)
    chat.wait_for_prompt(3)
    chat.leave()
    first, second = turns(home)
    assert (first.query, second.query) == ("hello", "and again")
    assert first.conversation_id == second.conversation_id
    assert second.cached_tokens > first.input_tokens - 2, "the follow-up pays only for what is new"
    assert "(stopped at 8 tokens: max_tokens)" in chat.text()


def test_nothing_heavy_is_imported_before_the_prompt(home, tmp_path, terminal):
    found = tmp_path / "found"
    script = f"""
import os, sys
import shammah.ui.background_load

def instead(self):
    heavy = sorted({{"torch", "transformers", "peft", "numpy", "huggingface_hub"}} & set(sys.modules))
    open({str(found)!r}, "w").write(repr(heavy))

shammah.ui.background_load.BackgroundLoad.start = instead
from shammah.cli.main import main
sys.argv = ["shammah"]
main()
"""
    chat = terminal(command=[sys.executable, "-c", script], fresh=True)
    chat.wait_for_prompt()
    chat.wait(lambda _: found.exists() and bool(found.read_text()))
    assert found.read_text() == "[]"


def test_what_is_typed_while_the_model_loads_is_answered(terminal, home):
    chat = terminal()
    chat.wait_for_prompt()
    chat.send("typed early" + ENTER)
    chat.wait_for_prompt(2)
    chat.leave()
    assert [turn.query for turn in turns(home)] == ["typed early"]


def test_ctrl_c_while_loading_keeps_the_message(terminal, home):
    chat = terminal(fresh=True)
    chat.wait_for_prompt()
    chat.send("typed early" + ENTER)
    chat.wait(lambda t: "> typed early" in t.text() and not t.line().startswith(">"))  # the line was taken
    time.sleep(0.05)
    chat.interrupt()
    chat.wait("your message is kept")
    chat.wait(lambda t: t.line() == "> typed early")
    chat.send(ENTER)
    chat.wait("(stopped at 8 tokens")
    chat.wait(lambda t: t.line() == ">")
    chat.leave()
    assert [turn.query for turn in turns(home)] == ["typed early"]


def test_leaving_while_loading_is_quick_and_clean(terminal, home):
    chat = terminal(fresh=True)
    chat.wait_for_prompt()
    start = time.monotonic()
    chat.send(CTRL_D)
    assert chat.end() == 0
    assert time.monotonic() - start < 2, "it does not wait for the model"
    assert "Error" not in chat.text() and "Traceback" not in chat.text()


def test_ctrl_c_stops_a_reply_and_keeps_it(terminal, home):
    chat = terminal(tokens=450)
    chat.wait_for_prompt()
    chat.send("go on" + ENTER)
    chat.wait(is_answering)
    chat.interrupt()
    chat.wait("the reply so far is kept")
    chat.wait(lambda t: t.line() == ">")
    chat.send("next" + ENTER)
    chat.wait(lambda t: t.text().count("the reply so far is kept") == 1 and "> next" in t.text())
    chat.wait("(stopped")
    chat.wait(lambda t: t.line() == ">")
    chat.leave()
    first, second = turns(home)
    assert first.stop_reason == "cancelled" and 0 < first.output_tokens < 450 and first.response
    assert second.query == "next"


def test_what_is_typed_during_a_reply_waits_for_the_next_prompt(terminal, home):
    chat = terminal(tokens=300)
    chat.wait_for_prompt()
    chat.send("go on" + ENTER)
    chat.wait(is_answering)
    chat.send("typed ahead" + ENTER)
    chat.wait(lambda t: t.text().count("(stopped at 300") == 2 or t.text().count("window is full)") > 0)
    chat.leave()
    assert [turn.query for turn in turns(home)] == ["go on", "typed ahead"]
    reply = chat.text().split("go on", 1)[1].split("(stopped", 1)[0]
    assert "typed ahead" not in reply, "typing is not echoed into the reply"


def test_a_paste_during_a_reply_stays_one_message(terminal, home):
    chat = terminal(tokens=300)
    chat.wait_for_prompt()
    chat.send("go on" + ENTER)
    chat.wait(is_answering)
    chat.send("\x1b[200~AAA\rBBB\x1b[201~" + ENTER)
    chat.wait(lambda t: t.text().count("(stopped") == 2)
    chat.leave()
    assert [turn.query for turn in turns(home)] == ["go on", "AAA\nBBB"]


def test_a_chat_whose_answers_nobody_reads_ends(terminal, home, tiny_model):
    talk = f"{sys.executable} -m shammah -m {tiny_model} -o max_tokens 200 | head -c 1"
    chat = terminal(command=["bash", "-c", talk])
    chat.wait(">")
    chat.send("hello\n")
    assert chat.end() == 0
    assert "The reader closed the pipe" in chat.text()
    assert [turn.query for turn in turns(home)] == ["hello"]


def test_a_stored_question_cannot_drive_the_terminal(terminal, home, a_turn):
    home.mkdir(mode=0o700)
    database = Database(home / "shammah.db")
    Conversations(database).add(a_turn("x \x1b]0;title\x07\x1b[31mred\nsecond"), title="x")
    database.close()
    chat = terminal("-c")
    chat.wait("Going on with 1 turn: x ]0;title[31mred second")
    assert b"\x1b]0;" not in chat.raw and b"\x1b[31m" not in chat.raw
    chat.leave()


def test_ctrl_c_on_a_line_clears_it_and_on_an_empty_one_says_how_to_leave(terminal, home):
    chat = terminal()
    chat.wait_for_prompt()
    chat.send("never sent")
    chat.wait("> never sent")
    chat.interrupt()
    chat.wait(lambda t: t.line() == ">")
    chat.interrupt()
    chat.wait("Ctrl+D or /exit leaves")
    chat.leave()
    assert turns(home) == []


@pytest.mark.parametrize("newline", [ALT_ENTER, CTRL_J, "\x1b[200~\n\x1b[201~"], ids=["alt-enter", "ctrl-j", "paste"])
def test_a_message_of_several_lines(terminal, home, newline):
    chat = terminal()
    chat.wait_for_prompt()
    chat.send("one")
    chat.send(newline)
    chat.send("two" + ENTER)
    chat.wait("(stopped at 8 tokens")
    chat.leave()
    assert [turn.query for turn in turns(home)] == ["one\ntwo"]


@pytest.mark.parametrize("word", ["exit", "quit", "/exit", "/quit", "/q", "/bye", "EXIT"])
def test_words_that_leave(terminal, word):
    chat = terminal()
    chat.wait_for_prompt()
    chat.send(word + ENTER)
    assert chat.end() == 0


def test_an_unknown_command_is_not_sent(terminal, home):
    chat = terminal()
    chat.wait_for_prompt()
    chat.send("/hlep" + ENTER)
    chat.wait("There is no command /hlep; did you mean /help?")
    chat.wait_for_prompt(2)
    chat.leave()
    assert turns(home) == []


def test_help_shows_every_command_one_and_the_keys(terminal):
    from shammah.ui.repl import registry

    chat = terminal()
    chat.wait_for_prompt()
    chat.send("/help" + ENTER)
    for command in registry.all():
        chat.wait(command.usage)
    chat.send("/help clear" + ENTER)
    chat.wait("also /reset, /new")
    chat.send("/help keys" + ENTER)
    chat.wait("Ctrl+L")
    chat.leave()


def activate(home, model, adapter, cause=""):
    """As another process does it."""
    database = Database(home / "shammah.db")
    Activations(database).activate(model.name, adapter, actor="training", cause=cause)
    database.close()


def test_what_another_process_takes_into_use_answers_the_next_message(terminal, home, tiny_model):
    chat = terminal()
    chat.wait_for_prompt()
    chat.send("hello" + ENTER)
    chat.wait_for_prompt(2)
    put_speaking(home, tiny_model, FIRST)
    activate(home, tiny_model, FIRST, "found better")
    chat.send("hello" + ENTER)
    chat.wait("From this reply on")
    chat.wait_for_prompt(3)
    activate(home, tiny_model, SECOND)  # whose folder is gone
    chat.send("hello" + ENTER)
    chat.wait("not on the shelf any more")
    chat.wait_for_prompt(4)
    chat.send("hello" + ENTER)
    chat.wait_for_prompt(5)
    chat.leave()
    said = turns(home)
    assert [turn.adapter for turn in said] == [None, FIRST, FIRST, FIRST], "the one that answered goes on"
    assert said[1].cached_tokens == 0 < said[2].cached_tokens, "nothing that the base computed is used"
    text = re.sub(r"\s", "", chat.text())  # lines break anywhere
    assert text.count("ontheshelfanymore") == 1 and f"{FIRST}goesonanswering." in text
    assert f"{FIRST}answers,insteadofthemodelitself:foundbetter" in text


def test_a_new_adapter_that_is_rated_worse_is_gone_back_from(terminal, home, tiny_model):
    chat = terminal(SHAMMAH_ADAPTERS_PROBATION_RATINGS="1", SHAMMAH_LORA_TRAINING_AUTO="false")
    chat.wait_for_prompt()
    chat.send("hello" + ENTER)
    chat.wait_for_prompt(2)
    chat.send("/good" + ENTER)
    chat.wait_for_prompt(3)
    put_speaking(home, tiny_model, FIRST)
    activate(home, tiny_model, FIRST)
    chat.send("hello" + ENTER)
    chat.wait("From this reply on")
    chat.wait_for_prompt(4)
    chat.send("/fix It is this." + ENTER)
    chat.wait("Went back to the model itself")
    chat.wait_for_prompt(5)
    chat.send("hello" + ENTER)
    chat.wait_for_prompt(6)
    chat.leave()
    assert [turn.adapter for turn in turns(home)] == [None, FIRST, None]
    assert "1of1ratedrepliesunderitwerenotgood" in re.sub(r"\s", "", chat.text())


def test_clear_begins_a_new_conversation(terminal, home):
    chat = terminal()
    chat.wait_for_prompt()
    chat.send("hello" + ENTER)
    chat.wait_for_prompt(2)
    chat.send("/clear" + ENTER)
    chat.wait("A new conversation")
    chat.send("hello" + ENTER)
    chat.wait_for_prompt(4)
    chat.leave()
    first, second = turns(home)
    assert first.conversation_id != second.conversation_id
    assert first.input_tokens == second.input_tokens, "nothing of the first is in the second's prompt"


def test_lines_are_remembered_between_chats(terminal, home):
    chat = terminal()
    chat.wait_for_prompt()
    chat.send("remember me" + ENTER)
    chat.wait_for_prompt(2)
    chat.leave()
    assert (home / "history").stat().st_mode & 0o777 == 0o600
    again = terminal()
    again.wait_for_prompt()
    again.send(UP)
    again.wait("> remember me")


@pytest.mark.parametrize("setting", [{"SHAMMAH_NO_HISTORY": "1"}, {"SHAMMAH_NO_LOG": "1"}])
def test_lines_are_not_kept_where_that_is_not_wanted(terminal, home, setting):
    chat = terminal(**setting)
    chat.wait_for_prompt()
    chat.send("forget me" + ENTER)
    chat.wait_for_prompt(2)
    chat.leave()
    assert not (home / "history").exists() or (home / "history").read_text() == ""


def test_going_on_after_a_kill(terminal, home):
    chat = terminal(fresh=True)
    chat.wait_for_prompt()
    chat.send("before the kill" + ENTER)
    chat.wait_for_prompt(2)
    chat.kill()
    chat.end()
    again = terminal("-c")
    again.wait("Going on with 1 turn: before the kill")
    again.wait_for_prompt()
    again.send("after it" + ENTER)
    again.wait("(stopped at 8 tokens")
    again.leave()
    first, second = turns(home)
    assert (first.query, second.query) == ("before the kill", "after it")
    assert first.conversation_id == second.conversation_id
    assert second.input_tokens > first.input_tokens + first.output_tokens


def test_a_model_that_cannot_be_loaded_ends_the_chat_and_keeps_what_was_typed(terminal, home, tiny_model, tmp_path):
    import shutil

    broken = shutil.copytree(tiny_model, tmp_path / "broken")
    os.truncate(broken / "model.safetensors", 1000)
    chat = terminal("-m", str(broken))
    chat.wait_for_prompt()
    chat.send("half a thought")
    assert chat.end() == 1
    assert "model.safetensors" in chat.text() and "Traceback" not in chat.text()
    assert "half a thought" in (home / "history").read_text()


def test_an_error_in_a_turn_is_said_and_the_chat_goes_on(terminal, home):
    chat = terminal()
    chat.wait_for_prompt()
    chat.send("x" * 600 + ENTER)
    chat.wait("window of 512")
    chat.wait(lambda t: t.text().count("> xxx") == 2)
    chat.interrupt()  # the text is there again, to be shortened
    chat.wait(lambda t: t.line() == ">")
    chat.send("short" + ENTER)
    chat.wait("(stopped at 8 tokens")
    chat.leave()
    assert [turn.query for turn in turns(home)] == ["short"]


def test_a_question_that_fails_when_it_is_asked_again_is_offered_again(terminal, home, tmp_path):
    # The second answer fails before its first letter: a full memory, as the device would tell it.
    script = """
import sys
from shammah.model.generation import Generator

asked, stream = [], Generator.stream

def failing(self, *given, **more):
    asked.append(1)
    if len(asked) == 2:
        raise MemoryError("DefaultCPUAllocator: can't allocate memory")
    return stream(self, *given, **more)

Generator.stream = failing
from shammah.cli.main import main
main()
"""
    program = tmp_path / "program.py"
    program.write_text(script)
    chat = terminal(command=[sys.executable, str(program), *terminal.arguments(8)])
    chat.wait_for_prompt()
    chat.send("the same" + ENTER)
    chat.wait_for_prompt(2)
    chat.send("the same" + ENTER)
    chat.wait("Something went wrong")
    chat.wait(lambda t: t.line() == "> the same")
    chat.send(ENTER)
    chat.wait(lambda t: t.text().count("(stopped at 8 tokens") == 2)
    chat.leave()
    assert [turn.query for turn in turns(home)] == ["the same", "the same"]


def test_there_is_nothing_to_go_on_with(terminal):
    chat = terminal("-c")
    assert chat.end() == 1
    assert "There is no conversation yet" in chat.text() and "shammah`" in chat.text()


def test_a_dumb_terminal_gets_no_escape_codes(terminal, home):
    chat = terminal(TERM="dumb")
    chat.wait_for_prompt()
    chat.send("hello" + ENTER)
    chat.wait("(stopped at 8 tokens")
    chat.send(CTRL_D)
    assert chat.end() == 0
    assert b"\x1b" not in chat.raw
    assert [turn.query for turn in turns(home)] == ["hello"]


def test_no_color_means_no_colour(terminal):
    chat = terminal(NO_COLOR="1")
    chat.wait_for_prompt()
    chat.send("hello" + ENTER)
    chat.wait_for_prompt(2)
    chat.leave()
    codes = set(re.findall(rb"\x1b\[([0-9;]*)m", chat.raw))
    assert codes <= {b"", b"0"}, "neither colours nor the reversed ones of the toolbar"


def test_one_shot_on_a_terminal_without_colour_has_no_escape_codes(terminal):
    chat = terminal("hello", NO_COLOR="1")
    assert chat.end() == 0
    assert b"\x1b" not in chat.raw


def test_the_terminal_is_left_as_it_was(terminal, tmp_path):
    chat = terminal(
        command=["bash", "-c", f"stty -g; {sys.executable} -m shammah -m nowhere/x --offline; stty -g"], columns=200
    )
    chat.wait_for_prompt()
    chat.end()
    before, *_, after = [line for line in chat.text().splitlines() if re.fullmatch(r"[0-9a-f:]+", line)]
    assert before == after
