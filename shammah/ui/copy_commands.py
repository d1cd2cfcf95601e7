"""/copy: a reply, or the code in it, to the clipboard."""

import re
import sys
from typing import TYPE_CHECKING

from shammah.errors import UsageError
from shammah.ui.commands import read_count, registry
from shammah.ui.toolbar import counted

if TYPE_CHECKING:
    from shammah.ui.repl import Repl

_USAGE = "/copy, /copy 2, /copy code or /copy 2 code."
# A fenced block, up to its end or that of the reply, which may have been stopped.
_BLOCK = re.compile(
    r"^(?P<indent>[ \t]*)(?P<fence>`{3,}|~{3,})[^\n]*\n(?P<code>.*?)(?:^[ \t]*(?P=fence)[`~]*[ \t]*$|\Z)",
    re.MULTILINE | re.DOTALL,
)


@registry.command(
    "copy", arguments="[n] [code]", help="copy the last reply, the n-th, or its last code block",
    words={"code": ("", "the last code block of the reply alone")},
)  # fmt: skip
def copy_reply(repl: "Repl", argument: str) -> None:
    number, code_alone = _read(argument)
    turn = repl.talk.turn(number)
    what, text = "The reply", turn.response
    if code_alone:
        what, code = "The code", last_code(text)
        if code is None:
            raise UsageError("There is no code block in that reply", hint="/copy alone takes all of it.")
        text = code
    if not text.strip():
        raise UsageError("That reply is empty", hint="/replies lists them.")
    from shammah.ui.clipboard import copy

    where = copy(text, sys.stdout)
    repl.screen.tell(f"{what} ({counted(len(text.splitlines()), 'line')}) goes {where}.")


def last_code(reply: str) -> str | None:
    """The last code block of a reply without its fences and their indent; None where there is none."""
    blocks = list(_BLOCK.finditer(reply))
    if not blocks:
        return None
    indent, code = blocks[-1]["indent"], blocks[-1]["code"]
    return "".join(line.removeprefix(indent) for line in code.splitlines(keepends=True)).rstrip("\n")


def _read(argument: str) -> tuple[int | None, bool]:
    """The reply's number, None for the last one, and whether its code alone is wanted."""
    number, code_alone = None, False
    for word in argument.lower().split():
        if word == "code" and not code_alone:
            code_alone = True
        elif word.lstrip("#").isdigit() and number is None:
            number = read_count(word.lstrip("#"), _USAGE, otherwise=1)
        else:
            raise UsageError(f"/copy does not know {word!r}", hint=_USAGE)
    return number, code_alone
