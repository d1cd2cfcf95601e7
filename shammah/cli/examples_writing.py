"""`shammah examples add` and `edit`: examples made and changed by hand or by a script."""

import json
import sys
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import click

from shammah.app import App
from shammah.cli.example_filters import RATINGS, example_json, list_line
from shammah.cli.options import common, json_option, opened, to_json
from shammah.errors import UsageError
from shammah.feedback.formats import Draft, read_row
from shammah.feedback.levels import HEAVIEST, read_level
from shammah.feedback.transfer import without_secrets
from shammah.records import Example, Message
from shammah.store.identity import new_id


@click.command("add")
@click.argument("prompt")
@click.option("--reply", metavar="TEXT", help="What the model said.")
@click.option("--rating", type=RATINGS, metavar="LEVEL", help="What it was worth: critical, medium or good.")
@click.option("--note", metavar="TEXT", help="What was wrong with it, or right.")
@click.option("--better", metavar="TEXT", help="What it should have said.")
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="A word to find it by; again for more.")
@click.option("--system", default="", metavar="TEXT", help="The system prompt that it was said under.")
@json_option
@common
def add(prompt: str, as_json: bool, assignments: tuple[str, ...], **options: Any) -> int:
    """Add an example and print its id. With - as PROMPT it is read from stdin: a JSON object like those of a file."""
    draft = _draft_on_stdin(options) if prompt == "-" else _draft_of(prompt, options)
    with opened(options, assignments) as (app, screen):
        draft = without_secrets(draft) if app.config.redact else draft
        example, new = app.desk.take(draft)
    if as_json:
        screen.line(to_json({**example_json(example), "new": new}))
        return 0
    screen.line(example.id)
    if not new:
        screen.say("It is there already.")
    elif example.state != "ready":
        screen.say(f"It {example.state}: {example.reason}.")
    return 0


@click.command("edit")
@click.argument("id")
@click.option("--target", metavar="TEXT", help="What the model should say.")
@click.option("--note", metavar="TEXT", help="What was wrong with the reply, or right.")
@click.option("--rating", type=RATINGS, metavar="LEVEL", help="Rate it anew: critical, medium or good.")
@click.option(
    "--weight", type=click.FloatRange(0, HEAVIEST, min_open=True), metavar="X", help="How much it counts in training."
)
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="Give it this tag; again for more.")
@click.option("--untag", "untags", multiple=True, metavar="TAG", help="Take this tag away; again for more.")
@click.option("--enable/--disable", "enabled", default=None, help="Put it back among the others, or aside.")
@json_option
@common
def edit(id: str, as_json: bool, assignments: tuple[str, ...], **options: Any) -> int:
    """Change an example. Without an option its target is opened in an editor ($VISUAL, else $EDITOR)."""
    asked = any(options[name] not in (None, ()) for name in ("target", "note", "rating", "weight", "tags", "untags"))
    with opened(options, assignments) as (app, screen):
        before = app.desk.examples.get(id)
        if not asked and options["enabled"] is None:
            options["target"] = _written(before)
        with app.database.transaction():
            _change(app, before, options)
        after = app.desk.examples.get(before.id)
    if as_json:
        screen.line(to_json(example_json(after)))
    else:
        screen.say(list_line(after) if after != before else "Nothing changed.")
    return 0


# Adding


def _draft_of(prompt: str, options: dict[str, Any]) -> Draft:
    rating = read_level(options["rating"] or "")
    if rating is None:
        raise UsageError("An example needs a rating", hint="--rating good, medium or critical.")
    if not prompt.strip() or not (options["reply"] or options["better"] or "").strip():
        raise UsageError(
            "An example needs a prompt and a reply", hint="--reply what was said, --better what should be."
        )
    system = [Message("system", options["system"])] if options["system"].strip() else []
    return Draft(
        id=new_id(),
        messages=(*system, Message("user", prompt)),
        level=rating,
        reply=options["reply"],
        better=options["better"],
        note=options["note"],
        tags=options["tags"],
        source="script",
    )


def _draft_on_stdin(options: dict[str, Any]) -> Draft:
    """The one row on stdin; options on the command line would say the same twice."""
    if any(options[name] for name in ("reply", "rating", "note", "better", "tags", "system")):
        raise UsageError("With - the whole example is read from stdin", hint="Leave the other options out.")
    try:
        row = json.loads(sys.stdin.buffer.read().decode())
    except (ValueError, RecursionError) as error:
        raise UsageError(f"stdin holds no JSON: {error}", hint='{"prompt": ..., "reply": ..., "rating": ...}') from None
    return replace(read_row("shammah", row, rating="good"), id=new_id(), source="script")


# Changing


def _change(app: App, example: Example, options: dict[str, Any]) -> None:
    """Do what was asked for, each thing by itself: a rating may come to another target, which is then replaced."""
    desk, note, rating = app.desk, options["note"], read_level(options["rating"] or "")
    if note is not None and not note.strip():
        raise UsageError("The note is empty", hint="--note takes a text.")
    if note is not None or rating is not None:
        desk.rate_example(example.id, rating or example.level, note or "")
    if options["target"] is not None:
        desk.accept(example.id, options["target"])
    if options["weight"] is not None:
        desk.examples.change(example.id, weight=options["weight"])
    if options["tags"] or options["untags"]:
        tags = dict.fromkeys((*example.tags, *options["tags"]))
        desk.examples.change(example.id, tags=tuple(tag for tag in tags if tag not in options["untags"]))
    if options["enabled"] is not None:
        desk.enable(example.id, options["enabled"])


def _written(example: Example) -> str | None:
    from shammah.ui.editing import edit as edit_text

    return edit_text(example.target or example.rejected or "", nullcontext())
