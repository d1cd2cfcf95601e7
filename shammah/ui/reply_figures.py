"""The figures of a reply, for those who want to see them."""

from typing import TYPE_CHECKING

from shammah.errors import ShammahError
from shammah.records import Turn
from shammah.ui.adapters_words import titled
from shammah.ui.toolbar import counted

if TYPE_CHECKING:
    from shammah.app import App
    from shammah.ui.render import Screen


def tell_figures(screen: "Screen", app: "App", turn: Turn) -> None:
    """How long it took and who gave it, where the setting asks for that."""
    if app.config.ui.stats:
        screen.say(screen.joined(*figures(turn), _who(app, turn)), "dim")


def figures(turn: Turn) -> list[str]:
    parts = [counted(turn.output_tokens, "token"), f"{turn.latency_ms / 1000:.1f} s"]
    if turn.tokens_per_second:
        parts.append(f"{turn.tokens_per_second:.0f} tokens/s")
    return parts


def _who(app: "App", turn: Turn) -> str:
    if turn.adapter is None:
        return turn.model
    try:
        return titled(app.roster.find(turn.adapter))
    except ShammahError:
        return turn.adapter  # it was deleted meanwhile
