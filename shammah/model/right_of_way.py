"""The chat goes first: while a reply is produced, training waits, inside its step, before the next layer.

Two pools of threads on the same cores are slower than one after the other, and a chat that stutters whenever it learns
is a chat that nobody lets learn. That holds for another process too, which may train for the same home or chat in it.
"""

import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Condition

from filelock import FileLock, Timeout

from shammah.durable import make_folder
from shammah.errors import DiskFull, HomeError

# Whether to give up is asked this often while waiting.
_ASK_SECONDS = 0.1
# Other processes are looked for this often while training moves, and while it waits for them.
_LOOK_SECONDS, _LOOK_AGAIN_SECONDS = 0.005, 0.02
# Who looks at a flag holds its lock for some microseconds; a process that was stopped just then is not waited for.
_RAISE_SECONDS, _RETRY_SECONDS = 0.05, 0.0005


class RightOfWay:
    def __init__(self, folder: Path | None = None) -> None:
        """Among the threads of this process; with a folder, among all processes that are given the same one."""
        self._changed = Condition()
        self._holders: set[object] = set()
        self._flags = Flags(folder) if folder else None

    @property
    def held(self) -> bool:
        """Whether a thread of this process holds it."""
        return bool(self._holders)

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Go first for as long as this lasts. Any number of threads and processes may hold it at once."""
        holder = object()
        try:
            with self._changed:
                self._holders.add(holder)
                if self._flags and len(self._holders) == 1:
                    self._flags.raise_own()
            yield
        finally:
            # Ctrl+C may have come at any place above.
            with self._changed:
                self._holders.discard(holder)
                if self._flags and not self._holders:
                    self._flags.lower_own()
                self._changed.notify_all()

    def give_way(self, check: Callable[[], None] = lambda: None, rest: Callable[[], None] = lambda: None) -> float:
        """Wait until nobody holds it; the seconds that it took. `check` raises where there is nothing to wait for any
        more; `rest` is done once before a wait."""
        if not self._held_anywhere():
            return 0.0
        started = time.monotonic()
        rest()
        while self._held_anywhere():
            check()
            with self._changed:
                self._changed.wait(_ASK_SECONDS if self._holders else _LOOK_AGAIN_SECONDS)
        return time.monotonic() - started

    def _held_anywhere(self) -> bool:
        # Asked at every layer: a lock is not worth it.
        return bool(self._holders) or (self._flags is not None and self._flags.others())


class Flags:
    """What other processes are told by: a file for each that goes first, locked by it. The system opens the lock of a
    process that dies, whatever it dies of.

    Where the folder can't be written, there is nobody to tell.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._own = folder / f"{os.getpid()}-{secrets.token_hex(4)}"
        # One reply may begin on one thread and end on another.
        self._lock = FileLock(self._own, mode=0o600, thread_local=False)
        self._look_at, self._found = 0.0, False
        with suppress(HomeError, DiskFull):
            make_folder(folder)

    def raise_own(self) -> None:
        with suppress(OSError):
            if self._folder.is_dir():  # the lock would make it, and the home with it
                self._lock.acquire(timeout=_RAISE_SECONDS, poll_interval=_RETRY_SECONDS)

    def lower_own(self) -> None:
        with suppress(OSError):
            if self._lock.is_locked:
                self._lock.release()
                self._own.unlink(missing_ok=True)

    def others(self) -> bool:
        """Whether another process goes first, as of some milliseconds ago."""
        if time.monotonic() >= self._look_at:
            self._found = any(_is_locked(path) for path in self._all() if path != self._own)
            self._look_at = time.monotonic() + _LOOK_SECONDS
        return self._found

    def _all(self) -> list[Path]:
        try:
            return [self._folder / name for name in os.listdir(self._folder)]
        except OSError:
            return []


def _is_locked(flag: Path) -> bool:
    """Whether somebody holds this flag up. One that nobody holds was left by a process that was killed: it goes."""
    lock = FileLock(flag, mode=0o600)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return True
    except OSError:
        return False
    with suppress(OSError):  # Windows lets nobody remove a file that is open: there it stays
        flag.unlink(missing_ok=True)
    lock.release()
    return False
