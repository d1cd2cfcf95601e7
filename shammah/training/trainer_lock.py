"""One trainer per home, whichever process or thread it runs in. The system opens the lock when its holder dies."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from shammah.durable import explained, make_folder, write_file
from shammah.errors import TrainingBusy

# Who asks for the holder has the lock for some microseconds. Whoever wants to be the trainer waits so long for it.
_ASKED_SECONDS, _RETRY_SECONDS = 0.2, 0.005


class TrainerLock:
    def __init__(self, path: Path) -> None:
        self._path = path
        # On its own: Windows lets nobody read a file that is locked.
        self._holder = path.with_suffix(".pid")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Be the trainer for as long as this lasts."""
        make_folder(self._path.parent)
        lock = FileLock(self._path, mode=0o600)
        with explained(self._path):
            try:
                lock.acquire(timeout=_ASKED_SECONDS, poll_interval=_RETRY_SECONDS)
            except Timeout:
                raise self._busy() from None
        try:
            write_file(self._holder, str(os.getpid()).encode())
            yield
        finally:
            try:
                self._holder.unlink(missing_ok=True)
            finally:
                lock.release()

    def holder(self) -> int | None:
        """The process that trains in this home, as far as it can be told.

        The lock itself says whether there is one: what a killed process left may be the number of another one by now.
        """
        try:
            pid = int(self._holder.read_text("utf-8"))
            return pid if psutil.pid_exists(pid) and self._is_held() else None
        except (OSError, ValueError, OverflowError):
            return None

    def _is_held(self) -> bool:
        if not self._path.exists():
            return False
        try:
            with FileLock(self._path, mode=0o600).acquire(blocking=False):
                return False
        except Timeout:
            return True

    def _busy(self) -> TrainingBusy:
        pid = self.holder()
        if pid == os.getpid():
            return TrainingBusy(
                f"A run is under way in this process already (pid {pid})",
                hint="See `/train status`; end it with `/train cancel`.",
            )
        who = "Another process" if pid is None else f"Process {pid}"
        return TrainingBusy(
            f"{who} trains in this home already", hint="Wait until it is done, or cancel the run where it was started."
        )
