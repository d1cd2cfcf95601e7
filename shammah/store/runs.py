"""Attempts to learn: what each learned from, how far it came, what became of it.

What a run learned is marked in the same transaction that ends it, so that examples which reached the threshold start
one run and no more, whenever the program is killed.
"""

import sqlite3
from collections.abc import Callable, Collection
from typing import Any, Literal

from shammah.errors import ExampleDeleted
from shammah.records import Run
from shammah.store.audit import Audit
from shammah.store.database import Database
from shammah.store.examples import Examples
from shammah.store.identity import utc_now
from shammah.store.lookup import at_most, no_such, one_row
from shammah.store.rows import as_columns, listed, run_of, run_row, storable

_MOVING = frozenset(("step", "steps", "tokens", "seconds", "first_loss", "last_loss", "error", "kills"))
JUDGED = ("finished", "rejected")
_HINT = "See `/train status` for the last one."
_AMONG = "IN (SELECT value FROM json_each(?))"
# What the same model made no better reply of the last time is known to have none.
_TAKE_IN_HAND = """
    INSERT INTO learning (example_id, run_id, no_rewrite)
    SELECT id, :id, id IN (
        SELECT example_id FROM learning JOIN runs ON runs.id = run_id WHERE no_rewrite AND model = :model
    )
    FROM examples WHERE id IN (SELECT value FROM json_each(:example_ids))"""


class Runs:
    def __init__(self, database: Database, *, now: Callable[[], str] = utc_now) -> None:
        self._database = database
        self._now = now

    # Reading

    def get(self, id_or_prefix: str) -> Run:
        return run_of(one_row(self._database, "SELECT * FROM runs", id_or_prefix, kind="run", hint=_HINT))

    def last(self) -> Run | None:
        """The one that was begun last, whatever became of it."""
        newest = self.recent(1)
        return newest[0] if newest else None

    def running(self) -> list[Run]:
        """Those that were begun and not ended, oldest first. Whether their process still lives is another question."""
        rows = self._database.rows("SELECT * FROM runs WHERE state = 'running' ORDER BY started, sequence")
        return [run_of(row) for row in rows]

    def recent(self, limit: int | None = 20) -> list[Run]:
        """Newest first; a limit of None gives all."""
        sql = "SELECT * FROM runs ORDER BY started DESC, sequence DESC LIMIT ?"
        return [run_of(row) for row in self._database.rows(sql, (at_most(limit),))]

    def unchanged(self, run: Run) -> bool:
        """Whether every example that a run was begun with is still there, and says what it said."""
        return self.as_begun(run.id) == set(run.example_ids)

    def as_begun(self, id: str) -> set[str]:
        """The examples of a run, by their ids, that are still there and say what they said when it began."""
        rows = self._database.rows("SELECT example_id FROM learning WHERE run_id = ?", (storable(id),))
        return {example for (example,) in rows}

    def as_learned(self, adapter: str, example_ids: Collection[str]) -> set[str]:
        """Those of an adapter's examples that are still there and say what they said when it learned them. This is
        written down of adapters that were accepted; of others those are meant that were never edited."""
        sql = f"""
            SELECT id FROM examples WHERE id {_AMONG} AND
            CASE WHEN EXISTS (SELECT 1 FROM runs WHERE adapter = ? AND state = 'finished')
            THEN EXISTS (SELECT 1 FROM trainings WHERE example_id = examples.id AND adapter = ?)
            ELSE first_hash = dedupe_hash END"""
        name = storable(adapter)
        return {id for (id,) in self._database.rows(sql, (listed(example_ids), name, name))}

    def require_examples(self, run: Run) -> None:
        """ExampleDeleted where an example that the run was begun with was deleted since."""
        _require_examples(self.get(run.id))

    def remains(self, run: Run) -> bool:
        """Whether training would still draw any example that a run was begun with."""
        sql = f"SELECT 1 FROM examples WHERE trainable AND id {_AMONG} LIMIT 1"
        return bool(self._database.rows(sql, (listed(run.example_ids),)))

    def without_rewrite(self, model: str) -> set[str]:
        """The examples of which this model made no better reply when it was asked last, as they still are."""
        sql = "SELECT example_id FROM learning JOIN runs ON runs.id = run_id WHERE no_rewrite AND model = ?"
        return {id for (id,) in self._database.rows(sql, (storable(model),))}

    # Changing, by whole ids

    def begin(self, run: Run, *, after: Run | None = None) -> Run:
        """Store a run before its first step, and return what is stored. `after` is one that ends with this, as one."""
        columns = as_columns(run_row(run))
        names, marks = ", ".join(columns), ", ".join(f":{name}" for name in columns)
        with self._database.transaction() as connection:
            if after is not None:
                assert after.state in ("failed", "cancelled"), "it was not judged"
                self.end(after.id, after.state, error=after.error)
            connection.execute(f"INSERT INTO runs ({names}) VALUES ({marks})", columns)
            connection.execute(_TAKE_IN_HAND, columns)
            connection.execute("DELETE FROM learning WHERE run_id NOT IN (SELECT id FROM runs WHERE state = 'running')")
            return _whole(connection, run.id)

    def reopen(self, run: Run, *, pid: int) -> Run:
        """Go on with a run that was cut off, in another process."""
        moment = self._now()
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE runs SET state = 'running', ended = NULL, error = '', updated = ?, pid = ? "
                "WHERE id = ? AND state = 'interrupted'",
                (moment, pid, storable(run.id)),
            )
            return _whole(connection, run.id)

    def found_no_rewrite(self, id: str, example_ids: Collection[str]) -> None:
        """Write down of which examples of a run its model made no better reply: until they change it makes none."""
        with self._database.transaction() as connection:
            connection.execute(
                f"UPDATE learning SET no_rewrite = 1 WHERE run_id = ? AND example_id {_AMONG}",
                (storable(id), listed(example_ids)),
            )

    def update(self, id: str, **fields: Any) -> None:
        """Write down how far a run has come."""
        assert fields.keys() <= _MOVING, f"these do not move: {fields.keys() - _MOVING}"
        changes = ", ".join(f"{name} = :{name}" for name in (*fields, "updated"))
        values = as_columns({**fields, "updated": self._now(), "id": id})
        with self._database.transaction() as connection:
            if not connection.execute(f"UPDATE runs SET {changes} WHERE id = :id", values).rowcount:
                raise no_such("run", id, _HINT)

    def end(
        self,
        id: str,
        state: Literal["finished", "rejected", "failed", "cancelled", "interrupted"],
        *,
        adapter: str | None = None,
        error: str = "",
        kills: int | None = None,
    ) -> Run:
        """Write down what became of a run, in the audit too where it was not judged. One that was judged stays so: what
        it learned is marked already, or was not good enough."""
        moment = self._now()
        values = {"id": id, "state": state, "adapter": adapter, "error": error, "moment": moment, "kills": kills}
        with self._database.transaction() as connection:
            before = _whole(connection, id).state
            connection.execute(
                "UPDATE runs SET state = :state, adapter = :adapter, error = :error, updated = :moment, "
                "ended = :moment, kills = coalesce(:kills, kills) "
                "WHERE id = :id AND state NOT IN ('finished', 'rejected')",
                as_columns(values),
            )
            run = _whole(connection, id)
            if run.state != before and state not in JUDGED:
                self._audit(run)
            return run

    def _audit(self, run: Run) -> None:
        """Why it ended so is told by its record: that may hold words of the user's."""
        assert run.state in ("failed", "cancelled", "interrupted")
        came_to = {"trigger": run.trigger, "attempt": run.attempt, "step": run.step, "steps": run.steps}
        Audit(self._database, now=self._now).add("training", run.state, run.id, came_to)

    def finish(self, run_id: str, adapter: str, examples: Examples, *, learned: Collection[str] | None = None) -> Run:
        """End a run that made an adapter, and mark what the adapter `learned`, as one: all that the run was begun with
        unless told otherwise. What it left out is no longer among its examples. ExampleDeleted where one was deleted.

        An example that was changed since the run began is not marked: what it says now, no adapter has learned.
        """
        with self._database.transaction() as connection:
            run = _whole(connection, run_id)
            if run.state in JUDGED:
                return run
            _require_examples(run)
            ids = listed([id for id in run.example_ids if learned is None or id in learned])
            as_begun = connection.execute(
                f"SELECT example_id FROM learning WHERE run_id = ? AND example_id {_AMONG}", (storable(run_id), ids)
            )
            examples.mark_trained([id for (id,) in as_begun], adapter)
            connection.execute("UPDATE runs SET example_ids = ? WHERE id = ?", (ids, storable(run_id)))
            return self.end(run_id, "finished", adapter=adapter)

    def reject(self, run_id: str, adapter: str, *, why: str = "") -> Run:
        """End a run whose adapter was found no better. Its examples still wait, but are not new: they begin no run by
        themselves. ExampleDeleted where one was deleted."""
        with self._database.transaction() as connection:
            run = _whole(connection, run_id)
            if run.state in JUDGED:
                return run
            _require_examples(run)
            return self.end(run_id, "rejected", adapter=adapter, error=why)


def _require_examples(run: Run) -> None:
    if run.lost:
        raise ExampleDeleted("An example that it learned from was deleted or taken back")


def _whole(connection: sqlite3.Connection, id: str) -> Run:
    row = connection.execute("SELECT * FROM runs WHERE id = ?", (storable(id),)).fetchone()
    if row is None:
        raise no_such("run", id, _HINT)
    return run_of(row)
