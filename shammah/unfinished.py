"""Replies that were stopped before their end: which can be gone on with, and what there is of one. Pure."""

from collections.abc import Callable, Sequence

from shammah.errors import UsageError
from shammah.records import Begun, Piece, Reply, Turn


def require_unfinished(turns: Sequence[Turn]) -> None:
    """UsageError where there is no reply that was stopped before its end, with what can be done instead."""
    if not turns:
        raise UsageError("There is no reply to go on with", hint="Ask something first.")
    last = turns[-1]
    if not last.response:
        only = "Only reasoning came, and no reply" if last.reasoning else "The reply had not begun"
        raise UsageError(only, hint="/retry asks again.")
    ended = {
        "end": "The reply came to its own end",
        "stop": "The reply ended with a text of generation.stop",
        "loop": "The reply went round in circles",
    }.get(last.stop_reason)
    if ended:
        raise UsageError(ended, hint="/retry asks again; or ask for more in a message.")


def begun_by(turn: Turn | None) -> Begun | None:
    return None if turn is None else Begun(turn.response, turn.reasoning)


def torn(
    begun: Turn | None, said: Sequence[Piece], input_tokens: int, milliseconds: float, count: Callable[[str], int]
) -> Reply:
    """The reply as far as it was shown, when the step that was under way had to be given up."""
    texts = {kind: "".join(piece.text for piece in said if piece.kind == kind) for kind in ("reply", "reasoning")}
    return Reply(
        text=(begun.response if begun else "") + texts["reply"],
        reasoning=texts["reasoning"],
        stop_reason="cancelled",
        input_tokens=input_tokens,
        cached_tokens=0,
        output_tokens=count("".join(texts.values())),
        first_token_ms=milliseconds,
        duration_ms=milliseconds,
    )
