"""One attempt: from lessons to a trained adapter in memory. Everything that computes, and nothing that is stored."""

import hashlib
import json
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import torch
from torch import Tensor

from shammah.config import GenerationSettings
from shammah.errors import TrainingError
from shammah.model.chat_model import ChatModel
from shammah.model.device import is_out_of_memory
from shammah.model.fingerprint import template_hash
from shammah.model.loading import LoadedModel
from shammah.records import Message, Reply
from shammah.training.anchor_book import AnchorBook
from shammah.training.anchors import PROMPTS
from shammah.training.asking import Asked, replies_to
from shammah.training.batches import with_rejected
from shammah.training.continuing import alike, elastic_penalty, start_from
from shammah.training.encoding import Encoder
from shammah.training.fitting import Limits, halved, too_little_memory
from shammah.training.learner import Learner
from shammah.training.loop import State, Trainer
from shammah.training.packing import Row
from shammah.training.planning import BaseReply, Lesson, Plan, plan
from shammah.training.preference import Preference
from shammah.training.recipe import Recipe
from shammah.training.rephrasing import rephrased

# How freely it puts a question in other words, and how long such a question may be, before and after.
_FREELY, _MOST_TOKENS_ASKED = 0.8, 64
# So many rows tell whether one sees another.
_TRIED_TOGETHER = 3

T = TypeVar("T")
OnStep = Callable[["Attempt"], None]


@dataclass(frozen=True, slots=True)
class Base:
    """The model that is taught: as it was loaded, under its name, with the hash of what it is."""

    name: str
    loaded: LoadedModel
    hash: str

    @property
    def voice(self) -> str:
        """What tells its replies from those of any other model, or of this one under another template."""
        format = self.loaded.format
        return _hash_of([self.hash, format.template, format.thinking])

    @property
    def hashes(self) -> tuple[str, str]:
        """Of the model and of its template, as the manifest of an adapter for it has them."""
        return self.hash, template_hash(self.loaded.format.template)

    def voice_within(self, tokens: int) -> str:
        """The same of replies that may have so many tokens."""
        return _hash_of([self.voice, tokens])


class Attempt:
    """`prepare` what is to be seen, `train` on it, and take the `tensors` of what came of it."""

    def __init__(
        self,
        base: Base,
        recipe: Recipe,
        limits: Limits,
        courtesy: Callable[[], None],
        *,
        go_on_from: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
        asked: Asked = lambda done, of: None,
    ) -> None:
        """`go_on_from` is the folder of the adapter to begin with, for the strategy `continue`; AdapterDamaged or
        AdapterMisfit where it can't be. The steps are timed by the `clock`. `asked` is told how many replies of the
        base are there, and of how many."""
        self.base, self.recipe, self.parent = base, recipe, go_on_from
        self.learner = Learner(base.loaded.network, recipe, courtesy)
        if go_on_from is not None:
            alike(self.learner, go_on_from)
        # The base model on modules that let the chat go first, and without reasoning: only replies are of use here.
        speaking = replace(base.loaded, network=self.learner.network, format=base.loaded.format.at_once())
        self.speaker = ChatModel(base.name, speaking)
        if recipe.checkpointing == "on":
            self.learner.recompute()
        self._limits, self._clock, self._courtesy, self._asked = limits, clock, courtesy, asked
        self._known_states: dict[tuple[int, ...], Tensor] = {}
        self.plan = Plan((), (), (), 0.0)
        self.trainer: Trainer | None = None
        # The adapter's numbers before the first step, as a hash, and what comes of them; the rows that hold it there.
        self._start = ""
        self._before: Tensor | None = None
        self._held: tuple[Row, ...] = ()
        # Of the run that was prepared: equal only for the very same rows in the same order, recipe and base, computed
        # in the same way, from the same numbers on.
        self.fingerprint = ""

    def prepare(self, lessons: Sequence[Lesson], book: AnchorBook, *, known: Collection[str] = ()) -> Plan:
        """Decide every row of the run. `known` are the examples, by id, that the adapter it begins with has learned."""
        speech = self.base.loaded.speech
        encoder = Encoder(
            self.base.loaded.format,
            speech.end_tokens,
            longest=min(self.recipe.max_length, speech.window),
            courtesy=self._courtesy,
        )
        lessons = self._in_other_words(lessons, encoder)
        self.plan = plan(lessons, self.recipe, encoder, PROMPTS, book.replies)
        if not self.plan.steps:
            raise TrainingError("There is nothing to train on", hint="See `shammah examples list`.")
        self.trainer = Trainer(
            self.learner,
            self.recipe,
            self.plan.steps,
            base_states=self._base_states,
            held_out=self.plan.held_out,
            preference=None
            if self.recipe.preference == "none"
            else Preference(self.recipe.preference, self._base_losses),
            limits=self._limits,
            clock=self._clock,
        )
        self._within_memory(self._try_out)
        self._begin()
        if self.parent is not None and self.recipe.ewc:
            self._held = tuple(self._first_of_each(known))
        if self._held:
            self._within_memory(self._hold)
        self.fingerprint = self._described()
        return self.plan

    def _try_out(self) -> None:
        """Whether this model can be computed in the way that training would like to, on a few rows."""
        assert self.trainer is not None
        first = self.plan.steps[0][0]
        self.learner.check_packing(self._some_together(self.trainer.limits.rows))
        self._require_finite(self._states(first))
        self._require_finite(self.learner.check_head(first))
        self.learner.check_gradients()

    def _some_together(self, most: int) -> list[Row]:
        """The shortest rows of the run, not only of a step: what one row sees of another shows in no row alone."""
        all_of_them = {row.ids: row for step in self.plan.steps for row in step}
        shortest = sorted(all_of_them.values(), key=lambda row: len(row.ids))
        return with_rejected(shortest[: min(most, _TRIED_TOGETHER)])

    def _begin(self) -> None:
        """Remember what the adapter is before the first step."""
        if self.parent is not None:
            start_from(self.learner, self.parent)
        self._start = self.learner.flat.digest()
        self._before = self._within_memory(lambda: self._states(self.plan.steps[0][0]))

    def _hold(self) -> None:
        assert self.trainer is not None
        self.trainer.penalty = elastic_penalty(self.trainer, self._held, self.recipe.ewc)

    def _first_of_each(self, ids: Collection[str]) -> list[Row]:
        """One row for each of these examples, as it was asked."""
        found: dict[str, Row] = {}
        for step in self.plan.steps:
            for row in step:
                if row.kind == "lesson" and row.source in ids:
                    found.setdefault(row.source, row)
        return list(found.values())

    def _in_other_words(self, lessons: Sequence[Lesson], encoder: Encoder) -> Sequence[Lesson]:
        """With some lessons the other ways to ask them that the base finds by itself, where it is to."""
        if not self.recipe.own_variants:
            return lessons
        tokens = self.base.loaded.format.tokens
        asked = [
            lesson
            for lesson in lessons
            if len(tokens(lesson.question)) <= _MOST_TOKENS_ASKED
            and encoder.row(lesson.messages, lesson.target) is not None
        ]
        found = rephrased(asked, self._rephrase, Random(self.recipe.seed))
        return [replace(lesson, also=found.get(lesson.id, ())) for lesson in lessons]

    def _rephrase(self, prompts: Sequence[str]) -> list[str]:
        how = GenerationSettings(temperature=_FREELY, seed=self.recipe.seed, max_tokens=_MOST_TOKENS_ASKED)
        return [reply.text for reply in self._replies(prompts, how)]

    def ask(self, prompts: Sequence[str]) -> list[BaseReply]:
        """What the base says by itself, greedily."""
        how = GenerationSettings(temperature=0.0, max_tokens=self.recipe.anchor_tokens)
        replies = self._replies(prompts, how)
        return [
            BaseReply(prompt, reply.text, reply.stop_reason == "end")
            for prompt, reply in zip(prompts, replies, strict=True)
        ]

    def _replies(self, prompts: Sequence[str], how: GenerationSettings) -> list[Reply]:
        """Of the base, in the order of the prompts."""
        with self.learner.as_base():
            return replies_to([[Message("user", prompt)] for prompt in prompts], self.speaker, how, self._asked)

    @property
    def voice(self) -> str:
        """What tells what `ask` gives here from what it would give elsewhere."""
        return self.base.voice_within(self.recipe.anchor_tokens)

    def _described(self) -> str:
        """The fingerprint. It takes a while where there are thousands of rows."""
        rows = [
            [[row.ids, row.start, row.weight, row.kind, row.rejected and row.rejected.ids] for row in step]
            for step in (*self.plan.steps, self._held)
        ]
        network = self.base.loaded.network
        base = [self.base.voice, str(network.dtype), network.device.type]
        return _hash_of([base, self._start, self.recipe.as_json(), rows])

    def train(self, on_step: OnStep) -> State:
        """To the end. Where memory runs out a step is computed in smaller parts, which changes nothing else."""
        trainer = self.trainer
        assert trainer is not None, "prepare comes first"
        return self._within_memory(lambda: trainer.run(lambda state: on_step(self)))

    def tensors(self) -> dict[str, Tensor]:
        """The adapter. One that changes nothing, beyond what it began with, is a run that failed."""
        after = self._within_memory(lambda: self._states(self.plan.steps[0][0]))
        if self._before is None or torch.equal(after, self._before):
            raise TrainingError("The adapter changes nothing", hint="Set a higher lora.training.learning_rate.")
        return self.learner.tensors()

    def _within_memory(self, compute: Callable[[], T]) -> T:
        """Whatever is computed: once more in smaller parts where memory runs out, as long as they can be smaller."""
        while True:
            try:
                return compute()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                self._make_smaller(error)

    def _make_smaller(self, error: Exception) -> None:
        assert self.trainer is not None
        smaller = halved(self.trainer.limits)
        if smaller is not None:
            self.trainer.limits = smaller
        elif self.recipe.checkpointing == "auto" and self.learner.can_recompute and not self.learner.recomputes:
            self.learner.recompute()
        else:
            raise too_little_memory() from error

    def _states(self, row: Row) -> Tensor:
        with torch.no_grad():
            return self.learner.hidden([row]).clone()

    def _base_states(self, row: Row) -> Tensor:
        """Computed once for each row; an adapter never changes them."""
        if row.ids not in self._known_states:
            with self.learner.as_base():
                self._known_states[row.ids] = self._require_finite(self._states(row))
        return self._known_states[row.ids]

    def _base_losses(self, row: Row) -> Tensor:
        assert self.trainer is not None
        with torch.no_grad(), self.learner.as_base():
            return self.trainer.losses([row])

    def _require_finite(self, numbers: Tensor) -> Tensor:
        """Of the base: nothing that is set for the run could mend it."""
        if not torch.isfinite(numbers).all():
            raise TrainingError(
                f"{self.base.name} itself, before any training, gives numbers that are not finite",
                hint="Set dtype = float32 or bfloat16, or use another model.",
            )
        return numbers


def _hash_of(parts: list[Any]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
