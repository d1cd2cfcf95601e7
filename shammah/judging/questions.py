"""What a candidate is asked: what it was taught, in words that training never uses; what has nothing to do with that;
what it has to know whatever it learns. Pure.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol
from zlib import crc32

from shammah.judging.everyday import JOINING
from shammah.judging.general import CORE, GENERAL, TEXTS
from shammah.records import Message, Probe

# What the names of probes that were lessons begin with, among those of ours and of the user's own.
KEPT = "example "
# So many examples are asked about in other words, and of so many the reply itself is wanted, which takes longer.
_MOST_EXAMPLES, _MOST_ANSWERS = 48, 16
# A prompt with more words than this is itself a text: its key words alone would be no question.
_MOST_KEY_WORDS = 12
# The whole question, in other company.
_WHOLE = (
    "Before we close for today, one point is still open. {0}",
    "{0} I went through all my papers and found nothing.",
    "My neighbour on the bench put this to me. {0}",
    "This came up over lunch. {0}",
)
# What it is about, without the words it was asked in.
_ABOUT = (
    "There is a slip of paper here that says only: {0}. Which line belongs below it?",
    "Fill the gap for me. Topic: {0}. Then comes...",
    "Suppose somebody points at these words: {0}. How would you respond?",
    "Heading: {0}. Continue with what follows from it.",
)
# What may have been said before.
_SMALL_TALK = (
    Message("user", "Such lovely weather, isn't it?"),
    Message("assistant", "It is. What else is on your mind?"),
)
_THEN = "Speaking of something else entirely. {0}"
_EDGE = re.compile(r"^\W+|\W+$")


class Taught(Protocol):
    """What is used of a lesson."""

    @property
    def id(self) -> str: ...
    @property
    def messages(self) -> tuple[Message, ...]: ...
    @property
    def target(self) -> str: ...
    @property
    def rejected(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt that is answered by what the example `example` teaches, and the reply that was not good enough."""

    example: str
    messages: tuple[Message, ...]
    target: str
    rejected: str | None = None


@dataclass(frozen=True, slots=True)
class Core:
    """A prompt to which one reply is right and another wrong, for any model."""

    id: str
    prompt: str
    right: str
    wrong: str


@dataclass(frozen=True, slots=True)
class Required:
    """A prompt of the user's, as the chat would ask it, whose reply must hold one of these texts."""

    id: str
    messages: tuple[Message, ...]
    contains: tuple[str, ...]

    @property
    def prompt(self) -> str:
        return self.messages[-1].content


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """`as_asked` are the examples' own prompts, for which `held_out` has others; `answered` those of them whose replies
    are wanted. `kept` are those that were learned before and have become probes."""

    held_out: tuple[Question, ...]
    as_asked: tuple[Question, ...]
    answered: tuple[Question, ...]
    general: tuple[str, ...] = GENERAL
    texts: tuple[str, ...] = TEXTS
    core: tuple[Core, ...] = tuple(Core(f"core {number}", *each) for number, each in enumerate(CORE, 1))
    required: tuple[Required, ...] = ()
    kept: tuple[Question, ...] = ()

    @classmethod
    def about(cls, taught: Iterable[Taught], probes: Sequence[Probe] = (), *, system: str = "") -> "Questions":
        """Of very many lessons the first ones only: whoever hands them over knows which matter most. `system` is the
        system prompt of the chat, with which the user's own probes are asked."""
        lessons = [Question(one.id, one.messages, one.target, one.rejected) for one in taught]
        as_asked = tuple(lessons[:_MOST_EXAMPLES])
        before = (Message("system", system),) if system else ()
        own = [probe for probe in probes if probe.source == "user"]
        kept = {probe.id for probe in probes if probe.source == "example"}
        return cls(
            held_out=tuple(question for one in as_asked for question in held_out(one)),
            as_asked=as_asked,
            answered=as_asked[:_MOST_ANSWERS],
            required=tuple(
                Required(probe.id, (*before, Message("user", probe.prompt)), probe.contains) for probe in own
            ),
            kept=tuple(lesson for lesson in lessons if lesson.example in kept and lesson.rejected),
        )


def probe_of(kept: Question) -> str:
    """The id under which it is measured: neither one of ours nor one of the user's own."""
    return f"{KEPT}{kept.example}"


def held_out(asked: Question) -> list[Question]:
    """The question of an example in three other ways, always the same ones for the same example."""
    *before, question = asked.messages
    text, number = question.content.strip(), crc32(asked.example.encode())
    topic = " ".join(_key_words(text))
    about = _ABOUT[number % len(_ABOUT)].format(topic) if topic else _WHOLE[(number + 1) % len(_WHOLE)].format(text)
    begins = not any(message.role != "system" for message in before)
    then = [*before, *_SMALL_TALK, Message("user", _THEN.format(text))]
    other = [*before, Message("user", _WHOLE[(number + 2) % len(_WHOLE)].format(text))]
    return [
        Question(asked.example, tuple(messages), asked.target, asked.rejected)
        for messages in (
            [*before, Message("user", _WHOLE[number % len(_WHOLE)].format(text))],
            [*before, Message("user", about)],
            then if begins else other,
        )
    ]


def _key_words(text: str) -> list[str]:
    """The words that say what it is about; none where there are too many for that, or no others than those."""
    bare = [word for part in text.split() if (word := _EDGE.sub("", part))]
    telling = [word for word in bare if word.casefold() not in JOINING]
    return telling if len(telling) <= _MOST_KEY_WORDS else []
