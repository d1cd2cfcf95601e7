"""The two streams: the answer goes to stdout, everything else (progress, notices, errors) to stderr.

No escape codes off a terminal.
"""

import os
import re
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from typing import TYPE_CHECKING, TextIO, cast

from shammah.config.settings import UiSettings
from shammah.errors import ShammahError
from shammah.events import Event, Notice, Progress, TrainingEnded, TrainingMoved
from shammah.records import Piece, Turn
from shammah.ui.themes import COLOURLESS, Theme, colours_forced, theme_named
from shammah.ui.toolbar import fitting, training_parts, width

if TYPE_CHECKING:
    from shammah.ui.meanwhile import RowBelow
    from shammah.ui.reply.view import Reasoning, ReplyView, Stream

    # Makes a row below what is written to a stream, in a colour.
    OpenRow = Callable[[Stream, Callable[[str], str]], AbstractContextManager[RowBelow]]

# What a session gives for one question.
Answer = Generator[Piece | Notice | Turn, None, None]

# Control codes, and the marks that make a terminal show letters in another order than they have.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
# What a reply is drawn with, where a stream can write it.
_DRAWN = "•◦▌─│┼═⠋"
_BAR = 24
_REDRAW_SECONDS = 0.1
# Where no line can be redrawn, so many lines tell of a whole run.
_LINES_OF_A_RUN = 10


def is_plain(stream: "TextIO | ForgivingStream") -> bool:
    """Whether a stream wants text and nothing else: a pipe, a file, a terminal that can't do more."""
    return not stream.isatty() or _only_text()


def _only_text() -> bool:
    """Whether a terminal can do no more, or a program reads it that says so."""
    return os.environ.get("TERM", "") in ("", "dumb") or bool(os.environ.get("AI_AGENT"))


def printable(text: str) -> str:
    """The text without control characters: a model must not be able to drive the terminal."""
    if text.isprintable():
        return text
    return _CONTROLS.sub("", text)


def separator_for(encoding: str | None) -> str:
    """What stands between the parts of a line."""
    return " · " if can_write("·", encoding) else " | "


def can_write(text: str, encoding: str | None) -> bool:
    try:
        text.encode(encoding or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


class ForgivingStream:
    """stderr as long as somebody reads it: what is said beside the answer must never cost the answer."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._broken = False

    def write(self, text: str) -> int:
        if not self._broken:
            try:
                self._stream.write(text)
                self._stream.flush()
            except (OSError, ValueError):
                self._broken = True
        return len(text)

    def flush(self) -> None:
        pass  # every write is flushed

    def isatty(self) -> bool:
        return self._stream.isatty()

    @property
    def encoding(self) -> str | None:
        return self._stream.encoding

    def fileno(self) -> int:
        return self._stream.fileno()


class Screen:
    """`ui` gives the settings of the screen as they are now."""

    def __init__(
        self,
        out: TextIO | None = None,
        err: TextIO | None = None,
        *,
        quiet: bool = False,
        ui: Callable[[], UiSettings] = UiSettings,
    ) -> None:
        self._out = out or sys.stdout
        self._err = ForgivingStream(err or sys.stderr)
        self._quiet = quiet
        self._ui = ui
        self.open_row: OpenRow | None = None  # for what is typed while a reply is written; none where nobody types
        self._row: RowBelow | None = None  # while there is one
        self.progress = ProgressLine(self._err, quiet=quiet, in_place=not self.is_plain(self._err))

    @property
    def ui(self) -> UiSettings:
        return self._ui()

    def is_plain(self, stream: TextIO | ForgivingStream) -> bool:
        """Whether a stream wants text and nothing else, or the user does."""
        return self._ui().plain or is_plain(stream)

    def theme(self, stream: TextIO | ForgivingStream) -> Theme:
        """What things look like on a stream."""
        ui = self._ui()
        if self.is_plain(stream) and (ui.plain or stream.isatty() or not colours_forced()):
            return COLOURLESS
        return theme_named(ui.theme)

    def handle(self, event: Event) -> None:
        """What background work tells, as it comes."""
        match event:
            case Progress():
                self.progress.show(event)
            case TrainingMoved():
                self.progress.moved(event)
            case TrainingEnded():
                self.progress.clear()  # who began the run tells what came of it
            case Notice():
                self.notice(event)

    def notice(self, notice: Notice) -> None:
        self.say(notice.text, "notice")

    def say(self, text: str, *style: str) -> None:
        """A line beside the answer."""
        if not self._quiet:
            self.tell(text, *style)

    def tell(self, text: str, *style: str) -> None:
        """What a command has to say that the user typed: beside the answer too, but never left out."""
        self.progress.clear()
        if self._row is not None:
            self._row.hide()
        print(self.theme(self._err).paint(self._fitted(printable(text)), *style), file=self._err)

    def tell_reply(self, text: str) -> None:
        """A reply that is there already, beside the answer."""
        self.progress.clear()
        view = self._view(self._err)
        view.add(Piece("reply", printable(text)))
        view.end()

    @property
    def columns(self) -> int:
        """How wide a line beside the answer may be."""
        return columns(self._err)

    @property
    def ascii(self) -> bool:
        """Whether it may hold letters alone, and no bars."""
        return not can_write("▁█▓░·", self._err.encoding)

    def joined(self, *parts: str) -> str:
        """Parts of a line that is told."""
        return separator_for(self._err.encoding).join(parts)

    def sign(self, picture: str, word: str) -> str:
        """A picture where the terminal has it, the word in brackets where it has not."""
        dumb = self._ui().plain or _only_text()
        return f"[{word}]" if dumb or not can_write(picture, self._err.encoding) else picture

    def error(self, error: ShammahError) -> None:
        self.progress.clear()
        begun, said = "shammah:", self._fitted(f"shammah: {printable(error.one_line())}")
        print(self.theme(self._err).paint(begun, "bad") + said.removeprefix(begun), file=self._err)

    def _fitted(self, text: str) -> str:
        """Off a terminal whoever reads it breaks its lines."""
        if not self._err.isatty():
            return text
        return "\n".join(part for line in text.split("\n") for part in broken(line, self.columns))

    def line(self, text: str) -> None:
        """A line of the answer itself: what a command was asked to print."""
        self.progress.clear()
        print(text, file=self._out, flush=True)

    def lines(self, texts: Sequence[str]) -> None:
        """Many of them at once, none of which is waited for."""
        if texts:
            self.line("\n".join(texts))

    def show(self, answer: "Answer", *, shown: str = "") -> Turn:
        """Print a reply as it comes, or what follows the part that was `shown` before; its turn at the end. If printing
        fails, the answer is told by closing it."""
        self.progress.clear()
        watched = self._out.isatty() and not self._quiet
        turn: Turn | None = None
        with closing(answer), self._typing() if watched else nullcontext(self._out) as out:
            view = self._view(self._out, out, watched=watched)
            view.go_on(printable(shown))
            try:
                view.begin()
                for item in answer:
                    if isinstance(item, Piece):
                        view.add(Piece(item.kind, printable(item.text)))
                    elif isinstance(item, Notice):
                        view.end()
                        self.notice(item)
                        view.begin()
                    else:
                        turn = item
            finally:
                view.end()
        assert turn is not None, "an answer ends with its turn"
        return turn

    @contextmanager
    def _typing(self) -> "Iterator[Stream]":
        """The stream of a reply, with what is typed meanwhile below it."""
        if self.open_row is None:
            yield self._out
            return
        theme = self.theme(self._out)
        with self.open_row(self._out, lambda text: theme.paint(text, "dim")) as row:
            self._row = row
            try:
                yield row
            finally:
                self._row = None

    def _view(
        self, stream: TextIO | ForgivingStream, out: "Stream | None" = None, *, watched: bool = False
    ) -> "ReplyView":
        """For a reply on a stream, through `out` where that is given; `watched` where somebody waits for it."""
        from shammah.ui.reply.view import Look, ReplyView  # most commands show none

        theme, plain = self.theme(stream), self.is_plain(stream)
        look = Look(
            theme=theme,
            width=lambda: columns(stream),
            rendered=not plain or theme is not COLOURLESS,
            moves=watched and not plain,
            ascii=not can_write(_DRAWN, stream.encoding),
            reasoning=cast("Reasoning", self._ui().reasoning) if watched else "hide",
        )
        return ReplyView(out or stream, look)

    def hold(self, answer: "Answer") -> Turn:
        """Wait for a reply that is to be shown later; its turn."""
        turn: Turn | None = None
        with closing(answer):
            for item in answer:
                if isinstance(item, Notice):
                    self.notice(item)
                elif isinstance(item, Turn):
                    turn = item
        assert turn is not None, "an answer ends with its turn"
        return turn


def broken(line: str, columns: int) -> list[str]:
    """A line as lines that fit, broken at blanks; each goes on below where it began. A word that fits none stays where
    it is, for the terminal to break."""
    if width(line) <= columns:
        return [line]
    begun = line[: len(line) - len(line.lstrip(" "))]
    first, *words = line.lstrip(" ").split(" ")
    lines, taken = [], begun + first
    for word in words:
        if width(f"{taken} {word}") > columns >= width(begun + word):
            lines.append(taken.rstrip(" "))
            taken = begun + word
        else:
            taken += f" {word}"
    return [*lines, taken]


def ending_words(turn: Turn) -> str:
    """Why a reply ended, where the user would wonder; empty where it simply came to its end."""
    return {
        "length": f"(stopped at {turn.output_tokens:,} tokens: max_tokens)",
        "window": "(stopped: the context window is full)",
        "loop": "(stopped: the reply went round in circles)",
        "cancelled": "(stopped; the reply so far is kept)",
    }.get(turn.stop_reason, "")


class ProgressLine:
    """One line that is redrawn in place on a terminal; elsewhere each step is said once."""

    def __init__(
        self, err: ForgivingStream, *, quiet: bool, in_place: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._err = err
        self._quiet = quiet
        self._clock = clock
        self._in_place = in_place
        self._label = ""
        self._width = 0
        self._drawn = float("-inf")

    def show(self, event: Progress) -> None:
        if self._quiet:
            return
        if not self._in_place:
            if event.label != self._label:
                print(printable(progress_words(event, bar=False)), file=self._err)
            self._label = event.label
            return
        finished = bool(event.total) and event.done >= event.total
        self._redraw(event.label, progress_words(event, bar=True), at_once=finished)

    def moved(self, event: TrainingMoved) -> None:
        """How far a run has come."""
        if self._quiet:
            return
        parts = training_parts(event)
        if self._in_place:
            text = fitting([parts], columns(self._err) - 1, "  ")
            self._redraw("training", text, at_once=event.phase != "training" or event.step == event.steps)
            return
        tenth = event.step * _LINES_OF_A_RUN // event.steps if event.steps else 0
        label = f"{event.phase} {tenth} {event.waiting}"
        if label != self._label:
            print(printable("  ".join(parts)), file=self._err)
        self._label = label

    def _redraw(self, label: str, text: str, *, at_once: bool) -> None:
        now = self._clock()
        if label == self._label and now - self._drawn < _REDRAW_SECONDS and not at_once:
            return
        self._label, self._drawn = label, now
        text = text[: columns(self._err) - 1]
        # Blanks instead of an erase code: right on every terminal.
        self._err.write("\r" + printable(text).ljust(self._width))
        self._width = len(text)

    def clear(self) -> None:
        if self._width:
            self._err.write("\r" + " " * self._width + "\r")
        self._width, self._label = 0, ""


def progress_words(event: Progress, *, bar: bool) -> str:
    size = size_words(event.total) if event.unit == "B" else f"{event.total:,}"
    if not event.total:
        return f"{event.label} ..."
    if not bar:
        return f"{event.label} ({size}) ..."
    share = min(1.0, event.done / event.total)
    filled = round(_BAR * share)
    return f"{event.label} [{'#' * filled}{'.' * (_BAR - filled)}] {share:4.0%} of {size}"


def sparkline(values: Sequence[float | None], *, ascii: bool = False) -> str:
    """A character for each value of 0 to 1, higher for more; a blank where there is none."""
    levels = ".:-=+*%#" if ascii else "▁▂▃▄▅▆▇█"
    top = len(levels) - 1
    return "".join(" " if value is None else levels[round(top * min(1.0, max(0.0, value)))] for value in values)


def size_words(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def columns(stream: TextIO | ForgivingStream, otherwise: int = 80) -> int:
    """How wide a terminal is. COLUMNS counts only elsewhere: a shell may have exported what a resize made untrue."""
    try:
        own = os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        own = 0
    declared = os.environ.get("COLUMNS", "")
    return own or (int(declared) if declared.isdecimal() else 0) or otherwise
