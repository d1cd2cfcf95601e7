"""Reading what the user types: a line editor on a terminal that can do it, plain lines elsewhere.

Both keep one promise: `read` gives a text, or None when the user leaves, and raises what `fail` was given meanwhile.
"""

import logging
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Protocol

from shammah.config import UiSettings
from shammah.ui import editing
from shammah.ui.render import is_plain, printable
from shammah.ui.terminal_modes import has_input

if TYPE_CHECKING:
    from shammah.ui.completing import NamesOf
    from shammah.ui.render import OpenRow
    from shammah.ui.toolbar import Bar

MARK = "> "

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pressed:
    """One of the keys that were offered; empty for Enter."""

    key: str


@dataclass(frozen=True, slots=True)
class Typed:
    """A text in place of a key."""

    text: str


class Prompt(Protocol):
    @property
    def asks(self) -> bool:
        """Whether somebody sits there who can be asked something."""
        ...

    @property
    def has_keys(self) -> bool:
        """Whether keys do more here than to write a line."""
        ...

    def listening(self) -> AbstractContextManager[None]:
        """Around all of the reading: what is typed while no prompt is open waits for the next one."""
        ...

    def read(self, default: str = "") -> str | None: ...

    def offer(self, mark: str, keys: str) -> Pressed | Typed | None:
        """One of the keys, Enter, or a text; None when the offer is turned down. A key may begin a text as well."""
        ...

    def choose(self, mark: str, keys: str) -> str | None:
        """One of the keys, empty for Enter; None when the user wants to leave. Nothing else can be typed."""
        ...

    def pick(self, rows: Sequence[str], title: str) -> int | None:
        """The place, from 0 on, of one of the rows, which have their numbers before them; None for none of them."""
        ...

    def edit(self, text: str) -> str | None:
        """The text as the user changed it in an editor; None where it is empty or was not changed."""
        ...

    def away(self) -> AbstractContextManager[None]:
        """While another program has the terminal."""
        ...

    @property
    def open_row(self) -> "OpenRow | None":
        """For what is typed while a reply is written."""
        ...

    def typed_ahead(self) -> bool:
        """Whether something was typed before the next question can stand on the screen."""
        ...

    def status(self, text: str) -> None:
        """Show a word about background work below the line; empty for none."""
        ...

    def toolbar(self, forms: Sequence["Bar"]) -> None:
        """What is shown below the line while there is no such word, most important first: the first of these forms that
        fits."""
        ...

    def watch(self, look: Callable[[], "Bar"]) -> None:
        """Have the toolbar begin with what `look` gives, which is asked again and again while a prompt is open: the
        first of these forms that fits."""
        ...

    def above(self, say: Callable[[], None]) -> None:
        """Have something said above the line that is being typed, which stays as it is.

        Any thread may ask for it. It is said by the one that reads: at once where a prompt is open, else before the
        next one.
        """
        ...

    def soon(self, act: Callable[[], None]) -> None:
        """Have the thread that reads do something, if a prompt is open."""
        ...

    def reload_history(self) -> None:
        """Lines were taken out of the history's file."""
        ...

    def fail(self, error: BaseException) -> None:
        """End the reading from another thread, keeping what was typed in the history."""
        ...


@dataclass(frozen=True, slots=True)
class HistorySettings:
    """Where the typed lines are kept (None: nowhere), which of them, and whether without secrets."""

    file: Path | None = None
    keeps: Callable[[str], bool] = lambda line: True
    redacts: bool = True


# Makes the prompt of a chat, as `open_prompt` does.
OpenPrompt = Callable[[HistorySettings, Callable[[], None], "NamesOf", Callable[[], UiSettings]], Prompt]


def open_prompt(
    history: HistorySettings,
    on_painted: Callable[[], None],
    names_of: "NamesOf" = lambda kind, begun: (),
    settings: Callable[[], UiSettings] = UiSettings,
) -> Prompt:
    """`on_painted` is called once, when the first prompt stands on the screen. `names_of` is for completion, `settings`
    is asked for each prompt."""
    if settings().plain or is_plain(sys.stdin) or is_plain(sys.stdout):
        return PlainPrompt(on_painted)
    from shammah.ui.line_editor import EditorPrompt

    return EditorPrompt(history, on_painted, names_of, settings)


class Sayings:
    """What other threads want to have said, in their order."""

    def __init__(self) -> None:
        self._waiting: SimpleQueue[Callable[[], None]] = SimpleQueue()

    def __bool__(self) -> bool:
        return not self._waiting.empty()

    def add(self, say: Callable[[], None]) -> None:
        self._waiting.put(say)

    def say(self) -> None:
        """What can't be said is one line too: the prompt is what matters."""
        while not self._waiting.empty():
            say = self._waiting.get()
            try:
                say()
            except BrokenPipeError:
                raise  # nobody looks any more
            except Exception as error:
                log.exception("not said")
                print(printable(f"Something went wrong: {error} (the log tells more)"), file=sys.stderr)


class PlainPrompt:
    """Lines as the terminal gives them. The mark goes to stderr when stdout is not looked at."""

    has_keys = False
    open_row = None  # the terminal itself shows what is typed

    def __init__(self, on_painted: Callable[[], None]) -> None:
        self._on_painted: Callable[[], None] | None = on_painted
        self._sayings = Sayings()

    @property
    def asks(self) -> bool:
        return sys.stdin.isatty()

    def listening(self) -> AbstractContextManager[None]:
        return nullcontext()  # lines wait by themselves

    def read(self, default: str = "") -> str | None:
        if default:
            print(f"(press Enter to send again: {default})", file=sys.stderr)
        try:
            line = self._line(MARK)
        except KeyboardInterrupt:
            return ""
        return line if line is None else line or default

    def offer(self, mark: str, keys: str) -> Pressed | Typed | None:
        try:
            line = self._line(mark)
        except KeyboardInterrupt:
            return None
        if line is None:
            return None
        key = line.strip().lower()
        return Pressed(key) if not key or (len(key) == 1 and key in keys) else Typed(line)

    def choose(self, mark: str, keys: str) -> str | None:
        while True:
            match self.offer(mark, keys):
                case None:
                    return None
                case Pressed(key):
                    return key
                case Typed():
                    pass  # not one of the keys: asked again

    def pick(self, rows: Sequence[str], title: str) -> int | None:
        print(*rows, sep="\n", file=sys.stderr)
        while True:
            match self.offer(f"{title} A number, or Enter for none: ", ""):
                case Typed(text) if text.strip().isdecimal() and 1 <= int(text) <= len(rows):
                    return int(text) - 1
                case Typed():
                    pass  # not one of them: asked again
                case _:
                    return None

    def edit(self, text: str) -> str | None:
        return editing.edit(text, nullcontext())

    def away(self) -> AbstractContextManager[None]:
        return nullcontext()

    def typed_ahead(self) -> bool:
        return has_input(sys.stdin.fileno())

    def status(self, text: str) -> None:
        pass  # a line that is being typed must stay as it is

    def toolbar(self, forms: Sequence["Bar"]) -> None:
        pass  # there is no place for one

    def watch(self, look: Callable[[], "Bar"]) -> None:
        pass  # there is no toolbar

    def above(self, say: Callable[[], None]) -> None:
        self._sayings.add(say)

    def soon(self, act: Callable[[], None]) -> None:
        pass  # it waits for a line and can't do anything else

    def reload_history(self) -> None:
        pass  # there is none

    def fail(self, error: BaseException) -> None:
        pass  # the next message that is sent meets the error

    def _line(self, mark: str) -> str | None:
        """A line without its end; None at the end of all lines."""
        self._sayings.say()
        stream = sys.stdout if sys.stdout.isatty() else sys.stderr
        stream.write(mark)
        stream.flush()
        if self._on_painted:
            self._on_painted()
            self._on_painted = None
        try:
            line = sys.stdin.readline()
        except KeyboardInterrupt:
            print(file=stream)
            raise
        if not line:
            print(file=stream)
        self._sayings.say()
        return line.rstrip("\n") if line else None
