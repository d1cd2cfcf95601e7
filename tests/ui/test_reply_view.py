"""One reply on a terminal: reasoning, the spinner, and what goes away again."""

import io
import re
import time

import pytest
from support.markdown_replies import REPLIES

from shammah.config import UiSettings
from shammah.events import Notice
from shammah.records import Piece
from shammah.ui.render import Screen
from shammah.ui.reply.spinner import LastRow, Spinner
from shammah.ui.reply.view import Look, ReplyView
from shammah.ui.themes import COLOURLESS


class FakeTerminal(io.StringIO):
    """It remembers what was written at once."""

    encoding = "utf-8"

    def __init__(self):
        super().__init__()
        self.writes = []

    def isatty(self):
        return True

    def write(self, text):
        self.writes.append(text)
        return super().write(text)


class AsciiTerminal(FakeTerminal):
    encoding = "ascii"


def view(out, reasoning="show", **changes):
    look = {"theme": COLOURLESS, "width": lambda: 40, "rendered": True, "moves": True, "ascii": False}
    return ReplyView(out, Look(**{**look, **changes}, reasoning=reasoning))


def waited_for(out, text):
    """Until the thread has written it."""
    end = time.monotonic() + 10
    while text not in out.getvalue():
        assert time.monotonic() < end, out.getvalue()
        time.sleep(0.01)


def said(*pieces, **options):
    out = FakeTerminal()
    shown = view(out, **options)
    shown.begin()
    for kind, text in pieces:
        shown.add(Piece(kind, text))
    shown.end()
    return out.getvalue()


def test_the_spinner_is_gone_before_the_first_word():
    out = FakeTerminal()
    shown = view(out)
    shown.begin()
    waited_for(out, "\r⠙")
    shown.add(Piece("reply", "Hello there"))
    assert re.fullmatch("(?:\r[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏])+\r   \rHello", out.getvalue())
    spun = len(out.writes)
    time.sleep(0.25)
    assert len(out.writes) == spun, "its thread has ended"
    shown.end()
    assert out.getvalue().endswith("Hello there\n")


def test_a_spinner_for_letters_alone():
    out = AsciiTerminal()
    row = LastRow(out.write)
    spinner = Spinner(row, ascii=True)
    spinner.start()
    waited_for(out, "\r-")
    spinner.stop()
    spinner.stop()
    assert out.getvalue().isascii() and out.getvalue().endswith("\r   \r")


def test_a_spinner_on_a_terminal_that_went_away():
    def broken(text):
        raise BrokenPipeError

    spinner = Spinner(LastRow(broken))
    spinner.start()
    time.sleep(0.15)
    spinner.stop()


def test_a_quick_reply_has_no_spinner():
    assert said(("reply", "Hello")) == "Hello\n"


@pytest.mark.parametrize("options", [{"moves": False}, {"moves": False, "rendered": False}])
def test_nothing_moves_where_nothing_may(options):
    out = FakeTerminal()
    shown = view(out, **options)
    shown.begin()
    time.sleep(0.25)
    shown.add(Piece("reply", "|a|b|\n|-|-|\n|1|2|\n"))
    shown.end()
    assert "\r" not in out.getvalue() and "⠋" not in out.getvalue()


def test_a_table_is_told_of_while_it_is_collected():
    out = FakeTerminal()
    shown = view(out)
    for piece in ("Text\n\n|a|b|\n", "|-|-|\n", "|1|2|\n", "|3", "|4|\n", "\nend"):
        shown.add(Piece("reply", piece))
    shown.end()
    text = out.getvalue()
    assert text.startswith("Text\n\n\rtable")
    assert re.findall("table, [^\r]*", text) == ["table, 0 rows", "table, 1 row ", "table, 2 rows"]
    assert text.endswith("\r               \ra │ b\n──┼──\n1 │ 2\n3 │ 4\n\nend\n")


class TestReasoning:
    def test_it_is_shown_in_lines(self):
        shown = said(("reasoning", "First this, and then that, which is long\n\n"), ("reply", "Yes."))
        assert shown == "First this, and then that, which is\nlong\n\nYes.\n"

    def test_folded_it_leaves_how_long_it_was(self):
        out = FakeTerminal()
        shown = view(out, "fold")
        shown.begin()
        for _ in range(60):
            shown.add(Piece("reasoning", "so many wor"))
            shown.add(Piece("reasoning", "ds "))
        waited_for(out, "\rthinking, 180 words")
        shown.add(Piece("reply", "Yes."))
        shown.end()
        assert out.getvalue().endswith("\r" + " " * 21 + "\r(thought for 180 words)\n\nYes.\n")
        assert "many" not in out.getvalue()

    def test_folded_without_a_reply(self):
        assert said(("reasoning", "hm"), reasoning="fold", moves=False) == "(thought for 1 word)\n\n"

    def test_folded_where_only_text_is_wanted(self):
        shown = said(("reasoning", "hm hm"), ("reply", "*y*"), reasoning="fold", moves=False, rendered=False)
        assert shown == "(thought for 2 words)\n\n*y*\n"

    def test_hidden(self):
        assert said(("reasoning", "hm"), ("reply", "Yes."), reasoning="hide") == "Yes.\n"

    def test_it_thinks_again(self):
        pieces = ("reasoning", "a b"), ("reply", "One"), ("reasoning", "c"), ("reply", "two")
        assert said(*pieces, reasoning="fold", moves=False) == (
            "(thought for 2 words)\n\nOne\n(thought for 1 word)\n\ntwo\n"
        )
        assert said(*pieces) == "a b\n\nOne\nc\n\ntwo\n"

    def test_the_setting_counts_where_somebody_watches(self, monkeypatch, a_turn):
        monkeypatch.setenv("TERM", "xterm")
        for reasoning, expected in (
            ("show", "\x1b[2mhm hm\x1b[0m\n\nYes.\n"),
            ("fold", "\x1b[2m(thought for 2 words)\x1b[0m\n\nYes.\n"),
            ("hide", "Yes.\n"),
        ):
            terminal, pipe = FakeTerminal(), io.StringIO()
            for out in (terminal, pipe):
                answer = (item for item in (Piece("reasoning", "hm hm"), Piece("reply", "Yes."), a_turn()))
                Screen(out, io.StringIO(), ui=lambda reasoning=reasoning: UiSettings(reasoning=reasoning)).show(answer)
            assert terminal.getvalue() == expected and pipe.getvalue() == "Yes.\n"


def test_where_only_text_is_wanted_it_is_the_models_own(monkeypatch, a_turn):
    monkeypatch.setenv("TERM", "xterm")
    for text in REPLIES.values():
        for out, settings in ((io.StringIO(), {}), (FakeTerminal(), {"plain": True})):
            answer = (item for item in (*(Piece("reply", letter) for letter in text), a_turn()))
            Screen(out, io.StringIO(), ui=lambda settings=settings: UiSettings(**settings)).show(answer)
            assert out.getvalue() == text + "\n" * (not text.endswith("\n"))


@pytest.mark.parametrize(("name", "value"), [("TERM", "dumb"), ("AI_AGENT", "1")])
def test_a_terminal_that_wants_text_alone(monkeypatch, a_turn, name, value):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv(name, value)
    out = FakeTerminal()
    screen = Screen(out, out)
    screen.show(item for item in (Piece("reply", "It **is**."), a_turn()))
    screen.say(screen.sign("✔", "good"), "good")
    assert out.getvalue() == "It **is**.\n[good]\n"


def test_forced_colours_go_through_a_pipe(monkeypatch, a_turn):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    out = io.StringIO()
    Screen(out, io.StringIO()).show(item for item in (Piece("reply", "a **b**\n|a|\n|-|\n"), a_turn()))
    assert out.getvalue() == "a \x1b[1mb\x1b[0m\n\n\x1b[1ma\x1b[0m\n\x1b[2m─\x1b[0m\n"


def test_a_notice_parts_a_reply_from_what_follows(monkeypatch, a_turn):
    monkeypatch.setenv("TERM", "xterm")
    out = FakeTerminal()
    answer = (item for item in (Notice("First."), Piece("reply", "It **is"), Notice("Second."), a_turn()))
    Screen(out, out, ui=lambda: UiSettings(theme="plain")).show(answer)
    assert out.getvalue() == "First.\nIt **is\nSecond.\n"


class TestGoingOn:
    def shown_then(self, shown, rest, **options):
        """What is written of a reply whose beginning was shown before."""
        out = FakeTerminal()
        whole = view(out, moves=False, **options)
        whole.go_on(shown)
        whole.begin()
        for letter in rest:
            whole.add(Piece("reply", letter))
        whole.end()
        return out.getvalue()

    @pytest.mark.parametrize(
        ("shown", "rest", "written"),
        [
            ("See:\n\n```\nf():\n one\n", "# two\n    x\n```\nIt *was*.", "# two\n    x\n```\n\nIt *was*.\n"),
            ("```\n one", " and\n# two\n```\n", " one and\n# two\n```\n"),
            ("It is", " and the *sea*.", "and the *sea*.\n"),
            ("It is ", "the sea.", "the sea.\n"),
            ("It is.\n\n", "And more.\n\nAnd more.", "And more.\n\nAnd more.\n"),
            ("- one\n- two", " or three\n- four", "  or three\n• four\n"),
            ("|a|b|\n|-|-|\n|1|2", "3|\n|4|5|\n\nend", "a │ b\n──┼───\n1 │ 23\n4 │ 5\n\nend\n"),
            ("It is", "", ""),
        ],
    )  # fmt: skip
    def test_what_follows_is_a_part_of_the_whole(self, shown, rest, written):
        assert self.shown_then(shown, rest) == written

    def test_where_only_text_is_wanted_it_is_what_is_new(self):
        assert self.shown_then("```\n one", " and\n# two\n", rendered=False) == " and\n# two\n"

    def test_a_reply_is_told_what_was_shown(self, monkeypatch, a_turn):
        monkeypatch.setenv("TERM", "xterm")
        out = FakeTerminal()
        rest = (item for item in (Piece("reply", "# x\n"), a_turn()))
        Screen(out, out, ui=lambda: UiSettings(theme="plain")).show(rest, shown="```\n\x1bone\n")
        assert out.getvalue() == "# x\n"


def test_control_characters_reach_no_block(monkeypatch, a_turn):
    monkeypatch.setenv("TERM", "xterm")
    out = FakeTerminal()
    pieces = [Piece("reply", text) for text in ("a\x1b[2J\r\x08 b\n```python\n", "x\x9b1 = '\x07'\n```")]
    Screen(out, io.StringIO()).show(item for item in (*pieces, a_turn()))
    text = re.sub(r"\x1b\[[\d;]*m", "", out.getvalue())
    assert text == "a[2J b\n\npython\nx1 = ''\n"


def test_a_reply_that_is_there_already_is_laid_out_beside_the_answer(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    out, err, pipe = io.StringIO(), FakeTerminal(), io.StringIO()
    Screen(out, err).tell_reply("a **b**")
    Screen(out, pipe).tell_reply("a **b**")
    assert (err.getvalue(), pipe.getvalue(), out.getvalue()) == ("a \x1b[1mb\x1b[0m\n", "a **b**\n", "")
