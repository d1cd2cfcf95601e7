"""The log file: rotating, 0600, in the home's logs folder. Nothing is printed but what -v or --debug asks for."""

import logging
import os
from collections.abc import Callable
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TextIO

_BYTES, _KEPT = 1_000_000, 3
_LINE = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class PrivateRotatingFile(RotatingFileHandler):
    def _open(self) -> TextIO:  # type: ignore[override]  # the base promises any text stream
        return open(self.baseFilename, "a", encoding="utf-8", opener=lambda path, flags: os.open(path, flags, 0o600))

    def close(self) -> None:
        try:
            super().close()
        except OSError:  # the disk is full, and what is still unwritten stays so
            pass


class Brief(logging.Formatter):
    """One line: tracebacks are for the file, and for --debug."""

    def format(self, record: logging.LogRecord) -> str:
        return f"{record.name}: {record.getMessage()}"


class Clean(logging.Formatter):
    """What goes to the file passes through `clean` when it is whole: tracebacks quote what was typed."""

    def __init__(self, clean: Callable[[str], str]) -> None:
        super().__init__(_LINE)
        self._clean = clean

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        try:
            return self._clean(line)
        except Exception:  # noqa: BLE001  # a line that could not be cleaned is still the only trace of what went wrong
            return line


def set_up(file: Path | None, *, verbosity: int, clean: Callable[[str], str] | None = None) -> None:
    """Log to the file, and to stderr from INFO (1) or DEBUG (2) on. Calling it again replaces what was set up."""
    log = logging.getLogger("shammah")
    for handler in list(log.handlers):
        log.removeHandler(handler)
        handler.close()
    log.propagate = False
    log.setLevel(logging.DEBUG if verbosity > 1 else logging.INFO)
    log.addHandler(logging.NullHandler())
    if file is not None:
        on_disk = PrivateRotatingFile(file, maxBytes=_BYTES, backupCount=_KEPT, delay=True)
        on_disk.setFormatter(Clean(clean) if clean else logging.Formatter(_LINE))
        log.addHandler(on_disk)
    if verbosity:
        on_screen = logging.StreamHandler()
        on_screen.setFormatter(Brief() if verbosity == 1 else logging.Formatter("%(name)s: %(message)s"))
        log.addHandler(on_screen)
    # A full disk must not turn every log line into a traceback on the screen.
    logging.raiseExceptions = verbosity > 1
