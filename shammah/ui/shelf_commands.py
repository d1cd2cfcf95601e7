"""/adapters: the shelf, who answers, and the ways back; /base: one answer of the model itself."""

import logging
import sys
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from shammah.app import IN_USE
from shammah.errors import AdapterError, ShammahError, UsageError
from shammah.records import Activation
from shammah.store.identity import utc_now
from shammah.ui.adapters_travel import export_adapter, import_folder, require_folder
from shammah.ui.adapters_words import (
    PREFIX,
    answers_words,
    archived_words,
    compare_lines,
    label_words,
    leaving_lines,
    list_lines,
    pin_words,
    restored_words,
    short_name,
    show_lines,
    tags_words,
    titled,
)
from shammah.ui.commands import Word, by_word, read_count, registry
from shammah.ui.given import Given, read_given, read_strength
from shammah.ui.help_words import of_command
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
_WORDS: dict[str, Word] = {
    "list": ("[all]", "those on the shelf, or the archived too"),
    "show": ("NAME", "what one learned from, and how it was judged"),
    "load": ("NAME [--strength 0.5]", "have it answer"),
    "unload": ("", "have the model itself answer"),
    "rollback": ("[n]", "back to who answered before; a change of strength is no step"),
    "compare": ("A [B]", "two of them, or one and the one in use"),
    "delete": ("NAME", "take it off the disk"),
    "archive": ("NAME", "put it aside"),
    "restore": ("NAME", "take it back from there"),
    "rename": ("NAME [NEW]", "give it a name of yours, or take that away"),
    "pin": ("NAME", "keep it whatever is pruned"),
    "unpin": ("NAME", "keep it no longer than others"),
    "tag": ("NAME [TAG...]", "tags of yours; none take them away"),
    "export": (
        "NAME [--to peft|merged|gguf-lora|gguf|ollama] [--out FOLDER] [--numbers f16|q8_0] [--strength 0.5] "
        "[--with-examples]",
        "take it elsewhere",
    ),
    "import": ("FOLDER [--any-base]", "bring one here that Shammah or peft saved"),
    "prune": ("", "put aside the old ones that need not be kept"),
    "help": ("", "these lines"),
}
_NAMES = "/adapters list shows them."
_ANOTHER = "`/adapters load NAME` has another answer here, and follows from then on what is taken into use."
# Where nobody can tell how wide it is shown, a list is as wide as it is.
_ANY_WIDTH = 10_000
_MOST_TAGS = 100
# What the model itself is called where an adapter could be named.
_BASES = ("base", "none")


# How what is typed is read


def usage_of(word: str) -> str:
    return f"/adapters {word} {_WORDS[word][0]}".rstrip()


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
    return _entry(repl.app, name)


def _entry(app: "App", name: str) -> "Entry":
    """The adapter that a name means. `active` is who answers here, where another is in use too."""
    if name != IN_USE or app.follows:
        return app.roster.find(name, base=app.base)
    answering = app.answering()
    if answering is None:
        raise AdapterError("The model itself answers here", hint=_ANOTHER)
    return app.roster.find(answering)


def who_answers(app: "App") -> str | None:
    """The adapter; None where it is the model itself, or what the settings name is not there."""
    try:
        return app.answering()
    except AdapterError:
        return None


def entry_or_base(app: "App", name: str) -> "Entry | None":
    """The adapter that a name means; None where it means the model itself."""
    return None if name.lower() in _BASES else _entry(app, name)


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
        archived = len(app.roster.entries(archived=True))
        if archived:
            raise UsageError(
                "No adapter is on the shelf", hint=f"`/adapters list all` shows {archived} in the archive."
            )
        raise UsageError("There is no adapter yet", hint="`/train now` makes one from what you rated.")
    headings, lines = list_lines(
        entries,
        app.activations.current(app.base),
        app.base,
        answering=who_answers(app),
        now=utc_now(),
        columns=list_columns(),
    )
    repl.screen.tell("\n".join(filter(None, (headings, *lines))))


def _show(repl: "Repl", argument: str) -> None:
    app, entry = repl.app, _only_name(repl, argument, "show")
    score = app.comparisons.tally(app.base).get(entry.name)
    lines = show_lines(entry, app.activations.current(app.base), score, now=utc_now())
    repl.screen.tell("\n".join(lines))


def _compare(repl: "Repl", argument: str) -> None:
    words = _given("compare", argument, most=2).words
    if not words:
        raise UsageError("Which adapter?", hint=_NAMES)
    one, other = (entry_or_base(repl.app, name) for name in (*words, "active")[:2])
    repl.screen.tell("\n".join(compare_lines(one, other, repl.app.comparisons.tally(repl.app.base))))


# Who answers


def _load(repl: "Repl", argument: str) -> None:
    given = _given("load", argument, values=("strength",))
    entry, strength = _named(repl, " ".join(given.words)), read_strength(given.options.get("strength", "1"))
    _tell_who_answers(repl, repl.app.helm.load(entry.name, base=repl.app.base, strength=strength))


def _unload(repl: "Repl", argument: str) -> None:
    _given("unload", argument, most=0)
    app = repl.app
    if app.follows:
        _tell_who_answers(repl, app.helm.unload(app.base))
        return
    repl.talk.model()
    if app.answering() is None:
        raise AdapterError("The model itself answers here already", hint=_ANOTHER)
    app.load_model().speak_as(app.voice(None))
    repl.screen.tell("From the next message on the model itself answers in this chat, without an adapter.")


def _rollback(repl: "Repl", argument: str) -> None:
    steps = read_count(argument, "/adapters rollback goes one step back, /adapters rollback 2 two.", otherwise=1)
    app = repl.app
    if not app.follows:
        raise AdapterError(
            f"{app.answering() or 'The model itself'} answers as this chat was begun, with nothing before it",
            hint=_ANOTHER,
        )
    _tell_who_answers(repl, app.helm.rollback(app.base, steps))


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
    app = repl.app
    if not app.follows and entry.name == app.answering():
        raise AdapterError(
            f"The adapter {entry.name} answers in this chat",
            hint="First `/adapters unload`, or load another in its place.",
        )
    if entry.state != "active" and not entry.named:  # which is refused
        repl.screen.tell(f"This deletes {titled(entry)} off the disk; your examples stay.")
        if repl.prompt.choose("Delete it for good? y/N ", "yn") != "y":
            repl.screen.tell("Nothing was deleted.")
            return
    shelving_of(app).delete(entry.name)
    repl.screen.tell(f"Deleted {titled(entry)}.")


def _archive(repl: "Repl", argument: str) -> None:
    entry = _only_name(repl, argument, "archive")
    repl.screen.tell(archived_words(shelving_of(repl.app).archive(entry.name), "/adapters"))


def _restore(repl: "Repl", argument: str) -> None:
    entry = _only_name(repl, argument, "restore")
    repl.screen.tell(restored_words(shelving_of(repl.app).restore(entry.name)))


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


def _export(repl: "Repl", argument: str) -> None:
    given = _given("export", argument, values=("to", "out", "numbers", "strength"), flags=("with-examples",))
    entry, options = _named(repl, " ".join(given.words)), given.options
    out, files, step = export_adapter(
        repl.app,
        entry,
        options.get("to", "peft"),
        options.get("out"),
        with_examples="with-examples" in options,
        numbers=options.get("numbers"),
        strength=options.get("strength"),
        publish=repl.screen.handle,
    )
    repl.screen.tell(f"Exported {titled(entry)} to {out} ({counted(len(files), 'file')}).\n{step}")


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
    command = registry.find("adapters")
    assert command is not None
    repl.screen.tell(of_command(command, repl.screen.columns))


_ACTS: dict[str, Callable[["Repl", str], None]] = {
    "": _list,
    "list": _list,
    "show": _show,
    "load": _load,
    "unload": _unload,
    "rollback": _rollback,
    "compare": _compare,
    "delete": _delete,
    "archive": _archive,
    "restore": _restore,
    "rename": _rename,
    "pin": _pin,
    "unpin": _unpin,
    "tag": _tag,
    "export": _export,
    "import": _import,
    "prune": _prune,
    "help": _help,
}
_READING = (_list, _show, _compare, _help)
_TAKES_NAME = ("show", "load", "compare", "delete", "archive", "restore", "rename", "pin", "unpin", "tag", "export")


@registry.command(
    "adapters", group="learn", arguments="[list|load|rollback|help|...]",
    help="what was trained, which of it answers, and the ways back", words=_WORDS,
    takes=dict.fromkeys(_TAKES_NAME, "adapter"),
)  # fmt: skip
def adapters(repl: "Repl", argument: str) -> None:
    act, rest = by_word("adapters", _ACTS, argument, usage=f"/adapters takes {', '.join(filter(None, _ACTS))}.")
    if act not in _READING or not repl.app.home.database.exists():  # which is made for nobody who only looks
        require_kept(repl.app, "no adapter can be managed")
    act(repl, rest)


@registry.command(
    "base", group="learn", arguments="MESSAGE", help="let the model itself answer once, without an adapter"
)
def base(repl: "Repl", argument: str) -> None:
    if not argument:
        raise UsageError("Which message?", hint="/base What is a monad? has the model itself answer that.")
    repl.talk.model()
    repl.talk.ask(argument, voice=repl.app.voice(None))
