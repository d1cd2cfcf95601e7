"""What training may learn from: one example for each piece of feedback.

Every change is one transaction. At its end the examples of each prompt that it touched are settled anew: which of them
stand back (`hold`, see settling) and which training would draw (`trainable`) is stored with them, and so is by how many
adapters they were learned.
"""

import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any, Literal

from shammah.errors import ExampleDamaged
from shammah.records import Buffer, Example, Level, Source
from shammah.store.archive import Archive
from shammah.store.database import Database
from shammah.store.identity import days_before, example_hash, prompt_hash, reply_hash, same_reply, utc_now
from shammah.store.lookup import END, at_most, no_such, one_row
from shammah.store.rows import as_columns, example_row, listed, storable, stored_example
from shammah.store.settling import is_of_a_rejected_reply, settle

# How an example stands, as its own `status` has it; then what training would draw, whether or not it did before, and
# what somebody has to look at.
Status = Literal["ready", "trained", "needs target", "needs review", "disabled", "trainable", "waiting"]
_STATUS: dict[Status, str] = {
    "ready": "hold = '' AND state = 'ready' AND trained = 0",
    "trained": "hold = '' AND state = 'ready' AND trained > 0",
    "needs target": "hold = '' AND state = 'needs target'",
    "needs review": "hold = '' AND state = 'needs review'",
    "disabled": "(hold <> '' OR state = 'disabled')",
    "trainable": "trainable",
    "waiting": "hold = '' AND state IN ('needs target', 'needs review')",
}
_TAGGED = "EXISTS (SELECT 1 FROM json_each(tags) WHERE value = ?)"
_SAYS = """instr(lower(
    coalesce(target, '') || char(10) || coalesce(rejected, '') || char(10) || coalesce(note, '') || char(10) ||
    (SELECT group_concat(json_extract(value, '$.content'), char(10)) FROM json_each(messages))), lower(?))"""
_AMONG = "id IN (SELECT value FROM json_each(?))"
_CHANGEABLE = frozenset(
    ("target", "rejected", "note", "weight", "level", "state", "reason", "secrets", "source", "tags", "quality")
)
_HINT = "See `shammah examples list` for what is stored."


class Examples:
    def __init__(
        self,
        database: Database,
        *,
        limit: int = 10_000,
        keep_days: int = 0,
        archive: Archive | None = None,
        now: Callable[[], str] = utc_now,
    ) -> None:
        """Trained examples leave when there are more than `limit`, and after `keep_days` unless that is 0."""
        self._database = database
        self._limit = limit
        self._keep_days = keep_days
        self._archive = archive
        self._now = now

    # Reading

    def get(self, id_or_prefix: str) -> Example:
        row = one_row(self._database, "SELECT * FROM examples", id_or_prefix, kind="example", hint=_HINT)
        return stored_example(row)

    def whole_id(self, id_or_prefix: str) -> str:
        """Also of an example that cannot be read."""
        row = one_row(self._database, "SELECT id FROM examples", id_or_prefix, kind="example", hint=_HINT)
        return str(row["id"])

    def has(self, id: str) -> bool:
        """Whether an example of this whole id is there."""
        return self._one("id = ?", id) is not None

    def of_turn(self, turn_id: str) -> Example | None:
        return self._one("turn_id = ?", turn_id)

    def find(
        self,
        *,
        status: Status | None = None,
        level: Level | None = None,
        tag: str | None = None,
        source: Source | None = None,
        text: str = "",
        since: str | None = None,
        until: str | None = None,
        min_quality: float | None = None,
        model: str | None = None,
        ids: Collection[str] | None = None,
        oldest_first: bool = False,
        limit: int | None = 20,
    ) -> list[Example]:
        """Those that fit all that is asked for, newest first; a limit of None gives all.

        Every word of the text must occur somewhere in prompt, replies or note. Times may be cut short: until
        2026-01-31 takes in all of that day. `ids` are whole.
        """
        asked: list[tuple[str, Any]] = [
            ("level = ?", level),
            (_TAGGED, tag),
            ("source = ?", source),
            ("time >= ?", since),
            ("time <= ?", None if until is None else until + END),
            ("quality >= ?", min_quality),
            ("model = ?", model),
            (_AMONG, None if ids is None else list(ids)),
            *((_SAYS, word) for word in text.split()),
        ]
        given = [(condition, value) for condition, value in asked if value is not None]
        conditions = [_STATUS[status] if status else "1", *(condition for condition, _ in given)]
        values = as_columns({str(place): value for place, (_, value) in enumerate(given)}).values()
        order = "ASC" if oldest_first else "DESC"
        sql = f"SELECT * FROM examples WHERE {' AND '.join(conditions)} ORDER BY sequence {order} LIMIT ?"
        return [stored_example(row) for row in self._database.rows(sql, (*values, at_most(limit)))]

    def live(self) -> list[Example]:
        """All that a training from the base learns, oldest first: what was learned before belongs to it."""
        return self.find(status="trainable", oldest_first=True, limit=None)

    def count(self) -> int:
        return int(self._database.rows("SELECT count(*) FROM examples")[0][0])

    def buffer(self) -> Buffer:
        """What waits for training, and for the user."""
        row = self._database.rows("""
            SELECT * FROM (
                SELECT coalesce(sum(trainable AND trained = 0), 0) AS examples,
                       coalesce(sum(weight) FILTER (WHERE trainable AND trained = 0), 0.0) AS weighted,
                       coalesce(sum(hold = '' AND state = 'needs target'), 0) AS needs_target,
                       coalesce(sum(hold = '' AND state = 'needs review'), 0) AS needs_review
                FROM examples
            ), (
                SELECT count(*) AS new, coalesce(sum(weight), 0.0) AS new_weighted FROM examples
                WHERE trainable = 1 AND trained = 0 AND NOT EXISTS (SELECT 1 FROM learning WHERE example_id = id)
            )""")[0]
        return Buffer(**dict(row))

    # Changing

    def put(self, example: Example) -> Example:
        """Store what feedback came to, and return what is stored.

        It takes the place of the example with its id, or else of the one of its turn, or else of the one that teaches
        the same; an example of another turn keeps its own. Said once more, an example counts as the newest.
        """
        example = _as_stored(example)
        with self._database.transaction() as connection:
            of_turn = None if example.turn_id is None else self.of_turn(example.turn_id)
            mine = self._one("id = ?", example.id)
            if mine is not None:
                if of_turn is not None and of_turn.id != mine.id:
                    self._remove(connection, [of_turn.id])
                return self._replace(mine, example)
            if of_turn is not None:
                return self._replace(of_turn, replace(example, id=of_turn.id), newest=True)
            equal = self._equal(example)
            if equal is None:
                return self._insert(example)
            if _says_the_same(equal, example):
                example = equal
            changed = replace(example, id=equal.id, turn_id=example.turn_id or equal.turn_id)
            return self._replace(equal, changed, newest=True)

    def add(self, example: Example) -> tuple[Example, bool]:
        """Store what comes from elsewhere. Where it is there already that stays as it is, and the answer is False.

        What was edited since it came is known too: an import must not undo the edit.
        """
        example = _as_stored(example)
        with self._database.transaction():
            there = self._one("id = ?", example.id)
            if there is None and example.turn_id is not None:
                there = self.of_turn(example.turn_id)
            there = there or self._equal(example) or self._equal(example, "first_hash")
            return (there, False) if there else (self._insert(example), True)

    def change(self, id: str, **fields: Any) -> Example:
        """Change some fields of an example, by its whole id; it keeps its place among the others."""
        assert fields.keys() <= _CHANGEABLE, f"these are not for changing: {fields.keys() - _CHANGEABLE}"
        with self._database.transaction():
            example = self._whole(id)
            return self._replace(example, _as_stored(replace(example, **fields)))

    def delete(self, ids: Collection[str]) -> int:
        """Remove examples by their whole ids. What stood back because of them counts again, and the run that was begun
        with them no longer has what it was to learn."""
        with self._database.transaction() as connection:
            _take_from_runs(connection, ids)
            return self._remove(connection, ids)

    def mark_trained(self, ids: Collection[str], adapter: str) -> None:
        """Write down that an adapter learned these; once more does nothing. Those deleted meanwhile stay deleted."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO trainings (example_id, adapter, time) "
                f"SELECT id, ?, ? FROM examples WHERE {_AMONG}",
                (storable(adapter), self._now(), listed(ids)),
            )
            connection.execute(
                "UPDATE examples SET trained = (SELECT count(*) FROM trainings WHERE example_id = examples.id) "
                f"WHERE {_AMONG}",
                (listed(ids),),
            )

    def trim(self) -> int:
        """Let trained examples go that are too old, then those that are too many. Returns how many went."""
        with self._database.transaction() as connection:
            aged = 0
            if self._keep_days:
                aged = self._let_go(connection, before=days_before(self._now(), self._keep_days))
            return aged + self._let_go(connection, most=self.count() - self._limit)

    # Parts of the above, all of them inside a transaction

    def _one(self, condition: str, value: str) -> Example | None:
        rows = self._database.rows(f"SELECT * FROM examples WHERE {condition}", (storable(value),))
        return stored_example(rows[0]) if rows else None

    def _whole(self, id: str) -> Example:
        example = self._one("id = ?", id)
        if example is None:
            raise no_such("example", id, _HINT)
        return example

    def _equal(self, example: Example, column: str = "dedupe_hash") -> Example | None:
        """The newest other example that teaches the same, unless both belong to turns: each was rated for itself."""
        rows = self._database.rows(
            f"SELECT * FROM examples WHERE {column} = ? AND id != ? AND (turn_id IS NULL OR ? IS NULL) "
            "ORDER BY sequence DESC LIMIT 1",
            (_hash(example), example.id, example.turn_id),
        )
        return stored_example(rows[0]) if rows else None

    def _insert(self, example: Example) -> Example:
        columns = _columns(replace(example, hold="", trained=0))
        columns["first_hash"] = columns["dedupe_hash"]
        names, marks = ", ".join(columns), ", ".join(f":{name}" for name in columns)
        with self._database.transaction() as connection:
            connection.execute(f"INSERT INTO examples ({names}) VALUES ({marks})", columns)
            self._settle(connection, [columns["prompt_hash"]])
            self.trim()
        return self._whole(example.id)

    def _replace(self, old: Example, new: Example, *, newest: bool = False) -> Example:
        """Put another in the place of one, under its id. An adapter that learned something else has not learned it.

        Where it comes to teach what a third one teaches already, the two become one.
        """
        with self._database.transaction() as connection:
            twin = self._equal(new)
            if twin is not None:
                self._remove(connection, [twin.id])
                new = replace(new, turn_id=new.turn_id or twin.turn_id)
            learned = (new.messages, new.target, new.rejected) == (old.messages, old.target, old.rejected)
            if not learned:
                connection.execute("DELETE FROM trainings WHERE example_id = ?", (old.id,))
                _drop_probes(connection, [old.id])
            if old.target and (not new.target or same_reply(new.rejected, old.target)):
                _take_from_runs(connection, [old.id])
            columns = _columns(replace(new, hold=old.hold, trained=old.trained if learned else 0))
            changes = ", ".join(f"{name} = :{name}" for name in columns)
            if newest:
                changes += ", sequence = (SELECT max(sequence) + 1 FROM examples)"
            connection.execute(f"UPDATE examples SET {changes} WHERE id = :id", columns)
            self._settle(connection, {prompt_hash(old.messages), columns["prompt_hash"]})
        return self._whole(old.id)

    def _remove(self, connection: sqlite3.Connection, ids: Collection[str]) -> int:
        among = (listed(ids),)
        prompts = connection.execute(f"SELECT DISTINCT prompt_hash FROM examples WHERE {_AMONG}", among).fetchall()
        gone = connection.execute(f"DELETE FROM examples WHERE {_AMONG}", among).rowcount
        _drop_probes(connection, ids)
        self._settle(connection, (prompt for (prompt,) in prompts))
        return gone

    def _settle(self, connection: sqlite3.Connection, prompts: Iterable[str]) -> None:
        for prompt in prompts:
            rows = _group(connection, prompt)
            whole, examples = _readable(rows)
            gone = connection.execute("SELECT reply_hash, level FROM rejections WHERE prompt_hash = ?", (prompt,))
            holds = settle(examples, {**dict(map(tuple, gone)), **_rejected_in(set(rows).difference(whole))})
            for row, example in zip(whole, examples, strict=True):
                hold = holds[example.id]
                trainable = replace(example, hold=hold).trainable
                if (hold, trainable) != (row["hold"], bool(row["trainable"])):
                    if is_of_a_rejected_reply(hold):
                        _take_from_runs(connection, [example.id])
                    connection.execute(
                        "UPDATE examples SET hold = ?, trainable = ? WHERE id = ?", (hold, trainable, example.id)
                    )

    def _let_go(self, connection: sqlite3.Connection, *, before: str = END, most: int | None = None) -> int:
        """Trained examples go to the archive, oldest first, but none that keeps another one from counting again."""
        if most is not None and most <= 0:
            return 0
        leaving: dict[str, Example] = {}
        for example in _trained(connection, before):
            if most is not None and len(leaving) >= most:
                break
            _, group = _readable(_group(connection, prompt_hash(example.messages)))
            group = [other for other in group if other.id not in leaving]
            holds, left = settle(group), settle([other for other in group if other.id != example.id])
            if not any(holds[id] and not hold for id, hold in left.items()):
                leaving[example.id] = example
        if leaving and self._archive is not None:
            self._archive.append([*leaving.values()])
        for example in leaving.values():
            if example.rejected and example.level != "good":
                rejected = (prompt_hash(example.messages), reply_hash(example.rejected), example.level)
                connection.execute("INSERT OR REPLACE INTO rejections VALUES (?, ?, ?)", rejected)
        return self._remove(connection, leaving)


def _group(connection: sqlite3.Connection, prompt: str) -> list[sqlite3.Row]:
    """The examples of one prompt, oldest first."""
    return connection.execute("SELECT * FROM examples WHERE prompt_hash = ? ORDER BY sequence", (prompt,)).fetchall()


def _readable(rows: Iterable[sqlite3.Row]) -> tuple[list[sqlite3.Row], list[Example]]:
    """Those that are examples, and these: one that is damaged must not keep another one from being deleted."""
    whole: list[sqlite3.Row] = []
    examples: list[Example] = []
    for row in rows:
        with suppress(ExampleDamaged):
            examples.append(stored_example(row))
            whole.append(row)
    return whole, examples


def _rejected_in(rows: Iterable[sqlite3.Row]) -> dict[str, str]:
    """What examples that cannot be read have rejected, as far as it can be: it must not be learned after all."""
    return {reply_hash(row["rejected"]): row["level"] for row in rows if row["rejected"] and row["level"] != "good"}


def _take_from_runs(connection: sqlite3.Connection, ids: Collection[str]) -> None:
    """A run that was begun with these must not come to its end: they are gone, or what they taught is not wanted."""
    connection.execute(
        "UPDATE runs SET lost = lost + 1 WHERE state IN ('running', 'interrupted') AND EXISTS "
        "(SELECT 1 FROM json_each(runs.example_ids) WHERE value IN (SELECT value FROM json_each(?)))",
        (listed(ids),),
    )


def _drop_probes(connection: sqlite3.Connection, ids: Collection[str]) -> None:
    """What was kept of these, under their ids: nobody learns it any more."""
    connection.execute(f"DELETE FROM probes WHERE {_AMONG}", (listed(ids),))


def _trained(connection: sqlite3.Connection, before: str) -> Iterator[Example]:
    """What adapters learned, oldest first, read one by one: a rating that lets one go does not read them all."""
    # Left to itself SQLite walks through the whole table in the order that is asked for.
    sql = "SELECT sequence FROM examples INDEXED BY examples_trained WHERE trained > 0 AND time < ? ORDER BY sequence"
    for (sequence,) in connection.execute(sql, (before,)):
        row = connection.execute("SELECT * FROM examples WHERE sequence = ?", (sequence,)).fetchone()
        with suppress(ExampleDamaged):
            yield stored_example(row)


def _says_the_same(one: Example, other: Example) -> bool:
    """Whether feedback that teaches the same is the same in what it weighs and how it is spelled."""
    return (
        (one.level, one.weight, one.note, one.state) == (other.level, other.weight, other.note, other.state)
        and same_reply(one.target, other.target)
        and same_reply(one.rejected, other.rejected)
    )


def _as_stored(example: Example) -> Example:
    """The example as it will be read again."""
    assert example.target or example.state != "ready", "what is ready has a target"
    return stored_example(as_columns(example_row(example)))


def _hash(example: Example) -> str:
    return example_hash(example.level, example.messages, example.target, example.rejected)


def _columns(example: Example) -> dict[str, Any]:
    return {
        **as_columns(example_row(example)),
        "trainable": example.trainable,
        "prompt_hash": prompt_hash(example.messages),
        "dedupe_hash": _hash(example),
    }
