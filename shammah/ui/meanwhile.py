"""What is typed while a reply is written: it stands in a row below the reply, and the next prompt reads it."""

import os
import re
import select
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from prompt_toolkit.input import Input
from prompt_toolkit.input.typeahead import get_typeahead, store_typeahead
from prompt_toolkit.key_binding import KeyPress
from prompt_toolkit.keys import Keys

from shammah.ui.prompt import MARK
from shammah.ui.render import printable
from shammah.ui.reply.view import Stream
from shammah.ui.toolbar import width

# Make sure that there is a row below, note where the cursor is, go to that row's beginning.
_TO_ROW = "\x1bD\x1b[A\x1b7\x1b[B\r"
_BACK = "\x1b[K\x1b8"
_ERASE_BELOW = "\x1b[J"
_LAST_WORD = re.compile(r"\S*\s*$")
_DELETING: dict[str, Callable[[str], str]] = {
    Keys.ControlH: lambda line: line[:-1],
    Keys.ControlW: lambda line: _LAST_WORD.sub("", line, count=1),
    Keys.ControlU: lambda line: "",
}


class RowBelow:
    """Passes on what is written, and keeps a row below that. While the row is empty nothing else is written."""

    def __init__(self, out: Stream, paint: Callable[[str], str]) -> None:
        self._out = out
        self._paint = paint
        self._lock = threading.Lock()  # one thread writes a reply, another what is typed
        self._text = ""
        self._stands = False

    def write(self, text: str) -> int:
        with self._lock:
            if "\n" in text:
                self._erase()  # the text is about to take that row
            self._out.write(text)
            self._draw()
        return len(text)

    def flush(self) -> None:
        self._out.flush()

    def show(self, text: str) -> None:
        with self._lock:
            if text == self._text:
                return
            self._text, stood, self._stands = text, self._stands, False
            if text:
                self._draw()
            elif stood:
                self._out.write(_ERASE_BELOW)
            self._out.flush()

    def hide(self) -> None:
        """Until something is written once more, because somebody else writes now."""
        with self._lock:
            self._erase()
            self._out.flush()

    def _draw(self) -> None:
        if self._text and not self._stands:
            self._out.write(_TO_ROW + self._paint(self._text) + _BACK)
            self._stands = True

    def _erase(self) -> None:
        if self._stands:
            self._out.write(_ERASE_BELOW)
            self._stands = False


@contextmanager
def typed_below(
    keys: Input, out: Stream, paint: Callable[[str], str], columns: Callable[[], int], enter: str
) -> Iterator[RowBelow]:
    """Within this block what is written goes through the row, which shows what is typed. `enter` stands where a line
    is sent."""
    row = RowBelow(out, paint)
    typed = get_typeahead(keys)  # what came right behind the line that was sent

    def show() -> None:
        words = typed_words(typed, enter)
        row.show(MARK + _end_of(words, columns() - len(MARK) - 1) if words else "")

    show()
    told, tell = os.pipe()
    reader = threading.Thread(target=_read, args=(keys, told, typed, show), name="typing", daemon=True)
    reader.start()
    try:
        yield row
    finally:
        os.close(tell)
        reader.join()
        os.close(told)
        row.hide()
        store_typeahead(keys, typed + keys.flush_keys())


def _read(keys: Input, told: int, typed: list[KeyPress], show: Callable[[], None]) -> None:
    """Until the other end of `told` is closed. What fails here is for the next prompt to meet."""
    try:
        while not keys.closed:
            ready, _, _ = select.select([keys.fileno(), told], [], [])
            if told in ready:
                return
            typed += keys.read_keys()
            show()
    except (OSError, ValueError):
        return


def _end_of(text: str, cells: int) -> str:
    if text.isascii():
        return text[-cells:]
    from wcwidth import clip

    return clip(text, max(0, width(text) - cells), width(text))


def typed_words(presses: Iterable[KeyPress], enter: str) -> str:
    """What the next prompt will read, as far as it can be told from here. `enter` stands where a line is sent."""
    sent, line, escaped = "", "", False
    for press in presses:
        key, after_escape = press.key, escaped
        escaped = key == Keys.Escape
        if after_escape:
            line += " " if key == Keys.ControlM else ""  # Alt+Enter; all other such keys write nothing
        elif key == Keys.ControlM:
            sent, line = f"{sent}{line} {enter} ", ""
        elif key in _DELETING:
            line = _DELETING[key](line)
        elif key in (Keys.BracketedPaste, Keys.ControlJ) or len(key) == 1:
            line += press.data
    return " ".join(printable(sent + line).split("\n"))
