"""What follows a command where it takes options, read as a shell would. Pure."""

import shlex
from collections.abc import Collection
from dataclasses import dataclass, field

from shammah.errors import UsageError


@dataclass(frozen=True, slots=True)
class Given:
    """What follows a command: words, and options with their values."""

    words: list[str] = field(default_factory=list)
    options: dict[str, str] = field(default_factory=dict)


def read_given(text: str, usage: str, *, most: int, values: Collection[str] = (), flags: Collection[str] = ()) -> Given:
    """Words and options as a shell would take them: `NAME --strength 0.5`, "a folder" in quotes."""
    try:
        parts = shlex.split(text)
    except ValueError:
        raise UsageError("A quote is not closed", hint=usage) from None
    given = Given()
    while parts:
        part = parts.pop(0)
        name, equals, value = part.removeprefix("--").partition("=")
        if not part.startswith("--"):
            given.words.append(part)
        elif name in flags and not equals:
            given.options[name] = ""
        elif name in values and (equals or parts):
            given.options[name] = value if equals else parts.pop(0)
        else:
            raise UsageError(f"{part} is not known here, or has no value", hint=usage)
    if len(given.words) > most:
        raise UsageError(f"{given.words[most]!r} is one word too many", hint=usage)
    return given


def read_strength(text: str) -> float:
    try:
        strength = float(text)
    except ValueError:
        strength = -1.0
    if not 0 <= strength <= 1:
        raise UsageError(f"{text!r} is not a strength", hint="Give a number from 0 to 1, as in --strength 0.5.")
    return strength
