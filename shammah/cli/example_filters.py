"""Choosing examples on the command line and showing them: what the commands about examples share."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any, TypeVar, get_args

import click

from shammah.excerpt import excerpt
from shammah.feedback.levels import level_words, read_level
from shammah.records import Example
from shammah.store.examples import Examples, Status
from shammah.store.rows import example_row
from shammah.ui.render import printable

STATUS: dict[str, Status] = {status.replace(" ", "-"): status for status in get_args(Status)}
RATINGS = click.Choice(level_words(), case_sensitive=False)
_ID_SHOWN, _PROMPT_SHOWN, _NOTE_SHOWN = 10, 44, 30
F = TypeVar("F", bound=Callable[..., Any])


def time_limit(ctx: click.Context, param: click.Parameter, text: str | None) -> str | None:
    """A day as it stands, a moment as the store writes them: in UTC, which is meant where no zone is named."""
    if text is None:
        return None
    try:
        if len(text) <= len("2026-01-31"):
            return date.fromisoformat(text).isoformat()
        moment = datetime.fromisoformat(text)
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise click.BadParameter(f"{text!r} is no day like 2026-01-31 and no time like 2026-01-31T09:05") from None
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def status_option(function: F) -> F:
    return click.option(
        "--status", type=click.Choice(list(STATUS)), metavar="STATUS", help=f"Only these: {', '.join(STATUS)}."
    )(function)


def rating_option(function: F) -> F:
    return click.option(
        "--rating",
        "--level",
        "rating",
        type=RATINGS,
        metavar="LEVEL",
        help="Only those rated good, medium or critical.",
    )(function)


def tag_option(function: F) -> F:
    return click.option("--tag", metavar="TAG", help="Only those with this tag.")(function)


def filters(function: F) -> F:
    """What `list` and `export` can be narrowed down by."""
    for decorate in (
        click.option("-m", "--model", "by_model", metavar="NAME", help="Only replies of this model."),
        click.option(
            "--min-quality", type=float, metavar="X", help="Only turns of this quality or better, from 0 to 1."
        ),
        click.option("--until", metavar="TIME", callback=time_limit, help="Only up to this day or time, in UTC."),
        click.option("--since", metavar="TIME", callback=time_limit, help="Only from this day or time on, in UTC."),
        click.option("--search", default="", metavar="TEXT", help="Only those with all these words."),
        tag_option,
        rating_option,
        status_option,
    ):
        function = decorate(function)
    return function


def find(
    examples: Examples, options: dict[str, Any], *, limit: int | None, oldest_first: bool = False
) -> list[Example]:
    """What the options of `filters` let through."""
    return examples.find(
        status=STATUS[options["status"]] if options["status"] else None,
        level=read_level(options["rating"] or ""),
        tag=options["tag"],
        text=options["search"],
        since=options["since"],
        until=options["until"],
        min_quality=options["min_quality"],
        model=options["by_model"],
        limit=limit,
        oldest_first=oldest_first,
    )


def example_json(example: Example) -> dict[str, Any]:
    """Every field of an example. `level` is called rating, as in files of examples."""
    row = example_row(example)
    return {
        "id": row.pop("id"),
        "time": row.pop("time"),
        "status": example.status,
        "rating": row.pop("level"),
        "weight": row.pop("weight"),
        "prompt": example.prompt,
        **row,
    }


def list_line(example: Example) -> str:
    """An example on one line."""
    rating = f"{example.level} {example.weight:g}x"
    prompt = printable(excerpt(example.prompt, _PROMPT_SHOWN))
    note = f"  ({printable(excerpt(example.note, _NOTE_SHOWN))})" if example.note else ""
    return f"{example.id[:_ID_SHOWN]}  {example.status:<12}  {rating:<13}  {prompt}{note}"
