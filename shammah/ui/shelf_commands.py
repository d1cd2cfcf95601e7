"""/adapters: the shelf, who answers, and the ways back; /base: one answer of the model itself."""

import logging
import os
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING

from shammah.durable import expand
from shammah.errors import AdapterDamaged, AdapterMisfit, ShammahError, UsageError
from shammah.events import Event
from shammah.records import Activation
from shammah.store.identity import utc_now
from shammah.ui.adapters_words import (
    PREFIX,
    answers_words,
    compare_lines,
    label_words,
    leaving_lines,
    list_lines,
    pin_words,
    short_name,
    show_lines,
    tags_words,
    titled,
)
from shammah.ui.commands import by_word, read_count, registry
from shammah.ui.given import Given, read_given, read_strength
from shammah.ui.render import columns
from shammah.ui.talk import require_kept
from shammah.ui.toolbar import counted

if TYPE_CHECKING:
    from shammah.app import App
    from shammah.deployment.retention import Policy
    from shammah.deployment.roster import Entry
    from shammah.deployment.shelving import Shelving
    from shammah.ui.repl import Repl

log = logging.getLogger(__name__)
_USAGES = {
    "list": "[all]",
    "show": "NAME",
    "load": "NAME [--strength 0.5]",
    "unload": "",
    "rollback": "[n], to another adapter: a change of strength is no step",
    "compare": "A [B]",
    "delete": "NAME",
    "rename": "NAME [NEW]",
    "pin": "NAME",
    "unpin": "NAME",
    "tag": "NAME [TAG...]",
    "export": "NAME [--to peft|merged|gguf-lora|gguf|ollama] [--out FOLDER] [--numbers f16|q8_0] [--with-examples]",
    "import": "FOLDER [--any-base]",
    "prune": "",
}
_NAMES = "/adapters list shows them."
# Where nobody can tell how wide it is shown, a list is as wide as it is.
_ANY_WIDTH = 10_000
_MOST_TAGS = 100


# How what is typed is read


def usage_of(word: str) -> str:
    return f"/adapters {word} {_USAGES[word]}".rstrip()


def list_columns() -> int:
    return columns(sys.stdout, _ANY_WIDTH)


def adapter_names(app: "App", begun: str) -> list[str]:
    """What the adapters are called: the labels, then the names in short; in full where they were begun so.

    Only the names of the folders are looked at, so it is quick however many there are.
    """
    from shammah.store.adapter_notes import AdapterNotes

    if not app.keeps_turns:
        return []
    try:
        labels = [note.label for note in AdapterNotes(app.database).all().values() if note.label]
        folders = sorted(path.name for path in app.home.adapters.iterdir() if not path.name.startswith("."))
    except (ShammahError, OSError):
        log.info("no names of adapters to complete", exc_info=True)
        return []
    in_full = bool(begun) and PREFIX.startswith(begun[: len(PREFIX)])
    return [*labels, *(folders if in_full else map(short_name, folders))]


def _given(
    word: str, argument: str, *, most: int = 1, values: Collection[str] = (), flags: Collection[str] = ()
) -> Given:
    return read_given(argument, usage_of(word), most=most, values=values, flags=flags)


def _named(repl: "Repl", name: str) -> "Entry":
    if not name:
        raise UsageError("Which adapter?", hint=_NAMES)
    return repl.app.roster.find(name, base=repl.app.base)


def _only_name(repl: "Repl", argument: str, word: str) -> "Entry":
    words = _given(word, argument).words
    return _named(repl, words[0] if words else "")


# What there is


def _list(repl: "Repl", argument: str) -> None:
    if argument not in ("", "all"):
        raise UsageError(f"/adapters list does not know {argument!r}", hint="/adapters list all has the archived too.")
    app = repl.app
    entries = app.roster.entries(archived=argument == "all")
    if not entries:
        raise UsageError("There is no adapter yet", hint="`/train now` makes one from what you rated.")
    headings, lines = list_lines(
        entries, app.activations.current(app.base), app.base, now=utc_now(), columns=list_columns()
    )
    repl.screen.tell("\n".join(filter(None, (headings, *lines))))


def _show(repl: "Repl", argument: str) -> None:
    app, entry = repl.app, _only_name(repl, argument, "show")
    score = app.comparisons.tally(app.base).get(entry.name)
    lines = show_lines(entry, app.activations.current(app.base), app.base, score, now=utc_now())
    repl.screen.tell("\n".join(lines))


def _compare(repl: "Repl", argument: str) -> None:
    words = _given("compare", argument, most=2).words
    one, other = _named(repl, words[0] if words else ""), _named(repl, words[1] if len(words) > 1 else "active")
    repl.screen.tell("\n".join(compare_lines(one, other, repl.app.comparisons.tally(repl.app.base))))


# Who answers


def _load(repl: "Repl", argument: str) -> None:
    given = _given("load", argument, values=("strength",))
    entry, strength = _named(repl, " ".join(given.words)), read_strength(given.options.get("strength", "1"))
    _tell_who_answers(repl, repl.app.helm.load(entry.name, base=repl.app.base, strength=strength))


def _unload(repl: "Repl", argument: str) -> None:
    _given("unload", argument, most=0)
    _tell_who_answers(repl, repl.app.helm.unload(repl.app.base))


def _rollback(repl: "Repl", argument: str) -> None:
    steps = read_count(argument, "/adapters rollback goes one step back, /adapters rollback 2 two.", otherwise=1)
    _tell_who_answers(repl, repl.app.helm.rollback(repl.app.base, steps))


def _tell_who_answers(repl: "Repl", made: Activation) -> None:
    """The chat follows at once. What hinders it is told by a notice, and then not the contrary."""
    entry = None if made.adapter is None else repl.app.roster.find(made.adapter)
    repl.app.follow(asked=True)
    if not repl.talk.loaded or repl.app.answering() == made.adapter:
        repl.screen.tell(answers_words(entry, made.strength))


# What is kept, and as what


def shelving_of(app: "App") -> "Shelving":
    from shammah.deployment.shelving import Shelving

    return Shelving(app.roster)


def _delete(repl: "Repl", argument: str) -> None:
    entry = _only_name(repl, argument, "delete")
    if entry.state != "active":  # which is refused
        repl.screen.tell(f"This deletes {titled(entry)} off the disk; your examples stay.")
        if repl.prompt.choose("Delete it for good? y/N ", "yn") != "y":
            repl.screen.tell("Nothing was deleted.")
            return
    shelving_of(repl.app).delete(entry.name)
    repl.screen.tell(f"Deleted {titled(entry)}.")


def _rename(repl: "Repl", argument: str) -> None:
    words = _given("rename", argument, most=2).words
    entry = _named(repl, words[0] if words else "")
    repl.screen.tell(label_words(shelving_of(repl.app).rename(entry.name, words[1] if len(words) > 1 else None)))


def _pin(repl: "Repl", argument: str) -> None:
    entry = _only_name(repl, argument, "pin")
    repl.screen.tell(pin_words(shelving_of(repl.app).pin(entry.name)))


def _unpin(repl: "Repl", argument: str) -> None:
    entry = _only_name(repl, argument, "unpin")
    repl.screen.tell(pin_words(shelving_of(repl.app).pin(entry.name, False)))


def _tag(repl: "Repl", argument: str) -> None:
    name, *tags = _given("tag", argument, most=_MOST_TAGS).words or [""]
    entry = _named(repl, name)
    repl.screen.tell(tags_words(shelving_of(repl.app).tag(entry.name, tags)))


def policy_of(app: "App") -> "Policy":
    from shammah.deployment.retention import Policy

    kept = app.config.adapters
    return Policy(keep_last=kept.keep_last, keep_best=kept.keep_best, max_days=kept.max_days)


def _prune(repl: "Repl", argument: str) -> None:
    from shammah.deployment.retention import leaving, prune

    _given("prune", argument, most=0)
    app, put_away = repl.app, repl.app.config.adapters.put_away
    entries = leaving(app.roster.entries(), policy_of(app), now=utc_now())
    if not entries:
        repl.screen.tell("Every adapter is kept: there is nothing to prune.")
        return
    repl.screen.tell("\n".join(leaving_lines(entries, put_away=put_away)))
    if repl.prompt.choose("Go on? y/N ", "yn") != "y":
        repl.screen.tell("All are kept.")
        return
    left = prune(shelving_of(app), policy_of(app), now=utc_now(), put_away=put_away)
    repl.screen.tell(f"{'Archived' if put_away else 'Deleted'} {counted(len(left), 'adapter')}.")


# Elsewhere and back


def export_adapter(
    app: "App",
    entry: "Entry",
    to: str,
    out: str | None,
    *,
    with_examples: bool,
    numbers: str = "f16",
    publish: Callable[[Event], None],
) -> tuple[Path, list[Path], str]:
    """The folder that was made, its files, and how they are put to use. Without `out` it is made in the folder that the
    program was started in."""
    from shammah.deployment.exporting import FORMS, NUMBERS, BaseModel, export, next_step

    form = next((form for form in FORMS if form == to), None)
    if form is None:
        raise UsageError(f"There is no form {to!r} to export to", hint=f"There is {', '.join(FORMS)}.")
    if numbers not in NUMBERS:
        raise UsageError(f"There is no number format {numbers!r}", hint=f"There is {' and '.join(NUMBERS)}.")
    manifest = entry.manifest
    if manifest is None:
        raise AdapterDamaged(entry.broken, hint="Put back a whole copy of the folder, or choose another adapter.")
    base: BaseModel | None = None
    if form != "peft":
        if manifest.base != app.base:
            raise AdapterMisfit(
                f"The adapter {entry.name} was made for {manifest.base}, not for {app.base}",
                hint=f"Give that model: -m {manifest.base}.",
            )
        from shammah.model.fetching import ensure

        folder = ensure(app.source, app.model_cache, offline=app.config.offline, publish=publish)
        base = BaseModel(folder=folder, cache_folder=app.model_cache.root.parent)
    target = Path(os.path.abspath(expand(out or f"{entry.name}-{form}")))
    files = export(
        manifest,
        entry.folder,
        to=form,
        out=target,
        config=app.config,
        base=base,
        numbers=numbers,
        examples=app.desk.examples if with_examples else None,
        audit=app.audit,
        publish=publish,
    )
    return target, files, next_step(form, target, manifest)


def _export(repl: "Repl", argument: str) -> None:
    given = _given("export", argument, values=("to", "out", "numbers"), flags=("with-examples",))
    entry, options = _named(repl, " ".join(given.words)), given.options
    out, files, step = export_adapter(
        repl.app,
        entry,
        options.get("to", "peft"),
        options.get("out"),
        with_examples="with-examples" in options,
        numbers=options.get("numbers", "f16"),
        publish=repl.screen.handle,
    )
    repl.screen.tell(f"Exported {titled(entry)} to {out} ({counted(len(files), 'file')}).\n{step}")


def require_folder(folder: str) -> None:
    """Asked before the model is loaded, which takes a while."""
    if not expand(folder).is_dir():
        raise UsageError(f"There is no folder {folder}", hint="Name one that Shammah or peft saved.")


def import_folder(app: "App", folder: str, *, any_base: bool) -> "Entry":
    from shammah.deployment.importing import Target, import_adapter

    require_folder(folder)
    target = Target.of(app.load_model().loaded, app.config.model, app.model_cache.root.parent)
    return import_adapter(expand(folder), target, app.roster, any_base=any_base)


def _import(repl: "Repl", argument: str) -> None:
    given = _given("import", argument, flags=("any-base",))
    if not given.words:
        raise UsageError("Which folder?", hint="/adapters import FOLDER takes one that Shammah or peft saved.")
    require_folder(given.words[0])
    repl.talk.model()
    entry = import_folder(repl.app, given.words[0], any_base="any-base" in given.options)
    repl.screen.tell(f"Imported as {titled(entry)}. `/adapters load {short_name(entry.name)}` lets it answer.")


# The commands themselves


def _help(repl: "Repl", argument: str) -> None:
    """For /help shows a line of each command."""
    repl.screen.tell("\n".join(map(usage_of, _USAGES)))


_ACTS: dict[str, Callable[["Repl", str], None]] = {
    "": _list,
    "list": _list,
    "show": _show,
    "load": _load,
    "unload": _unload,
    "rollback": _rollback,
    "compare": _compare,
    "delete": _delete,
    "rename": _rename,
    "pin": _pin,
    "unpin": _unpin,
    "tag": _tag,
    "export": _export,
    "import": _import,
    "prune": _prune,
    "help": _help,
}
_TAKES_NAME = ("show", "load", "compare", "delete", "rename", "pin", "unpin", "tag", "export")


@registry.command(
    "adapters", group="learn", arguments="[list|load|rollback|help|...]",
    help="what was trained, which of it answers, and the ways back", words=tuple(filter(None, _ACTS)),
    adapters_after=_TAKES_NAME,
)  # fmt: skip
def adapters(repl: "Repl", argument: str) -> None:
    require_kept(repl.app, "no adapter can be managed")
    act, rest = by_word("adapters", _ACTS, argument, usage=f"/adapters takes {', '.join(filter(None, _ACTS))}.")
    act(repl, rest)


@registry.command(
    "base", group="learn", arguments="MESSAGE", help="let the model itself answer once, without an adapter"
)
def base(repl: "Repl", argument: str) -> None:
    if not argument:
        raise UsageError("Which message?", hint="/base What is a monad? has the model itself answer that.")
    repl.talk.model()
    repl.talk.ask(argument, voice=repl.app.voice(None))
