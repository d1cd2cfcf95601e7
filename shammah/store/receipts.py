"""What runs came to, with the user's own prompts before and after: one receipt for each run that was judged."""

from collections.abc import Callable, Collection
from typing import Any

from shammah.errors import StoreError
from shammah.records import Receipt
from shammah.store.database import Database
from shammah.store.identity import folded, utc_now
from shammah.store.lookup import at_most, one_row
from shammah.store.rows import as_columns, listed, plain, receipt_of

_HINT = "See `/train status` for the last run."
_BY_RUN = "SELECT * FROM (SELECT run_id AS id, * FROM receipts)"


class Receipts:
    def __init__(self, database: Database, *, now: Callable[[], str] = utc_now) -> None:
        self._database = database
        self._now = now

    def put(self, run_id: str, adapter: str | None, body: dict[str, Any]) -> Receipt:
        """Store what a run came to; said once more, the body takes the place of the one before.

        A number in it that is not finite becomes None. Where it holds a text of an example, rule or probe it holds
        its id too, as a key or anywhere: by that it is found when those are forgotten. No key is a text of the user's.
        """
        columns = as_columns({"run_id": run_id, "time": self._now(), "adapter": adapter, "body": plain(body)})
        with self._database.transaction() as connection:
            row = connection.execute(
                "INSERT INTO receipts (run_id, time, adapter, body, told) "
                "VALUES (:run_id, :time, :adapter, :body, 0) "
                "ON CONFLICT (run_id) DO UPDATE SET adapter = excluded.adapter, body = excluded.body RETURNING *",
                columns,
            ).fetchone()
        return receipt_of(row)

    def get(self, run_id: str | None = None) -> Receipt:
        """Of a run by its id or the beginning of it; the newest without."""
        if run_id is not None:
            return receipt_of(one_row(self._database, _BY_RUN, run_id, kind="receipt of a run", hint=_HINT))
        newest = self.recent(1)
        if not newest:
            raise StoreError("There is no receipt yet", hint="There is one after a training run: `/train now`.")
        return newest[0]

    def recent(self, limit: int | None = 20) -> list[Receipt]:
        """Newest first; a limit of None gives all."""
        sql = "SELECT * FROM receipts ORDER BY sequence DESC LIMIT ?"
        return [receipt_of(row) for row in self._database.rows(sql, (at_most(limit),))]

    def untold(self) -> list[Receipt]:
        """Those that no chat has told yet, newest first."""
        sql = "SELECT * FROM receipts WHERE told = 0 ORDER BY sequence DESC"
        return [receipt_of(row) for row in self._database.rows(sql)]

    def tell(self, run_ids: Collection[str]) -> set[str]:
        """Have those of these runs count as told. The runs of which that is new: of two chats one tells."""
        meant = "told = 0 AND run_id IN (SELECT value FROM json_each(?))"
        sql = f"UPDATE receipts SET told = 1 WHERE {meant} RETURNING run_id"
        with self._database.transaction() as connection:
            return {run_id for (run_id,) in connection.execute(sql, (listed(run_ids),)).fetchall()}

    def about(self, ids: Collection[str], asked: Collection[str] = ()) -> list[str]:
        """The runs whose receipts tell of any of these examples, rules or probes, by whole ids, or of a lesson that
        was asked one of these prompts, which are folded: its example may be gone, and its id unknown."""
        sql = "SELECT run_id FROM receipts WHERE EXISTS (SELECT 1 FROM json_each(?) WHERE instr(body, value))"
        found = [run_id for (run_id,) in self._database.rows(sql, (listed(ids),))]
        lessons = {each.run_id: each.body.get("lessons", ()) for each in self.recent(None)} if asked else {}
        told = [run_id for run_id, each in lessons.items() if any(folded(one["prompt"]) in asked for one in each)]
        return list(dict.fromkeys([*found, *told]))

    def delete(self, run_ids: Collection[str]) -> int:
        """Remove those of these runs, by whole ids. Returns how many there were."""
        with self._database.transaction() as connection:
            sql = "DELETE FROM receipts WHERE run_id IN (SELECT value FROM json_each(?))"
            return connection.execute(sql, (listed(run_ids),)).rowcount
