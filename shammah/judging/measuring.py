"""Measuring one voice: everything is tried, and what cannot be measured is written down as failed, never left out."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import TypeVar

from shammah.errors import ExampleDeleted, Interrupted, TrainingCancelled
from shammah.judging.figures import ENDLESS, LOOPS, Fault, Figures, Said
from shammah.judging.leaks import leaks
from shammah.judging.questions import Question, Questions, Required, probe_of
from shammah.judging.voice import Exchange, Voice
from shammah.records import Message
from shammah.repetition import loops

T = TypeVar("T")
# Of each reply so many tokens are waited for. One counts as endless where the base needs no more than half of that.
MOST_TOKENS = 64
# A probe may be answered later on in a long reply: so many times that is waited for where it was not by then.
_PROBE_PATIENCE = 4
# What belongs to the form of a conversation and never into a reply.
_TEMPLATE = re.compile(
    r"<\|[^|>\n]{1,40}\|>|</?s>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>|<(?:pad|unk|bos|eos)>"
    r"|^(?:user|assistant|system)$|^#+ ?(?:Instruction|Response|Input):",
    re.MULTILINE,
)
# Somebody ended it: that says nothing of the model.
_ENDED = (TrainingCancelled, ExampleDeleted, Interrupted)


def measure(
    voice: Voice, questions: Questions, base: Figures | None = None, *, clock: Callable[[], float] = lambda: 0.0
) -> Figures:
    """`base` are the figures of the base model, None where this voice is the base model."""
    started, tries = clock(), _Tries()
    likely = tries.of("held_out", lambda: _likelihoods(voice, questions), _Likelihoods())
    nothing: dict[str, bool] = {}
    pairs = tries.of("probes", lambda: _pairs(voice, questions), nothing)
    said = tries.of("replies", lambda: _replies(voice, questions), _Replies())
    # What the base says by itself is what a voice is held to.
    own = said.general if base is None else base.general
    return Figures(
        nll=likely.nll,
        margins=likely.margins,
        drift=tries.of("drift", lambda: 0.0 if base is None else _drift(voice, own), None),
        perplexity=tries.of("perplexity", lambda: _above_zero(voice.perplexity(questions.texts)), None),
        answers=said.answers,
        general=said.general,
        faults=() if base is None else tuple(_faults(questions, said, base)),
        leaks=() if base is None else leaks(questions.as_asked, said.general, own),
        probes=pairs | said.probes,
        speed=tries.of("speed", lambda: _above_zero(voice.tokens_per_second()), None),
        seconds=clock() - started,
        failed=tries.failed,
    )


class _Tries:
    def __init__(self) -> None:
        self.failed: dict[str, str] = {}

    def of(self, name: str, check: Callable[[], T], otherwise: T) -> T:
        try:
            return check()
        except _ENDED:
            raise
        except Exception as error:
            self.failed[name] = " ".join(f"{error}".split()) or type(error).__name__
            return otherwise


@dataclass(frozen=True, slots=True)
class _Likelihoods:
    nll: Mapping[str, float] = field(default_factory=dict)
    margins: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Replies:
    answers: Mapping[str, Said] = field(default_factory=dict)
    general: Mapping[str, Said] = field(default_factory=dict)
    probes: dict[str, bool] = field(default_factory=dict)


def _likelihoods(voice: Voice, questions: Questions) -> _Likelihoods:
    found = _by_example(voice, questions.held_out)
    # In other words a prompt is a little longer, so the longest ones fit as they were asked only.
    rest = [question for question in questions.as_asked if question.example not in found]
    found |= _by_example(voice, rest) if rest else {}
    if questions.as_asked and not found:
        raise ValueError("none of the questions fits the model")
    margins = {
        example: [target - rejected for target, rejected in pairs if rejected is not None]
        for example, pairs in found.items()
    }
    return _Likelihoods(
        {example: -fmean(target for target, _ in pairs) for example, pairs in found.items()},
        {example: fmean(each) for example, each in margins.items() if each},
    )


def _by_example(voice: Voice, asked: Sequence[Question]) -> dict[str, list[tuple[float, float | None]]]:
    """How likely target and rejected reply are at each question that fits."""
    exchanges: list[Exchange] = [(question.messages, question.target) for question in asked]
    paired = [question for question in asked if question.rejected]
    exchanges += [(question.messages, question.rejected or "") for question in paired]
    values = _as_many(voice.log_probabilities(exchanges), exchanges)
    likely = [None if value is None else _finite(value) for value in values]
    rejected = dict(zip(map(id, paired), likely[len(asked) :], strict=True))
    found: dict[str, list[tuple[float, float | None]]] = {}
    for question, target in zip(asked, likely, strict=False):
        if target is not None:
            found.setdefault(question.example, []).append((target, rejected.get(id(question))))
    return found


def _pairs(voice: Voice, questions: Questions) -> dict[str, bool]:
    """Which of what every model should know, and of the lessons that are kept, it finds likelier than what is wrong."""
    asked = [(each.id, _only(each.prompt), each.right, each.wrong) for each in questions.core]
    asked += [(probe_of(each), each.messages, each.target, each.rejected or "") for each in questions.kept]
    exchanges: list[Exchange] = [(messages, right) for _, messages, right, _ in asked]
    exchanges += [(messages, wrong) for _, messages, _, wrong in asked]
    values = _as_many(voice.log_probabilities(exchanges), exchanges)
    found = [-math.inf if value is None else _finite(value) for value in values]
    both = zip(asked, found, found[len(asked) :], strict=False)
    return {id: right > wrong for (id, *_), right, wrong in both}


def _replies(voice: Voice, questions: Questions) -> _Replies:
    """All of them at once, which is much faster."""
    general = [*map(_only, questions.general), *(each.messages for each in questions.required)]
    prompts = [*general, *(question.messages for question in questions.answered)]
    replies = _as_many(voice.replies(prompts, MOST_TOKENS), prompts)
    said = [Said(reply.text, reply.stop_reason in ("end", "stop"), reply.output_tokens) for reply in replies]
    first, second = len(questions.general), len(general)
    return _Replies(
        {question.example: each for question, each in zip(questions.answered, said[second:], strict=True)},
        dict(zip(questions.general, said[:first], strict=True)),
        _required(voice, questions.required, said[first:second]),
    )


def _required(voice: Voice, required: Sequence[Required], said: Sequence[Said]) -> dict[str, bool]:
    """Which probes are passed. Those whose replies were cut off before they were are asked once more, for longer: all
    but those that go round in circles, which get nowhere."""
    found = {each.id: holds(each, reply.text) for each, reply in zip(required, said, strict=True)}
    under_way = {each.id: not reply.ended and not loops(reply.text) for each, reply in zip(required, said, strict=True)}
    cut = [each for each in required if under_way[each.id] and not found[each.id]]
    prompts = [each.messages for each in cut]
    replies = _as_many(voice.replies(prompts, _PROBE_PATIENCE * MOST_TOKENS), prompts) if cut else []
    return found | {each.id: holds(each, reply.text) for each, reply in zip(cut, replies, strict=True)}


def holds(required: Required, reply: str) -> bool:
    return any(text.casefold() in reply.casefold() for text in required.contains)


def _drift(voice: Voice, own: Mapping[str, Said]) -> float:
    exchanges: list[Exchange] = [(_only(prompt), said.text) for prompt, said in own.items() if said.text.strip()]
    if not exchanges:
        raise ValueError("the base model has nothing to say to general prompts")
    return max(0.0, _finite(voice.drift(exchanges)))


def _faults(questions: Questions, said: _Replies, base: Figures) -> list[Fault]:
    found = [
        Fault(prompt, what)
        for prompt, reply in said.general.items()
        if (own := base.general.get(prompt)) and (what := _fault(reply, own))
    ]
    for question in questions.answered:
        reply, own = said.answers.get(question.example), base.answers.get(question.example)
        # What a target does by itself, such as to repeat a line, is what was wanted.
        if reply and own and (what := _fault(reply, own)) and not (what == LOOPS and loops(question.target)):
            found.append(Fault(question.messages[-1].content, what))
    return found


def _fault(said: Said, own: Said) -> str:
    """What is wrong with a reply, and is not with the base's own to the same prompt."""
    if not said.text.strip():
        return "is empty" if own.text.strip() else ""
    if _TEMPLATE.search(said.text) and not _TEMPLATE.search(own.text):
        return "holds signs of the chat template"
    if loops(said.text) and not loops(own.text):
        return LOOPS
    return ENDLESS if not said.ended and own.ended and own.tokens <= MOST_TOKENS / 2 else ""


def _only(prompt: str) -> tuple[Message, ...]:
    return (Message("user", prompt),)


def _as_many(answers: list[T], asked: Sequence[object]) -> list[T]:
    if len(answers) != len(asked):
        raise ValueError(f"{len(answers)} answers to {len(asked)} questions")
    return answers


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(f"the result is {value}, which is no number")
    return value


def _above_zero(value: float) -> float:
    if _finite(value) <= 0:
        raise ValueError(f"the result is {value:g}, which can't be")
    return value
