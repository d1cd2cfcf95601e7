"""`shammah logs`: stored turns and conversations (list, search, name, export), what happened to adapters, the log."""

from dataclasses import asdict
from typing import Any

import click

from shammah.cli.options import common, conversation_argument, json_option, opened, to_json
from shammah.excerpt import excerpt
from shammah.feedback.quality import Quality, explain
from shammah.records import AuditEntry, Turn
from shammah.store.audit import Audit
from shammah.store.identity import utc_now
from shammah.store.titles import Titles
from shammah.ui import session_commands
from shammah.ui.render import Screen, printable
from shammah.ui.session_words import listed_lines, title_of, turn_as_json
from shammah.ui.shelf_commands import list_columns

_ID_SHOWN = 12


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def logs() -> None:
    """Look at conversations, the audit trail, the log file."""


@logs.command("list")
@click.option(
    "--search", default="", metavar="TEXT", help="Only turns with all these words; the last may be a beginning."
)
@click.option("-l", "--limit", default=20, show_default=True, type=click.IntRange(min=0), help="How many; 0 for all.")
@click.option("--conversation", metavar="ID", help="Only turns of this conversation.")
@click.option("-m", "--model", "by_model", metavar="NAME", help="Only turns of this model.")
@json_option
@common
def list_(
    search: str,
    limit: int,
    conversation: str | None,
    by_model: str | None,
    as_json: bool,
    assignments: tuple[str, ...],
    **options: Any,
) -> int:
    """List stored turns, newest first."""
    with opened(options, assignments) as (app, screen):
        store = app.conversations
        within = Titles(app.database).find(conversation).id if conversation else None
        turns = store.search(search, limit=limit or None, conversation=within, model=by_model)
    for turn in turns:
        screen.line(to_json(turn_as_json(turn)) if as_json else _list_line(turn))
    if not turns and not as_json:
        screen.say("No turn matches." if search or conversation or by_model else "Nothing is stored yet.")
    return 0


@logs.command("show")
@conversation_argument
@json_option
@common
def show(id: str, as_json: bool, assignments: tuple[str, ...], **options: Any) -> int:
    """Show a turn or a whole conversation. It is meant by its id, the start of it, or its name."""
    with opened(options, assignments) as (app, screen):
        titles, store = Titles(app.database), app.conversations
        turns = store.turns(titles.find(id).id) if titles.meant_by(id) else [store.turn(id)]
    for turn in turns:
        if as_json:
            screen.line(to_json(turn_as_json(turn)))
        else:
            _show_turn(screen, turn)
    return 0


@logs.command("sessions")
@click.option("--search", default="", metavar="TEXT", help="Only those that hold all these words, in name or turns.")
@click.option("-l", "--limit", default=20, show_default=True, type=click.IntRange(min=0), help="How many; 0 for all.")
@json_option
@common
def sessions(search: str, limit: int, as_json: bool, assignments: tuple[str, ...], **options: Any) -> int:
    """List stored conversations, newest first."""
    with opened(options, assignments) as (app, screen):
        found = Titles(app.database).search(search, limit or None)
    if as_json:
        for one in found:
            screen.line(to_json(asdict(one)))
        return 0
    ids = [one.id[:_ID_SHOWN] for one in found]
    width = max(map(len, ids), default=0)
    lines = listed_lines(found, now=utc_now(), cells=list_columns() - width - 1, open_id=None)
    for id, line in zip(ids, lines, strict=True):
        screen.line(f"{id:<{width}} {line}")
    if not found:
        screen.say("No conversation matches." if search else "Nothing is stored yet.")
    return 0


@logs.command("rename")
@conversation_argument
@click.argument("new")
@json_option
@common
def rename(id: str, new: str, as_json: bool, assignments: tuple[str, ...], **options: Any) -> int:
    """Give a conversation another name. It is meant by its id, its name, or latest."""
    with opened(options, assignments) as (app, screen):
        before = Titles(app.database).find(id)
        renamed = session_commands.rename(app, before.id, new)
    if as_json:
        screen.line(to_json(asdict(renamed)))
    else:
        screen.say(f"{title_of(before)!r} is now called {title_of(renamed)!r}.")
    return 0


@logs.command("export")
@conversation_argument
@click.option("--format", "form", metavar="md|json", help="In which form; as the file's name ends, else md.",
              type=click.Choice(["md", "json"]))  # fmt: skip
@click.option("--out", metavar="FILE", type=click.Path(), help="A new file; without one it goes to stdout.")
@json_option
@common
def export(
    id: str, form: str | None, out: str | None, as_json: bool, assignments: tuple[str, ...], **options: Any
) -> int:
    """Write a conversation as Markdown or JSON. It is meant by its id, its name, or latest; --json is the report."""
    with opened(options, assignments) as (app, screen):
        conversation = Titles(app.database).find(id)
        path = session_commands.export_conversation(app, conversation, out, form) if out is not None else None
        if path is None and form == "json":
            screen.line(to_json(session_commands.exported_whole(app, conversation)))
        elif path is None:
            screen.line(session_commands.exported_page(app, conversation).rstrip("\n"))
    report = {"path": None if path is None else str(path), "conversation_id": conversation.id}
    if as_json:
        (screen.tell if path is None else screen.line)(to_json(report))
    elif path is not None:
        screen.say(f"Exported {title_of(conversation)!r} to {path}.")
    return 0


@logs.command("delete")
@conversation_argument
@json_option
@common
def delete(id: str, as_json: bool, assignments: tuple[str, ...], **options: Any) -> int:
    """Delete a conversation and what was made of it. It goes off the disk."""
    with opened(options, assignments) as (app, screen):
        conversation = Titles(app.database).find(id)
        gone, words, lines = session_commands.delete_conversation(app, conversation, "shammah adapters")
    if as_json:
        screen.line(to_json({"conversation_id": conversation.id, "turns": gone.turns, "examples": gone.examples}))
    else:
        screen.say(words)
    for line in lines:
        screen.tell(line)
    return 0


@logs.command("audit")
@click.option("-n", "limit", default=20, show_default=True, type=click.IntRange(min=0), help="How many; 0 for all.")
@click.option("--verify", is_flag=True, help="Only say whether the trail is whole. Exit code 1 when it is not.")
@json_option
@common
def audit(limit: int, verify: bool, as_json: bool, assignments: tuple[str, ...], **options: Any) -> int:
    """Show what happened to adapters and by whom, newest first. Each entry is chained to the one before it."""
    with opened(options, assignments) as (app, screen):
        trail = Audit(app.database)
        entries = [] if verify else trail.entries(limit or None)
        broken, count = trail.broken(), trail.count()
    if verify and as_json:
        screen.line(to_json({"entries": count, "holds": broken is None, "broken": broken}))
        return 0 if broken is None else 1
    for entry in entries:
        screen.line(to_json(asdict(entry)) if as_json else _audit_line(entry))
    if broken is not None:
        screen.tell(f"The chain is broken at entry {broken}: it or one before it is not what was written.")
    elif not count:
        screen.say("Nothing has happened to an adapter yet.")
    else:
        screen.say(f"The chain of {count:,} {'entry' if count == 1 else 'entries'} holds.")
    return 1 if verify and broken is not None else 0


@logs.command("path")
@json_option
@common
def path(as_json: bool, assignments: tuple[str, ...], **options: Any) -> int:
    """Print where the log file and the database are."""
    with opened(options, assignments) as (app, screen):
        paths = {"log": str(app.home.log_file), "database": str(app.home.database)}
    for line in [to_json(paths)] if as_json else paths.values():
        screen.line(line)
    return 0


def _list_line(turn: Turn) -> str:
    time = turn.time[:16].replace("T", " ")
    query, response = printable(excerpt(turn.query)), printable(excerpt(turn.response))
    return f"{turn.conversation_id[:_ID_SHOWN]}  {time}  {query}  ->  {response}"


def _audit_line(entry: AuditEntry) -> str:
    time = entry.time[:19].replace("T", " ")
    told = {name.replace("_", " "): value for name, value in entry.details.items() if value not in (None, "", [], {})}
    details = ", ".join(f"{name}: {_said(value)}" for name, value in told.items())
    return printable(f"{time}  {entry.actor:<9}  {entry.action:<11}  {entry.subject}  {details}".rstrip())


def _said(value: Any) -> str:
    """A detail in words, a number as briefly as it is written."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return " and ".join(map(_said, value))
    if isinstance(value, dict):
        return "(" + ", ".join(f"{name} {_said(each)}" for name, each in value.items()) + ")"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _show_turn(screen: Screen, turn: Turn) -> None:
    speed = f"{turn.output_tokens} tokens in {turn.latency_ms / 1000:.1f} s"
    screen.line(f"# {turn.number}  {turn.time}  {turn.model}  {speed}  {turn.stop_reason}  {turn.id}")
    screen.line("> " + printable(turn.query).replace("\n", "\n> "))
    screen.line(printable(turn.response))
    if turn.feedback is not None:
        screen.line(f"({turn.feedback}{': ' + printable(turn.note) if turn.note else ''})")
    if turn.quality is not None:
        screen.line(f"(quality {explain(Quality(turn.quality, turn.quality_parts))})")
    screen.line("")
