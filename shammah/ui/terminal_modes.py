"""How the terminal is set while the chat listens, and that it is left as it was."""

import os
import select
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class UnseenTyping:
    """Keys pressed between two prompts are not echoed into the reply: the next prompt reads them as typed. Ctrl+Z gives
    the terminal back as it was, and fg takes it as it was left."""

    def __init__(self, terminal: int) -> None:
        self._terminal = terminal
        self._before: list[Any] | None = None

    def __enter__(self) -> None:
        if os.name == "nt":
            return
        import termios

        self._before = termios.tcgetattr(self._terminal)
        unseen = termios.tcgetattr(self._terminal)
        unseen[0] &= ~termios.ICRNL  # Enter stays Enter; as a line feed it would break the line instead of sending it
        unseen[3] &= ~(termios.ECHO | termios.ICANON)
        unseen[3] |= termios.NOFLSH  # Ctrl+C must not take the end of a paste with it, for which the prompt would wait
        termios.tcsetattr(self._terminal, termios.TCSANOW, unseen)
        self._on_stop(self._stop)

    def __exit__(self, *failure: object) -> None:
        if self._before is None:
            return
        import termios

        self._on_stop(signal.SIG_DFL)
        mark_pastes(False)
        termios.tcsetattr(self._terminal, termios.TCSANOW, self._before)
        self._before = None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """For another program that takes the terminal over."""
        if self._before is None:
            yield
            return
        self.__exit__()
        try:
            yield
        finally:
            self.__enter__()
            mark_pastes(True)

    def _on_stop(self, act: Any) -> None:
        # Only the main thread may set handlers.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTSTP, act)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        import termios

        left = termios.tcgetattr(self._terminal)  # a prompt that is open has modes of its own
        with self.paused():
            os.kill(os.getpid(), signal.SIGTSTP)
        termios.tcsetattr(self._terminal, termios.TCSANOW, left)


def mark_pastes(wanted: bool) -> None:
    """Have the terminal say where a paste begins and ends, so that one made between two prompts stays one message."""
    code = "\x1b[?2004h" if wanted else "\x1b[?2004l"
    try:
        sys.stdout.write(code)
        sys.stdout.flush()
    except RuntimeError:  # a signal came in the middle of a write: what handles it can't wait for that
        os.write(sys.stdout.fileno(), code.encode())


def drop_input(terminal: int) -> None:
    """Whatever was typed that nobody has read is not for who reads next."""
    if os.name == "nt":
        return
    import termios

    termios.tcflush(terminal, termios.TCIFLUSH)


def has_input(terminal: int) -> bool:
    """Whether something was typed already that nobody has read."""
    try:
        return bool(select.select([terminal], [], [], 0)[0])
    except (OSError, ValueError):
        return False  # not something that can be asked, as on Windows
