"""What is said of stored conversations: lines of a list, the last exchange in short, Markdown, JSON. Pure."""

import re
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from wcwidth import clip, ljust, width

from shammah.excerpt import excerpt
from shammah.records import Conversation, Turn
from shammah.ui.adapters_words import age_words
from shammah.ui.render import printable
from shammah.ui.toolbar import counted

UNTITLED = "(no title)"
_GAP = "  "
# A title is cut before this is all that is left of it.
_LEAST_TITLE = 16
_MOST_TITLE = 60
_QUESTION, _REPLY, _REPLY_LINES = 200, 600, 8
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")
_NO_FILE_NAME = re.compile(r"[^\w]+")


def title_of(conversation: Conversation) -> str:
    return printable(conversation.title) or UNTITLED


def listed_lines(conversations: Sequence[Conversation], *, now: str, cells: int, open_id: str | None) -> list[str]:
    """A line for each: a mark for the one that is open, when, what it is called, how long, which model. What does not
    fit is left out from the end, and then of the titles."""
    rows = [
        (
            "*" if one.id == open_id else " ",
            age_words(one.updated, now),
            title_of(one),
            counted(one.turns, "turn"),
            printable(one.model.rpartition("/")[2]),
        )
        for one in conversations
    ]
    if not rows:
        return []
    widths = [max(width(row[at]) for row in rows) for at in range(5)]
    titles = min(_MOST_TITLE, widths[2])
    last = 5
    while last > 3 and _taken(widths, last) + min(titles, _LEAST_TITLE) > cells:
        last -= 1
    titles = max(1, min(titles, cells - _taken(widths, last)))
    lines = []
    for row in rows:
        when = " " * (widths[1] - width(row[1])) + row[1]
        rest = (ljust(text, widths[at]) for at, text in enumerate(row[3:last], 3))
        lines.append(_GAP.join((row[0] + when, ljust(cut(row[2], titles), titles), *rest)).rstrip())
    return lines


def _taken(widths: Sequence[int], last: int) -> int:
    """What stands beside the titles where the columns before `last` are shown."""
    return widths[0] + widths[1] + len(_GAP) + sum(len(_GAP) + one for one in widths[3:last])


def cut(text: str, cells: int) -> str:
    """The beginning of a line that takes at most so many cells."""
    if width(text) <= cells:
        return text
    return clip(text, 0, max(0, cells - 3)).rstrip() + "..." if cells > 3 else clip(text, 0, cells)


def numbered(lines: Sequence[str]) -> list[str]:
    """The lines with their places before them, from 1 on."""
    digits = len(str(len(lines)))
    return [f"{place:>{digits}} {line}" for place, line in enumerate(lines, 1)]


def last_exchange_lines(turn: Turn) -> list[str]:
    """Question and reply, shortened."""
    reply = turn.response.strip()
    lines = reply[:_REPLY].splitlines()[:_REPLY_LINES]
    shown = "\n".join(lines)
    if len(shown) < len(reply):
        shown = shown.rstrip() + " ..."
    return [f"> {excerpt(turn.query, _QUESTION)}", *([shown] if shown else [])]


def going_on_words(conversation: Conversation, turns: Sequence[Turn], system: str) -> str:
    prompt = f" System prompt: {excerpt(printable(system))}" if system else ""
    if not turns:
        return f"Going on with {title_of(conversation)!r}, from its beginning: all turns were taken back.{prompt}"
    return f"Going on with {title_of(conversation)!r}, {counted(len(turns), 'turn')}.{prompt}"


def file_name_of(conversation: Conversation) -> str:
    """A name for a file, made of the title."""
    words = _NO_FILE_NAME.sub("-", conversation.title.lower()).strip("-_")
    return (words[:50].rstrip("-_") or conversation.id) + ".md"


def as_json(conversation: Conversation, turns: Sequence[Turn], context: Sequence[Turn]) -> dict[str, Any]:
    """All of it: `context` are those of its turns that it goes on with."""
    whole = asdict(conversation) | {"context": [turn.id for turn in context]}
    return whole | {"turns": [turn_as_json(turn) for turn in turns]}


def turn_as_json(turn: Turn) -> dict[str, Any]:
    """Every column of the usage log."""
    return {name: getattr(turn, name) for name in Turn.__slots__}


def as_markdown(conversation: Conversation, turns: Sequence[Turn]) -> str:
    """A page to read: the turns that the conversation goes on with, and what was thought of them."""
    day, until = (_minute(moment) for moment in (conversation.created, conversation.updated))
    adapters = dict.fromkeys(turn.adapter or "none" for turn in turns)
    facts = [
        f"- Date: {day}" + (f" to {until}" if until != day else "") + " UTC",
        f"- Model: {conversation.model}",
        f"- Adapter: {', '.join(adapters) or 'none'}",
    ]
    system = ["## System prompt", _quoted(conversation.system)] if conversation.system else []
    blocks = [f"# {' '.join(conversation.title.split()) or UNTITLED}", "\n".join(facts), *system]
    for number, turn in enumerate(turns, 1):
        blocks += [f"## {number}", _quoted(turn.query), *_reply_blocks(turn, told_adapter=len(adapters) > 1)]
    return "\n\n".join(blocks) + "\n"


def _reply_blocks(turn: Turn, *, told_adapter: bool) -> list[str]:
    said = [_closed(turn.response.strip("\n"))] if turn.response.strip() else ["*(no reply)*"]
    said += ["*(stopped before its end)*"] if turn.response and turn.stop_reason in ("cancelled", "length") else []
    said += [f"*Adapter: {turn.adapter or 'none'}*"] if told_adapter else []
    if turn.feedback is None:
        return said
    note = " ".join((turn.note or "").split())
    return [*said, f"**Rated {turn.feedback}**" + (f": {note}" if note else "")]


def _closed(text: str) -> str:
    """The text with its last block of code ended, as a reply that was stopped may leave it."""
    fence = ""
    for line in text.splitlines():
        found = _FENCE.fullmatch(line)
        if found and not fence:
            fence = found[1]
        elif found and found[1].startswith(fence) and not found[2].strip():
            fence = ""
    return f"{text}\n{fence}" if fence else text


def _quoted(text: str) -> str:
    return "\n".join(f"> {line}".rstrip() for line in text.strip("\n").splitlines())


def _minute(moment: str) -> str:
    return moment[:16].replace("T", " ")
