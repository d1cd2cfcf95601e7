"""What a run would be, found out by doing its first steps and throwing them away. Nothing is stored."""

import time
from dataclasses import dataclass
from typing import Any

from shammah.training.attempt import Attempt
from shammah.training.batches import cost
from shammah.training.launch import Training
from shammah.training.memory import Taken

_STEPS = 3


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """`left_out` are examples that are too long, or have no better reply yet. `seconds` begin with the loading of the
    model and end with the last step."""

    examples: int
    left_out: int
    rows: int
    steps: int
    epochs: float
    tokens: int
    seconds: float
    memory_bytes: int
    recipe: dict[str, Any]


def rehearse(training: Training) -> Rehearsal:
    """Prepare a run as it would be, which is timed too, and time its first steps."""
    begun = time.perf_counter()
    attempt, left_out = training.cycle().prepared()
    plan = attempt.plan
    taken, started = Taken(attempt.learner.device), time.perf_counter()
    attempt.learner.watch = taken.look
    computed, peak = 0, 0

    def after(attempt: Attempt) -> None:
        nonlocal computed, peak
        assert attempt.trainer is not None
        state = attempt.trainer.state
        computed += cost(plan.steps[state.step - 1])
        peak = max(peak, taken.bytes())
        if state.step >= _STEPS:
            state.stopped = "rehearsal"

    attempt.train(after)
    each = (time.perf_counter() - started) / computed
    total = sum(cost(step) for step in plan.steps)
    return Rehearsal(
        examples=len({row.source for step in plan.steps for row in step if row.source}),
        left_out=left_out,
        rows=sum(len(step) for step in plan.steps),
        steps=len(plan.steps),
        epochs=round(plan.epochs, 2),
        tokens=sum(len(row.ids) for step in plan.steps for row in step),
        seconds=round(started - begun + each * total, 1),
        memory_bytes=peak,
        recipe=attempt.recipe.as_json(),
    )
