"""`shammah adapters`: what was trained, which of it answers, and taking it away, back, or elsewhere."""

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from shammah.app import IN_USE, App
from shammah.cli.adapters_group import AdaptersGroup, name_argument
from shammah.cli.options import common, json_option, model_options, opened, to_json
from shammah.errors import UsageError
from shammah.records import Activation
from shammah.store.identity import utc_now
from shammah.ui.adapters_words import (
    answers_words,
    compare_lines,
    entry_json,
    figures,
    full_verdict_json,
    label_words,
    leaving_lines,
    list_lines,
    pin_words,
    short_name,
    show_lines,
    tags_words,
    titled,
)
from shammah.ui.given import read_strength
from shammah.ui.render import Screen, printable
from shammah.ui.shelf_commands import (
    export_adapter,
    import_folder,
    list_columns,
    policy_of,
    shelving_of,
)
from shammah.ui.toolbar import counted

if TYPE_CHECKING:
    from shammah.deployment.roster import Entry
    from shammah.deployment.shelving import Shelving


@click.group(cls=AdaptersGroup, context_settings={"help_option_names": ["-h", "--help"]})
def adapters() -> None:
    """See what was trained, choose which of it answers, go back.

    NAME is an adapter's name or the beginning of it, its label, its version as in v7, latest, or active.
    """


@adapters.command("list")
@click.option("--all", "archived", is_flag=True, help="Also those in the archive.")
@model_options
@json_option
@common
def list_(archived: bool, as_json: bool, assignments: tuple[str, ...], **options: Any) -> int:
    """List all adapters, the newest last. The one that answers has a star."""
    with opened(options, assignments) as (app, screen):
        entries, base = app.roster.entries(archived=archived), app.base
        current = app.activations.current(base)
    if as_json:
        for entry in entries:
            screen.line(to_json(entry_json(entry, current, base)))
        return 0
    headings, lines = list_lines(entries, current, base, now=utc_now(), columns=list_columns())
    if headings or not lines:
        screen.say(headings if lines else "There is no adapter yet: `shammah train --now` makes one.")
    for line in lines:
        screen.line(printable(line))
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
        entry, current = app.roster.find(name, base=base), app.activations.current(base)
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
        screen.line(to_json({**entry_json(entry, current, base), **full}))
        return 0
    for line in show_lines(entry, current, base, score, now=utc_now()):
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
    """Show the figures of two adapters side by side. `/compare` in the chat lets both answer."""
    with opened(options, assignments) as (app, screen):
        base = app.base
        first, second = (app.roster.find(name, base=base) for name in (one, other))
        current, scores = app.activations.current(base), app.comparisons.tally(base)
    if as_json:
        measured = [{"name": name, "first": a, "second": b} for name, a, b in figures(first, second)]
        both = {"first": entry_json(first, current, base), "second": entry_json(second, current, base)}
        screen.line(to_json({**both, "figures": measured}))
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
        # An active one is refused, and then before any other is gone.
        found = {entry.name: entry for entry in sorted(meant, key=lambda entry: entry.state != "active")}
        if not yes:
            _ask_about(screen, [titled(entry) for entry in found.values()], "Delete for good?", "--yes deletes")
        for name in found:
            shelving_of(app).delete(name)
    if as_json:
        screen.line(to_json({"deleted": len(found), "names": list(found)}))
    else:
        screen.say(f"Deleted {counted(len(found), 'adapter')}.")
    return 0


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


@adapters.command("export")
@name_argument()
@click.option("--to", metavar="peft|merged|gguf-lora|gguf|ollama", default="peft", show_default=True, help="As what.")
@click.option("--out", metavar="FOLDER", type=click.Path(), help="The folder to make; else one is made here.")
@click.option(
    "--numbers", metavar="f16|q8_0", default="f16", show_default=True, help="How exact a merged GGUF file is."
)
@click.option("--with-examples", is_flag=True, help="With what it was trained on, as it is stored.")
@model_options
@json_option
@common
def export(
    name: str,
    to: str,
    out: str | None,
    numbers: str,
    with_examples: bool,
    as_json: bool,
    assignments: tuple[str, ...],
    **options: Any,
) -> int:
    """Take an adapter elsewhere.

    As a PEFT folder, merged into its model, or as files for llama.cpp and Ollama.
    """
    with opened(options, assignments) as (app, screen):
        app.events.subscribe(screen.handle)
        entry = app.roster.find(name, base=app.base)
        target, files, step = export_adapter(
            app, entry, to, out, with_examples=with_examples, numbers=numbers, publish=app.events.publish
        )
    screen.progress.clear()
    if as_json:
        paths = [str(file) for file in files]
        screen.line(to_json({"name": entry.name, "to": to, "path": str(target), "files": paths, "use": step}))
    else:
        screen.line(str(target))
        screen.say(f"Put it to use: {step}")
    return 0


@adapters.command("import")
@click.argument("folder", type=click.Path(), metavar="FOLDER")
@click.option(
    "--any-base", is_flag=True, help="Even where nothing says that it was made for this model; it must fit it."
)
@model_options
@json_option
@common
def import_(folder: str, any_base: bool, as_json: bool, assignments: tuple[str, ...], **options: Any) -> int:
    """Take in a copy of an adapter that Shammah or peft saved. It has to fit the model, which is loaded for that."""
    with opened(options, assignments) as (app, screen):
        app.events.subscribe(screen.handle)
        entry = import_folder(app, folder, any_base=any_base)
        current, base = app.activations.current(app.base), app.base
    screen.progress.clear()
    if as_json:
        screen.line(to_json(entry_json(entry, current, base)))
    else:
        screen.line(entry.name)
        screen.say(f"`shammah adapters load {short_name(entry.name)}` lets it answer.")
    return 0


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
        current = app.activations.current(base)
    if as_json:
        screen.line(to_json(entry_json(entry, current, base)))
    else:
        screen.say(words(entry))
    return 0


def _ask_about(screen: Screen, lines: Sequence[str], question: str, way_round: str) -> None:
    if not sys.stdin.isatty():
        raise UsageError("Nobody is there to be asked", hint=f"{way_round} without asking.")
    for line in lines:
        screen.tell(line)
    if not click.confirm(question, err=True):
        raise click.exceptions.Exit(1)
