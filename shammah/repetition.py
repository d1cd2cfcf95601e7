"""Telling a text that goes round in circles from one that only says a word again. Of tokens, words or lines alike."""

from collections.abc import Sequence

# A circle longer than this many items is taken for a refrain.
_LONGEST_CIRCLE = 64


def goes_round(items: Sequence[object], *, span: int) -> bool:
    """Whether the last `span` items only say over and over what stands before them."""
    tail = items[-span:]
    longest = min(_LONGEST_CIRCLE, span // 2, len(items) - span)
    return any(tail == items[-span - circle : -circle] for circle in range(1, longest + 1))
