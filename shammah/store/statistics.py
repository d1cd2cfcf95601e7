"""What is known of the turns and examples in numbers. The turns are counted by an index alone: no text is read.

Days are those of UTC. Averages and shares are None where there is nothing to take them of.
"""

import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import groupby
from typing import NamedTuple

from shammah.records import Level
from shammah.store.database import Database
from shammah.store.identity import utc_now
from shammah.store.rows import listed

_TREND_DAYS = 30
_NO_ADAPTER = "none"
_COUNTS = """
    SELECT substr(time, 1, 10) AS day, model, adapter, feedback,
           count(*) AS turns, count(quality) AS scored, total(quality) AS quality
    FROM turns WHERE time >= ? GROUP BY 1, 2, 3, 4"""
_USES = """
    SELECT adapter, count(*) AS turns, count(*) FILTER (WHERE feedback = 'good') AS good,
           count(*) FILTER (WHERE feedback = 'medium') AS medium,
           count(*) FILTER (WHERE feedback = 'critical') AS critical, max(time) AS last
    FROM turns WHERE time >= ?1 AND (
        adapter IS NOT NULL OR ?2 IS NULL OR model IN (SELECT value FROM json_each(?2))
    ) GROUP BY adapter"""
_MODELS = "SELECT DISTINCT model FROM turns WHERE adapter IS NULL"
_EXAMPLES = """
    SELECT count(*) AS total,
           count(*) FILTER (WHERE hold = '' AND state = 'ready' AND trained = 0) AS ready,
           count(*) FILTER (WHERE hold = '' AND state = 'ready' AND trained > 0) AS trained,
           count(*) FILTER (WHERE hold = '' AND state = 'needs target') AS needs_target,
           count(*) FILTER (WHERE hold = '' AND state = 'needs review') AS needs_review,
           count(*) FILTER (WHERE hold <> '' OR state = 'disabled') AS disabled
    FROM examples"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Some turns, counted. `name` is the day, the model or the adapter that they have in common."""

    name: str
    turns: int
    good: int
    medium: int
    critical: int
    average_quality: float | None

    @property
    def rated(self) -> int:
        return self.good + self.medium + self.critical

    @property
    def feedback_rate(self) -> float | None:
        """The share of the turns that were rated."""
        return self.rated / self.turns if self.turns else None

    @property
    def disliked(self) -> float | None:
        """The share of the rated ones that were rated medium or critical."""
        return self.share("medium", "critical")

    def share(self, *levels: Level) -> float | None:
        """The share of these levels in all ratings."""
        counts = {"good": self.good, "medium": self.medium, "critical": self.critical}
        return sum(counts[level] for level in levels) / self.rated if self.rated else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleCounts:
    """How many examples there are of each status."""

    total: int
    ready: int
    trained: int
    needs_target: int
    needs_review: int
    disabled: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """`trend` is the average quality of each of the last days, today's last; None for a day without any. `daily` are
    the turns of the same days."""

    all: Tally
    by_model: tuple[Tally, ...]
    by_adapter: tuple[Tally, ...]
    by_day: tuple[Tally, ...]
    trend: tuple[float | None, ...]
    daily: tuple[int, ...]
    examples: ExampleCounts


class Use(NamedTuple):
    """How often an adapter answered, how that was rated, and when it did last."""

    turns: int
    good: int
    medium: int
    critical: int
    last: str


def uses(database: Database, *, since: str = "", is_base: Callable[[str], bool] | None = None) -> dict[str | None, Use]:
    """By the names of the adapters, None for the base models alone; of turns from this time on. With `is_base` only
    models whose name it is true of count as base."""
    models = None
    if is_base is not None:
        models = listed(row["model"] for row in database.rows(_MODELS) if is_base(row["model"]))
    rows = database.rows(_USES, (since, models))
    return {row["adapter"]: Use(**{name: row[name] for name in Use._fields}) for row in rows}


def statistics(database: Database, *, days: int | None = None, now: Callable[[], str] = utc_now) -> Statistics:
    """Of the last so many days, today among them; of all times without. Models and adapters come most used first."""
    today = date.fromisoformat(now()[:10])
    first = today - timedelta(days=days - 1) if days and days <= today.toordinal() else date.min
    rows = database.rows(_COUNTS, (first.isoformat(),))
    by_day = _tallies(rows, "day")
    tallies = {tally.name: tally for tally in by_day}
    back = reversed(range(min(days or _TREND_DAYS, today.toordinal())))
    shown = [(today - timedelta(days=each)).isoformat() for each in back]
    return Statistics(
        all=_tally("all", rows),
        by_model=_most_used_first(_tallies(rows, "model")),
        by_adapter=_most_used_first(_tallies(rows, "adapter")),
        by_day=by_day,
        trend=tuple(tallies[day].average_quality if day in tallies else None for day in shown),
        daily=tuple(tallies[day].turns if day in tallies else 0 for day in shown),
        examples=ExampleCounts(**dict(database.rows(_EXAMPLES)[0])),
    )


def _tallies(rows: Iterable[sqlite3.Row], column: str) -> tuple[Tally, ...]:
    """One for each value of the column, in the order of the values."""

    def name(row: sqlite3.Row) -> str:
        return row[column] or _NO_ADAPTER

    return tuple(_tally(value, [*alike]) for value, alike in groupby(sorted(rows, key=name), key=name))


def _tally(name: str, rows: Iterable[sqlite3.Row]) -> Tally:
    turns, scored, quality = 0, 0, 0.0
    rated = {"good": 0, "medium": 0, "critical": 0}
    for row in rows:
        turns += row["turns"]
        scored += row["scored"]
        quality += row["quality"]
        if row["feedback"] in rated:
            rated[row["feedback"]] += row["turns"]
    return Tally(name=name, turns=turns, average_quality=quality / scored if scored else None, **rated)


def _most_used_first(tallies: Iterable[Tally]) -> tuple[Tally, ...]:
    return tuple(sorted(tallies, key=lambda tally: -tally.turns))
