"""What is typed while a reply is written: it stands in a row below the reply, and the next prompt reads it."""

import os
import re
import select
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

from prompt_toolkit.data_structures import Size
from prompt_toolkit.input import Input
from prompt_toolkit.input.typeahead import get_typeahead, store_typeahead
from prompt_toolkit.key_binding import KeyPress
from prompt_toolkit.keys import Keys

from shammah.ui.prompt import MARK
from shammah.ui.render import printable
from shammah.ui.reply.view import Stream
from shammah.ui.toolbar import width

# Make sure that there is a row below, note where the cursor is, go to that row's beginning; it must not break.
_TO_ROW = "\x1bD\x1b[A\x1b7\x1b[B\r\x1b[?7l"
_BACK = "\x1b[K\x1b[?7h\x1b8"
_ERASE_BELOW = "\x1b[J"
# A key may be sent in several parts; one that is Esc alone has no more of them.
_PARTS_SECONDS = 0.05
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_LAST_WORD = re.compile(r"\S*\s*$")
_LINE_ENDS_AND_TABS = re.compile(r"\r\n|[\r\n\t]")
_DELETING: dict[str, Callable[[str], str]] = {
    Keys.ControlH: lambda line: line[:-1],
    Keys.ControlW: lambda line: _LAST_WORD.sub("", line, count=1),
    Keys.ControlU: lambda line: "",
}


class RowBelow:
    """Passes on what is written, and keeps a row below that. While the row is empty nothing else is written."""

    def __init__(self, out: Stream, paint: Callable[[str], str], size: Callable[[], Size]) -> None:
        self._out = out
        self._paint = paint
        self._size = size
        self._lock = threading.Lock()  # one thread writes a reply, another what is typed
        self._text = ""
        self._stands = False
        self._hidden = False
        self._cells = 0  # of the line that is being written

    def write(self, text: str) -> int:
        with self._lock:
            line = text[max(text.rfind("\n"), text.rfind("\r")) + 1 :]
            self._cells = width(_COLOURS.sub("", line)) + (self._cells if len(line) == len(text) else 0)
            if self._stands and ("\n" in text or self._cells >= self._size().columns):
                self._erase()  # the text is about to take that row
            self._out.write(text)
            self._hidden = False
            self._draw()
        return len(text)

    def flush(self) -> None:
        self._out.flush()

    def show(self, typed: str) -> None:
        """The end of it, where there is room for a row."""
        size = self._size()
        room = size.columns - len(MARK) - 1
        text = MARK + _end_of(typed, room) if typed and room > 0 and size.rows > 1 else ""
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
            self._hidden = True
            self._out.flush()

    def _draw(self) -> None:
        if not self._text or self._stands or self._hidden:
            return
        # The cursor waits behind a row that is just full, and no terminal is asked to come back to there.
        if not self._cells or self._cells % self._size().columns:
            self._out.write(_TO_ROW + self._paint(self._text) + _BACK)
            self._stands = True

    def _erase(self) -> None:
        if self._stands:
            self._out.write(_ERASE_BELOW)
            self._stands = False


@contextmanager
def typed_below(keys: Input, row: RowBelow, enter: str) -> Iterator[RowBelow]:
    """Within this block the row shows what is typed. `enter` stands where a line is sent."""
    reader = _Reader(keys, lambda typed: row.show(typed_words(typed, enter)))
    try:
        reader.start()
        yield row
    finally:
        try:
            reader.stop()
        finally:
            row.hide()
            store_typeahead(keys, reader.typed)


class _Reader:
    """Reads keys on a thread of its own."""

    def __init__(self, keys: Input, show: Callable[[list[KeyPress]], None]) -> None:
        self.typed = get_typeahead(keys)  # what came right behind the line that was sent
        self._keys = keys
        self._show = show
        self._unfinished = False  # whether more of a key may follow
        self._told, self._tell = os.pipe()
        self._thread = threading.Thread(target=self._run, name="typing", daemon=True)

    def start(self) -> None:
        self._show(self.typed)
        self._thread.start()

    def stop(self) -> None:
        """What nobody has read yet is the prompt's to read, but not the rest of a key."""
        os.close(self._tell)
        self._thread.join()
        os.close(self._told)
        with suppress(OSError, ValueError):
            while self._unfinished and not self._keys.closed:
                self._read(select.select([self._keys.fileno()], [], [], _PARTS_SECONDS)[0])

    def _run(self) -> None:
        """Until `stop`. What fails here is for the next prompt to meet."""
        with suppress(OSError, ValueError):
            while not self._keys.closed:
                watched = [self._keys.fileno(), self._told]
                ready, _, _ = select.select(watched, [], [], _PARTS_SECONDS if self._unfinished else None)
                if self._told in ready:
                    return
                self._read(ready)
                self._show(self.typed)

    def _read(self, ready: list[int]) -> None:
        self._unfinished = bool(ready)
        # Esc alone is left out: read again with the letter behind it, it would be Alt with that letter.
        self.typed += self._keys.read_keys() if ready else _without_esc(self._keys.flush_keys())


def _without_esc(presses: list[KeyPress]) -> list[KeyPress]:
    return [press for press in presses if press.key != Keys.Escape]


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
            line += _LINE_ENDS_AND_TABS.sub(" ", press.data)
    return printable(sent + line)
