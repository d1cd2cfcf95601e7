"""Words into lines, as they come. A word is given on once it is whole; so is every character of a language without
blanks. Pure: what becomes of the lines is the sink's matter.
"""

from collections.abc import Callable, Iterable
from typing import Protocol

from wcwidth import iter_graphemes, wcwidth, width

from shammah.ui.reply.spans import Run
from shammah.ui.themes import Style

# A line neither begins with a closing mark nor ends with an opening one.
_NO_START = frozenset("。，、．！？：；」』）】〉》〕…ー々,.!?:;)]}%'\"’”")
_NO_END = frozenset("「『（【〈《〔([{‘“")
# Words so short need not be measured before they end.
_SHORT = 15


class Sink(Protocol):
    def write(self, text: str, style: Style) -> None: ...

    def wrap(self) -> None:
        """The line is full: go on in the next one."""
        ...

    def end_line(self) -> None: ...


class Words:
    """`room` is how many cells a line has, asked anew for each word."""

    def __init__(self, sink: Sink, room: Callable[[], int]) -> None:
        self._sink = sink
        self._room = room
        self._word: list[Run] = []
        self._letters = 0
        self._last = ""  # the last of its graphemes
        self._broken = False  # whether its beginning is written already
        self._gap: list[Style] = []
        self._filled = 0  # cells of the line that are written
        self._breaks = 0  # line ends that come before the next word

    def put(self, text: str, style: Style) -> None:
        for character in text:
            if character == "\n":
                self.end_word()
                self._gap.clear()
                self._breaks += 1
            elif character in " \t":
                self.end_word()
                self._gap.append(style)
            else:
                self._add(character, style)

    def end(self) -> None:
        """The text ends here; line ends behind its last word are none."""
        self.end_word()
        self._gap.clear()
        self._filled = self._breaks = 0

    def end_word(self) -> None:
        if not self._word:
            return
        self._begin_line()
        text = "".join(part for part, _ in self._word)
        cells, room = cells_of(text), self._room()
        if self._filled and self._filled + len(self._gap) + cells > room and not self._broken:
            self._wrap()
        for style in self._gap if self._filled else ():
            self._write(" ", style)
        if self._filled + cells <= room or "://" in text:  # an address is left whole for the terminal to wrap
            for part, style in self._word:
                self._write(part, style)
        else:
            self._write_broken(self._word, room)
        self._word, self._letters, self._last, self._broken = [], 0, "", False
        self._gap.clear()

    def _begin_line(self) -> None:
        if self._breaks and self._filled:
            for _ in range(min(self._breaks, 2)):
                self._sink.end_line()
            self._filled = 0
        self._breaks = 0

    def _add(self, character: str, style: Style) -> None:
        if character.isascii() and self._last.isascii():
            self._last = character
        else:
            self._join(character)
        if self._word and self._word[-1][1] == style:
            self._word[-1] = (self._word[-1][0] + character, style)
        else:
            self._word.append((character, style))
        self._letters += 1
        if self._letters > _SHORT and self._letters > self._room():
            self._spill()

    def _join(self, character: str) -> None:
        """A character that may belong to the one before it, or may begin a line."""
        last = self._last
        if last and len(list(iter_graphemes(last + character))) == 1:
            self._last += character
            return
        between = bool(last) and (wcwidth(character) == 2 or cells_of(last) == 2)
        if between and character not in _NO_START and last not in _NO_END:
            self.end_word()
        self._last = character

    def _spill(self) -> None:
        """A word that is longer than a line: what fills this line need not wait for its end."""
        text = "".join(part for part, _ in self._word)
        room = self._room()
        if "://" in text or cells_of(text) <= room:
            return
        self._begin_line()
        if self._filled and not self._broken:
            self._wrap()
        self._gap.clear()
        self._broken = True
        kept = len(self._last)
        part, style = self._word[-1]
        whole = [*self._word[:-1], (part[: len(part) - kept], style)] if len(part) >= kept else self._word[:-1]
        self._write_broken(whole, room)
        self._word, self._letters = [(self._last, style)], kept

    def _write_broken(self, runs: Iterable[Run], room: int) -> None:
        for part, style in runs:
            for grapheme in iter_graphemes(part):
                if self._filled and self._filled + cells_of(grapheme) > room:
                    self._wrap()
                self._write(grapheme, style)

    def _wrap(self) -> None:
        self._sink.wrap()
        self._filled = 0
        self._gap.clear()

    def _write(self, text: str, style: Style) -> None:
        self._sink.write(text, style)
        self._filled += cells_of(text)


class Lines:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.lines: list[list[Run]] = [[]]

    def write(self, text: str, style: Style) -> None:
        self.lines[-1].append((text, style))

    def wrap(self) -> None:
        self.lines.append([])

    def end_line(self) -> None:
        self.lines.append([])


def wrapped(runs: Iterable[Run], room: int) -> list[list[Run]]:
    """A whole text in lines of so many cells."""
    sink = Lines()
    words = Words(sink, lambda: room)
    for text, style in runs:
        words.put(text, style)
    words.end()
    return sink.lines


def cells_of(text: str) -> int:
    return len(text) if text.isascii() else width(text)
