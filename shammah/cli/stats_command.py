"""`shammah stats`: how much was rated and how, by model, adapter and day."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click

from shammah.cli.options import common, json_option, opened, to_json
from shammah.feedback.levels import LEVELS
from shammah.records import Buffer
from shammah.store.statistics import Statistics, Tally, statistics
from shammah.ui.render import can_write, printable, sparkline

_LONGEST_TIME = 3650
_DAYS_SHOWN = 30


@click.command()
@click.option(
    "--days",
    type=click.IntRange(1, _LONGEST_TIME),
    metavar="N",
    help="Only the last N days, in UTC; the examples are always counted whole.",
)
@json_option
@common
def stats(days: int | None, as_json: bool, assignments: tuple[str, ...], **options: Any) -> int:
    """Show how much was rated, and how good the replies were."""
    with opened(options, assignments) as (app, screen):
        found, buffer = statistics(app.database, days=days), app.desk.buffer()
    if as_json:
        screen.line(to_json(stats_json(found, buffer)))
    else:
        for line in stats_lines(found, buffer, ascii=not can_write("▁", sys.stdout.encoding)):
            screen.line(line)
    return 0


def stats_json(found: Statistics, buffer: Buffer) -> dict[str, Any]:
    """The stable object of `--json`."""
    return {
        "total": found.all.turns,
        "rated": found.all.rated,
        "feedback_rate": found.all.feedback_rate,
        "average_quality": found.all.average_quality,
        "ratings": {level: getattr(found.all, level) for level in LEVELS},
        "shares": {level: found.all.share(level) for level in LEVELS},
        "by_model": [_tally_json(tally) for tally in found.by_model],
        "by_adapter": [_tally_json(tally) for tally in found.by_adapter],
        "by_day": [_tally_json(tally) for tally in found.by_day],
        "trend": list(found.trend),
        "examples": asdict(found.examples),
        "buffer": asdict(buffer),
    }


def stats_lines(found: Statistics, buffer: Buffer, *, ascii: bool) -> list[str]:
    """The statistics as a person reads them."""
    everything = found.all
    lines = [
        f"{everything.turns:,} turns, {everything.rated:,} of them rated ({_percent(everything.feedback_rate)})",
        "ratings          " + ", ".join(_rating_words(everything, level) for level in LEVELS),
        f"average quality  {_two_digits(everything.average_quality)}",
    ]
    if any(value is not None for value in found.trend):
        lines.append(f"last {len(found.trend):>3} days    |{sparkline(found.trend, ascii=ascii)}|")
    for title, tallies in (
        ("model", found.by_model),
        ("adapter", found.by_adapter),
        ("day", found.by_day[-_DAYS_SHOWN:]),
    ):
        lines += _table(title, tallies)
    counts = found.examples
    return [
        *lines,
        "",
        f"{counts.total:,} examples: {counts.ready:,} ready, {counts.trained:,} trained, "
        f"{counts.needs_target:,} need a target, {counts.needs_review:,} need review, {counts.disabled:,} disabled",
        f"{buffer.examples:,} wait for training ({buffer.weighted:.1f} weighted)",
    ]


def _table(title: str, tallies: Sequence[Tally]) -> list[str]:
    if not tallies:
        return []
    names = [printable(tally.name) for tally in tallies]
    width = max(len(title), *map(len, names))
    head = f"{title:<{width}}{'turns':>9}{'rated':>8}{'quality':>9}{'disliked':>10}"
    return ["", head] + [
        f"{name:<{width}}{tally.turns:>9,}{tally.rated:>8,}{_two_digits(tally.average_quality):>9}"
        f"{_percent(tally.disliked):>10}"
        for name, tally in zip(names, tallies, strict=True)
    ]


def _tally_json(tally: Tally) -> dict[str, Any]:
    shown = asdict(tally)
    return {**shown, "rated": tally.rated, "feedback_rate": tally.feedback_rate, "disliked": tally.disliked}


def _rating_words(tally: Tally, level: Any) -> str:
    return f"{getattr(tally, level):,} {level} ({_percent(tally.share(level))})"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"


def _two_digits(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
