"""What an adapter has to know, whatever it learns next: prompts, and what a reply to them must hold."""

import sqlite3
from collections.abc import Callable, Collection, Iterable

from shammah.errors import UsageError
from shammah.records import Example, Probe
from shammah.store.database import Database
from shammah.store.identity import folded, new_id, utc_now
from shammah.store.lookup import no_such, one_row
from shammah.store.rows import as_columns, probe_of, probe_row, storable

_HINT = "See `/probe list` for what there is."
# Of examples so many stay, those that came last: every one of them takes its time whenever an adapter is judged.
_MOST_OF_EXAMPLES = 24


class Probes:
    def __init__(self, database: Database, *, now: Callable[[], str] = utc_now) -> None:
        self._database = database
        self._now = now

    def add(self, prompt: str, contains: Collection[str]) -> Probe:
        """A reply to the prompt must hold one of these texts. One of the user's that asks the same is not doubled."""
        prompt, wanted = storable(prompt.strip()), tuple(text for each in contains if (text := storable(each.strip())))
        if not prompt or not wanted:
            raise UsageError(
                "A probe needs a prompt, and what a reply to it must hold",
                hint='For example: /probe "when asked Who are you? it must contain Shammah".',
            )
        made = Probe(id=new_id(), time=self._now(), prompt=prompt, contains=wanted)
        with self._database.transaction() as connection:
            same = next(
                (probe for probe in self.all() if probe.source == "user" and _asked(probe) == _asked(made)), None
            )
            if same is not None:
                return same
            _insert(connection, made)
        return made

    def keep(self, examples: Iterable[Example]) -> None:
        """One for each of these examples, which was learned, under the example's own id: it goes where that goes."""
        with self._database.transaction() as connection:
            for each in examples:
                wanted = (each.target or "",)
                made = Probe(id=each.id, time=self._now(), prompt=each.prompt, contains=wanted, source="example")
                _insert(connection, made)
            connection.execute(
                "DELETE FROM probes WHERE sequence IN "
                "(SELECT sequence FROM probes WHERE source = 'example' ORDER BY sequence DESC LIMIT -1 OFFSET ?)",
                (_MOST_OF_EXAMPLES,),
            )

    def all(self) -> list[Probe]:
        """Oldest first."""
        return [probe_of(row) for row in self._database.rows("SELECT * FROM probes ORDER BY sequence")]

    def get(self, number_or_id: int | str) -> Probe:
        """By its place in `all`, which begins with 1, or else by its id or the beginning of it."""
        text = str(number_or_id).strip()
        places = {str(place): probe for place, probe in enumerate(self.all(), 1)}
        if text in places:
            return places[text]
        return probe_of(one_row(self._database, "SELECT * FROM probes", text, kind="probe", hint=_HINT))

    def delete(self, id: str) -> None:
        """By its whole id."""
        with self._database.transaction() as connection:
            if not connection.execute("DELETE FROM probes WHERE id = ?", (storable(id),)).rowcount:
                raise no_such("probe", id, _HINT)


def _insert(connection: sqlite3.Connection, probe: Probe) -> None:
    """One of this id that is there already stays as it is."""
    columns = as_columns(probe_row(probe))
    names, marks = ", ".join(columns), ", ".join(f":{name}" for name in columns)
    connection.execute(f"INSERT OR IGNORE INTO probes ({names}) VALUES ({marks})", columns)


def _asked(probe: Probe) -> tuple[str, frozenset[str]]:
    return folded(probe.prompt), frozenset(map(folded, probe.contains))
