"""The prompt of a chat in which the demo sits in the user's place."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from shammah.ui.prompt import PlainPrompt
from shammah.ui.render import is_plain
from shammah.ui.terminal_modes import UnseenTyping, drop_input


class Guide(PlainPrompt):
    """Gives the chat the lines of the demo, one after the other; without any more the chat is left."""

    def __init__(self, on_painted: Callable[[], None], lines: Iterator[str]) -> None:
        super().__init__(on_painted)
        self._lines = lines

    @property
    def asks(self) -> bool:
        return False  # nobody sits there

    @contextmanager
    def listening(self) -> Iterator[None]:
        """What somebody types meanwhile is neither for this chat nor for the shell after it, and is not shown."""
        if is_plain(sys.stdin) or is_plain(sys.stdout):
            yield
            return
        with UnseenTyping(sys.stdin.fileno()):
            try:
                yield
            finally:
                drop_input(sys.stdin.fileno())

    def read(self, default: str = "") -> str | None:
        self.speak()
        if self._on_painted:
            self._on_painted()
            self._on_painted = None
        return next(self._lines, None)

    def speak(self) -> None:
        """Have said what other threads have to say."""
        self._sayings.say()
