"""/tokens: how full the context window is, as a bar with its parts."""

from typing import TYPE_CHECKING

from wcwidth import clip, ljust

from shammah.excerpt import excerpt
from shammah.model.window import Filling
from shammah.records import Turn
from shammah.ui.commands import registry
from shammah.ui.toolbar import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shammah.ui.repl import Repl

# For what stands before the conversation, the conversation, the reply to come, and what is free.
_SIGNS, _SIGNS_ASCII = "█▓░·", "#=-."
_WIDEST = 64
# So many turns are listed one by one, the newest.
_LISTED = 8
# Beside what a part is called: its tokens and its share.
_NUMBERS = 16


@registry.command("tokens", "context", help="how full the context window is, and of what")
def tokens(repl: "Repl", argument: str) -> None:
    if not repl.talk.loaded:
        repl.screen.tell("The model is still loading; how full its window is can be told when it is there.")
        return
    filling = repl.talk.session().filling(repl.app.config.generation)
    turns = [turn for turn in repl.talk.turns if turn.response]
    repl.screen.tell("\n".join(filling_lines(filling, turns, columns=repl.screen.columns, ascii=repl.screen.ascii)))


def filling_lines(filling: Filling, turns: "Sequence[Turn]", *, columns: int, ascii: bool) -> list[str]:
    width, signs = min(columns, _WIDEST), _SIGNS_ASCII if ascii else _SIGNS
    parts = (
        ("system and rules", filling.lead),
        ("conversation", sum(filling.turns)),
        ("kept for the reply", min(filling.reserve, filling.window - filling.used)),
        ("free", filling.free),
    )
    lines = [
        f"{filling.used:,} of {filling.window:,} tokens, {_share(filling.used, filling.window)}",
        bar_of_parts([size for _, size in parts], filling.window, width, signs),
    ]
    for sign, (name, size) in zip(signs, parts, strict=True):
        lines.append(_row(f"{sign} {name}", size, filling.window, width))
        if name == "conversation":
            lines += _turn_lines(filling, turns, width)
    return lines


def bar_of_parts(sizes: "Sequence[int]", whole: int, width: int, signs: str) -> str:
    """A sign for each part as often as it is large; a part that there is has one."""
    ends, at, before = [], 0, 0
    for size in sizes:
        before += max(0, size)
        at = max(at + (size > 0), round(width * before / whole))
        ends.append(min(at, width))
    starts = [0, *ends[:-1]]
    return "".join(sign * (end - start) for sign, start, end in zip(signs, starts, ends, strict=True)).ljust(width)


def _turn_lines(filling: Filling, turns: "Sequence[Turn]", width: int) -> list[str]:
    told = list(zip(range(1, len(turns) + 1), turns, filling.turns, strict=True))
    left, more = [size for _, _, size in told if not size], told[:-_LISTED]
    lines = []
    if earlier := [size for _, _, size in more if size]:
        lines.append(_row(f"    {counted(len(earlier), 'earlier turn')}", sum(earlier), filling.window, width))
    for number, turn, size in told[-_LISTED:]:
        if size:
            name = f"    {number} {excerpt(turn.query, max(1, width - _NUMBERS - 9))}"
            lines.append(_row(name, size, filling.window, width))
    if left:
        lines.insert(0, f"    {counted(len(left), 'turn')} left the window")
    return lines


def _row(name: str, size: int, whole: int, width: int) -> str:
    return f"{ljust(clip(name, 0, width - _NUMBERS), width - _NUMBERS)}{size:>9,}{_share(size, whole):>7}"


def _share(size: int, whole: int) -> str:
    return f"{100 * size / whole:.0f} %"
