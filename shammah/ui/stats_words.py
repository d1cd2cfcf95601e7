"""The statistics as a person reads them, for /stats and `shammah stats`. Pure."""

from collections.abc import Sequence
from typing import Any

from shammah.feedback.levels import LEVELS
from shammah.records import Buffer
from shammah.store.statistics import Statistics, Tally
from shammah.ui.help_words import wrapped
from shammah.ui.render import printable, sparkline

_DAYS_SHOWN = 30
_NARROW = 60
# The numbers beside a name: all of them, and where there is little room.
_COLUMNS = (("turns", 9), ("rated", 8), ("quality", 9), ("disliked", 10))
_FEW_COLUMNS = (("turns", 7), ("quality", 9), ("disliked", 10))


def stats_lines(found: Statistics, buffer: Buffer, *, ascii: bool, columns: int | None = None) -> list[str]:
    """Without columns as wide as it is."""
    everything, counts = found.all, found.examples
    lines = [
        f"{everything.turns:,} turns, {everything.rated:,} of them rated ({_percent(everything.feedback_rate)})",
        "ratings          " + ", ".join(_rating_words(everything, level) for level in LEVELS),
        f"average quality  {_two_digits(everything.average_quality)}",
    ]
    lines += _curves(found, ascii, columns)
    for title, tallies in (
        ("model", found.by_model),
        ("adapter", found.by_adapter),
        ("day", found.by_day[-_DAYS_SHOWN:]),
    ):
        lines += _table(title, tallies, columns)
    lines += [
        "",
        f"{counts.total:,} examples: {counts.ready:,} ready, {counts.trained:,} trained, "
        f"{counts.needs_target:,} need a target, {counts.needs_review:,} need review, {counts.disabled:,} disabled",
        f"{buffer.examples:,} wait for training ({buffer.weighted:.1f} weighted)",
    ]
    if columns is None:
        return lines
    return [part for line in lines for part in wrapped(line, columns, subsequent_indent="  ") or [""]]


def _curves(found: Statistics, ascii: bool, columns: int | None) -> list[str]:
    """Quality and turns of the last days, today's last."""
    busiest = max(found.daily, default=0) or 1
    busy = [count / busiest if count else None for count in found.daily]
    curves = (("last", found.trend, "quality"), ("", busy, "turns a day"))
    room = len(found.trend) if columns is None else max(1, columns - len("last 365 days    ||"))
    days = min(len(found.trend), room)
    return [
        f"{f'{first} {days:>3} days' if first else what:<17}|{sparkline(values[-days:], ascii=ascii)}|"
        for first, values, what in curves
        if any(value is not None for value in values)
    ]


def _table(title: str, tallies: Sequence[Tally], columns: int | None) -> list[str]:
    if not tallies:
        return []
    narrow = columns is not None and columns < _NARROW
    shown = _FEW_COLUMNS if narrow else _COLUMNS
    room = (columns or 10_000) - sum(width for _, width in shown)
    names = [_cut(printable(tally.name), room) for tally in tallies]
    width = max(len(title), *map(len, names))
    head = f"{title:<{width}}" + "".join(f"{name:>{wide}}" for name, wide in shown)
    return ["", head] + [
        f"{name:<{width}}" + "".join(f"{_cell(tally, column):>{wide}}" for column, wide in shown)
        for name, tally in zip(names, tallies, strict=True)
    ]


def _cell(tally: Tally, column: str) -> str:
    match column:
        case "quality":
            return _two_digits(tally.average_quality)
        case "disliked":
            return _percent(tally.disliked)
        case _:
            return f"{getattr(tally, column):,}"


def _cut(name: str, room: int) -> str:
    """The end of a name says more than its beginning: models are paths, adapters begin alike."""
    return name if len(name) <= room else "..." + name[len(name) - room + 3 :]


def _rating_words(tally: Tally, level: Any) -> str:
    return f"{getattr(tally, level):,} {level} ({_percent(tally.share(level))})"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"


def _two_digits(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
