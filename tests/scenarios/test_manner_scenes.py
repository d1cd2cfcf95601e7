"""Other terminals and other ends: no colours, no UTF-8, no terminal, two chats at once, a kill, a closed window."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest
from scenarios.conftest import TALKER

from shammah.ui.reply.wrapping import cells_of

CTRL_C, CTRL_D, ENTER, UP = "\x03", "\x04", "\r", "\x1b[A"
ANSWERS = {"capital": "Paris.", "colour": "Blue.", "world": "世界 🙂 ok", "slow": " ".join(["word"] * 200)}
LISTINGS = (
    "/help", "/help keys", "/replies", "/rules", "/train", "/train queue", "/adapters list", "/status", "/probe",
    "/review", "/report", "/why",
)  # fmt: skip
# The others say a sentence here, which the terminal breaks.
LAID_OUT = ("/help", "/help keys", "/replies", "/train", "/train queue", "/status")


def test_two_chats_at_once_on_one_home(chats):
    first = chats(ANSWERS)
    second = chats(ANSWERS, home=first.home)
    first.enter("the capital of the first?", "Paris.")
    second.enter("the colour of the second?", "Blue.")
    first.enter("/good", "Feedback recorded")
    second.enter("/good", "Feedback recorded", "2 examples")
    first.enter("and the colour of the first?", "Blue.")
    for chat in (first, second):
        chat.send(CTRL_D)
        assert chat.end() == 0
    stored = first.turns()
    assert len({turn.conversation_id for turn in stored}) == 2 and len(stored) == 3
    lines = (first.home / "history").read_text("utf-8")
    assert "+the capital of the first?" in lines and "+the colour of the second?" in lines


def test_going_on_after_a_kill_with_the_lines_typed_before(chats):
    chat = chats(ANSWERS)
    chat.enter("the capital?", "Paris.")
    chat.kill()
    chat.end()
    again = chats(ANSWERS, "-c", home=chat.home)
    assert "the capital?" in again.text(), "it says what it goes on with"
    again.send(UP)
    again.wait(lambda t: t.line() == "> the capital?")
    again.begin()
    again.enter("a colour?", "Blue.")
    first, second = again.turns()
    assert second.conversation_id == first.conversation_id and second.parent == first.id


def test_a_window_that_is_closed_in_the_middle_of_a_reply(chats):
    chat = chats(ANSWERS, TALKER_PAUSE="0.01")
    chat.enter("the capital?", "Paris.")
    chat.send("something slow" + ENTER)
    chat.wait(lambda t: "word word" in t.said())
    told = len(chat.raw)
    os.kill(chat.process.pid, signal.SIGHUP)
    assert chat.end(10) == -signal.SIGHUP
    assert b"\x1b[?2004l" in chat.raw[told:], "the terminal is given back as it was"
    assert chat.turns()[0].query == "the capital?"
    again = chats(ANSWERS, "-c", home=chat.home)
    again.enter("a colour?", "Blue.")


def test_without_colours_there_are_none(chats):
    chat = chats(ANSWERS, NO_COLOR="1")
    chat.enter("the capital?", "Paris.")
    chat.enter("/good", "Feedback recorded")
    chat.enter("/help", "/adapters")
    chat.send(CTRL_D)
    assert chat.end() == 0
    codes = b";".join(re.findall(rb"\x1b\[([0-9;]*)m", chat.raw)).split(b";")
    colours = {code for code in codes if code[:1] in (b"3", b"4", b"9") and len(code) > 1}
    assert colours <= {b"39", b"49"}, "but the terminal's own"


def test_a_dumb_terminal_gets_lines(chats):
    chat = chats(ANSWERS, TERM="dumb")
    chat.enter("the capital?", "Paris.")
    chat.enter("/good", "Feedback recorded (weight: 1x)")
    chat.enter("/hlep", "did you mean /help?")
    chat.send(CTRL_D)
    assert chat.end() == 0 and b"\x1b" not in chat.raw


def test_a_terminal_without_utf8(chats):
    chat = chats(ANSWERS, LC_ALL="C", LANG="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0", PYTHONIOENCODING="ascii")
    chat.enter("the world?", "ok")
    chat.enter("/good", "[good] Feedback recorded")
    chat.send(CTRL_D)
    assert chat.end() == 0
    assert chat.raw.isascii() and b"Traceback" not in chat.raw
    assert chat.turns()[0].response == ANSWERS["world"], "it is stored as it was said"


@pytest.fixture(scope="module")
def narrow(chats):
    chat = chats(ANSWERS, columns=40, rows=12)
    chat.enter("the capital?", "Paris.")
    return chat


@pytest.mark.parametrize("line", LISTINGS)
def test_what_lists_something_in_forty_columns(narrow, line):
    narrow.begin()
    narrow.send(line + ENTER)
    narrow.wait(lambda t: line in t.said() and (t.line() == ">" or t.line().startswith("review>")), 10)
    said = narrow.said()
    assert "Traceback" not in said and "Something went wrong" not in said
    told = [row for row in said.split("\r\n")[:-1] if row and "\r" not in row]  # what the editor draws has some
    if line in LAID_OUT:
        assert told and max(map(cells_of, told)) <= 40


def test_a_pipe_in_and_a_file_out(home, tmp_path):
    out = tmp_path / "out"
    with out.open("wb") as file:
        done = subprocess.run(
            [sys.executable, str(TALKER), "what is it?"],
            input=b"the capital",
            stdout=file,
            stderr=subprocess.PIPE,
            env={**os.environ, "TALKER": '{"capital": "Paris."}'},
            timeout=60,
        )
    assert (done.returncode, out.read_text(), done.stderr) == (0, "Paris.\n", b"")


def test_a_home_that_cannot_be_made(program, tmp_path):
    (tmp_path / "file").write_text("in the way")
    chat = program(SHAMMAH_HOME=str(tmp_path / "file" / "home"))
    assert chat.end(20) == 1
    said = chat.text()
    assert said.count("\n") <= 2 and "SHAMMAH_HOME" in said and "Traceback" not in said


def test_offline_without_a_model_what_was_typed_is_kept(program, home):
    chat = program("-m", "nowhere/at-all", "--offline")
    chat.wait_for_prompt()
    chat.send("half a thought")
    assert chat.end(60) == 1
    assert "nowhere/at-all" in chat.text() and "Traceback" not in chat.text()
    assert "+half a thought" in (home / "history").read_text("utf-8")


class TestWhileTheModelLoads:
    @pytest.fixture
    def loading(self, chats, tmp_path):
        awaited = tmp_path / "loaded"
        chat = chats(ANSWERS, TALKER_WAITS_FOR=str(awaited))
        chat.loaded = awaited.touch
        return chat

    def test_it_is_typed_ahead_commanded_waited_for_and_given_up(self, loading):
        loading.send("half a")
        loading.wait(lambda t: t.line() == "> half a")
        loading.send(CTRL_C)
        loading.wait(lambda t: t.line() == ">")
        loading.enter("/help clear", "also /reset, /new")
        loading.send("the capital?" + ENTER)
        loading.wait(lambda t: not t.line().startswith(">"))
        time.sleep(0.05)
        loading.send(CTRL_C)
        loading.until("your message is kept", prompt="> the capital?")
        loading.loaded()
        loading.enter("", "Paris.")

    def test_leaving_does_not_wait(self, loading):
        loading.send(CTRL_D)
        assert loading.end(10) == 0
