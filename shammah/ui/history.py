"""The lines that were typed, for Up and Ctrl+R: without secrets, and without what is not to be kept at all."""

from collections.abc import Callable, Iterable
from pathlib import Path

from prompt_toolkit.history import FileHistory


class Lines(FileHistory):
    """In a file, or only in memory where there is none."""

    def __init__(self, file: Path | None, *, keeps: Callable[[str], bool], redacts: bool) -> None:
        super().__init__(str(file or ""))
        self._file = file
        self._keeps = keeps
        self._redacts = redacts

    def load_history_strings(self) -> Iterable[str]:
        return super().load_history_strings() if self._file else []

    def append_string(self, string: str) -> None:
        if self._keeps(string):
            super().append_string(string)

    def store_string(self, string: str) -> None:
        if not self._file:
            return
        if self._redacts:
            from shammah.feedback.secrets import redact

            string = redact(string).text
        super().store_string(string)

    def reload(self) -> None:
        """Know only what is in the file: something was taken out of it."""
        self._loaded, self._loaded_strings = False, []
