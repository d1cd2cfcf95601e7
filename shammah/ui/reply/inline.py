"""The text of a paragraph as it comes: given on at once, but for what may be the beginning of a span."""

from collections.abc import Callable, Collection

from shammah.ui.reply.spans import LIMIT, SPECIAL, Waiting, read_span
from shammah.ui.themes import Style


class Inline:
    """One paragraph. What it gives depends on the characters alone, not on the pieces in which they come."""

    def __init__(self, put: Callable[[str, Style], None], *, marked: Collection[str] = (), style: Style = ()) -> None:
        self._put = put
        self._marked = marked
        self._style = style
        self._held = ""
        self._awaited = ""
        self._before = "\n"

    def feed(self, character: str) -> None:
        if not self._held and character not in SPECIAL:
            self._put(character, self._style)
            self._before = character
            return
        self._held += character
        if not self._awaited or character in self._awaited or len(self._held) >= LIMIT:
            self._settle(final=False)

    def end(self) -> None:
        self._settle(final=True)

    def _settle(self, *, final: bool) -> None:
        text, at = self._held, 0
        self._awaited = ""
        while at < len(text):
            if text[at] not in SPECIAL:
                self._put(text[at], self._style)
                self._before = text[at]
                at += 1
                continue
            full = final or len(text) - at >= LIMIT
            found = read_span(text, at, self._before, final=full, style=self._style, marked=self._marked)
            if isinstance(found, Waiting):
                self._awaited = found.awaited
                break
            for run in found.runs:
                self._put(*run)
            self._before, at = text[found.end - 1], found.end
        self._held = text[at:]
