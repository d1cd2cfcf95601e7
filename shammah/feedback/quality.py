"""How good a turn was, from what is known of it: one number for sorting and counting, and the parts it is made of.

Each part lies in 0..1 and is there only when it is known. What the user said of the reply outweighs everything that can
be measured on it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from shammah.records import Level, StopReason, Turn
from shammah.repetition import repeated_share, sentences, words

# The rating weighs more than three times all the others together: a good one keeps the value above 0.75, a critical
# one below 0.25.
WEIGHTS = {"rating": 30, "retry": 2, "edit": 2, "scorer": 2, "ending": 1, "length": 1, "repetition": 1}

_RATING: dict[Level, float] = {"good": 1.0, "medium": 0.35, "critical": 0.0}
_ENDING: dict[StopReason, float] = {
    "end": 1.0,
    "stop": 1.0,
    "length": 0.6,
    "window": 0.5,
    "cancelled": 0.4,
    "loop": 0.0,
}
_RETRIED, _EDITED = 0.0, 0.2

_WORDS: dict[str, dict[float, str]] = {
    "rating": {value: f"rated {level}" for level, value in _RATING.items()},
    "retry": {_RETRIED: "asked again"},
    "edit": {_EDITED: "rewritten by the user"},
    "ending": {
        1.0: "ended well",
        0.6: "cut at max_tokens",
        0.5: "cut by the window",
        0.4: "stopped halfway",
        0.0: "went round in circles",
    },
    "length": {1.0: "long enough", 0.0: "empty"},
    "repetition": {1.0: "no repetition"},
}
_OTHERWISE = {"scorer": "your scorer", "length": "too short", "repetition": "repeats itself"}

# From this many characters on a question is taken for one that a word does not answer: the reply should have a tenth of
# its length, though never more than a sentence is asked for.
_LONG_QUESTION, _SENTENCE = 120, 60


@dataclass(frozen=True, slots=True)
class Quality:
    value: float
    parts: dict[str, float]


def score(turn: Turn, *, retried: bool = False, edited: bool = False, scored: float | None = None) -> Quality:
    """`retried`: the user asked again; `edited`: the user wrote a better reply; `scored`: what the user's own function
    made of it, brought into 0..1 and left out where it is no number."""
    parts: dict[str, float] = {}
    if turn.feedback is not None:
        parts["rating"] = _RATING[turn.feedback]
    if retried:
        parts["retry"] = _RETRIED
    if edited:
        parts["edit"] = _EDITED
    if scored is not None and not math.isnan(scored):
        parts["scorer"] = min(1.0, max(0.0, scored))
    parts["ending"] = _ENDING[turn.stop_reason]
    parts["length"] = _length(turn.query.strip(), turn.response.strip())
    if turn.response.strip():
        parts["repetition"] = _freshness(turn.response)
    return Quality(weighted(parts), parts)


def weighted(parts: Mapping[str, float]) -> float:
    """The mean of the parts that are known, each by its weight."""
    total = sum(WEIGHTS[name] for name in parts)
    return sum(WEIGHTS[name] * value for name, value in parts.items()) / total


def explain(quality: Quality) -> str:
    """One line: the value, then each part in words with its own."""
    parts = [(name, quality.parts[name]) for name in WEIGHTS if name in quality.parts]
    said = [f"{_WORDS.get(name, {}).get(value) or _OTHERWISE.get(name, name)} {value:.2f}" for name, value in parts]
    return f"{quality.value:.2f}: {', '.join(said)}"


def _length(question: str, reply: str) -> float:
    if not reply:
        return 0.0
    if len(question) < _LONG_QUESTION:
        return 1.0
    return min(1.0, len(reply) / min(len(question) / 10, _SENTENCE))


def _freshness(reply: str) -> float:
    return 1 - max(repeated_share(sentences(reply)), repeated_share(words(reply), size=3))
