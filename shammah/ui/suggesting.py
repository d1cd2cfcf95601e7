"""The grey text behind the cursor: how a line that was begun went on the last time."""

from collections.abc import Callable

from prompt_toolkit.auto_suggest import AutoSuggest, Suggestion
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.document import Document

from shammah.ui.history import Lines


class FromLines(AutoSuggest):
    def __init__(self, lines: Lines, wanted: Callable[[], bool]) -> None:
        """`wanted` is asked for each letter."""
        self._lines = lines
        self._wanted = wanted

    def get_suggestion(self, buffer: Buffer, document: Document) -> Suggestion | None:
        begun = document.text
        if "\n" in begun or not begun.strip() or not self._wanted():
            return None
        return Suggestion(self._lines.going_on(begun))
