"""One attempt: from lessons to a trained adapter in memory. Everything that computes, and nothing that is stored."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from shammah.config import GenerationSettings
from shammah.errors import DeviceError, TrainingError
from shammah.model.chat_model import ChatModel
from shammah.model.device import is_out_of_memory
from shammah.model.loading import LoadedModel
from shammah.records import Message
from shammah.training.anchor_book import AnchorBook
from shammah.training.anchors import PROMPTS
from shammah.training.continuing import elastic_penalty, start_from
from shammah.training.encoding import Encoder
from shammah.training.fitting import halved
from shammah.training.learner import Learner
from shammah.training.loop import Limits, State, Trainer
from shammah.training.packing import Row
from shammah.training.planning import BaseReply, Lesson, Plan, plan
from shammah.training.preference import Preference
from shammah.training.recipe import Recipe

# Prompts whose replies the base model writes at once.
_ROWS_ASKED = 16

OnStep = Callable[["Attempt"], None]


@dataclass(frozen=True, slots=True)
class Base:
    """The model that is taught: as it was loaded, under its name, with the hash of what it is."""

    name: str
    loaded: LoadedModel
    hash: str


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
    ) -> None:
        self.base, self.recipe = base, recipe
        self._go_on_from = go_on_from
        self.learner = Learner(base.loaded.network, recipe, courtesy)
        # The base model as the chat uses it, but on modules that let the chat go first.
        self.speaker = ChatModel(base.name, replace(base.loaded, network=self.learner.network))
        if recipe.checkpointing == "on":
            self.learner.recompute()
        self._limits = limits
        self._states: dict[tuple[int, ...], Tensor] = {}
        self.plan = Plan((), (), (), 0.0)
        self.trainer: Trainer | None = None

    def prepare(self, lessons: Sequence[Lesson], book: AnchorBook) -> Plan:
        """Decide every row of the run."""
        speech = self.base.loaded.speech
        encoder = Encoder(
            self.base.loaded.format, speech.end_tokens, longest=min(self.recipe.max_length, speech.window)
        )
        self.plan = plan(lessons, self.recipe, encoder, PROMPTS, book.replies)
        if not self.plan.steps:
            raise TrainingError("There is nothing to train on", hint="See `shammah examples list`.")
        first = self.plan.steps[0]
        self.learner.check_packing(first)
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
        )
        if self._go_on_from is not None:
            start_from(self.learner, self._go_on_from)
            if self.recipe.ewc:
                self.trainer.penalty = elastic_penalty(self.trainer, self._first_of_each(), self.recipe.ewc)
        return self.plan

    def _first_of_each(self) -> list[Row]:
        """One row for each example, as it was asked."""
        found: dict[str, Row] = {}
        for step in self.plan.steps:
            for row in step:
                if row.kind == "lesson":
                    found.setdefault(row.source, row)
        return list(found.values())

    def ask(self, prompts: Sequence[str]) -> list[BaseReply]:
        """What the base says by itself, greedily."""
        settings = GenerationSettings(temperature=0.0, max_tokens=self.recipe.anchor_tokens)
        encoded = [self.speaker.encode([Message("user", prompt)]) for prompt in prompts]
        said: dict[int, BaseReply] = {}
        with self.learner.as_base():
            for place, reply in self.speaker.replies(encoded, settings, rows=_ROWS_ASKED):
                said[place] = BaseReply(prompts[place], reply.text, reply.stop_reason == "end")
        return [said[place] for place in range(len(prompts))]

    @property
    def fingerprint(self) -> str:
        """Equal only for the very same rows in the same order, recipe and base."""
        rows = [
            [[row.ids, row.start, row.weight, row.kind, row.rejected and row.rejected.ids] for row in step]
            for step in self.plan.steps
        ]
        parts = json.dumps([self.base.hash, self.recipe.as_json(), rows])
        return hashlib.sha256(parts.encode()).hexdigest()

    def train(self, on_step: OnStep) -> State:
        """To the end. Where memory runs out a step is computed in smaller parts, which changes nothing else."""
        assert self.trainer is not None, "prepare comes first"
        while True:
            try:
                return self.trainer.run(lambda state: on_step(self))
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                smaller = halved(self.trainer.limits)
                if smaller is None and self.recipe.checkpointing == "auto" and not self.learner.recomputes:
                    self.learner.recompute()
                    continue
                if smaller is None:
                    raise DeviceError(
                        "Not enough memory to train",
                        hint="Close other programs, or set lora.training.max_length lower.",
                    ) from error
                self.trainer.limits = smaller

    def tensors(self) -> dict[str, Tensor]:
        """The adapter. An adapter that changes nothing is a run that failed."""
        row = self.plan.steps[0][0]
        with torch.no_grad():
            adapted = self.learner.hidden([row])
            with self.learner.as_base():
                plain = self.learner.hidden([row])
        if torch.equal(adapted, plain):
            raise TrainingError("The adapter changes nothing", hint="Set a higher lora.training.learning_rate.")
        return self.learner.tensors()

    def _base_states(self, row: Row) -> Tensor:
        """Computed once for each row; an adapter never changes them."""
        if row.ids not in self._states:
            with torch.no_grad(), self.learner.as_base():
                self._states[row.ids] = self.learner.hidden([row]).clone()
        return self._states[row.ids]

    def _base_losses(self, row: Row) -> Tensor:
        assert self.trainer is not None
        with torch.no_grad(), self.learner.as_base():
            return self.trainer.losses([row])
