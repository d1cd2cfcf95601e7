"""The database file: a connection for each thread, writes in explicit transactions, every sqlite3 error as one of ours.

    with database.transaction() as connection:      writes, all or none
        connection.execute(...)
    database.rows("SELECT ...", parameters)         reads

WAL lets any number of processes read while one writes; a second writer waits up to `busy_timeout` seconds. A commit
that returned is on the disk (synchronous = FULL), and what was deleted is overwritten (secure_delete).
"""

import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from shammah.durable import touch_private
from shammah.errors import DiskFull, ShammahError, StoreBusy, StoreError, StoreTooNew
from shammah.store.migrations import SCHEMA, Schema, version_of

# How a transaction begins, ends and is undone: one of its own, and one inside another.
_WHOLE = "BEGIN IMMEDIATE", "COMMIT", ("ROLLBACK",)
_PART = "SAVEPOINT part", "RELEASE part", ("ROLLBACK TO part", "RELEASE part")


class Database:
    def __init__(self, path: Path, *, busy_timeout: float = 5.0, schema: Schema = SCHEMA) -> None:
        """Open the file, made first if it is missing, and bring its tables up to date."""
        self.path = path
        self._busy_timeout = busy_timeout
        self._schema = schema
        self._local = threading.local()
        self._connections: dict[threading.Thread, sqlite3.Connection] = {}
        self._lock = threading.Lock()
        self._closed = False
        # Only when missing: to open and close an existing file here would drop the locks that this process holds on it.
        if not os.path.exists(path):  # Path.exists raises where it may not look
            touch_private(path)
        try:
            self._bring_up_to_date()
        except BaseException:
            self._close_connections()
            raise

    @property
    def connection(self) -> sqlite3.Connection:
        """This thread's own connection. Its errors are sqlite3's: prefer `rows` and `transaction`."""
        assert not self._closed, "the database is closed"
        mine: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if mine is None:
            with self._explained():
                mine = self._local.connection = self._connect()
        return mine

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """All that a SELECT finds."""
        connection = self.connection
        with self._explained():
            return connection.execute(sql, parameters).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All inside is stored when the block ends, or nothing when it raises. The write lock is taken at once.

        Inside another transaction of this thread it joins that one: only the end of the outermost block stores.
        """
        connection = self.connection
        begin, end, undo = _PART if connection.in_transaction else _WHOLE
        with self._explained():
            try:
                connection.execute(begin)
                yield connection
                connection.execute(end)
            except BaseException:
                # SQLite itself has rolled back after some errors; a second failure must not hide the first.
                with suppress(sqlite3.Error):
                    for statement in undo if connection.in_transaction else ():
                        connection.execute(statement)
                raise

    def checkpoint(self) -> bool:
        """Fold the WAL into the file and empty it: it holds copies of what was deleted since.

        False when another program that reads or writes kept a part of it.
        """
        assert not self.connection.in_transaction, "a transaction that is under way keeps its part of the WAL"
        ((busy, _, _),) = self.rows("PRAGMA wal_checkpoint(TRUNCATE)")
        return not busy

    def close(self) -> None:
        """Close the connections of all threads. Call it when no other thread is using them; twice does no harm."""
        if self._closed:
            return
        # Best effort: fold the WAL into the file and empty it even if another process goes on, without waiting for it.
        with suppress(sqlite3.Error, ShammahError):
            self.connection.execute("PRAGMA busy_timeout = 0")
            self.checkpoint()
        self._close_connections()

    def _close_connections(self) -> None:
        self._closed = True
        with self._lock:
            for connection in self._connections.values():
                connection.close()
            self._connections.clear()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path,
            timeout=self._busy_timeout,
            isolation_level=None,
            # Each thread uses only its own; `close` and the sweep below end those of others.
            check_same_thread=False,
        )
        connection.row_factory = sqlite3.Row
        with self._lock:
            for thread in [thread for thread in self._connections if not thread.is_alive()]:
                self._connections.pop(thread).close()
            self._connections[threading.current_thread()] = connection
        for setting in ("synchronous = FULL", "foreign_keys = ON", "secure_delete = ON"):
            connection.execute(f"PRAGMA {setting}").fetchall()
        return connection

    def _bring_up_to_date(self) -> None:
        """One read when the tables are current. A newer file is left as it is, its journal mode included."""
        connection = self.connection
        while (version := self._version(connection)) != self._schema.latest:
            if version > self._schema.latest:
                raise StoreTooNew(
                    f"{self.path} was written by a newer Shammah: "
                    f"its database version is {version}, this one knows {self._schema.latest}",
                    hint="Upgrade with `pip install --upgrade shammah`.",
                )
            self._use_wal(connection)
            with self.transaction():
                self._schema.advance(connection)

    def _version(self, connection: sqlite3.Connection) -> int:
        with self._explained():
            return version_of(connection)

    def _use_wal(self, connection: sqlite3.Connection) -> None:
        # SQLite does not wait its own busy timeout for this change, so several processes on a fresh file would fail.
        deadline = time.monotonic() + self._busy_timeout
        with self._explained():
            while True:
                try:
                    connection.execute("PRAGMA journal_mode = WAL").fetchall()
                    return
                except sqlite3.OperationalError as error:
                    if _code(error) != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                        raise
                time.sleep(0.01)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise _explanation(error, self.path) from error


def _code(error: sqlite3.Error) -> int:
    """SQLite's primary result code; the high bits only say more. 0 when Python raised it by itself."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _explanation(error: sqlite3.Error, path: Path) -> ShammahError:
    code = _code(error)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreBusy(
            f"Another program holds the database {path}", hint="Try again when it is done, or close that program."
        )
    if code == sqlite3.SQLITE_FULL or getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_IOERR_SHMSIZE:
        return DiskFull(f"No room left to write {path}", hint="Free some space and try again.")
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return StoreError(
            f"Cannot use the database {path}: {error}", hint="Set SHAMMAH_HOME to a folder you can write."
        )
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StoreError(
            f"The database {path} is damaged: {error}",
            hint="Nothing was deleted. Move it elsewhere, its -wal file too: the next start makes a new one.",
        )
    if code == sqlite3.SQLITE_IOERR:
        return StoreError(f"Cannot read or write the database {path}: {error}", hint="Check its disk, space and quota.")
    return StoreError(f"The database {path} refused: {error}", hint="See what is wrong with `shammah doctor`.")
