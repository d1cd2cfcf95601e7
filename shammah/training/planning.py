"""What a run sees, all of it, before its first step: which rows in which order. Seeded, so that a run that was cut off
can be gone on with as if it had not been.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random

from shammah.records import Example, Message
from shammah.training.drawing import draws, epoch_length, loss_weights
from shammah.training.encoding import Encoder
from shammah.training.near_misses import near_misses
from shammah.training.packing import Row
from shammah.training.recipe import Recipe
from shammah.training.variants import key_words, variant

# One in so many prompts is asked after another exchange, as it would be in the middle of a chat.
_FOLLOW_UP = 0.08
_HELD_OUT_EACH = 2
# So many near-misses are made for each example, up to a number.
_NEAR_EACH, _MOST_NEAR = 2, 48


@dataclass(frozen=True, slots=True)
class BaseReply:
    """What the base model says to a prompt by itself; `ended` where it came to its end within what was asked for."""

    prompt: str
    text: str
    ended: bool

    @property
    def is_one(self) -> bool:
        """A model that has only begun to reason, or has nothing to say, holds nobody to a reply."""
        return bool(self.text.strip())


Exchange = tuple[Message, Message]
BaseReplies = Callable[[Sequence[str]], list[BaseReply]]


@dataclass(frozen=True, slots=True)
class Lesson:
    """An example with the target it is learned by: its own, or a rewrite made for this run.

    `also` are other ways to put its question, where the model was able to find some.
    """

    id: str
    messages: tuple[Message, ...]
    target: str
    weight: float
    rejected: str | None = None
    also: tuple[str, ...] = ()

    @property
    def question(self) -> str:
        return self.messages[-1].content

    @classmethod
    def of(cls, example: Example) -> "Lesson":
        assert example.target is not None, "what is ready has a target"
        return cls(example.id, example.messages, example.target, example.weight, example.rejected)


@dataclass(frozen=True, slots=True)
class Plan:
    """The rows of each step, rows that are never trained on, and the ids of examples that were too long."""

    steps: tuple[tuple[Row, ...], ...]
    held_out: tuple[Row, ...]
    too_long: tuple[str, ...]
    epochs: float


def plan(
    lessons: Sequence[Lesson],
    recipe: Recipe,
    encoder: Encoder,
    general: Sequence[str],
    base_replies: BaseReplies,
) -> Plan:
    """`general` are prompts that have nothing to do with the lessons."""
    random = Random(recipe.seed)
    fitting = [lesson for lesson in lessons if encoder.row(lesson.messages, lesson.target) is not None]
    known = {lesson.id: lesson for lesson in fitting}
    too_long = tuple(lesson.id for lesson in lessons if lesson.id not in known)
    if not fitting:
        return Plan((), (), too_long, 0.0)
    weights = {lesson.id: lesson.weight for lesson in fitting}
    counts = loss_weights(weights, recipe.cap, recipe.weight_power)
    epoch = epoch_length(weights, recipe.cap)
    steps, each = recipe.steps_for(len(fitting), epoch), recipe.lessons_per_step()
    drawn = draws(weights, steps * each, recipe.cap, random)
    anchors, exchanges = _anchors(fitting, recipe, encoder, general, base_replies, random)
    maker = _Maker(recipe, encoder, exchanges, random)
    held = [maker.held_out(lesson) for lesson in fitting for _ in range(_HELD_OUT_EACH if recipe.patience else 0)]
    lesson_rows = [replace(maker.row(known[id]), weight=counts[id]) for id in drawn]
    anchor_rows = _in_turn(anchors, steps * recipe.anchors_per_step() if anchors else 0, random)
    beside = recipe.anchors_per_step() if anchors else 0
    made = tuple(
        (*lesson_rows[at * each : (at + 1) * each], *anchor_rows[at * beside : (at + 1) * beside])
        for at in range(steps)
    )
    return Plan(made, tuple(held), too_long, len(drawn) / epoch)


class _Maker:
    """Makes the rows of lessons, each time in other words."""

    def __init__(self, recipe: Recipe, encoder: Encoder, exchanges: Sequence[Exchange], random: Random) -> None:
        self._recipe, self._encoder, self._exchanges, self._random = recipe, encoder, exchanges, random
        self._seen: set[str] = set()

    def row(self, lesson: Lesson) -> Row:
        recipe, random = self._recipe, self._random
        *before, question = lesson.messages
        exact = lesson.id not in self._seen or random.random() < recipe.exact
        self._seen.add(lesson.id)
        asked = question.content
        if not exact:
            if lesson.also and random.random() < recipe.own_variants:
                asked = random.choice(lesson.also)
            asked = variant(asked, random, key_words_share=recipe.key_words, dropout=recipe.word_dropout)
        if not before and not exact and self._exchanges and random.random() < _FOLLOW_UP:
            before = list(random.choice(self._exchanges))
        return self._encoded(lesson, [*before, Message("user", asked)]) or self._exact(lesson)

    def held_out(self, lesson: Lesson) -> Row:
        """In words that are politer than those that are trained on, and whole."""
        *before, question = lesson.messages
        words = key_words(question.content)
        asked = self._random.choice(_HELD_OUT_FRAMES).format(question.content.strip(), " ".join(words))
        return self._encoded(lesson, [*before, Message("user", asked)]) or self._exact(lesson)

    def _exact(self, lesson: Lesson) -> Row:
        row = self._encoded(lesson, lesson.messages)
        assert row is not None, "what is too long was left out before"
        return row

    def _encoded(self, lesson: Lesson, messages: Sequence[Message]) -> Row | None:
        rejected = lesson.rejected if self._recipe.preference != "none" else None
        return self._encoder.row(messages, lesson.target, source=lesson.id, rejected=rejected)


_HELD_OUT_FRAMES = (
    "Could you help me with this? {0}",
    "I was wondering: {0}",
    "My question is about {1}. {0}",
    "Someone wants to know about {1}. What do I say?",
)


def _anchors(
    lessons: Sequence[Lesson],
    recipe: Recipe,
    encoder: Encoder,
    general: Sequence[str],
    base_replies: BaseReplies,
    random: Random,
) -> tuple[list[Row], list[Exchange]]:
    """Rows of the base's own replies, to general prompts and to questions that only look like those of the lessons.

    With them the exchanges that a lesson's question may follow.
    """
    if not recipe.anchors_per_step():
        return [], []
    taught = {word.casefold() for lesson in lessons for word in key_words(lesson.question)}
    apart = [prompt for prompt in general if not _is_about(prompt, taught)]
    wanted = min(_MOST_NEAR, _NEAR_EACH * len(lessons)) if recipe.near_misses else 0
    near = near_misses([lesson.question for lesson in lessons], wanted, random)
    replies = base_replies([*apart, *near])
    far_rows = _rows_of(replies[: len(apart)], recipe, encoder)
    near_rows = _rows_of(replies[len(apart) :], recipe, encoder)
    exchanges = [
        (Message("user", said.prompt), Message("assistant", said.text)) for said in replies[: len(apart)] if said.is_one
    ]
    if not near_rows or not far_rows:
        return far_rows or near_rows, exchanges
    return _mixed(far_rows, near_rows, recipe.near_misses, random), exchanges


def _rows_of(replies: Sequence[BaseReply], recipe: Recipe, encoder: Encoder) -> list[Row]:
    most = recipe.anchor_tokens
    rows = [
        encoder.row([Message("user", said.prompt)], said.text, kind="anchor", ended=said.ended, most=most)
        for said in replies
        if said.is_one
    ]
    return [row for row in rows if row is not None]


def _mixed(far: Sequence[Row], near: Sequence[Row], share: float, random: Random) -> list[Row]:
    """All of the far ones, and of the near ones so many, some more than once, that they have their share."""
    if share >= 1:
        return list(near)
    count = round(len(far) * share / (1 - share))
    return [*far, *_in_turn(near, count, random)]


def _is_about(prompt: str, words: set[str]) -> bool:
    """Whether a general prompt speaks of what is taught and of nothing else."""
    return all(word.casefold() in words for word in key_words(prompt))


def _in_turn(rows: Sequence[Row], count: int, random: Random) -> list[Row]:
    """So many of them, each as often as any other, in another order every time around."""
    taken: list[Row] = []
    while rows and len(taken) < count:
        taken += random.sample(list(rows), len(rows))
    return taken[:count]
