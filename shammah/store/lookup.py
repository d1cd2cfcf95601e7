"""Finding the one row that a user means by an id or by its beginning."""

import sqlite3

from shammah.errors import StoreError
from shammah.store.database import Database
from shammah.store.rows import storable

# Above every character that an id can hold: the ids that start with P are those from P to P + END.
END = "\x7f"


def one_row(database: Database, select: str, id_or_prefix: str, *, kind: str, hint: str) -> sqlite3.Row:
    """The row of this id, or the only one whose id starts so. `hint` says where to see what there is."""
    wanted = storable(id_or_prefix.strip())
    if not wanted:
        raise no_such(kind, id_or_prefix, hint)
    rows = database.rows(f"{select} WHERE id >= ? AND id < ? ORDER BY id LIMIT 2", (wanted, wanted + END))
    if not rows:
        raise no_such(kind, id_or_prefix, hint)
    # A whole id comes first among those that start with it.
    if len(rows) == 1 or rows[0]["id"] == wanted:
        return rows[0]
    raise StoreError(
        f"More than one {kind} has an id that starts with {wanted!r}",
        hint=f"Type more of it, as in {rows[0]['id']} or {rows[1]['id']}.",
    )


def no_such(kind: str, id: str, hint: str) -> StoreError:
    return StoreError(f"There is no {kind} {id!r}", hint=hint)


def at_most(limit: int | None) -> int:
    """A limit as SQL takes it; None for no limit."""
    return -1 if limit is None else max(0, limit)
