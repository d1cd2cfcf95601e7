"""The three ratings: the words for them and what they weigh."""

from shammah.config import WeightSettings
from shammah.records import Level

# The most that an example can weigh, whoever says so.
HEAVIEST = 1000
LEVELS: tuple[Level, ...] = ("critical", "medium", "good")
_WORDS: dict[str, Level] = {
    "critical": "critical",
    "high": "critical",
    "medium": "medium",
    "good": "good",
    "normal": "good",
}


def level_words() -> list[str]:
    return list(_WORDS)


def read_level(word: str) -> Level | None:
    """The level that a word of `/feedback` or of a file means."""
    return _WORDS.get(word.strip().lower())


def weight_of(level: Level, weights: WeightSettings) -> float:
    return {"critical": weights.critical, "medium": weights.medium, "good": weights.good}[level]
