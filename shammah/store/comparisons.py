"""Which of two voices the user picked without knowing whose it was."""

from collections import defaultdict
from collections.abc import Callable
from typing import Literal, NamedTuple

from shammah.records import Comparison
from shammah.store.database import Database
from shammah.store.identity import utc_now
from shammah.store.rows import as_columns, comparison_of, comparison_row, storable


class Score(NamedTuple):
    wins: int = 0
    losses: int = 0
    draws: int = 0


class Comparisons:
    def __init__(self, database: Database, *, now: Callable[[], str] = utc_now) -> None:
        self._database = database
        self._now = now

    def add(
        self, base: str, first: str | None, second: str | None, picked: Literal["first", "second"] | None
    ) -> Comparison:
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
            for voice, place in ((compared.first, "first"), (compared.second, "second")):
                wins, losses, draws = scores[voice]
                if compared.picked is None:
                    scores[voice] = Score(wins, losses, draws + 1)
                elif compared.picked == place:
                    scores[voice] = Score(wins + 1, losses, draws)
                else:
                    scores[voice] = Score(wins, losses + 1, draws)
        return dict(scores)
