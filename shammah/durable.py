"""Writing that a crash cannot spoil: a temporary file beside the target, fsync, one rename.

Files are 0600, folders 0700.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shammah.errors import DiskFull, HomeError, UsageError

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def expand(name: str) -> Path:
    """The path that a user wrote, with ~ and ~name for the home folders that are meant."""
    try:
        return Path(name).expanduser()
    except RuntimeError:
        raise UsageError(f"{name}: there is no such home folder", hint="Write the path in full.") from None


def make_folder(path: Path) -> None:
    """A folder only its owner can enter. Parents that had to be made too get the same mode."""
    with explained(path):
        for missing in reversed([p for p in (path, *path.parents) if not p.exists()]):
            missing.mkdir(mode=0o700, exist_ok=True)
        if not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "not a folder", str(path))


def touch_private(path: Path) -> None:
    """Make the file empty and 0600 unless it is there: whoever opens it next inherits that mode.

    A file that is there is not opened: closing any handle of it would drop the locks that SQLite holds on it.
    """
    with explained(path):
        path = path.resolve()  # SQLite would make the target of a dangling link, readable by all
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            pass


def write_file(path: Path, data: bytes) -> None:
    """Replace the file whole or not at all. A link stays, what it leads to is replaced."""
    import tempfile  # with its compressors: more than a start without writing should pay

    with explained(path):
        path = path.resolve()
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def remove_file(path: Path) -> None:
    """Remove a file, and what a program that was killed left of it while it wrote it anew."""
    with explained(path):
        for each in (path, *path.parent.glob(f".{path.name}.*")):
            each.unlink(missing_ok=True)


def sync_folder(path: Path) -> None:
    """Make a rename in this folder survive a power cut. Windows has no such call and does not need it."""
    if os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_out_of_room(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in _NO_ROOM


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn the system's refusal into ours, which says what to do."""
    try:
        yield
    except OSError as error:
        if is_out_of_room(error):
            raise DiskFull(f"No room left to write {path}", hint="Free some space and try again.") from error
        reason = error.strerror or type(error).__name__
        raise HomeError(
            f"Cannot use {path}: {reason.lower()}",
            hint="Set SHAMMAH_HOME to a folder you can write.",
        ) from error
