"""The file of what was typed in a chat: "# time", then each line of an entry after a plus.

Several chats share it: each entry is added by one write, and whoever writes the file anew holds a lock meanwhile. What
a program that was killed left half written is closed by the next entry, and read as far as it goes.
"""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from io import BytesIO
from pathlib import Path

from shammah.durable import explained, write_file

# It is held for milliseconds, but a program that was stopped just then must not stop others that long.
_WAIT_SECONDS = 5.0
_MOST_BYTES = 8_000_000

log = logging.getLogger(__name__)


def read_entries(file: Path) -> list[str]:
    """What was typed, oldest first."""
    return [typed for _, typed, whole in _parts(_content(file)) if whole]


def entries(history: bytes) -> Iterator[tuple[bytes, str]]:
    """The same with the bytes that each entry takes in the file; what is no entry is told too."""
    return ((raw, typed) for raw, typed, _ in _parts(history))


def append_entry(file: Path, text: str) -> None:
    """Add what was typed. It is on its way to the disk when this returns, whatever becomes of this program."""
    entry = "".join([f"\n# {datetime.now()}\n", *(f"+{line}\n" for line in text.split("\n"))])
    data = entry.encode("utf-8", "replace")
    # One write by the system, never a part of it from a buffer: it goes to the end, wherever that is by now.
    with explained(file), _alone_with(file), open(file, "ab", buffering=0, opener=_privately) as history:
        while data:
            data = data[history.write(data) :]


def trim(file: Path, most: int) -> None:
    """Keep the newest entries, so many at most. Where another chat writes just now it is left for the next time."""
    with _alone_with(file, wait=0) as alone:
        if not alone:
            return
        kept, size = list[bytes](), 0
        for raw, _, whole in reversed(list(_parts(_content(file)))):
            if not whole or len(raw) > _MOST_BYTES:
                continue  # one that is too long by itself must not cost all before it
            size += len(raw)
            if len(kept) == most or size > _MOST_BYTES:
                break
            kept.append(raw)
        write_file(file, b"".join(reversed(kept)))


def is_too_long(file: Path, count: int, most: int) -> bool:
    """Whether a file of so many entries is to be trimmed: not for each single one that is too many."""
    return count > most + most // 10 or (file.exists() and file.stat().st_size > 1.1 * _MOST_BYTES)


def rewrite(file: Path, change: Callable[[bytes], bytes | None]) -> None:
    """Write the file anew as `change` makes it, or leave it where that gives None."""
    with _alone_with(file):
        changed = change(_content(file))
        if changed is not None:
            write_file(file, changed)


def _parts(history: bytes) -> Iterator[tuple[bytes, str, bool]]:
    """The bytes of each entry with its text, and whether it is one."""
    raw: list[bytes] = []
    for line in [*BytesIO(history), b""]:
        if raw and raw[-1].startswith(b"+") and not line.startswith(b"+"):
            # The last line may have been cut off before its end.
            typed = b"\n".join(part[1:].removesuffix(b"\n") for part in raw if part.startswith(b"+"))
            yield b"".join(raw), typed.decode(errors="replace"), True
            raw = []
        raw.append(line)
    yield b"".join(raw), b"".join(raw).decode(errors="replace"), False


def _content(file: Path) -> bytes:
    with explained(file):
        return file.read_bytes() if file.is_file() else b""


def _privately(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


@contextmanager
def _alone_with(file: Path, *, wait: float | None = None) -> Iterator[bool]:
    """Whether nobody else writes to it meanwhile. A line is never lost for that: who can't have the lock writes all
    the same."""
    from filelock import FileLock, Timeout  # nothing that is needed before the first prompt stands

    # Beside it, since the file itself is replaced.
    lock = FileLock(file.with_name(f".{file.name}.lock"), mode=0o600)
    try:
        os.stat(file.parent)  # the lock would make the folder, for all to read
        lock.acquire(timeout=_WAIT_SECONDS if wait is None else wait, poll_interval=0.005)
    except (Timeout, OSError):
        log.info("%s is not locked", file, exc_info=True)
        yield False
        return
    try:
        yield True
    finally:
        lock.release()
