"""Telling a text that goes round in circles from one that only says a word again. Of tokens, words or lines alike."""

import re
from collections.abc import Sequence

# A circle longer than this many items is taken for a refrain.
_LONGEST_CIRCLE = 64
# Circles of up to 8 words, said three times or more.
_LOOP_SPAN = 16
_MOST_REPEATED = 0.25
_SENTENCE_END = re.compile(r"\n+|(?<=[.!?])\s+|(?<=[。！？])")


def goes_round(items: Sequence[object], *, span: int) -> bool:
    """Whether the last `span` items only say over and over what stands before them."""
    tail = items[-span:]
    longest = min(_LONGEST_CIRCLE, span // 2, len(items) - span)
    return any(tail == items[-span - circle : -circle] for circle in range(1, longest + 1))


def went_round(items: Sequence[object], *, span: int) -> bool:
    """Whether it did so anywhere, even if it found its way out."""
    return any(goes_round(items[:end], span=span) for end in range(span + 1, len(items) + 1))


def repeated_share(items: Sequence[object], *, size: int = 1) -> float:
    """How many of the runs of `size` items were said before, 0..1."""
    runs = [tuple(items[at : at + size]) for at in range(len(items) - size + 1)]
    return 1 - len(set(runs)) / len(runs) if runs else 0.0


def loops(text: str) -> bool:
    """Whether a reply went round in circles, or said too many of its sentences twice."""
    return went_round(words(text), span=_LOOP_SPAN) or repeated_share(sentences(text)) > _MOST_REPEATED


def words(text: str) -> list[str]:
    """The words of a text as they are compared here: case aside."""
    return text.casefold().split()


def sentences(text: str) -> list[str]:
    """Lines, and the sentences within them. A brace or a single word may well stand there twice, and is left out."""
    parts = (words(part) for part in _SENTENCE_END.split(text))
    return [" ".join(part) for part in parts if len(part) > 1]
