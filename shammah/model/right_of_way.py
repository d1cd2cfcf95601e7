"""The chat goes first: while a reply is produced, training waits, inside its step, before the next layer.

Two pools of threads on the same cores are slower than one after the other, and a chat that stutters whenever it learns
is a chat that nobody lets learn.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Condition

# Whether to give up is asked this often while waiting.
_ASK_SECONDS = 0.1


class RightOfWay:
    def __init__(self) -> None:
        self._changed = Condition()
        self._holders = 0

    @property
    def held(self) -> bool:
        return self._holders > 0

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Go first for as long as this lasts. Any number of threads may hold it at once."""
        with self._changed:
            self._holders += 1
        try:
            yield
        finally:
            with self._changed:
                self._holders -= 1
                self._changed.notify_all()

    def give_way(self, check: Callable[[], None] = lambda: None) -> None:
        """Wait until nobody holds it. `check` raises where there is nothing to wait for any more."""
        if not self._holders:  # asked at every layer: a lock is not worth it
            return
        with self._changed:
            while self._holders:
                check()
                self._changed.wait(_ASK_SECONDS)
