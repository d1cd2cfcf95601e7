"""What is said when another adapter answers that nobody asked for in this chat, or another model that somebody did.
Pure."""

from typing import TYPE_CHECKING

from shammah.errors import ModelError, ShammahError
from shammah.records import Activation
from shammah.ui.toolbar import counted

if TYPE_CHECKING:
    from shammah.deployment.live import Change

_BASE = "the model itself"


def change_words(change: "Change") -> str:
    """Another process took it into use, or put it aside."""
    strength = "" if change.strength == 1 else f" at strength {change.strength:g}"
    why = f": {change.cause}" if change.cause else "."
    return f"From this reply on {change.adapter or _BASE} answers{strength}, instead of {change.previous or _BASE}{why}"


def own_words(answering: str | None, new: str) -> str:
    """Another adapter was taken into use, and this chat was begun with one of its own, or with none."""
    return (
        f"This chat goes on with {answering or _BASE}, as it was begun: /adapters load {new} has {new} answer here too."
    )


def probation_words(made: Activation, left: str | None) -> str:
    """A new adapter was gone back from; the cause says why."""
    again = f" /adapters load {left} takes it up again." if left else ""
    return f"Went back to {made.adapter or _BASE}: {made.cause}.{again}"


def model_answers_words(model: str, turns: int) -> str:
    """Another model was loaded, and took over."""
    kept = f", and is given the {counted(turns, 'turn')} so far" if turns else ""
    return f"From the next message on {model} answers{kept}."


def stays_error(error: BaseException, model: str) -> ShammahError:
    """Why another model could not be loaded; this one goes on."""
    known = error if isinstance(error, ShammahError) else ModelError(f"{type(error).__name__}: {error}")
    return type(known)(known.message, hint=f"{known.hint} {model} goes on answering.".strip())
