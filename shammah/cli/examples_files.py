"""`shammah examples import`, `export` and `scan`: whole files of examples, and secrets in what is stored."""

import json
import os
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from shammah import typed_lines
from shammah.app import App
from shammah.cli.example_filters import RATINGS, filters, find
from shammah.cli.options import common, json_option, opened, to_json
from shammah.durable import expand, explained, write_file
from shammah.errors import HomeError, ShammahError, UsageError
from shammah.events import Progress
from shammah.feedback import notes, secrets
from shammah.feedback.desk import Desk
from shammah.feedback.formats import FORMATS, Draft, Format
from shammah.feedback.lessons import relearned
from shammah.feedback.levels import read_level
from shammah.feedback.transfer import Cleaner, Report, each_text, export_rows, import_lines, numbered_rows, redacted
from shammah.home import Home
from shammah.records import Example
from shammah.store import erasing
from shammah.store.adapter_notes import AdapterNotes
from shammah.store.archive import Archive
from shammah.store.examples import Examples
from shammah.store.probes import Probes
from shammah.store.receipts import Receipts
from shammah.store.rows import storable, texts_in
from shammah.ui.render import Screen

_STDIO = "-"


def _format_option(function: Any) -> Any:
    help = f"The form of its rows: {', '.join(FORMATS)}."
    return click.option("--format", type=click.Choice(FORMATS), default="shammah", metavar="FORM", help=help)(function)


# In


class _DryRun(Exception):
    """Takes back all that was stored on trial."""


@click.command("import")
@click.argument("file", type=click.Path())
@_format_option
@click.option(
    "--rating",
    type=RATINGS,
    default="good",
    metavar="LEVEL",
    help="The rating of rows that neither have nor imply one.",
)
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="Give each of them this tag; again for more.")
@click.option("--rules", "make_rules", is_flag=True, help="Make rules of those of their notes that are rules.")
@click.option("--dry-run", is_flag=True, help="Say what would be taken, and store nothing.")
@json_option
@common
def import_(file: str, as_json: bool, assignments: tuple[str, ...], **options: Any) -> int:
    """Take in a FILE of examples (- for stdin). JSON lines or a JSON array; what is there already stays as it is."""
    with opened(options, assignments) as (app, screen):
        report, rules = _import(app, file, options)
    for number, reason in report.skipped:
        screen.say(f"line {number}: {reason}")
    if as_json:
        skipped = [{"line": number, "reason": reason} for number, reason in report.skipped]
        counts = {name: getattr(report, name) for name in ("taken", "weighted", "known", "redacted")}
        screen.line(to_json({**counts, "skipped": skipped, "rules": rules, "dry_run": options["dry_run"]}))
    else:
        screen.line(_report_words(report, dry_run=options["dry_run"]))
        for rule in rules:
            screen.say(f"From now on a rule: {rule}")
        if report.redacted:
            screen.say(
                f"{report.redacted:,} had secrets, now redacted. `shammah examples review` shows what needs a look."
            )
    return 1 if report.skipped and not (report.taken or report.known) else 0


def _import(app: App, file: str, options: dict[str, Any]) -> tuple[Report, list[str]]:
    rules: list[str] = []
    # On trial nothing may leave for the archive, since a file does not come back with the transaction.
    roomy = Examples(app.database, limit=sys.maxsize)
    desk = Desk(app.database, app.conversations, roomy, app.desk.rules, app.config) if options["dry_run"] else app.desk

    def take(draft: Draft) -> bool:
        _, new = desk.take(replace(draft, tags=tuple(dict.fromkeys((*draft.tags, *options["tags"])))))
        if new and options["make_rules"] and draft.note and draft.level != "good" and notes.is_rule(draft.note):
            rules.append(desk.add_rule(draft.note)[0].text)
        return new

    # Read whole before the database is held, however slowly it comes.
    rows = _rows_of(file)
    report: Report | None = None
    try:
        with app.database.transaction():
            report = import_lines(
                rows,
                options["format"],
                take=take,
                weights=app.config.weights,
                rating=read_level(options["rating"]) or "good",
                redacting=app.config.redact,
            )
            if options["dry_run"]:
                raise _DryRun
    except _DryRun:
        pass
    assert report is not None
    return report, rules


def _rows_of(file: str) -> list[tuple[int, bytes]]:
    if file == _STDIO:
        return list(numbered_rows(sys.stdin.buffer))
    path = expand(file)
    try:
        with path.open("rb") as stream:
            return list(numbered_rows(stream))
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise UsageError(f"Cannot read {path}: {reason}", hint="Give a file of JSON lines, or - for stdin.") from None


def _report_words(report: Report, *, dry_run: bool) -> str:
    rows, taken = len(report.skipped), report.taken
    return (
        f"{taken:,} {'example' if taken == 1 else 'examples'} {'would be ' if dry_run else ''}taken "
        f"({report.weighted:.1f} weighted), {report.known:,} known already, "
        f"{rows:,} {'row' if rows == 1 else 'rows'} skipped"
    )


# Out


@click.command("export")
@click.argument("file", default=_STDIO, type=click.Path())
@_format_option
@filters
@json_option
@common
def export(file: str, format: Format, as_json: bool, assignments: tuple[str, ...], **options: Any) -> int:
    """Write examples as JSON lines. To a FILE, replacing it, or to stdout; oldest first. --json is about the report."""
    with opened(options, assignments) as (app, screen):
        rows, left_out = export_rows(find(app.desk.examples, options, limit=None, oldest_first=True), format)
    lines = [to_json(row) for row in rows]
    path = None if file == _STDIO else expand(file)
    if path is None:
        for line in lines:
            screen.line(line)
    else:
        _write(path, lines)
    report = {"path": None if path is None else str(path), "format": format, "rows": len(rows), "left_out": left_out}
    if as_json:
        (screen.tell if path is None else screen.line)(to_json(report))
        return 0
    screen.say(f"{len(rows):,} {'example' if len(rows) == 1 else 'examples'} written{f' to {path}' if path else ''}.")
    for reason, count in left_out.items():
        screen.say(f"{count:,} left out: {reason}.")
    return 0


def _write(path: Path, lines: list[str]) -> None:
    try:
        write_file(path, "".join(f"{line}\n" for line in lines).encode())
    except HomeError as error:
        raise ShammahError(error.message, hint="Give a file that you can write, or - for stdout.") from None


# Secrets


@dataclass(frozen=True, slots=True)
class _Leak:
    """A secret in something that is stored; in a file of the home the line is its id."""

    kind: str
    id: str
    kinds: tuple[str, ...]


@click.command("scan")
@click.option("--fix", is_flag=True, help="Redact what is found, off the disk; examples then need review.")
@json_option
@common
def scan(fix: bool, as_json: bool, assignments: tuple[str, ...], **options: Any) -> int:
    """Look for secrets in all that is stored. Examples, turns, conversations, rules, receipts, probes, labels and tags
    of adapters, the archive, the history of typed lines and the log. Exit code 1 when some are found and not
    redacted."""
    with opened(options, assignments) as (app, screen):
        if fix:
            # Writers of the archive take turns by the lock of the database.
            with app.database.transaction() as connection:
                leaks = [*_leaks(app, screen, fix=True), *_leaks_in_files(app.home, fix=True)]
                erasing.merge_index(connection)
            erasing.scrub(app.database)
        else:
            leaks = [*_leaks(app, screen, fix=False), *_leaks_in_files(app.home, fix=False)]
    screen.progress.clear()
    for leak in leaks:
        shown = {"kind": leak.kind, "id": leak.id, "kinds": list(leak.kinds), "redacted": fix}
        screen.line(to_json(shown) if as_json else f"{leak.kind:<12}  {leak.id}  {', '.join(leak.kinds)}")
    if not leaks:
        screen.say("No secrets were found.")
    elif fix:
        screen.say(f"{len(leaks):,} redacted. `shammah examples review` shows the examples among them.")
    else:
        screen.say("--fix redacts them.")
    return 1 if leaks and not fix else 0


def _leaks(app: App, screen: Screen, *, fix: bool) -> Iterator[_Leak]:
    done, total = 0, app.desk.examples.count() + app.conversations.count()
    for example in app.desk.examples.find(limit=None, oldest_first=True):
        clean, learned, others = redacted(example)
        if kinds := tuple(dict.fromkeys((*learned, *others))):
            if fix:
                _store_redacted(app.desk, example, clean, learned)
            yield _Leak("example", example.id, kinds)
        done += 1
        screen.handle(Progress("Looking for secrets", done, total))
    for turn in erasing.each_turn(app.database):
        texts = (turn.query, turn.response, turn.reasoning, turn.system, turn.note or "", *turn.rules)
        if kinds := _kinds(texts):
            if fix:
                erasing.rewrite_turn(app.database, turn, _clean)
            yield _Leak("turn", turn.id, kinds)
        done += 1
        screen.handle(Progress("Looking for secrets", done, total))
    for conversation in app.conversations.recent(limit=None):
        if kinds := _kinds((conversation.title, conversation.system)):
            yield _Leak("conversation", conversation.id, kinds)
    if fix:
        erasing.rewrite_conversations(app.database, _clean)
    for rule in app.desk.rules.all():
        if kinds := _kinds([rule.text]):
            if fix:
                app.desk.rules.edit(rule.id, _clean(rule.text))
            yield _Leak("rule", rule.id, kinds)
    yield from _leaks_beside_adapters(app, fix=fix)


def _leaks_beside_adapters(app: App, *, fix: bool) -> Iterator[_Leak]:
    for kind, id, texts in (
        *(("receipt", receipt.run_id, texts_in(receipt.body)) for receipt in Receipts(app.database).recent(None)),
        *(("probe", probe.id, (probe.prompt, *probe.contains)) for probe in Probes(app.database).all()),
        *(("adapter", note.name, (note.label or "", *note.tags)) for note in AdapterNotes(app.database).all().values()),
    ):
        if kinds := _kinds(texts):
            yield _Leak(kind, id, kinds)
    if fix:
        erasing.rewrite_receipts(app.database, _clean)
        erasing.rewrite_probes(app.database, _clean)
        erasing.rewrite_adapter_notes(app.database, _clean)


def _kinds(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(finding.kind for text in texts for finding in secrets.find(text)))


def _clean(text: str) -> str:
    return secrets.redact(text).text


def _store_redacted(desk: Desk, example: Example, clean: Example, kinds: tuple[str, ...]) -> None:
    """Redacted, a better reply may be the same as the rejected one: what is learned from it is asked anew."""
    learned = relearned(example, target=clean.target, rejected=clean.rejected, note=clean.note)
    desk.examples.put(
        replace(
            clean,
            target=learned.target,
            rejected=learned.rejected,
            state=learned.state if kinds else clean.state,
            reason=learned.reason if kinds else clean.reason,
            secrets=tuple(dict.fromkeys((*example.secrets, *kinds))),
        )
    )
    if kinds:
        desk.enable(example.id, example.state != "disabled")


# Secrets in files: what was typed stands after a plus, an entry of the log begins with its time

_ENTRIES = {
    "archive": re.compile("^.+", re.MULTILINE),
    "history": re.compile(r"(?:^\+.*\n?)+", re.MULTILINE),
    "log": re.compile(r"^.+\n?(?:(?!\d{4}-\d\d-\d\d \d\d:).*\n)*", re.MULTILINE),
}


def _leaks_in_files(home: Home, *, fix: bool) -> Iterator[_Leak]:
    logs = [("log", file) for file in sorted(home.logs.glob(f"{home.log_file.name}*"))]
    for kind, file in [("archive", Archive(home.archive).path), ("history", home.history), *logs]:
        with explained(file):
            before = file.read_bytes().decode(errors="surrogateescape") if file.is_file() else ""
        leaks, after = _cleaned_entries(kind, before)
        yield from leaks
        if fix and leaks and kind == "history":
            typed_lines.rewrite(file, _cleaned_history)  # as it is by now: chats may be writing to it
        elif fix and leaks:
            _replace(file, after.encode(errors="surrogateescape"), in_place=kind == "log")


def _cleaned_history(history: bytes) -> bytes:
    return _cleaned_entries("history", history.decode(errors="surrogateescape"))[1].encode(errors="surrogateescape")


def _cleaned_entries(kind: str, text: str) -> tuple[list[_Leak], str]:
    clean = {"archive": _clean_row, "history": _clean_typed, "log": _blanked}[kind]
    leaks: list[_Leak] = []

    def one(entry: re.Match[str]) -> str:
        after, kinds = clean(entry[0])
        if kinds:
            pairs = enumerate(zip(entry[0].split("\n"), after.split("\n"), strict=False), 1)
            first = next((number for number, (old, new) in pairs if old != new), 1)
            leaks.append(_Leak(kind, str(text.count("\n", 0, entry.start()) + first), kinds))
        return after if kinds else entry[0]

    return leaks, _ENTRIES[kind].sub(one, text)


def _clean_row(line: str) -> tuple[str, tuple[str, ...]]:
    """By the values in a line of JSON; by its letters where a crash left only a part of one."""
    cleaner = Cleaner()
    try:
        row = json.loads(line)
        clean = storable(json.dumps(each_text(row, cleaner.clean), ensure_ascii=False))
    except (ValueError, RecursionError):
        clean = cleaner.clean(line)
    return clean, tuple(cleaner.kinds)


def _clean_typed(entry: str) -> tuple[str, tuple[str, ...]]:
    typed = secrets.redact(re.sub(r"^\+", "", entry, flags=re.MULTILINE))
    return re.sub(r"^(?!\Z)", "+", typed.text, flags=re.MULTILINE), typed.kinds


def _blanked(entry: str) -> tuple[str, tuple[str, ...]]:
    """With stars in the place of secrets: a log keeps its length, since another program may be writing to it."""
    kinds: dict[str, None] = {}
    while found := [one for one in secrets.find(entry) if entry[one.start : one.end].strip("*")]:
        for one in reversed(found):
            length = len(entry[one.start : one.end].encode(errors="surrogateescape"))
            entry = entry[: one.start] + "*" * length + entry[one.end :]
        kinds |= dict.fromkeys(one.kind for one in found)
    return entry, tuple(kinds)


def _replace(file: Path, content: bytes, *, in_place: bool) -> None:
    if not in_place:
        write_file(file, content)
        return
    with explained(file), file.open("r+b") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
