"""`shammah adapters`: what was trained, which of it answers, and taking it away, back, or elsewhere."""

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from shammah.app import IN_USE, App
from shammah.cli.adapters_files import export, import_
from shammah.cli.adapters_group import AdaptersGroup, name_argument
from shammah.cli.options import common, json_option, model_options, opened, to_json
from shammah.errors import UsageError
from shammah.records import Activation
from shammah.store.identity import utc_now
from shammah.ui.adapters_words import (
    answers_words,
    archived_words,
    compare_lines,
    entry_json,
    figures,
    full_verdict_json,
    label_words,
    leaving_lines,
    list_lines,
    pin_words,
    restored_words,
    show_lines,
    tags_words,
    titled,
)
from shammah.ui.given import read_strength
from shammah.ui.render import Screen, printable
from shammah.ui.shelf_commands import (
    entry_or_base,
    list_columns,
    policy_of,
    shelving_of,
    who_answers,
)
from shammah.ui.toolbar import counted

if TYPE_CHECKING:
    from shammah.deployment.roster import Entry
    from shammah.deployment.shelving import Shelving


@click.group(cls=AdaptersGroup, context_settings={"help_option_names": ["-h", "--help"]})
def adapters() -> None:
    """See what was trained, choose which of it answers, go back.

    NAME is an adapter's name or the beginning of it, its label, its version as in v7, active, or latest: the newest
    that was accepted or imported.
    """


for _command in (export, import_):
    adapters.add_command(_command)


@adapters.command("list")
@click.option("--all", "archived", is_flag=True, help="Also those in the archive.")
@model_options
@json_option
@common
def list_(archived: bool, as_json: bool, assignments: tuple[str, ...], **options: Any) -> int:
    """List all adapters, the newest last. The one that answers has a star."""
    with opened(options, assignments) as (app, screen):
        entries, base = app.roster.entries(archived=archived), app.base
        current, answering = app.activations.current(base), who_answers(app)
        empty = "" if entries else _no_adapter(len(app.roster.entries(archived=True)))
    if as_json:
        screen.lines([to_json(entry_json(entry, current, answering)) for entry in entries])
        return 0
    headings, lines = list_lines(entries, current, base, answering=answering, now=utc_now(), columns=list_columns())
    if headings or empty:
        screen.say(empty or headings)
    screen.lines([printable(line) for line in lines])
    return 0


@adapters.command("show")
@name_argument()
@model_options
@json_option
@common
def show(name: str, as_json: bool, assignments: tuple[str, ...], **options: Any) -> int:
    """Show all that is known of an adapter, with its verdict."""
    with opened(options, assignments) as (app, screen):
        base = app.base
        entry, current, answering = app.roster.find(name, base=base), app.activations.current(base), who_answers(app)
        score = app.comparisons.tally(base).get(entry.name)
    if as_json:
        manifest = entry.manifest
        about = (
            {} if manifest is None else {"shape": manifest.shape, "recipe": manifest.recipe, "files": manifest.files}
        )
        compared = None if score is None else score._asdict()
        full = {
            "verdict": full_verdict_json(entry),
            "compared": compared,
            "shape": {},
            "recipe": {},
            "files": {},
            **about,
        }
        screen.line(to_json({**entry_json(entry, current, answering), **full}))
        return 0
    for line in show_lines(entry, current, score, now=utc_now()):
        screen.line(printable(line))
    return 0


@adapters.command("load")
@name_argument()
@click.option(
    "--strength", metavar="0..1", default="1", show_default=True, help="How strongly it speaks; 0 not at all."
)
@model_options
@json_option
@common
def load(name: str, strength: str, as_json: bool, assignments: tuple[str, ...], **options: Any) -> int:
    """Let an adapter answer from the next message on.

    In the chats that run, too.
    """
    with opened(options, assignments) as (app, screen):
        made = app.helm.load(name, base=app.base, strength=read_strength(strength))
        _tell_who_answers(app, screen, made, as_json)
    return 0


@adapters.command("unload")
@model_options
@json_option
@common
def unload(as_json: bool, assignments: tuple[str, ...], **options: Any) -> int:
    """Let the model itself answer, without an adapter."""
    with opened(options, assignments) as (app, screen):
        _tell_who_answers(app, screen, app.helm.unload(app.base), as_json)
    return 0


@adapters.command("rollback")
@click.argument("steps", type=click.IntRange(min=1), default=1, metavar="[N]")
@model_options
@json_option
@common
def rollback(steps: int, as_json: bool, assignments: tuple[str, ...], **options: Any) -> int:
    """Let that answer again that did before.

    N says how many steps; where the way ends, the model itself answers. A step is one of another adapter: a change of
    strength is none.
    """
    with opened(options, assignments) as (app, screen):
        _tell_who_answers(app, screen, app.helm.rollback(app.base, steps), as_json)
    return 0


@adapters.command("compare")
@name_argument("one", metavar="A")
@name_argument("other", metavar="B")
@model_options
@json_option
@common
def compare(one: str, other: str, as_json: bool, assignments: tuple[str, ...], **options: Any) -> int:
    """Show the figures of two adapters, or one and base, side by side. In the chat `/compare` lets both answer."""
    with opened(options, assignments) as (app, screen):
        base = app.base
        first, second = (entry_or_base(app, name) for name in (one, other))
        current, scores, answering = app.activations.current(base), app.comparisons.tally(base), who_answers(app)
    if as_json:
        measured = [{"name": name, "first": a, "second": b} for name, a, b in figures(first, second)]
        sides, compared = {}, {}
        for side, entry in (("first", first), ("second", second)):
            score = scores.get(entry.name if entry else None)
            sides[side] = None if entry is None else entry_json(entry, current, answering)
            compared[side] = None if score is None else score._asdict()
        screen.line(to_json({**sides, "figures": measured, "compared": compared}))
        return 0
    for line in compare_lines(first, second, scores):
        screen.line(printable(line))
    return 0


@adapters.command("delete")
@name_argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@model_options
@json_option
@common
def delete(names: tuple[str, ...], yes: bool, as_json: bool, assignments: tuple[str, ...], **options: Any) -> int:
    """Delete adapters off the disk, never the active one. The examples they learned from stay."""
    with opened(options, assignments) as (app, screen):
        meant = (app.roster.find(name, base=app.base) for name in names)
        # One that answers is refused, and then before any other is gone.
        answering_first = sorted(meant, key=lambda entry: entry.state != "active" and not entry.named)
        found = {entry.name: entry for entry in answering_first}
        if not yes:
            _ask_about(screen, [titled(entry) for entry in found.values()], "Delete for good?", "--yes deletes")
        for name in found:
            shelving_of(app).delete(name)
    if as_json:
        screen.line(to_json({"deleted": len(found), "names": list(found)}))
    else:
        screen.say(f"Deleted {counted(len(found), 'adapter')}.")
    return 0


@adapters.command("archive")
@name_argument()
@model_options
@json_option
@common
def archive(name: str, as_json: bool, assignments: tuple[str, ...], **options: Any) -> int:
    """Put an adapter away, never the active one. `list --all` still shows it."""
    return _change(
        name, lambda shelving, found: shelving.archive(found), _archived_words, as_json, assignments, options
    )


@adapters.command("restore")
@name_argument()
@model_options
@json_option
@common
def restore(name: str, as_json: bool, assignments: tuple[str, ...], **options: Any) -> int:
    """Fetch an adapter back from the archive. `load` does so too, and has it answer."""
    return _change(name, lambda shelving, found: shelving.restore(found), restored_words, as_json, assignments, options)


@adapters.command("rename")
@name_argument()
@click.argument("label", required=False, metavar="[NEW]")
@model_options
@json_option
@common
def rename(name: str, label: str | None, as_json: bool, assignments: tuple[str, ...], **options: Any) -> int:
    """Give an adapter a label to call it by.

    Without one, take its label off. Its folder keeps its name.
    """
    return _change(
        name, lambda shelving, found: shelving.rename(found, label), label_words, as_json, assignments, options
    )


@adapters.command("pin")
@name_argument()
@model_options
@json_option
@common
def pin(name: str, as_json: bool, assignments: tuple[str, ...], **options: Any) -> int:
    """Keep an adapter, however old it grows."""
    return _change(name, lambda shelving, found: shelving.pin(found), pin_words, as_json, assignments, options)


@adapters.command("unpin")
@name_argument()
@model_options
@json_option
@common
def unpin(name: str, as_json: bool, assignments: tuple[str, ...], **options: Any) -> int:
    """Keep an adapter no longer than the others."""
    return _change(name, lambda shelving, found: shelving.pin(found, False), pin_words, as_json, assignments, options)


@adapters.command("tag")
@name_argument()
@click.argument("tags", nargs=-1, metavar="[TAG]...")
@model_options
@json_option
@common
def tag(name: str, tags: tuple[str, ...], as_json: bool, assignments: tuple[str, ...], **options: Any) -> int:
    """Give an adapter these tags and no others; without one, none."""
    return _change(name, lambda shelving, found: shelving.tag(found, tags), tags_words, as_json, assignments, options)


@adapters.command("prune")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Say which would leave, and leave them.")
@model_options
@json_option
@common
def prune(yes: bool, dry_run: bool, as_json: bool, assignments: tuple[str, ...], **options: Any) -> int:
    """Put adapters away that are neither new nor good.

    The settings adapters.* say how many are kept.
    """
    from shammah.deployment import retention

    with opened(options, assignments) as (app, screen):
        put_away = app.config.adapters.put_away
        gone = retention.leaving(app.roster.entries(), policy_of(app), now=utc_now())
        if gone and not (yes or dry_run):
            question = "Archive them?" if put_away else "Delete them for good?"
            _ask_about(screen, leaving_lines(gone, put_away=put_away), question, "--yes goes on")
        if not dry_run:
            gone = retention.prune(shelving_of(app), policy_of(app), now=utc_now(), put_away=put_away)
    names = [entry.name for entry in gone]
    if as_json:
        screen.line(to_json({"left": len(names), "names": names, "archived": put_away, "done": not dry_run}))
        return 0
    for name in names:
        screen.line(name)
    would = "would be " if dry_run else ""
    screen.say(f"{counted(len(names), 'adapter')} {would}{'archived' if put_away else 'deleted'}.")
    return 0


def _no_adapter(archived: int) -> str:
    if archived:
        return f"No adapter is on the shelf: `shammah adapters list --all` shows {archived} in the archive."
    return "There is no adapter yet: `shammah train --now` makes one."


def _tell_who_answers(app: App, screen: Screen, made: Activation, as_json: bool) -> None:
    entry = None if made.adapter is None else app.roster.find(made.adapter)
    if as_json:
        told = {"adapter": made.adapter, "version": entry and entry.summary and entry.summary.version}
        screen.line(to_json({**told, "strength": made.strength, "base": made.base, "time": made.time}))
        return
    screen.line(answers_words(entry, made.strength))
    if app.config.adapter != IN_USE:
        screen.say(f"Not where the setting adapter is {app.config.adapter}: `shammah config set adapter active`.")


def _change(
    name: str,
    act: "Callable[[Shelving, str], Entry]",
    words: "Callable[[Entry], str]",
    as_json: bool,
    assignments: tuple[str, ...],
    options: dict[str, Any],
) -> int:
    """Change what is noted of an adapter, and say what it is then."""
    with opened(options, assignments) as (app, screen):
        base = app.base
        entry = act(shelving_of(app), app.roster.find(name, base=base).name)
        current, answering = app.activations.current(base), who_answers(app)
    if as_json:
        screen.line(to_json(entry_json(entry, current, answering)))
    else:
        screen.say(words(entry))
    return 0


def _archived_words(entry: "Entry") -> str:
    return archived_words(entry, "shammah adapters")


def _ask_about(screen: Screen, lines: Sequence[str], question: str, way_round: str) -> None:
    if not sys.stdin.isatty():
        raise UsageError("Nobody is there to be asked", hint=f"{way_round} without asking.")
    for line in lines:
        screen.tell(line)
    if not click.confirm(question, err=True):
        raise click.exceptions.Exit(1)
