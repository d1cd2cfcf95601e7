"""The training loop, the only one: its parts are handed in, it owns the order in which they act.

A step is a set of rows, whatever the parts in which they are computed: their losses are summed and divided once, by the
weight of the whole step.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from shammah.errors import TrainingUnstable
from shammah.model.device import is_out_of_memory
from shammah.training.batches import micro_batches, with_rejected
from shammah.training.fitting import AMPLE, Limits, too_little_memory
from shammah.training.learner import Learner
from shammah.training.objective import token_losses
from shammah.training.packing import Row
from shammah.training.preference import Preference
from shammah.training.recipe import Recipe

# Where it begins; it is only ever halved.
_FLOAT16_SCALE = 2.0**13

Step = tuple[Row, ...]
# What the base model's hidden states are at the places of a row, by the row's tokens.
BaseStates = Callable[[Row], Tensor]


@dataclass(slots=True)
class State:
    """Where a run stands: all that the next step depends on, besides the rows."""

    step: int = 0
    losses: list[float] = field(default_factory=list)
    held_out: list[float] = field(default_factory=list)
    tokens: int = 0
    seconds: float = 0.0
    stopped: str = ""
    # What the loss is multiplied by on its way back, so that float16 can hold small gradients.
    scale: float = 1.0


class Trainer:
    """A learner with its optimizer and schedule. `run` goes on from wherever the state is."""

    def __init__(
        self,
        learner: Learner,
        recipe: Recipe,
        plan: Sequence[Step],
        *,
        base_states: BaseStates,
        held_out: Sequence[Row] = (),
        preference: Preference | None = None,
        limits: Limits = AMPLE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.learner, self.recipe, self.plan, self.limits = learner, recipe, plan, limits
        self.state = State(scale=_FLOAT16_SCALE if learner.network.dtype is torch.float16 else 1.0)
        self._base_states, self._held_out, self._preference = base_states, held_out, preference
        # Added to each step's loss, where something is to hold the adapter in its place.
        self.penalty: Callable[[Tensor], Tensor] | None = None
        self._clock = clock
        self.optimizer = torch.optim.AdamW(
            [learner.flat.values], lr=recipe.learning_rate, weight_decay=recipe.weight_decay, betas=(0.9, 0.99)
        )

    def run(self, on_step: Callable[[State], None] = lambda state: None) -> State:
        """To the end of the plan, or to a plateau of the held-out loss. `on_step` may raise to end it."""
        self.learner.learning(True)
        try:
            self._check_held_out()  # a run may have been cut off between a step and its check
            while self.state.step < len(self.plan) and not self.state.stopped:
                started = self._clock()
                loss, tokens = self._step(self.plan[self.state.step])
                self.state.step += 1
                self.state.losses.append(loss)
                self.state.tokens += tokens
                self._check_held_out()
                self.state.seconds += self._clock() - started
                on_step(self.state)
        finally:
            self.learner.learning(False)
        return self.state

    def _step(self, rows: Step) -> tuple[float, int]:
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.recipe, self.state.step, len(self.plan))
        flat = self.learner.flat
        total = self.backward(rows)
        if self.penalty is not None:
            pull = self.penalty(flat.values)
            pull.backward()  # type: ignore[no-untyped-call]
            total += float(pull.detach())
        norm = torch.nn.utils.clip_grad_norm_([flat.values], self.recipe.clip or math.inf)
        if not (math.isfinite(total) and math.isfinite(float(norm))):
            raise TrainingUnstable(
                f"The loss is not a finite number at step {self.state.step + 1} (loss {total}, gradient {float(norm)})",
                hint="Set a smaller lora.training.learning_rate, or dtype = bfloat16 or float32.",
            )
        self._move()
        return total, sum(len(row.ids) for row in rows)

    def _move(self) -> None:
        try:
            self.optimizer.step()
        except (RuntimeError, MemoryError) as error:
            if is_out_of_memory(error):  # smaller parts need no less here, and half of the numbers may have moved
                raise too_little_memory() from error
            raise

    def backward(self, rows: Step) -> float:
        """Compute the gradients of one step's loss, with a smaller scale where they were too large for float16; the
        loss."""
        while True:
            torch.manual_seed(self.recipe.seed * 1_000_003 + self.state.step)
            total = self._backward(rows)
            if self.state.scale <= 1 or not math.isfinite(total) or self.learner.flat.has_finite_grad:
                return total
            self.state.scale /= 2

    def _backward(self, rows: Step) -> float:
        """In parts that fit."""
        self.learner.flat.clear_grad()
        scale = self.state.scale
        share = Share.of(rows, self.recipe)
        total = 0.0
        for part in micro_batches(rows, self.limits.rows, self.limits.tokens):
            loss = self._part_loss(part, share)
            (loss * scale).backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        self.learner.flat.divide_grad(scale)
        return total

    def _part_loss(self, rows: Sequence[Row], share: "Share") -> Tensor:
        whole = with_rejected(rows)
        losses = torch.split(self.losses(whole), [row.learned for row in whole])
        loss = sum(
            (part.sum() * share.per_token(row) for row, part in zip(rows, losses, strict=False)), torch.tensor(0.0)
        )
        paired = [place for place, row in enumerate(rows) if row.rejected is not None]
        for place, rejected in zip(paired, losses[len(rows) :], strict=True):
            margin = self._preference.loss(rows[place], losses[place], rejected) if self._preference else 0.0
            loss = loss + margin * rows[place].weight * share.pair
        return loss

    def losses(self, rows: Sequence[Row]) -> Tensor:
        """What each token of the rows' replies costs, row after row."""
        hidden = self.learner.hidden(rows)
        wanted = torch.tensor([id for row in rows for id in row.ids[row.start :]], device=hidden.device)
        base: Tensor | None = None
        if any(row.kind == "anchor" for row in rows):
            nothing = hidden.new_full((1, hidden.shape[1]), math.nan)
            parts = [
                self._base_states(row).to(hidden) if row.kind == "anchor" else nothing.expand(row.learned, -1)
                for row in rows
            ]
            base = torch.cat(parts)
        return token_losses(hidden, self.learner.head, wanted, base)

    def _check_held_out(self) -> None:
        """A plateau of what was never trained on ends the run; the training loss says nothing about when to stop."""
        recipe, state = self.recipe, self.state
        if not recipe.patience or not self._held_out or len(state.held_out) >= state.step // recipe.check_every:
            return
        self.learner.learning(False)  # nothing is dropped where it is measured
        with torch.no_grad():
            parts = micro_batches(self._held_out, self.limits.rows, self.limits.tokens)
            losses = [loss for part in parts for loss in self.losses(part).tolist()]
        self.learner.learning(True)
        state.held_out.append(sum(losses) / len(losses))
        since = len(state.held_out) - 1 - state.held_out.index(min(state.held_out))
        if since >= recipe.patience:
            state.stopped = "plateau"


@dataclass(frozen=True, slots=True)
class Share:
    """What a token counts in its step: lessons and anchors are two weighted means, and so are the pairs."""

    lesson: float
    anchor: float
    pair: float

    @classmethod
    def of(cls, rows: Sequence[Row], recipe: Recipe) -> "Share":
        sums = {"lesson": 0.0, "anchor": 0.0}
        for row in rows:
            sums[row.kind] += row.weight * row.learned
        pairs = sum(row.weight for row in rows if row.rejected is not None)
        return cls(
            lesson=1 / max(sums["lesson"], 1e-9),
            anchor=recipe.kl_weight / max(sums["anchor"], 1e-9),
            pair=recipe.preference_weight / max(pairs, 1e-9),
        )

    def per_token(self, row: Row) -> float:
        return row.weight * (self.lesson if row.kind == "lesson" else self.anchor)


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """Up over the warm-up, then down a cosine to a tenth."""
    warmup = recipe.warmup_steps(steps)
    if step < warmup:
        return recipe.learning_rate * (step + 1) / (warmup + 1)
    done = (step - warmup) / max(1, steps - warmup)
    return recipe.learning_rate * (0.1 + 0.45 * (1 + math.cos(math.pi * done)))
