"""Standing instructions and facts, in the order in which the model is given them: the newest last."""

import sqlite3
from collections.abc import Callable, Collection

from shammah.errors import UsageError
from shammah.records import Rule
from shammah.store.database import Database
from shammah.store.identity import folded, new_id, utc_now
from shammah.store.lookup import no_such, one_row
from shammah.store.rows import listed, rule_of, storable

_HINT = "See `/rules` for what there is."


class Rules:
    def __init__(self, database: Database, *, now: Callable[[], str] = utc_now) -> None:
        self._database = database
        self._now = now

    def add(self, text: str, *, turn_id: str | None = None) -> Rule:
        """The newest rule. One that says the same is not doubled but renewed: it speaks again, and last.

        A rule that came from a turn goes with the last turn that said it; one given by hand stays.
        """
        text = _worded(text)
        turn_id = None if turn_id is None else storable(turn_id)
        with self._database.transaction() as connection:
            same = self._same(text)
            if same is None:
                rule = Rule(id=new_id(), time=self._now(), text=text, turn_id=turn_id)
            else:
                rule = Rule(id=same.id, time=self._now(), text=text, turn_id=same.turn_id and turn_id)
                connection.execute("DELETE FROM rules WHERE id = ?", (same.id,))
            connection.execute(
                "INSERT INTO rules (id, time, text, muted, turn_id) VALUES (?, ?, ?, ?, ?)",
                (rule.id, rule.time, rule.text, rule.muted, rule.turn_id),
            )
        return rule

    def all(self) -> list[Rule]:
        """Oldest first, the muted ones too."""
        return [rule_of(row) for row in self._database.rows("SELECT * FROM rules ORDER BY sequence")]

    def active(self, adapter: str | None = None, strength: float = 1.0) -> list[Rule]:
        """Those that the model is given, oldest first: without those that this adapter obeys untold. It was seen to
        obey them at full strength, so at another one it is told all."""
        graduated = self.graduated() if strength == 1 else {}
        return [rule for rule in self.all() if not rule.muted and adapter not in graduated.get(rule.id, ())]

    def graduated(self) -> dict[str, tuple[str, ...]]:
        """The adapters that obey a rule untold, by the ids of such rules."""
        adapters: dict[str, tuple[str, ...]] = {}
        for row in self._database.rows("SELECT * FROM graduations ORDER BY rule_id, adapter"):
            adapters[row["rule_id"]] = (*adapters.get(row["rule_id"], ()), row["adapter"])
        return adapters

    def get(self, number_or_id: int | str) -> Rule:
        """By its place in `all`, which begins with 1, or else by its id or the beginning of it."""
        text = str(number_or_id).strip()
        places = {str(place): rule for place, rule in enumerate(self.all(), 1)}
        if text in places:
            return places[text]
        return rule_of(one_row(self._database, "SELECT * FROM rules", text, kind="rule", hint=_HINT))

    def edit(self, id: str, text: str) -> Rule:
        """Change the words of a rule, by its whole id. Another one that says the same by now goes."""
        text = _worded(text)
        with self._database.transaction() as connection:
            same = self._same(text)
            if same is not None and same.id != id:
                connection.execute("DELETE FROM rules WHERE id = ?", (same.id,))
            return self._update(connection, "text", text, id)

    def mute(self, id: str, muted: bool = True) -> Rule:
        """Keep a rule, by its whole id, from the model, or give it again."""
        with self._database.transaction() as connection:
            return self._update(connection, "muted", muted, id)

    def graduate(self, ids: Collection[str], adapter: str) -> None:
        """Write down that an adapter obeys these rules untold, until they are put in other words or said once more.
        Those deleted meanwhile stay deleted."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO graduations (rule_id, adapter) "
                "SELECT id, ? FROM rules WHERE id IN (SELECT value FROM json_each(?))",
                (storable(adapter), listed(ids)),
            )

    def delete(self, id: str) -> None:
        with self._database.transaction() as connection:
            if not connection.execute("DELETE FROM rules WHERE id = ?", (storable(id),)).rowcount:
                raise no_such("rule", id, _HINT)

    def delete_of_turn(self, turn_id: str) -> int:
        """Remove what a turn brought. Returns how many rules went."""
        with self._database.transaction() as connection:
            return connection.execute("DELETE FROM rules WHERE turn_id = ?", (storable(turn_id),)).rowcount

    def _same(self, text: str) -> Rule | None:
        return next((rule for rule in self.all() if folded(rule.text) == folded(text)), None)

    def _update(self, connection: sqlite3.Connection, column: str, value: str | bool, id: str) -> Rule:
        connection.execute(f"UPDATE rules SET {column} = ? WHERE id = ?", (value, storable(id)))
        row = connection.execute("SELECT * FROM rules WHERE id = ?", (storable(id),)).fetchone()
        if row is None:
            raise no_such("rule", id, _HINT)
        return rule_of(row)


def _worded(text: str) -> str:
    text = storable(text.strip())
    if not text:
        raise UsageError("The rule is empty", hint="Write what the model should do or know.")
    return text
