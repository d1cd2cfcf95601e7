"""`shammah examples`: what training may learn from. The group, and the commands that look at it or let it go."""

import sys
from collections.abc import Sequence
from typing import Any

import click

from shammah.cli.example_filters import (
    STATUS,
    example_json,
    filters,
    find,
    list_line,
    rating_option,
    status_option,
    tag_option,
)
from shammah.cli.examples_files import export, import_, scan
from shammah.cli.examples_writing import add, edit
from shammah.cli.options import common, json_option, opened, to_json
from shammah.errors import ExampleDamaged, UsageError
from shammah.feedback.levels import read_level
from shammah.records import Buffer, Example
from shammah.store import erasing
from shammah.store.examples import Examples
from shammah.ui.render import Screen, printable


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def examples() -> None:
    """Look at what training may learn from, add to it, change it."""


for _command in (add, edit, import_, export, scan):
    examples.add_command(_command)


@examples.command("list")
@filters
@click.option("-l", "--limit", default=20, show_default=True, type=click.IntRange(min=0), help="How many; 0 for all.")
@json_option
@common
def list_(limit: int, as_json: bool, assignments: tuple[str, ...], **options: Any) -> int:
    """List examples, newest first, and what of them waits for training."""
    with opened(options, assignments) as (app, screen):
        found = find(app.desk.examples, options, limit=limit or None)
        total, buffer = app.desk.examples.count(), app.desk.buffer()
    for example in found:
        screen.line(to_json(example_json(example)) if as_json else list_line(example))
    if not as_json:
        if total and not found:
            screen.say("No example matches.")
        screen.say(summary(total, buffer))
    return 0


@examples.command("show")
@click.argument("id")
@json_option
@common
def show(id: str, as_json: bool, assignments: tuple[str, ...], **options: Any) -> int:
    """Show an example by its id, or the start of it."""
    with opened(options, assignments) as (app, screen):
        example = app.desk.examples.get(id)
    if as_json:
        screen.line(to_json(example_json(example)))
    else:
        _show_example(screen, example)
    return 0


@examples.command("accept")
@click.argument("id")
@click.option("--target", metavar="TEXT", help="What the model should say, where it is not what is there.")
@json_option
@common
def accept(id: str, target: str | None, as_json: bool, assignments: tuple[str, ...], **options: Any) -> int:
    """Let an example be trained on: somebody has looked at it."""
    with opened(options, assignments) as (app, screen):
        example = app.desk.accept(id, target)
    if as_json:
        screen.line(to_json(example_json(example)))
    else:
        screen.say(list_line(example))
    return 0


@examples.command("delete")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@json_option
@common
def delete(ids: tuple[str, ...], yes: bool, as_json: bool, assignments: tuple[str, ...], **options: Any) -> int:
    """Delete examples, off the disk. One that came from a rating takes the rating with it."""
    with opened(options, assignments) as (app, screen):
        whole = list(dict.fromkeys(map(app.desk.examples.whole_id, ids)))
        if not yes:
            _ask_about(screen, app.desk.examples, whole)
        deleted = app.desk.delete(whole)
        erasing.scrub(app.database)
    if as_json:
        screen.line(to_json({"deleted": deleted, "ids": whole}))
    else:
        screen.say(f"Deleted {deleted} {'example' if deleted == 1 else 'examples'}.")
    return 0


@examples.command("review")
@status_option
@rating_option
@tag_option
@common
def review(
    status: str | None, rating: str | None, tag: str | None, assignments: tuple[str, ...], **options: Any
) -> int:
    """Look at examples one by one. Accept, edit, re-weigh, skip or delete them."""
    from shammah.ui.reviewing import review_on_terminal

    with opened(options, assignments) as (app, screen):
        chosen = STATUS[status] if status else None
        return review_on_terminal(app, screen, status=chosen, level=read_level(rating or ""), tag=tag)


def summary(total: int, buffer: Buffer) -> str:
    """How many there are, and what they wait for."""

    def need(count: int) -> str:
        return f"{count:,} {'needs' if count == 1 else 'need'}"

    waits = f"{buffer.examples:,} {'waits' if buffer.examples == 1 else 'wait'} for training"
    return (
        f"{total:,} {'example' if total == 1 else 'examples'}; {waits} ({buffer.weighted:.1f} weighted), "
        f"{need(buffer.needs_target)} a better reply, {need(buffer.needs_review)} review"
    )


def _ask_about(screen: Screen, examples: Examples, ids: Sequence[str]) -> None:
    if not sys.stdin.isatty():
        raise UsageError("Nobody is there to be asked", hint="--yes deletes without asking.")
    for id in ids:
        try:
            screen.tell(list_line(examples.get(id)))
        except ExampleDamaged as error:
            screen.tell(error.message)
    if not click.confirm("Delete for good?", err=True):
        raise click.exceptions.Exit(1)


def _show_example(screen: Screen, example: Example) -> None:
    origin = " ".join(filter(None, (example.source, example.model, example.adapter)))
    screen.line(f"# {example.id}  {example.time}  {example.status}  {example.level} {example.weight:g}x  {origin}")
    if example.hold or example.reason:
        screen.line(f"({printable(example.hold or example.reason)})")
    for message in example.messages:
        screen.line(f"{message.role}: {printable(message.content)}")
    for name in ("rejected", "target", "note"):
        if text := getattr(example, name):
            screen.line(f"{name}: {printable(text)}")
    for name in ("rules", "tags", "secrets"):
        if texts := getattr(example, name):
            screen.line(f"{name}: {printable('; '.join(texts))}")
