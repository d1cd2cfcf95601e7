"""A sign of life in the last row while nothing of a reply can be shown. It begins at the row's first column, is shorter
than any terminal is wide, and is gone before anything else is written.
"""

import threading
from collections.abc import Callable
from itertools import cycle

_SECONDS = 0.1
_FRAMES, _ASCII_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", "|/-\\"
# What the terminal itself echoes of Ctrl+C.
_ECHO = 2


class LastRow:
    """A word that stands there alone, drawn over the one before it."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._drawn = ""

    def show(self, text: str) -> None:
        if text == self._drawn:
            return
        # Blanks instead of an erase code: right on every terminal.
        self._write("\r" + text + " " * max(0, len(self._drawn) - len(text)))
        self._drawn = text

    def clear(self) -> None:
        if self._drawn:
            self._write("\r" + " " * (len(self._drawn) + _ECHO) + "\r")
        self._drawn = ""


class Spinner:
    """Turns on a thread of its own from `start` to `stop`. A label, while there is one, stands in its place."""

    def __init__(self, row: LastRow, *, ascii: bool = False) -> None:
        self.label = ""
        self._row = row
        self._frames = _ASCII_FRAMES if ascii else _FRAMES
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        if self._thread is None:
            self._stopped.clear()
            self._thread = threading.Thread(target=self._turn, name="spinner", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """From here on the row is the reply's."""
        if self._thread is not None:
            self._stopped.set()
            self._thread.join()
            self._thread = None
            self._row.clear()

    def _turn(self) -> None:
        """The first frame comes late: a reply that is quick needs none."""
        for frame in cycle(self._frames):
            if self._stopped.wait(_SECONDS):
                return
            try:
                self._row.show(self.label or frame)
            except (OSError, ValueError):
                return  # nobody looks any more; who writes the reply will find out
