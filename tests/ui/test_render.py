"""What goes to which stream, and that nothing but text goes where only text is wanted."""

import io

import pytest

from shammah.errors import ModelNotFound
from shammah.events import Notice, Progress
from shammah.records import Piece
from shammah.ui.render import ProgressLine, Screen, broken, ending_words, printable, progress_words
from shammah.ui.reply.view import Look, ReplyView
from shammah.ui.themes import COLOURLESS


class FakeTerminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def streams(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    return FakeTerminal(), FakeTerminal()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\n\ttext", "plain\n\ttext"),
        ("\x1b[31mred\x1b[0m", "[31mred[0m"),
        ("a\rb\x00c\x07d\x7fe\x9bf", "abcdef"),
        ("Köln 日本 👩‍👩‍👧 é", "Köln 日本 👩‍👩‍👧 é"),
    ],
)
def test_control_characters_do_not_reach_the_terminal(text, shown):
    assert printable(text) == shown


def answer(*items, closed=None):
    try:
        yield from items
    except GeneratorExit:
        if closed is not None:
            closed.append(True)
        raise


def test_a_reply_ends_with_one_line_end(a_turn):
    for text in ("hello", "hello\n"):
        out = io.StringIO()
        turn = a_turn()
        assert Screen(out, io.StringIO()).show(answer(Piece("reply", text), turn)) is turn
        assert out.getvalue() == "hello\n"


def test_reasoning_is_dim_on_a_terminal_and_absent_elsewhere(streams, a_turn):
    pieces = (Piece("reasoning", "hm"), Piece("reply", "yes"), a_turn())
    out, err = streams
    Screen(out, err).show(answer(*pieces))
    assert out.getvalue() == "\x1b[2mhm\x1b[0m\n\nyes\n"
    pipe = io.StringIO()
    Screen(pipe, err).show(answer(*pieces))
    assert pipe.getvalue() == "yes\n"


def test_reasoning_without_colour_has_no_escape_code(streams, a_turn, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    out, err = streams
    Screen(out, err).show(answer(Piece("reasoning", "hm"), Piece("reply", "yes"), a_turn()))
    assert out.getvalue() == "hm\n\nyes\n"


def test_a_screen_that_fails_closes_the_answer(a_turn):
    class Closed(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    closed = []
    with pytest.raises(BrokenPipeError):
        Screen(Closed(), io.StringIO()).show(answer(Piece("reply", "x"), a_turn(), closed=closed))
    assert closed == [True]


def test_notices_and_errors_go_to_stderr_and_quiet_leaves_the_errors():
    out, err = io.StringIO(), io.StringIO()
    loud, quiet = Screen(out, err), Screen(out, err, quiet=True)
    for screen in (loud, quiet):
        screen.handle(Notice("read this"))
        screen.handle(Progress("Loading x"))
        screen.error(ModelNotFound("No such model", hint="Try another."))
    line = "shammah: No such model. Try another.\n"
    assert err.getvalue() == "read this\nLoading x ...\n" + line + line
    assert out.getvalue() == ""


def test_progress_is_redrawn_in_place_and_cleared_before_other_text():
    err = FakeTerminal()
    now = iter([0.0, 0.01, 0.02, 5.0])
    line = ProgressLine(err, quiet=False, in_place=True, clock=lambda: next(now))
    line.show(Progress("Fetching", 10, 100, "B"))
    line.show(Progress("Fetching", 20, 100, "B"))  # too soon to be worth drawing
    line.show(Progress("Fetching", 100, 100, "B"))  # the end always is
    line.show(Progress("Loading"))
    line.clear()
    drawn = err.getvalue().split("\r")
    assert [text.rstrip() for text in drawn] == [
        "",
        progress_words(Progress("Fetching", 10, 100, "B"), bar=True),
        progress_words(Progress("Fetching", 100, 100, "B"), bar=True),
        "Loading ...",
        "",
        "",
    ]
    assert len(drawn[3]) == len(drawn[2]), "the shorter text covers the longer one"
    assert "\x1b" not in err.getvalue()


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (Progress("Loading x"), "Loading x ..."),
        (Progress("Fetching x", 46_500_000, 93_000_000, "B"), f"Fetching x [{'#' * 12}{'.' * 12}]  50% of 93 MB"),
        (Progress("Fetching x", 3, 1_500_000_000, "B"), f"Fetching x [{'.' * 24}]   0% of 1.5 GB"),
        (Progress("Converting x", 272, 272), f"Converting x [{'#' * 24}] 100% of 272"),
    ],
)
def test_progress_in_words(event, words):
    assert progress_words(event, bar=True) == words


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("end", ""),
        ("stop", ""),
        ("length", "max_tokens"),
        ("window", "window"),
        ("loop", "circles"),
        ("cancelled", "kept"),
    ],
)
def test_an_ending_is_explained_only_where_one_would_wonder(a_turn, reason, words):
    said = ending_words(a_turn(stop_reason=reason))
    assert words in said and bool(said) == bool(words)


def test_a_notice_after_a_reply_stands_on_its_own_line(a_turn):
    both = io.StringIO()
    Screen(both, both).show(answer for answer in (Piece("reply", "It is this."), Notice("By the way."), a_turn()))
    assert both.getvalue() == "It is this.\nBy the way.\n"


def test_a_view_of_an_empty_reply_still_ends_the_line():
    out = io.StringIO()
    view = ReplyView(out, Look(COLOURLESS, lambda: 80, rendered=False, moves=False, ascii=False))
    view.begin()
    view.end()
    assert out.getvalue() == ""


@pytest.mark.parametrize(
    ("line", "lines"),
    [
        ("fits all", ["fits all"]),
        ("one two three four", ["one two", "three four"]),
        ("  one two three", ["  one two", "  three"]),
        ("a  b  c  d  e", ["a  b  c  d", " e"]),
        ("in /a/path/that/fits/none here", ["in /a/path/that/fits/none", "here"]),
        ("漢字 漢字 漢字", ["漢字 漢字", "漢字"]),
        ("", [""]),
    ],
)
def test_a_long_line_is_broken_at_blanks(line, lines):
    assert broken(line, 10) == lines
