"""Which of two voices the user picked without knowing whose it was."""

from collections import defaultdict
from collections.abc import Callable
from typing import Literal, NamedTuple

from shammah.records import Comparison
from shammah.store.database import Database
from shammah.store.identity import utc_now
from shammah.store.rows import as_columns, comparison_of, comparison_row, storable

Place = Literal["first", "second"]


class Score(NamedTuple):
    wins: int = 0
    losses: int = 0
    draws: int = 0

    def after(self, picked: Place | None, place: Place) -> "Score":
        """With one more comparison, of which the voice was at this place."""
        if picked is None:
            return self._replace(draws=self.draws + 1)
        return self._replace(wins=self.wins + 1) if picked == place else self._replace(losses=self.losses + 1)


class Comparisons:
    def __init__(self, database: Database, *, now: Callable[[], str] = utc_now) -> None:
        self._database = database
        self._now = now

    def add(self, base: str, first: str | None, second: str | None, picked: Place | None) -> Comparison:
        """Adapters by their names, None for the base itself; `picked` None where neither was better."""
        assert first != second, "a voice is not compared with itself"
        made = Comparison(time=self._now(), base=base, first=first, second=second, picked=picked)
        columns = as_columns(comparison_row(made))
        names, marks = ", ".join(columns), ", ".join(f":{name}" for name in columns)
        with self._database.transaction() as connection:
            connection.execute(f"INSERT INTO comparisons ({names}) VALUES ({marks})", columns)
        return made

    def all(self, base: str) -> list[Comparison]:
        """Oldest first."""
        rows = self._database.rows("SELECT * FROM comparisons WHERE base = ? ORDER BY sequence", (storable(base),))
        return [comparison_of(row) for row in rows]

    def tally(self, base: str) -> dict[str | None, Score]:
        """How each voice of a base came off, None being the base itself."""
        scores: dict[str | None, Score] = defaultdict(Score)
        for compared in self.all(base):
            for voice, _, place in _sides(compared):
                scores[voice] = scores[voice].after(compared.picked, place)
        return dict(scores)

    def against(self, base: str, adapter: str, *, since: str) -> dict[str | None, Score]:
        """How an adapter came off against each of the other voices, from this time on."""
        scores: dict[str | None, Score] = defaultdict(Score)
        for compared in self.all(base):
            for voice, other, place in _sides(compared):
                if voice == adapter and compared.time >= since:
                    scores[other] = scores[other].after(compared.picked, place)
        return dict(scores)


def _sides(compared: Comparison) -> tuple[tuple[str | None, str | None, Place], ...]:
    """Each of the two voices with the other one, and where it stood."""
    return (compared.first, compared.second, "first"), (compared.second, compared.first, "second")
