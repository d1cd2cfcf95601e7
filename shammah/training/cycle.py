"""One learning attempt from end to end: what waits in the store is trained into an adapter on the shelf.

Whatever happens on the way is in the record of the run, and examples are never lost: they count as learned in the
very transaction that says which adapter learned them.
"""

import logging
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from math import ceil
from pathlib import Path
from typing import Protocol

from shammah.adapters.bundle import sweep, write_bundle
from shammah.adapters.shelf import Shelf
from shammah.config import Config
from shammah.errors import DiskFull, HomeError, ShammahError, TrainingCancelled, TrainingError, TrainingUnstable
from shammah.events import Event, Notice, TrainingMoved
from shammah.home import Home
from shammah.model.right_of_way import RightOfWay
from shammah.records import Example, Run, Trigger
from shammah.store.examples import Examples
from shammah.store.identity import new_id, utc_now
from shammah.store.runs import Runs
from shammah.training.anchor_book import AnchorBook
from shammah.training.attempt import Attempt, Base
from shammah.training.batches import cost, micro_batches
from shammah.training.checkpoint import Checkpoint
from shammah.training.control import Control
from shammah.training.courtesy import Courtesy, low_priority_stream
from shammah.training.fitting import first_limits, measured_limits
from shammah.training.loop import State
from shammah.training.recipe import Recipe, recipe_for
from shammah.training.resources import free_memory, release_memory, resident_memory
from shammah.training.run_log import RunLog
from shammah.training.saving import adapter_files, manifest_of
from shammah.training.standing import trainer_lock
from shammah.training.targets import lessons, rewrite_by

log = logging.getLogger(__name__)
Publish = Callable[[Event], None]
# How often the record of a run is brought up to date while it runs.
_RECORD_SECONDS = 2.0


class Wanted(Protocol):
    """What began a run."""

    @property
    def trigger(self) -> Trigger: ...


@dataclass(frozen=True, slots=True)
class Workshop:
    """What cycles work with. `base` loads the model where it is not loaded yet."""

    home: Home
    config: Config
    examples: Examples
    runs: Runs
    base: Callable[[], Base]
    right_of_way: RightOfWay
    cache_folder: Path


class Cycle:
    def __init__(self, workshop: Workshop, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._shop = workshop
        self._clock = clock
        self._publish: Publish = lambda event: None
        self._shelf = Shelf(workshop.home.adapters)
        self._checkpoint = Checkpoint(workshop.home.adapters / ".training" / "checkpoint.safetensors")
        self._lock = trainer_lock(workshop.home.adapters)

    def run(self, job: Wanted, control: Control, publish: Publish) -> Run:
        """Train once, with gentler tries after a failure. Raises where no run could be begun at all."""
        self._publish = publish
        with self._lock.held():
            sweep(self._shop.home.adapters, everything=True)
            cut_off = self._cut_off()
            base = self._shop.base()
            recipe = recipe_for(self._shop.config.lora, base.loaded.parameters)
            run = self._again(cut_off, base, recipe) or self._begin(job.trigger, base, recipe)
            for _ in range(self._shop.config.lora.training.retries):
                try:
                    ended = self._try(run, base, recipe, control)
                    break
                except TrainingUnstable as error:
                    failed = self._shop.runs.end(run.id, "failed", error=error.one_line())
                    self._publish(Notice(f"Training failed: {error.one_line()} Trying once more, gentler."))
                    recipe = recipe.gentler()
                    run = self._begin("retry", base, recipe, after=failed)
            else:
                ended = self._last_try(run, base, recipe, control)
            return ended

    # Beginning

    def _cut_off(self) -> Run | None:
        """A run of a process that is gone. This one holds the lock, so none of them can be alive."""
        dead = self._shop.runs.running()
        for run in dead:
            self._shop.runs.end(run.id, "interrupted", error="The program ended before the run did.")
        last = self._shop.runs.last()
        return last if last is not None and last.state == "interrupted" else None

    def _again(self, run: Run | None, base: Base, recipe: Recipe) -> Run | None:
        """The run to go on with, where there is one of the same examples, model and recipe."""
        if run is None or run.model != base.name or run.settings != recipe.as_json():
            return None
        left = self._shop.examples.find(ids=run.example_ids, status="trainable", limit=None)
        if len(left) < len(run.example_ids) or not self._shop.runs.unchanged(run):
            return None
        self._publish(Notice(f"Going on with the training that was cut off at step {run.step} of {run.steps}."))
        return self._shop.runs.reopen(run, pid=os.getpid())

    def _begin(self, trigger: Trigger, base: Base, recipe: Recipe, *, after: Run | None = None) -> Run:
        live = self._live()
        waiting = [example for example in live if not example.trained]
        now = utc_now()
        return self._shop.runs.begin(
            Run(
                id=new_id(),
                started=now,
                updated=now,
                trigger=trigger,
                attempt=after.attempt + 1 if after else 1,
                model=base.name,
                example_ids=tuple(example.id for example in live),
                waiting=len(waiting),
                weighted=sum(example.weight for example in waiting),
                seed=recipe.seed,
                settings=recipe.as_json(),
                pid=os.getpid(),
            )
        )

    def _live(self) -> list[Example]:
        """What a training from the base learns."""
        live = self._shop.examples.live()
        if not live:
            raise TrainingError("There is nothing to learn from yet", hint="Rate a reply: /good, /medium or /critical.")
        return live

    # One try

    def _last_try(self, run: Run, base: Base, recipe: Recipe, control: Control) -> Run:
        try:
            return self._try(run, base, recipe, control)
        except TrainingUnstable as error:
            return self._shop.runs.end(run.id, "failed", error=error.one_line())

    def _try(self, run: Run, base: Base, recipe: Recipe, control: Control) -> Run:
        """The run as it ended. What went wrong is in its record; raised is what a gentler try may mend, and what nobody
        foresaw."""
        runs = self._shop.runs
        keep = False
        try:
            with low_priority_stream(base.loaded.network.device):
                return self._attempt(run, base, recipe, control)
        except TrainingUnstable:
            raise
        except TrainingCancelled as error:
            keep = control.ending
            return runs.end(run.id, "interrupted" if keep else "cancelled", error=error.one_line())
        except ShammahError as error:
            log.info("run %s failed", run.id, exc_info=True)
            return runs.end(run.id, "failed", error=error.one_line())
        except Exception as error:
            runs.end(run.id, "failed", error=f"{type(error).__name__}: {error}")
            raise
        finally:
            if not keep:
                self._checkpoint.remove()
            release_memory()

    def _attempt(self, run: Run, base: Base, recipe: Recipe, control: Control) -> Run:
        shop = self._shop
        self._publish(TrainingMoved(run_id=run.id, phase="preparing"))
        courtesy = Courtesy(shop.right_of_way, control, base.loaded.network.device)
        examples = shop.examples.find(ids=run.example_ids, status="trainable", oldest_first=True, limit=None)
        attempt, without = self._prepare(base, recipe, courtesy, examples)
        self._say_what_is_left_out(without, attempt.plan.too_long)
        learned = {row.source for step in attempt.plan.steps for row in step}
        run = shop.runs.narrow(run.id, [id for id in run.example_ids if id in learned], steps=len(attempt.plan.steps))
        assert attempt.trainer is not None
        self._checkpoint.restore(attempt.trainer, attempt.fingerprint)
        with RunLog(shop.home.logs, run) as lines:
            try:
                state = attempt.train(self._on_step(run, attempt, lines))
            except TrainingCancelled:
                self._leave(run, attempt, for_the_next_start=control.ending)
                raise
        self._publish(TrainingMoved(run_id=run.id, phase="saving", step=state.step, steps=run.steps))
        return self._save(run, attempt, state)

    def prepared(self) -> tuple[Attempt, int]:
        """The next run as it would begin, and how many examples it would leave out. Nothing is stored."""
        base = self._shop.base()
        recipe = recipe_for(self._shop.config.lora, base.loaded.parameters)
        examples = self._live()
        courtesy = Courtesy(self._shop.right_of_way, Control(), base.loaded.network.device)
        attempt, without = self._prepare(base, recipe, courtesy, examples)
        return attempt, len(without) + len(attempt.plan.too_long)

    def _prepare(
        self, base: Base, recipe: Recipe, courtesy: Courtesy, examples: Sequence[Example]
    ) -> tuple[Attempt, list[str]]:
        """Everything that is decided before the first step, and the ids of examples without a target."""
        shop = self._shop
        limits = first_limits(free_memory(), rows=shop.config.lora.training.max_rows)
        attempt = Attempt(base, recipe, limits, courtesy, go_on_from=self._parent(base, recipe))
        with attempt.learner.as_base():
            rewrite = rewrite_by(attempt.speaker, shop.config.generation)
            taught, without = lessons(examples, rewrite, unreviewed=shop.config.weights.unreviewed)
        attempt.prepare(taught, AnchorBook(shop.cache_folder / "anchors", base.hash, attempt.ask))
        return attempt, without

    def _parent(self, base: Base, recipe: Recipe) -> Path | None:
        """With the strategy `continue`: the newest adapter of this base, if there is one."""
        fitting = [each for each in self._shelf.all() if each.base_hash == base.hash]
        return self._shelf.root / fitting[-1].name if fitting and recipe.strategy == "continue" else None

    def _on_step(self, run: Run, attempt: Attempt, lines: RunLog) -> Callable[[Attempt], None]:
        """What follows each step: tell the chat, write it down, and now and then save where the run stands."""
        training = self._shop.config.lora.training
        started = recorded = saved = self._clock()
        assert attempt.trainer is not None
        first, memory = attempt.trainer.state.step, resident_memory()
        fingerprint = attempt.fingerprint

        def after(attempt: Attempt) -> None:
            nonlocal recorded, saved
            trainer = attempt.trainer
            assert trainer is not None
            state, now = trainer.state, self._clock()
            if state.step == first + 1:
                taken = resident_memory() - memory
                widest = max(
                    map(cost, micro_batches(attempt.plan.steps[first], trainer.limits.rows, trainer.limits.tokens))
                )
                trainer.limits = measured_limits(trainer.limits, free=free_memory(), taken=taken, tokens=widest)
            each = (now - started) / (state.step - first)
            lines.step(state)
            self._publish(moved(run, attempt.plan.epochs, state, each))
            if now - recorded >= _RECORD_SECONDS:
                self._record(run, state)
                recorded = now
            if now - saved >= training.save_seconds:
                self._checkpoint.save(trainer, fingerprint)
                saved = self._clock()

        return after

    def _leave(self, run: Run, attempt: Attempt, *, for_the_next_start: bool) -> None:
        """Write down where a run stands that was told to end: every number is as the last whole step left it."""
        assert attempt.trainer is not None
        self._record(run, attempt.trainer.state)
        if for_the_next_start:
            with suppress(DiskFull, HomeError):  # the run then begins anew
                self._checkpoint.save(attempt.trainer, attempt.fingerprint)

    def _save(self, run: Run, attempt: Attempt, state: State) -> Run:
        tensors = attempt.tensors()
        self._record(run, state)
        name = f"lora_adapter_{datetime.now():%Y%m%d_%H%M%S}"
        manifest = manifest_of(run, attempt, state, name=name, version_number=self._shelf.next_version())
        folder = write_bundle(self._shop.home.adapters, name, adapter_files(attempt, tensors, manifest), manifest)
        return self._shop.runs.finish(run.id, folder.name, self._shop.examples)

    def _record(self, run: Run, state: State) -> None:
        self._shop.runs.update(
            run.id,
            step=state.step,
            tokens=state.tokens,
            seconds=state.seconds,
            first_loss=state.losses[0] if state.losses else None,
            last_loss=state.losses[-1] if state.losses else None,
        )

    def _say_what_is_left_out(self, without: Sequence[str], too_long: Sequence[str]) -> None:
        if without:
            self._publish(Notice(f"{_count(without)} without a better reply left out: /review shows them."))
        if too_long:
            self._publish(Notice(f"{_count(too_long)} too long for lora.training.max_length left out."))


def moved(run: Run, epochs: float, state: State, seconds_each: float) -> TrainingMoved:
    return TrainingMoved(
        run_id=run.id,
        phase="training",
        step=state.step,
        steps=run.steps,
        epoch=ceil(epochs * state.step / run.steps),
        epochs=ceil(epochs),
        losses=tuple(state.losses),
        tokens_per_second=state.tokens / max(state.seconds, 1e-9),
        seconds_left=(run.steps - state.step) * seconds_each,
    )


def _count(ids: Sequence[str]) -> str:
    return f"{len(ids)} example{'s' * (len(ids) != 1)}"
