"""The lines that were typed, for Up, Ctrl+R and suggestions: without secrets, and without what is not to be kept at
all."""

import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from prompt_toolkit.history import History

from shammah import typed_lines
from shammah.errors import ShammahError

_MARK = "[redacted "
MOST = 10_000

log = logging.getLogger(__name__)


class Lines(History):
    """In a file, or only in memory where there is none, as where the file can't be used."""

    def __init__(self, file: Path | None, *, keeps: Callable[[str], bool], redacts: bool, most: int = MOST) -> None:
        super().__init__()
        self._file = file
        self._keeps = keeps
        self._redacts = redacts
        self._most = most
        self._private: set[str] = set()  # lines of this chat that hold a secret

    def load_history_strings(self) -> Iterable[str]:
        """Newest first."""
        if self._file is None:
            return []
        try:
            found = typed_lines.read_entries(self._file)
            if typed_lines.is_too_long(self._file, len(found), self._most):
                typed_lines.trim(self._file, self._most)
        except ShammahError:
            log.info("no earlier lines", exc_info=True)
            return []
        return found[: -self._most - 1 : -1]

    def append_string(self, string: str) -> None:
        if not self._keeps(string):
            return
        stored = self._redacted(string)
        if stored != string:
            self._private.add(string)
        self._loaded_strings.insert(0, string)
        self.store_string(stored)

    def store_string(self, string: str) -> None:
        if self._file is None:
            return
        try:
            typed_lines.append_entry(self._file, string)
        except ShammahError:
            log.info("a line is only kept in this chat", exc_info=True)

    def reload(self) -> None:
        """Know only what is in the file: something was taken out of it."""
        self._loaded, self._loaded_strings = False, []

    def going_on(self, begun: str) -> str:
        """How the newest line goes on that begins so; nothing of one that holds something private."""
        found = (line for line in self._loaded_strings if line.startswith(begun) and self._may_be_shown(line, begun))
        return next(found, begun)[len(begun) :]

    def _may_be_shown(self, line: str, begun: str) -> bool:
        shown = len(line) > len(begun) and "\n" not in line and _MARK not in line and line not in self._private
        return shown and self._keeps(line)

    def _redacted(self, text: str) -> str:
        if not self._redacts:
            return text
        from shammah.feedback.secrets import redact

        return redact(text).text
