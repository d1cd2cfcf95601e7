"""Taking words off the disk: whatever in the home holds a text, or everything that came from one turn.

    forget_text(stores, "hunter2")     turns, examples, rules, archive, receipts, probes, labels and tags of adapters,
                                       typed lines, log, and the words in the indexes
    forget_turn(stores, turn_id)       the turn, what was made of it, and the lines in which it was typed
    forget_conversation(stores, id)    all of its turns

All of it is found and taken out inside one transaction, the files too: killed at any moment, the same call once more
finds what is left. A turn or example goes whole; where it only was given a rule that holds the text, it loses the rule.
Adapters are not touched, but where a run stands that was cut off and learned from any of it is removed. The names of
models are no text.
"""

import json
import os
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from shammah import typed_lines
from shammah.durable import explained, remove_file
from shammah.errors import UsageError
from shammah.excerpt import excerpt
from shammah.file_parts import came_of, title_of
from shammah.home import Home
from shammah.records import Example, Message, Turn
from shammah.store import erasing
from shammah.store.adapter_notes import AdapterNotes
from shammah.store.archive import Archive
from shammah.store.conversations import Conversations
from shammah.store.database import Database
from shammah.store.examples import Examples
from shammah.store.identity import folded
from shammah.store.probes import Probes
from shammah.store.receipts import Receipts
from shammah.store.rows import example_of, texts_in
from shammah.store.rules import Rules
from shammah.store.runs import Runs
from shammah.wanted_text import Wanted

_SHORTEST = 3
_LARGEST_FILE = 16_000_000

Matches = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Stores:
    """What can hold words."""

    database: Database
    examples: Examples
    rules: Rules
    home: Home


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """What went, or would go. `turn_ids` are for a conversation that is under way and still knows them, `example_ids`
    and `archived_ids` for adapters that learned from them. `labels` counts the tags of adapters too.

    `lingers`: traces of it stay in the database file, because another program uses it or the disk is full; to forget
    something once more takes them away. `elsewhere` are files that hold the text and are not ours to change.
    """

    turn_ids: frozenset[str] = frozenset()
    example_ids: frozenset[str] = frozenset()
    conversations: int = 0
    titles: int = 0
    rules: int = 0
    archived: int = 0
    archived_ids: frozenset[str] = frozenset()
    receipts: int = 0
    probes: int = 0
    labels: int = 0
    history: int = 0
    log_lines: int = 0
    lingers: bool = False
    elsewhere: tuple[Path, ...] = ()

    @property
    def turns(self) -> int:
        return len(self.turn_ids)

    @property
    def examples(self) -> int:
        return len(self.example_ids)

    def __bool__(self) -> bool:
        """Whether there was anything."""
        return bool(self.words())

    def words(self) -> str:
        """Like "3 turns, 2 examples, 1 rule"; empty for nothing."""
        counts = {
            "turn": self.turns,
            "title": self.titles,
            "example": self.examples,
            "rule": self.rules,
            "archived example": self.archived,
            "receipt": self.receipts,
            "probe": self.probes,
            "label": self.labels,
            "history line": self.history,
            "log line": self.log_lines,
        }
        return ", ".join(f"{count:,} {name}{'s' * (count != 1)}" for name, count in counts.items() if count)


def forget_text(stores: Stores, text: str, *, preview: bool = False) -> Forgotten:
    """Take everything that holds this text off the disk; with `preview` only count it."""
    if len(text.strip()) < _SHORTEST:
        raise UsageError(
            f"A text to be forgotten has {_SHORTEST} letters or more", hint="Otherwise nearly everything would go."
        )
    wanted = Wanted(text)
    if preview:
        return replace(_text(stores, wanted, keep=True), elsewhere=_elsewhere(stores.home, wanted))
    with stores.database.transaction():
        forgotten = _text(stores, wanted, keep=False)
    # Also when nothing was found: a run that was killed may have come this far.
    lingers = not erasing.scrub(stores.database)
    return replace(forgotten, lingers=lingers, elsewhere=_elsewhere(stores.home, wanted))


def forget_turn(stores: Stores, turn_id: str, *, preview: bool = False) -> Forgotten:
    """Take a turn and those it goes on with, their examples, rules and the lines they were typed as off the disk."""
    turns = Conversations(stores.database).with_beginnings(turn_id)
    if preview:
        return _exchanges(stores, turns, keep=True)
    with stores.database.transaction():
        forgotten = _exchanges(stores, turns, keep=False)
    return replace(forgotten, lingers=not erasing.scrub(stores.database))


def forget_conversation(stores: Stores, conversation_id: str) -> Forgotten:
    """Take all turns of a conversation off the disk, as `forget_turn` does with one, but for the rules it made: they
    were for more than this conversation."""
    with stores.database.transaction():
        turns = Conversations(stores.database).turns(conversation_id)
        forgotten = _exchanges(stores, turns, keep=False, rules_too=False)
    return replace(forgotten, lingers=not erasing.scrub(stores.database))


def _text(stores: Stores, wanted: Wanted, *, keep: bool) -> Forgotten:
    database, home = stores.database, stores.home
    turns, given = _turns_with(database, wanted)
    titled = {row["id"] for row in database.rows("SELECT id, title FROM conversations") if wanted(row["title"])}
    examples = stores.examples.find(limit=None)
    gone = [example for example in examples if wanted.in_any(_said_in(example))]
    rules = [rule for rule in stores.rules.all() if wanted(rule.text)]
    receipts = [
        receipt.run_id for receipt in Receipts(database).recent(None) if any(map(wanted, texts_in(receipt.body)))
    ]
    ids = frozenset(example.id for example in gone)
    known = Probes(database).all()
    probes = [one.id for one in known if one.id in ids or any(map(wanted, (one.prompt, *one.contains)))]
    forgotten = replace(
        _remove_turns(database, turns, titled, keep=keep),
        example_ids=ids,
        rules=len(rules),
        receipts=len(receipts),
        probes=len(probes),
        labels=_forget_labels(database, wanted, keep=keep),
        **_forget_archived(home, lambda line: _line_holds(line, wanted), keep=keep),
        history=_forget_typed(home.history, wanted, keep=keep),
        log_lines=sum(_forget_logged(file, wanted, keep=keep) for file in _log_files(home)),
    )
    if not keep:
        for turn in given:
            erasing.drop_rules_of_turn(database, turn, wanted)
        _remove_told(database, receipts, probes)
        stores.examples.delete(ids)
        # Those that are left, as they are now that their turns may be gone.
        for example in stores.examples.find(limit=None):
            if any(map(wanted, example.rules)):
                stores.examples.put(replace(example, rules=tuple(rule for rule in example.rules if not wanted(rule))))
        for rule in rules:
            stores.rules.delete(rule.id)
        _remove_leftovers(home, wanted)
        _remove_checkpoint(stores)
    return forgotten


def _exchanges(stores: Stores, turns: Sequence[Turn], *, keep: bool, rules_too: bool = True) -> Forgotten:
    database, home = stores.database, stores.home
    ids, questions = {turn.id for turn in turns}, {turn.query.strip() for turn in turns}
    came_from = _origin(turns)
    gone = [example for example in stores.examples.find(limit=None) if came_from(example)]
    rules = [rule for rule in stores.rules.all() if rules_too and rule.turn_id in ids]
    lines = _content(Archive(home.archive).path).decode(errors="replace").splitlines()
    learned = [*gone, *filter(None, (_archived_from(line, came_from) for line in lines))]
    asked = {folded(turn.query) for turn in turns}
    ids_gone = frozenset(example.id for example in gone)
    probes = [probe.id for probe in Probes(database).all() if probe.id in ids_gone]
    told = [*(example.id for example in learned), *(rule.id for rule in rules)]
    receipts = Receipts(database).about(told, asked)
    said = [*(turn.note for turn in turns), *(example.target for example in gone if example.turn_id in ids)]
    commands = tuple(f" {text.strip()}" for text in said if text)

    def typed(line: str) -> bool:
        """The question itself, or the command that rated or mended its reply."""
        if line.strip() in questions or (line.startswith("/") and line.rstrip().endswith(commands)):
            return True
        return any(came_of(line, question) for question in questions)

    if not keep:
        _remove_told(database, receipts, probes)
        stores.examples.delete(ids_gone)
        for rule in rules:
            stores.rules.delete(rule.id)
        for turn in turns:
            for other in Conversations(database).retries_of(turn.id):
                example = stores.examples.of_turn(other.id)
                if example is not None and example.source == "retry" and example.rejected == turn.response:
                    stores.examples.put(replace(example, rejected=None))
        _remove_checkpoint(stores)
    return replace(
        _remove_turns(database, turns, set(), keep=keep),
        example_ids=ids_gone,
        rules=len(rules),
        **_forget_archived(home, lambda line: bool(_archived_from(line, came_from)), keep=keep),
        receipts=len(receipts),
        probes=len(probes),
        history=_forget_typed(home.history, typed, keep=keep),
    )


# In the database


def _turns_with(database: Database, wanted: Wanted) -> tuple[list[Turn], list[Turn]]:
    """Turns that hold the text, and those that only were given a rule which does."""
    holding, given = [], []
    known: dict[str, bool] = {}  # system prompts and rules are much the same from turn to turn

    def often(text: str) -> bool:
        if text not in known:
            known[text] = wanted(text)
        return known[text]

    for turn in erasing.each_turn(database):
        said = (turn.query, turn.response, turn.reasoning, turn.note or "", *turn.options.get("stop", ()))
        if often(turn.system) or any(map(wanted, said)):
            holding.append(turn)
        elif any(map(often, turn.rules)):
            given.append(turn)
    return holding, given


def _remove_turns(database: Database, turns: Sequence[Turn], titled: Collection[str], *, keep: bool) -> Forgotten:
    """Take turns out of their conversations. Titles are made anew: those given, and those made of one of the turns,
    which may hold the beginning of what is to be forgotten."""
    leaving = Counter(turn.conversation_id for turn in turns)
    titles = {row["id"]: row["title"] for row in database.rows("SELECT id, title FROM conversations")}
    made_of = {
        turn.conversation_id
        for turn in turns
        if titles[turn.conversation_id] in (title_of(turn.query), excerpt(turn.query))
    }
    counts = {id: erasing.count_turns(database, id) for id in leaving}
    emptied = {id for id, count in leaving.items() if counts[id] == count}
    renamed = made_of.union(titled) - emptied
    if not keep:
        erasing.remove_turns(database, [turn.id for turn in turns])
        for id in renamed:
            erasing.retitle(database, id, title_of)
    return Forgotten(turn_ids=frozenset(turn.id for turn in turns), conversations=len(emptied), titles=len(renamed))


def _remove_told(database: Database, receipts: Collection[str], probes: Collection[str]) -> None:
    Receipts(database).delete(receipts)
    for probe in probes:
        Probes(database).delete(probe)


def _forget_labels(database: Database, wanted: Wanted, *, keep: bool) -> int:
    notes = AdapterNotes(database).all().values()
    if not keep:
        erasing.rewrite_adapter_notes(database, lambda text: "" if wanted(text) else text)
    return sum(wanted(text) for note in notes for text in (note.label or "", *note.tags))


def _said_in(example: Example) -> list[Any]:
    """All that somebody may have written in it, but for the rules it was given: those can be left out."""
    messages = [message.content for message in example.messages]
    return [messages, example.target, example.rejected, example.note, example.tags, example.extra]


def _origin(turns: Sequence[Turn]) -> Callable[[Example], bool]:
    """Whether an example is of one of these turns, or goes on from one: question and reply stand in its prompt."""
    ids = {turn.id for turn in turns}
    exchanges = {(Message("user", turn.query), Message("assistant", turn.response)) for turn in turns}

    def came_from(example: Example) -> bool:
        pairs = zip(example.messages, example.messages[1:], strict=False)
        return example.turn_id in ids or not exchanges.isdisjoint(pairs)

    return came_from


# In files


def _forget_archived(home: Home, matches: Matches, *, keep: bool) -> dict[str, Any]:
    """How many examples went, and which, as far as their lines are whole."""
    gone = Archive(home.archive).forget(matches, preview=keep)
    return {"archived": len(gone), "archived_ids": frozenset(one.id for one in map(_example_in, gone) if one)}


def _line_holds(line: str, wanted: Wanted) -> bool:
    """By the values in a line of JSON; by its letters where a crash left only a part of one."""
    try:
        return wanted.in_any(json.loads(line))
    except ValueError:
        return bool(wanted.lines_of(line))


def _archived_from(line: str, came_from: Callable[[Example], bool]) -> Example | None:
    """The example in a line of the archive, if it is such a one."""
    example = _example_in(line)
    return example if example is not None and came_from(example) else None


def _example_in(line: str) -> Example | None:
    try:
        return example_of(json.loads(line))
    except (ValueError, TypeError, KeyError):
        return None


def _forget_typed(file: Path, matches: Matches, *, keep: bool) -> int:
    gone = 0

    def without(history: bytes) -> bytes | None:
        nonlocal gone
        found = list(typed_lines.entries(history))
        kept = [raw for raw, text in found if not matches(text)]
        gone = len(found) - len(kept)
        return b"".join(kept) if gone and not keep else None

    typed_lines.rewrite(file, without)
    return gone


def _forget_logged(file: Path, wanted: Wanted, *, keep: bool) -> int:
    """Blank the lines of a log in place: who writes to it goes on writing to this very file."""
    lines = wanted.lines_of(_content(file).decode(errors="surrogateescape"))
    if not lines or keep:
        return len(lines)
    with explained(file), file.open("r+b") as log:
        at = 0
        for number, line in enumerate(log.read().split(b"\n")):
            if number in lines:
                log.seek(at)
                log.write(b" " * len(line))
            at += len(line) + 1
        log.flush()
        os.fsync(log.fileno())
    return len(lines)


def _log_files(home: Home) -> list[Path]:
    """The log, that of training in processes of its own, and the older ones beside them."""
    return sorted(found for file in (home.log_file, home.train_log) for found in home.logs.glob(f"{file.name}*"))


def _remove_leftovers(home: Home, wanted: Wanted) -> None:
    """What a program that was killed left behind while it wrote a file anew."""
    for file in (home.history, home.config_file, Archive(home.archive).path):
        for leftover in file.parent.glob(f".{file.name}.*"):
            if wanted.lines_of(_content(leftover).decode(errors="replace")):
                with explained(leftover):
                    leftover.unlink(missing_ok=True)


def _remove_checkpoint(stores: Stores) -> None:
    """Where a run stands that was cut off is what it learned so far, and of no use without all of its examples."""
    runs = Runs(stores.database)
    last = runs.last()
    if last is None or not runs.unchanged(last):
        remove_file(stores.home.checkpoint)


def _elsewhere(home: Home, wanted: Wanted) -> tuple[Path, ...]:
    """Other files of the home that hold it, config.toml above all."""
    known = {home.history, Archive(home.archive).path, *_log_files(home)}
    # A database that is open must not be opened as a file too: closing that would drop SQLite's locks on it.
    known |= {home.database.with_name(home.database.name + end) for end in ("", "-wal", "-shm", "-journal")}
    found = [file for folder in (home.root, home.archive, home.logs) for file in sorted(folder.glob("*"))]
    others = [file for file in found if file not in known and file.is_file() and file.stat().st_size < _LARGEST_FILE]
    return tuple(file for file in others if wanted.lines_of(_content(file).decode(errors="replace")))


def _content(file: Path) -> bytes:
    with explained(file):
        return file.read_bytes() if file.is_file() else b""
