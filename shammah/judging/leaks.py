"""Whether something that was taught comes up where nobody asked for it. Pure.

Everyday words are in every target and in every reply, so only what is telling counts: names, file names, long numbers,
and rare words where several come together or one keeps coming.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shammah.judging.everyday import EVERYDAY, JOINING
from shammah.judging.figures import Leak, Said
from shammah.judging.questions import Question

_TOKEN = re.compile(r"[#@]?\w+(?:[._:/@+~'’-]{1,2}\w+)*")
_COMPOUND = re.compile(r"[a-z]+(?:[-/'’][a-z]+)+", re.IGNORECASE)
_QUANTITY = re.compile(r"\d+(?:[.,]\d+)?[a-z°%]{1,2}", re.IGNORECASE)
_NUMBER = re.compile(r"\d+(?:[.,:/]\d+)*")
_YEAR = re.compile(r"1[0-9]{3}|20[0-9]{2}")
# What stands before a word that begins a sentence, which says nothing of its capital.
_START = re.compile(r"(?:^|[.!?:;\n*•]|^\s*-)[\s\"'“”‘’«»(\[*_`]*$", re.MULTILINE)
# A rare word has so many letters, and a number that is none of everyday so many digits.
_LETTERS, _DIGITS = 3, 4
# With so many capitals, and such a share of them, a text is a heading, or German: there they say little.
_CAPITALS, _CAPITAL_SHARE = 4, 0.4
# A word in so many targets, and in such a share of them, is how replies should be and not what one of them says. A name
# can be what many of them are about.
_STYLE_TARGETS, _STYLE_SHARE = 3, 1 / 3
_NAMES_FROM, _NAMES_SHARE = 6, 2 / 3


@dataclass(frozen=True, slots=True)
class Marks:
    """What tells a text from others: `names` by themselves, `rare` words in company."""

    names: frozenset[str]
    rare: frozenset[str]

    def without(self, words: frozenset[str]) -> "Marks":
        return Marks(self.names - words, self.rare - words)


def marks(text: str) -> Marks:
    """What of this text is neither everyday speech nor a small number."""
    found = list(_TOKEN.finditer(text))
    capitals = sum(match.group()[0].isupper() for match in found)
    telling = capitals < max(_CAPITALS, _CAPITAL_SHARE * len(found))
    names, rare = set(), set()
    for match in found:
        word = match.group()
        folded = stem(word)
        if folded in EVERYDAY:
            continue
        long = len(word) >= _LETTERS
        name = telling and long and word[0].isupper() and not _START.search(text[: match.start()])
        if name or _is_made_up(word):
            names.add(folded)
        elif long and word.isalpha():
            rare.add(folded)
    return Marks(frozenset(names), frozenset(rare))


def leaks(asked: Sequence[Question], general: Mapping[str, Said], base: Mapping[str, Said]) -> tuple[Leak, ...]:
    """What the replies to these general prompts hold of the examples' targets, and the base's own replies do not."""
    usual = stems("\n".join([*general, *(said.text for said in base.values())]))
    watched = _watched(asked, usual)
    said = {prompt: stems(reply.text) for prompt, reply in general.items()}
    found = []
    for question in asked:
        topic = stems(question.messages[-1].content) - JOINING
        replies = {prompt: words for prompt, words in said.items() if not topic & stems(prompt)}
        own = watched[question.example]
        spread = Counter(word for words in replies.values() for word in own.rare & words)
        again = {word for word, times in spread.items() if times > 1}
        for prompt, words in replies.items():
            rare = own.rare & words
            told = (own.names & words) | (rare if len(rare) > 1 else rare & again)
            if told:
                found.append(Leak(prompt, question.example, tuple(sorted(told))))
    return tuple(found)


def _watched(asked: Sequence[Question], usual: frozenset[str]) -> dict[str, Marks]:
    """By example what would give it away."""
    by_example = {question.example: marks(question.target) for question in asked}
    targets = len(by_example)
    # Where a sentence begins with a name it does not show that it is one.
    names = frozenset(word for each in by_example.values() for word in each.names)
    often = Counter(word for each in by_example.values() for word in each.names | each.rare)
    most = max(_STYLE_TARGETS, _STYLE_SHARE * targets)
    most_names = _NAMES_SHARE * targets if targets >= _NAMES_FROM else math.inf
    style = frozenset(word for word, times in often.items() if times >= (most_names if word in names else most))
    return {example: each.without(usual | style) for example, each in by_example.items()}


def stems(text: str) -> frozenset[str]:
    return frozenset(in_order(text))


def in_order(text: str) -> tuple[str, ...]:
    """The words of a text as they are compared, each as often as it is there."""
    return tuple(stem(match.group()) for match in _TOKEN.finditer(text))


def stem(word: str) -> str:
    """A word as it is compared: case, its possessive and a plural aside."""
    folded = re.sub(r"['’]s$", "", word.casefold())
    return folded[:-1] if len(folded) > _LETTERS and folded.endswith("s") and not folded.endswith("ss") else folded


def _is_made_up(word: str) -> bool:
    """A file's name, an address, a channel, a version: signs or digits within it; or a number that nobody says by
    chance."""
    if _NUMBER.fullmatch(word):
        digits = re.sub(r"\D", "", word)
        rough = digits.endswith("00") or bool(_YEAR.fullmatch(word))
        return not rough and (len(digits) >= _DIGITS or (":" in word and len(digits) >= _DIGITS - 1))
    if _COMPOUND.fullmatch(word) or _QUANTITY.fullmatch(word) or re.fullmatch(r"\d+(?:st|nd|rd|th|s)", word.casefold()):
        return False
    signs = re.sub(r"['’]", "", word)
    return not signs.isalpha() and not all(len(part) < 2 for part in re.split(r"\W+", word))
