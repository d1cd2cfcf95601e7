"""How files stand in a message, and how they are named in what was typed. The way back too: which message came of a
typed line, and what it asks beside its files. Pure."""

import re
from collections.abc import Sequence

from shammah.excerpt import excerpt

# Three backticks, or more than stand at the beginning of any of the file's own lines.
_FENCE = "```"
_OWN_FENCES = re.compile(r"^\s*(`{3,})", re.MULTILINE)
_PART = re.compile(r"(?P<name>[^\n]+):\n(?P<fence>`{3,})\n.*?\n(?P=fence)(?:\n\n|\Z)", re.DOTALL)
# A name as it is typed: in quotes, or with a backslash before each blank.
_NAME = r""""(?P<double>[^"\n]+)"|'(?P<single>[^'\n]+)'|(?P<bare>(?:\\.|[^\s\\])+)"""
MENTION = re.compile(rf"(?<![^\s(\[{{<,;:])@(?:{_NAME})")
FIRST = re.compile(rf"\s*(?:{_NAME})(?:\s+|$)")
_READ = re.compile(r"/read\s+", re.IGNORECASE)


def part(name: str, text: str) -> str:
    """A file's text under its name."""
    longest = max((len(own) for own in _OWN_FENCES.findall(text)), default=0)
    fence = "`" * max(len(_FENCE), longest + 1)
    return f"{name}:\n{fence}\n{text.rstrip()}\n{fence}"


def composed(parts: Sequence[str]) -> str:
    """Material first, then the question."""
    return "\n\n".join(parts)


def unescaped(name: str) -> str:
    """Without the backslashes before blanks and quotes; those of Windows between folders stay."""
    return re.sub(r"\\([\s\\\"'])", r"\1", name)


def named_by(match: re.Match[str]) -> str:
    """The file that a match of MENTION or FIRST names."""
    return unescaped(match["bare"]) if match["bare"] is not None else match["double"] or match["single"]


def title_of(message: str) -> str:
    """What it asks, for a title; of files alone the name of the first."""
    names, question = _taken_apart(message)
    return excerpt(question if question.strip() or not names else names[0])


def came_of(typed: str, message: str) -> bool:
    """Whether a line that names files was typed for this message. The files may be others by now, or gone."""
    names, question = _taken_apart(message)
    if not names:
        return False
    rest, named = typed.strip(), list[str]()
    read = _READ.match(rest)
    first = FIRST.match(rest, read.end()) if read else None
    if first is not None:
        rest, named = rest[first.end() :], [_last(named_by(first))]
    asked, around, at = "", "", 0
    for mention in MENTION.finditer(rest):
        between, name = rest[at : mention.start()], _last(named_by(mention))
        named.append(name)
        around += between
        asked += f"{re.escape(between)}(?:{re.escape(name)}|{re.escape(mention[0])})"  # which may have named no file
        at = mention.end()
    around, asked = around + rest[at:], asked + re.escape(rest[at:])
    # What ends a sentence stands behind a name, and is no part of it.
    if not any(name.startswith(names[0]) for name in named):
        return False
    return bool(re.fullmatch(asked, question.strip())) or not (question.strip() or around.strip())


def _taken_apart(message: str) -> tuple[list[str], str]:
    """The names of the files before it, and the question."""
    names, at = list[str](), 0
    while (found := _PART.match(message, at)) is not None:
        names.append(found["name"])
        at = found.end()
    return names, message[at:]


def _last(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]
