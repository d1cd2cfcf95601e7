"""What happened to adapters, and by whom: only added to, each entry chained to the one before it by its hash.

The hash covers the previous one and all else of the entry, so that an entry which was changed, left out or moved shows.
No text of the user's belongs into it, labels and tags neither: what is written here can't be forgotten.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, Literal

from shammah.records import Actor, AuditEntry
from shammah.store.database import Database
from shammah.store.identity import utc_now
from shammah.store.lookup import at_most
from shammah.store.rows import Row, as_columns, audit_entry_of, plain, storable

Action = Literal[
    "trained",
    "judged",
    "activated",
    "deactivated",
    "rolled back",
    "archived",
    "restored",
    "deleted",
    "renamed",
    "pinned",
    "unpinned",
    "tagged",
    "imported",
    "exported",
    "graduated",
    "dropped",
    "failed",
    "cancelled",
    "interrupted",
]
# What the first entry follows.
_BEGINNING = "0" * 64
_CHAINED = ("sequence", "time", "actor", "action", "subject", "details")


class Audit:
    def __init__(self, database: Database, *, now: Callable[[], str] = utc_now) -> None:
        self._database = database
        self._now = now

    def add(self, actor: Actor, action: Action, subject: str, details: Mapping[str, Any] | None = None) -> AuditEntry:
        """The newest entry. Inside a transaction it is stored with the rest of it, or not at all.

        `subject` is the name of an adapter, or of a base model, or the id of a run that made no adapter. A detail that
        is no finite number is None.
        """
        # The write lock is held from here on: no other process can follow the same entry.
        with self._database.transaction() as connection:
            last = connection.execute("SELECT hash FROM audit ORDER BY sequence DESC LIMIT 1").fetchone()
            row = {
                "sequence": self._given() + 1,
                "time": self._now(),
                "actor": actor,
                "action": action,
                "subject": storable(subject),
                "details": plain(details or {}),
            }
            previous = (
                _BEGINNING if last is None else str(last["hash"])
            )  # whoever spoiled it must not stop what follows
            entry = AuditEntry(**row, previous=previous, hash=_hash(previous, row))
            columns = as_columns({**row, "previous": entry.previous, "hash": entry.hash})
            names, marks = ", ".join(columns), ", ".join(f":{name}" for name in columns)
            connection.execute(f"INSERT INTO audit ({names}) VALUES ({marks})", columns)
        return entry

    def entries(self, limit: int | None = 20, *, oldest_first: bool = False) -> list[AuditEntry]:
        """Newest first unless told otherwise; a limit of None gives all."""
        order = "ASC" if oldest_first else "DESC"
        rows = self._database.rows(f"SELECT * FROM audit ORDER BY sequence {order} LIMIT ?", (at_most(limit),))
        return [audit_entry_of(row) for row in rows]

    def count(self) -> int:
        return int(self._database.rows("SELECT count(*) FROM audit")[0][0])

    def highest_version(self) -> int:
        """The highest number of an adapter that an entry tells of, in its details as `version`; 0 where none does."""
        told = "CASE WHEN json_valid(details) THEN json_extract(details, '$.version') END"
        return int(self._database.rows(f"SELECT coalesce(max(CAST({told} AS INTEGER)), 0) FROM audit")[0][0])

    def broken(self) -> int | None:
        """The number of the first entry that is not what was written, or that is missing; None where all holds."""
        given = self._given()  # first: what is added meanwhile is not missing
        rows = self._database.rows("SELECT * FROM audit ORDER BY sequence")
        previous = _BEGINNING
        for number, row in enumerate(rows, 1):
            if row["sequence"] != number or not _holds(row, previous):
                return number
            previous = row["hash"]
        return None if len(rows) >= given else len(rows) + 1

    def _given(self) -> int:
        """The highest number that an entry was given, whatever became of the entry."""
        counted = "SELECT max(sequence) AS number FROM audit UNION SELECT seq FROM sqlite_sequence WHERE name = 'audit'"
        return int(self._database.rows(f"SELECT coalesce(max(number), 0) FROM ({counted})")[0][0])


def _holds(row: Row, previous: str) -> bool:
    try:
        chained = {**{name: row[name] for name in _CHAINED}, "details": json.loads(row["details"])}
        return bool(row["previous"] == previous and row["hash"] == _hash(previous, chained))
    except (TypeError, ValueError):
        return False  # it isn't even of the kind that is written


def _hash(previous: str, row: Mapping[str, Any]) -> str:
    said = json.dumps({name: row[name] for name in _CHAINED}, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256((previous + said).encode()).hexdigest()
