"""`shammah stats`: how much was rated and how, by model, adapter and day."""

import sys
from dataclasses import asdict
from typing import Any

import click

from shammah.cli.options import common, json_option, opened, to_json
from shammah.feedback.levels import LEVELS
from shammah.records import Buffer
from shammah.store.statistics import Statistics, Tally, statistics
from shammah.ui.render import can_write
from shammah.ui.stats_words import stats_lines

_LONGEST_TIME = 3650


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


def _tally_json(tally: Tally) -> dict[str, Any]:
    shown = asdict(tally)
    return {**shown, "rated": tally.rated, "feedback_rate": tally.feedback_rate, "disliked": tally.disliked}
