"""From when on which adapter answers for a base model. The newest row of a base counts, so two can never be active.

activations.activate("smollm2-135m", "lora_adapter_...", actor="user")      this one answers from now on
activations.activate("smollm2-135m", None, actor="user")                    the base itself does
back = activations.way_back("smollm2-135m")[0]
activations.activate(back.base, back.adapter, strength=back.strength, actor="user", back_to=back.sequence)
"""

from collections.abc import Callable

from shammah.records import Activation, Actor
from shammah.store.audit import Action, Audit
from shammah.store.database import Database
from shammah.store.identity import utc_now
from shammah.store.lookup import at_most
from shammah.store.rows import activation_of, storable

# The base model before anything was activated for it.
_BEGINNING = 0


class Activations:
    def __init__(self, database: Database, *, now: Callable[[], str] = utc_now) -> None:
        self._database = database
        self._now = now
        self._audit = Audit(database, now=now)

    def current(self, base: str) -> Activation | None:
        """Who answers for a base; None where nothing was ever activated for it."""
        newest = self.all(base, 1)
        return newest[0] if newest else None

    def all(self, base: str | None = None, limit: int | None = None) -> list[Activation]:
        """Newest first, of one base or of all."""
        condition, values = ("1", []) if base is None else ("base = ?", [storable(base)])
        sql = f"SELECT * FROM activations WHERE {condition} ORDER BY sequence DESC LIMIT ?"
        return [activation_of(row) for row in self._database.rows(sql, (*values, at_most(limit)))]

    def bases_of(self, adapter: str) -> set[str]:
        """The bases for which an adapter answers now."""
        sql = (
            "SELECT DISTINCT base FROM activations AS mine WHERE adapter = ? AND adapter IS "
            "(SELECT adapter FROM activations WHERE base = mine.base ORDER BY sequence DESC LIMIT 1)"
        )
        return {base for (base,) in self._database.rows(sql, (storable(adapter),))}

    def was_active(self) -> set[str]:
        """The names of all adapters that ever answered, or do."""
        rows = self._database.rows("SELECT DISTINCT adapter FROM activations WHERE adapter IS NOT NULL")
        return {adapter for (adapter,) in rows}

    def newest_sequence(self) -> int:
        """Of all bases; 0 where nothing was ever activated. While it stays the same, so does who answers."""
        return int(self._database.rows("SELECT coalesce(max(sequence), 0) FROM activations")[0][0])

    def activate(
        self,
        base: str,
        adapter: str | None,
        *,
        strength: float = 1.0,
        actor: Actor,
        cause: str = "",
        back_to: int | None = None,
    ) -> Activation:
        """Let an adapter answer for a base from now on, or None: the base itself. Stored with its entry in the audit.

        `back_to` is the sequence of the activation that this one goes back to, out of `way_back`.
        """
        base, adapter = storable(base), None if adapter is None else storable(adapter)
        with self._database.transaction() as connection:
            before = self.current(base)
            values = (self._now(), base, adapter, strength, actor, storable(cause), back_to)
            row = connection.execute(
                "INSERT INTO activations (time, base, adapter, strength, actor, cause, back_to) "
                "VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING *",
                values,
            ).fetchone()
            made = activation_of(row)
            self._write_down(made, before, went_back=back_to is not None)
        return made

    def take_back(self, newest: Activation, *, actor: Actor, cause: str) -> Activation | None:
        """Let who answered before this one answer again; None where this is the newest no more."""
        with self._database.transaction():
            rows = self.all(newest.base, 2)
            if rows[:1] != [newest]:
                return None
            before = rows[1] if len(rows) > 1 else _at_the_beginning(newest.base)
            return self.activate(
                before.base,
                before.adapter,
                strength=before.strength,
                actor=actor,
                cause=cause,
                back_to=before.sequence,
            )

    def way_back(self, base: str) -> list[Activation]:
        """Who answered before, nearest first and each adapter once, down to the base itself.

        What was gone back from is not among them, nor the adapter that answers now.
        """
        way: list[Activation] = []
        seen: set[str | None] = set()
        after: int | None = None
        sql = "SELECT * FROM activations WHERE base = ? ORDER BY sequence DESC"
        for row in self._database.rows(sql, (storable(base),)):
            if after is not None and row["sequence"] >= after:
                continue
            if after is not None and row["adapter"] not in seen:
                way.append(activation_of(row))
            seen.add(row["adapter"])
            after = row["sequence"] if row["back_to"] is None else row["back_to"]
        if after is not None and None not in seen:
            way.append(_at_the_beginning(base))
        return way

    def _write_down(self, made: Activation, before: Activation | None, *, went_back: bool) -> None:
        """An entry about the adapter that answers from now on, or about the one that no longer does."""
        left = None if before is None else before.adapter
        action: Action = "activated" if made.adapter is not None else "deactivated"
        subject = made.adapter if made.adapter is not None else left
        if went_back:
            action, subject = "rolled back", left
        details = {"base": made.base, "adapter": made.adapter, "before": left, "strength": made.strength}
        self._audit.add(made.actor, action, subject or made.base, {**details, "cause": made.cause})


def _at_the_beginning(base: str) -> Activation:
    return Activation(sequence=_BEGINNING, time="", base=base, adapter=None, actor="user")
