"""What is typed while a reply streams: it stands below the reply at once, harms nothing of it, and comes next."""

import io
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pyte
import pytest
from prompt_toolkit.data_structures import Size
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.input.typeahead import get_typeahead
from prompt_toolkit.key_binding import KeyPress
from prompt_toolkit.keys import Keys
from ui.conftest import ENTER

from shammah.ui.meanwhile import RowBelow, typed_below, typed_words

LINES = ["The sea is wide", "and the boat", "", "is small;", "nobody knows", "where it goes", "at night."]


class Glass(io.StringIO):
    """A terminal that is looked at."""

    def __init__(self, columns: int = 20, rows: int = 6) -> None:
        super().__init__()
        self.screen = pyte.HistoryScreen(columns, rows, history=100)
        self._stream = pyte.Stream(self.screen)

    def write(self, text: str) -> int:
        self._stream.feed(text.replace("\n", "\r\n"))  # as a terminal's driver does
        return super().write(text)

    def rows(self) -> list[str]:
        above = ["".join(line[x].data for x in range(self.screen.columns)).rstrip() for line in self.screen.history.top]
        return above + [line.rstrip() for line in self.screen.display]

    def shown(self) -> list[str]:
        rows = self.rows()
        while rows and not rows[-1]:
            rows.pop()
        return rows

    def below(self) -> str:
        """The row under the cursor's."""
        under = self.screen.display[self.screen.cursor.y + 1 :]
        return under[0].rstrip() if under else ""

    def size(self) -> Size:
        return Size(rows=self.screen.lines, columns=self.screen.columns)


@pytest.fixture
def glass() -> Glass:
    return Glass()


@pytest.fixture
def row(glass: Glass) -> RowBelow:
    return RowBelow(glass, lambda text: text, glass.size)


class TestTheRow:
    def test_nothing_else_is_written_while_nothing_is_typed(self, glass, row):
        for line in LINES:
            row.write(line + "\n")
        row.hide()
        assert glass.getvalue() == "".join(line + "\n" for line in LINES)

    @pytest.mark.parametrize("seed", range(8))
    def test_it_stands_below_whatever_is_written_and_harms_nothing(self, glass, row, seed):
        chance, text, typed = random.Random(seed), "\n".join(LINES) + "\n", ""
        while text:
            cut = chance.randint(1, 9)
            row.write(text[:cut])
            text = text[cut:]
            if chance.random() < 0.5:
                typed = chance.choice(["", "a", "a longer text", "b"])
                row.show(typed)
            shown = f"> {typed}" if typed else ""
            assert glass.below() == shown
            assert [line for line in glass.rows() if line.startswith(">")] == [shown] * bool(typed)
        row.hide()
        assert glass.shown() == LINES

    def test_it_is_drawn_once_more_only_where_it_has_to(self, glass, row):
        row.show("typed")
        before = len(glass.getvalue())
        row.write("some words")
        row.show("typed")
        assert glass.getvalue()[before:] == "some words"

    def test_who_writes_beside_the_reply_has_the_row(self, glass, row):
        row.show("typed")
        row.write("words\n")
        row.hide()
        row.show("typed on")
        glass.write("a notice\n")
        row.write("more")
        assert glass.shown() == ["words", "a notice", "more", "> typed on"]


@pytest.fixture
def keys() -> Iterator[PipeInput]:
    with create_pipe_input() as pipe:
        yield pipe
        get_typeahead(pipe)


@contextmanager
def typing(keys: PipeInput, glass: Glass) -> Iterator[RowBelow]:
    with typed_below(keys, RowBelow(glass, lambda text: text, glass.size), "⏎") as row:
        yield row


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


class TestTyping:
    def test_it_is_shown_at_once_and_read_later(self, keys, glass):
        with typing(keys, glass):
            keys.send_text("hel")
            until(lambda: glass.below() == "> hel")
            keys.send_text("lo\r")
            until(lambda: glass.below() == "> hello ⏎")
        assert glass.shown() == []
        assert [press.data for press in get_typeahead(keys)] == list("hello\r")

    def test_what_came_before_and_what_comes_after_keep_their_order(self, keys, glass):
        with typing(keys, glass):
            keys.send_text("a")
            until(lambda: glass.below() == "> a")
        with typing(keys, glass):
            assert glass.below() == "> a"
            keys.send_text("b")
            until(lambda: glass.below() == "> ab")
        keys.send_text("c")
        assert [press.data for press in get_typeahead(keys)] == list("ab")
        assert [press.data for press in keys.read_keys()] == ["c"], "left to the prompt, which reads by itself"

    def test_the_end_of_a_long_line_is_shown(self, keys, glass):
        with typing(keys, glass):
            keys.send_text("0123456789abcdefghijklm")
            until(lambda: glass.below() == "> 6789abcdefghijklm")
            keys.send_text("漢字")
            until(lambda: glass.below() == "> abcdefghijklm漢字")

    def test_a_terminal_that_is_closed_ends_it(self, keys, glass):
        with typing(keys, glass):
            keys.close()
            until(lambda: all(thread.name != "typing" for thread in threading.enumerate()))

    def test_no_handle_is_left_open(self, keys, glass):
        before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
        for _ in range(20):
            with typing(keys, glass):
                keys.send_text("a")
        if before:
            assert len(os.listdir("/proc/self/fd")) == before

    def test_a_failure_within_keeps_what_was_typed(self, keys, glass):
        with pytest.raises(ZeroDivisionError), typing(keys, glass):
            keys.send_text("a")
            until(lambda: glass.below() == "> a")
            raise ZeroDivisionError
        assert [press.data for press in get_typeahead(keys)] == ["a"]


@pytest.mark.parametrize(
    ("presses", "words"),
    [
        ("abc", "abc"),
        (["a", "b", Keys.ControlH], "a"),
        ([Keys.ControlH, "a"], "a"),
        ([*"one two ", Keys.ControlW, "x"], "one x"),
        ([*"one", Keys.ControlU, "x"], "x"),
        ([*"one", Keys.ControlM, *"two"], "one ⏎ two"),
        ([*"one", Keys.ControlM, Keys.ControlH, "x"], "one ⏎ x"),
        ([KeyPress(Keys.BracketedPaste, "two\r\nlines\ror\nmore"), "!"], "two lines or more!"),
        ([KeyPress(Keys.BracketedPaste, "if x:\t\ty")], "if x:  y"),
        ([*"a", Keys.Escape, Keys.ControlM, "b"], "a b"),
        ([Keys.Escape, "g", "x"], "x"),
        ([Keys.Up, Keys.Left, "a", KeyPress(Keys.CPRResponse, "\x1b[1;1R")], "a"),
        ([KeyPress(Keys.BracketedPaste, "\x1b[31mred\x07")], "[31mred"),
    ],
)
def test_what_it_shows_is_what_will_be_read(presses, words):
    made = [press if isinstance(press, KeyPress) else KeyPress(press) for press in presses]
    assert typed_words(made, "⏎") == words


class TestKeysInParts:
    def test_one_that_a_reply_s_end_cuts_is_read_whole(self, keys, glass):
        sent = threading.Event()
        with typing(keys, glass):
            keys.send_text("a\x1b[2")
            until(lambda: glass.below() == "> a")
            threading.Timer(0.01, lambda: (keys.send_text("00~one\rtwo\x1b[201~"), sent.set())).start()
        assert sent.wait(5)
        presses = [*get_typeahead(keys), *keys.read_keys()]
        assert [(press.key, press.data) for press in presses] == [("a", "a"), (Keys.BracketedPaste, "one\rtwo")]

    def test_esc_and_later_a_letter_are_not_alt_with_the_letter(self, keys, glass):
        with typing(keys, glass):
            keys.send_text("\x1b")
            time.sleep(0.3)  # longer than a terminal takes for a key
            keys.send_text("good")
            until(lambda: glass.below() == "> good")
            keys.send_text("\x1bg")
            until(lambda: glass.below() == "> good")
        assert [press.data for press in get_typeahead(keys)] == [*"good", "\x1b", "g"]

    def test_an_interrupt_while_it_ends_loses_nothing(self, keys, glass, monkeypatch):
        join = threading.Thread.join

        def interrupted(thread, timeout=None):
            join(thread, timeout)
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt), typing(keys, glass):
            keys.send_text("a")
            until(lambda: glass.below() == "> a")
            monkeypatch.setattr(threading.Thread, "join", interrupted)
        assert [press.data for press in get_typeahead(keys)] == ["a"]


class TestNarrow:
    def test_tabs_and_wide_letters_do_not_break_the_row(self, glass):
        row = RowBelow(glass, lambda text: text, lambda: Size(rows=6, columns=40))  # more than there are
        for _ in range(8):
            row.write("line\n")
        row.show("0123456789 0123456789 漢字漢字")
        row.write("more\nand more\n")
        row.hide()
        assert glass.shown() == ["line"] * 8 + ["more", "and more"]

    def test_a_line_that_the_terminal_breaks_does_not_write_over_it(self, glass, row):
        row.show("typed")
        for part in ("https://", "\x1b[36mexample.org/\x1b[0m", "a/very/long/", "address"):
            row.write(part)
            assert glass.below() == ("" if part.endswith("org/\x1b[0m") else "> typed")
        row.write("\n")
        row.hide()
        assert glass.shown() == ["https://example.org/", "a/very/long/address"]

    @pytest.mark.parametrize(("columns", "rows"), [(3, 5), (2, 5), (20, 1)])
    def test_where_there_is_no_room_there_is_none(self, columns, rows):
        glass = Glass(columns, rows)
        row = RowBelow(glass, lambda text: text, glass.size)
        row.show("typed")
        row.write("a")
        row.hide()
        assert glass.getvalue() == "a"


class TestInTheChat:
    STORY = " ".join(f"word{number}" for number in range(60))

    def test_a_question_typed_into_a_reply_is_seen_and_comes_next(self, talker):
        chat = talker({"story": self.STORY, "capital": "Paris."}, TALKER_PAUSE="0.05")
        chat.wait_for_prompt()
        chat.send("a story" + ENTER)
        chat.wait("word3")
        chat.send("the capitol")
        chat.wait(lambda t: "\n> the capitol" in t.text() and "word59" not in t.text())
        chat.send("\x7f\x7fal?" + ENTER)
        chat.wait(lambda t: "\n> the capital? ⏎" in t.text() and "word59" not in t.text())
        shown = chat.wait(lambda t: "Paris." in t.text() and t.line() == ">")
        assert shown.count("the capital?") == 1, "once it is the next prompt's"
        assert " ".join(shown.split()).count(self.STORY) == 1
        chat.leave()

    def test_a_reply_that_scrolls_stays_whole_above_it(self, talker):
        story = "\n\n".join(f"- line {number}" for number in range(30))
        chat = talker({"story": story}, TALKER_PAUSE="0.03", rows=10, columns=40)
        chat.wait_for_prompt()
        chat.send("a story" + ENTER)
        chat.wait("line 2")
        chat.send("half a thou")
        chat.wait(lambda t: "line 29" in t.text() and t.line() == "> half a thou")
        shown = chat.text()
        assert [shown.count(f"line {number}\n") for number in range(30)] == [1] * 30
        assert shown.count("> half a thou") == 1
        chat.send("\x15")
        chat.leave()
