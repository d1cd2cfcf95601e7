"""What a reply writes: text, line ends and colours, each once. Nothing that stands on the screen is touched again."""

from collections.abc import Callable, Sequence

from shammah.ui.reply.spans import Run
from shammah.ui.reply.wrapping import Words, cells_of
from shammah.ui.themes import RESET, Style, Theme

# A margin never leaves less room than that.
_LEAST = 12


class Page:
    """`width` is asked anew for each word, so that a window may change its size. `margin` gives what stands before the
    next line. What is written waits until it is taken."""

    def __init__(self, theme: Theme, width: Callable[[], int]) -> None:
        self.theme = theme
        self.margin: Callable[[], Sequence[Run]] = tuple
        self.lines = 0  # that were ended so far
        self.cells = 0  # of text on the last of them, or on this one
        self._width = width
        self._left = 0  # cells of this line's margin
        self._pad = 0  # blanks that are written once something follows them
        self._begun = False  # whether something stands on this line
        self._code = ""  # the colours that are on
        self._written: list[str] = []
        self._words = Words(self, self.room)

    def room(self) -> int:
        """Cells for text on this line. The last column stays free: some terminals break a line that fills it."""
        self._begin()
        return max(self._width() - 1 - self._left, min(_LEAST, self._width() - 1))

    def put(self, text: str, style: Style = ()) -> None:
        """Text that is wrapped."""
        self._words.put(text, style)

    def end_text(self) -> None:
        """The text ends, and the line with it."""
        self._words.end()
        self.finish_line()

    def line(self, runs: Sequence[Run]) -> None:
        """A line that is not wrapped."""
        self._begin()
        for text, style in runs:
            self._ink(text, style)
        self.end_line()

    def blank(self, margin: Sequence[Run]) -> None:
        self._set_margin(margin)
        self._end()

    def finish_line(self) -> None:
        if self._begun:
            self.end_line()

    def take(self) -> str:
        text = "".join(self._written)
        self._written.clear()
        return text

    def write(self, text: str, style: Style) -> None:
        self._begin()
        self.cells += cells_of(text)
        self._ink(text, style)

    def wrap(self) -> None:
        self.end_line()

    def end_line(self) -> None:
        self._begin()
        self._end()

    def _begin(self) -> None:
        if self._begun:
            return
        self._begun, self.cells = True, 0
        self._set_margin(self.margin())

    def _set_margin(self, margin: Sequence[Run]) -> None:
        self._left = 0
        for text, style in margin:
            self._left += cells_of(text)
            self._ink(text.rstrip(" "), style)
            self._pad += len(text) - len(text.rstrip(" "))

    def _end(self) -> None:
        self._switch("")
        self._written.append("\n")
        self._begun, self._pad = False, 0
        self.lines += 1

    def _ink(self, text: str, style: Style) -> None:
        if not text:
            return
        if self._pad:
            self._switch("")
            self._written.append(" " * self._pad)
            self._pad = 0
        self._switch(self.theme.sgr(style))
        self._written.append(text)

    def _switch(self, code: str) -> None:
        if code == self._code:
            return
        if self._code:
            self._written.append(RESET)
        self._written.append(code)
        self._code = code
