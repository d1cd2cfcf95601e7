"""Other ways to put a lesson's question, made by the model that is taught: asked of models that are able to, and
believed only where the words that matter are still there.

Pure: whoever calls lets the model answer.
"""

import re
from collections.abc import Callable, Sequence
from random import Random

from shammah.training.planning import Lesson
from shammah.training.variants import telling_words

# What the model says to each of these prompts.
Say = Callable[[Sequence[str]], Sequence[str]]

_ASKS = (
    "Say this in other words, with the same meaning. Write the new sentence and nothing else.\n\n{0}",
    "How else could somebody ask this? Write one other way to ask it, without an answer.\n\n{0}",
    "Re-phrase this as a colleague in a hurry would. One short sentence, no answer.\n\n{0}",
)
# So many lessons are put otherwise, as there are so many near-misses: each takes the model three times, in every run.
_MOST_LESSONS = 48
_MOST_WORDS, _MORE_WORDS = 2.0, 4
# Of the words that say what a question is about so many stay, and so many others may come.
_KEPT, _NEW = 0.5, 0.6
_STEM = 4
_FIXED = re.compile(r"\d[\w.:/-]*|`[^`]+`|\"[^\"]+\"|\b\w+[_./]\w+\b")
_LEADS_IN = re.compile(
    r"^(?:sure|certainly|of course|here(?:'s| is| are)|okay|ok,|i(?:'m| am| can| would)\b)", re.IGNORECASE
)
# Words that ask for a name and give one, alike.
_NAMING = {"name", "call"}
_AROUND = " \n\t\"'“”‘’*-"


def rephrased(lessons: Sequence[Lesson], say: Say, random: Random) -> dict[str, tuple[str, ...]]:
    """For the ids of lessons what passed; nothing for one whose question the model could not put otherwise.

    Of very many lessons only some are asked for.
    """
    if len(lessons) > _MOST_LESSONS:
        lessons = random.sample(list(lessons), _MOST_LESSONS)
    asked = [(lesson, ask.format(lesson.question)) for lesson in lessons for ask in _ASKS]
    replies = say([text for _, text in asked])
    found: dict[str, dict[str, None]] = {}
    for (lesson, _), reply in zip(asked, replies, strict=True):
        text = reply.strip(_AROUND)
        if puts_the_same(lesson.question, text, target=lesson.target):
            found.setdefault(lesson.id, {})[text] = None
    return {id: tuple(texts) for id, texts in found.items()}


def puts_the_same(question: str, text: str, *, target: str) -> bool:
    """Whether a text is the question again, as far as its words can tell: no answer, nothing lost that matters."""
    words, before = text.split(), question.split()
    if not words or "\n" in text or len(words) > _MOST_WORDS * len(before) + _MORE_WORDS:
        return False
    if _letters(text) == _letters(question) or _LEADS_IN.match(text):
        return False
    if any(fixed not in text for fixed in _FIXED.findall(question)):
        return False
    old, new = _stems(question), _stems(text)
    answer = _stems(target) - old - _NAMING
    return len(old & new) >= _KEPT * len(old) and len(new - old) <= max(1, _NEW * len(new)) and not new & answer


def _stems(text: str) -> set[str]:
    return {_letters(word)[:_STEM] for word in telling_words(text)} - {""}


def _letters(text: str) -> str:
    return re.sub(r"\W+", "", text.casefold())
