"""One learning attempt from end to end: what waits in the store is trained into an adapter on the shelf.

Whatever happens on the way is in the record of the run, and examples are never lost: they count as learned in the
very transaction that says which adapter learned them.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from math import ceil
from pathlib import Path
from typing import Any, Literal, Protocol

from shammah.adapters.bundle import discard, sweep, write_bundle
from shammah.adapters.manifest import Manifest
from shammah.adapters.shelf import Shelf
from shammah.config import Config
from shammah.errors import DiskFull, HomeError, ShammahError, StoreError, TrainingCancelled, TrainingUnstable
from shammah.events import Event, Notice, TrainingMoved
from shammah.home import Home
from shammah.model.device import is_out_of_memory
from shammah.model.fingerprint import template_hash
from shammah.model.right_of_way import RightOfWay
from shammah.records import Example, Run, Trigger
from shammah.store.examples import Examples
from shammah.store.runs import Runs
from shammah.training.anchor_book import AnchorBook
from shammah.training.attempt import Attempt, Base
from shammah.training.batches import cost, micro_batches
from shammah.training.checkpoint import Checkpoint
from shammah.training.control import Control
from shammah.training.courtesy import Courtesy, low_priority_stream
from shammah.training.fitting import first_limits, measured_limits, too_little_memory
from shammah.training.loop import State
from shammah.training.memory import Taken, free_memory_of
from shammah.training.next_run import NextRun
from shammah.training.progress_record import ProgressRecord
from shammah.training.recipe import Recipe, recipe_for
from shammah.training.resources import release_memory
from shammah.training.saving import adapter_files, manifest_of
from shammah.training.standing import trainer_lock
from shammah.training.targets import lessons, rewrite_by

log = logging.getLogger(__name__)
Publish = Callable[[Event], None]


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
        self._checkpoint = Checkpoint(workshop.home.checkpoint)
        self._next = NextRun(workshop.runs, workshop.examples, self._shelf)
        self._lock = trainer_lock(workshop.home.adapters)

    def run(self, job: Wanted, control: Control, publish: Publish) -> Run:
        """Train once, with gentler tries after a failure. Raises where no run could be begun at all."""
        self._publish = publish
        with self._lock.held():
            sweep(self._shop.home.adapters, everything=True)
            cut_off = self._next.cut_off()
            if cut_off is not None and cut_off.state == "finished":
                self._drop_checkpoint()
                return cut_off
            base = self._shop.base()
            recipe = recipe_for(self._shop.config.lora, base.loaded.parameters)
            run = self._first(job.trigger, cut_off, base, recipe)
            for left in range(self._shop.config.lora.training.retries, -1, -1):
                try:
                    return self._try(run, base, recipe, control)
                except TrainingUnstable as error:
                    log.info("run %s failed, %s tries are left", run.id, left, exc_info=True)
                    ended = self._end(run, "failed", error.one_line())
                    if left:
                        recipe = recipe.gentler()
                        run = self._next.begin("retry", base.name, recipe, after=ended)
            return ended

    def prepared(self) -> tuple[Attempt, int]:
        """The next run as it would begin, and how many examples it would leave out. Nothing is stored."""
        base = self._shop.base()
        recipe = recipe_for(self._shop.config.lora, base.loaded.parameters)
        courtesy = Courtesy(self._shop.right_of_way, Control(), base.loaded.network.device)
        attempt, without = self._prepare(base, recipe, courtesy, self._next.live())
        return attempt, len(without) + len(attempt.plan.too_long)

    def _first(self, trigger: Trigger, cut_off: Run | None, base: Base, recipe: Recipe) -> Run:
        again = cut_off and self._next.go_on(cut_off, base.name, recipe)
        if again is not None:
            return again
        self._drop_checkpoint()
        if cut_off is not None and cut_off.step:
            self._publish(Notice(f"{_ANEW} Its examples, its model or its settings have changed."))
        return self._next.begin(trigger, base.name, recipe)

    # One try

    def _try(self, run: Run, base: Base, recipe: Recipe, control: Control) -> Run:
        """The run as it ended. What went wrong is in its record; raised is what a gentler try may mend, and what nobody
        foresaw."""
        keep = False
        try:
            with low_priority_stream(base.loaded.network.device):
                return self._attempt(run, base, recipe, control)
        except TrainingUnstable:
            raise
        except TrainingCancelled as error:
            keep = control.ending
            return self._end(run, "interrupted" if keep else "cancelled", error.one_line())
        except ShammahError as error:
            log.info("run %s failed", run.id, exc_info=True)
            return self._end(run, "failed", error.one_line())
        except Exception as error:
            if is_out_of_memory(error):  # where nothing smaller could be computed instead
                return self._end(run, "failed", too_little_memory().one_line())
            self._end(run, "failed", f"{type(error).__name__}: {error}")
            raise
        finally:
            if not keep:
                self._drop_checkpoint()
            release_memory()

    def _attempt(self, run: Run, base: Base, recipe: Recipe, control: Control) -> Run:
        shop = self._shop
        self._publish(TrainingMoved(run_id=run.id, phase="preparing"))
        courtesy = Courtesy(shop.right_of_way, control, base.loaded.network.device)
        examples = shop.examples.find(ids=run.example_ids, status="trainable", oldest_first=True, limit=None)
        attempt, without = self._prepare(base, recipe, courtesy, examples)
        self._say_what_is_left_out(without, attempt.plan.too_long)
        with ProgressRecord(
            run, shop.runs, shop.home, self._publish,
            save_seconds=shop.config.lora.training.save_seconds, clock=self._clock,
        ) as record:  # fmt: skip
            self._stand_where_it_stood(run, attempt)
            run = record.prepared(len(attempt.plan.steps), without=without if shop.config.weights.unreviewed else ())
            try:
                state = attempt.train(self._on_step(run, attempt, record))
                tensors = attempt.tensors()
            except TrainingCancelled:
                record.leave(attempt, for_the_next_start=control.ending)
                raise
            record.stands(state)
        self._publish(TrainingMoved(run_id=run.id, phase="saving", step=state.step, steps=run.steps))
        if not control.ending:  # a program that ends waits for what is left to do
            control.raise_if_cancelled()
        return self._save(run, attempt, state, tensors)

    def _prepare(
        self, base: Base, recipe: Recipe, courtesy: Courtesy, examples: Sequence[Example]
    ) -> tuple[Attempt, list[str]]:
        """Everything that is decided before the first step, and the ids of examples without a target."""
        shop = self._shop
        free = free_memory_of(base.loaded.network.device)
        limits = first_limits(free, rows=shop.config.lora.training.max_rows)
        parent = self._parent(base, recipe)
        folder = self._shelf.root / parent.name if parent else None
        attempt = Attempt(base, recipe, limits, courtesy, go_on_from=folder)
        hopeless = shop.runs.without_rewrite(base.name)
        with attempt.learner.as_base():
            rewrite = rewrite_by(attempt.speaker, shop.config.generation)
            taught, without = lessons(
                examples,
                lambda example: None if example.id in hopeless else rewrite(example),
                unreviewed=shop.config.weights.unreviewed,
            )
        known = [example.id for example in examples if parent and example.trained and example.id in parent.example_ids]
        attempt.prepare(taught, AnchorBook(shop.cache_folder / "anchors", base.voice, attempt.ask), known=known)
        return attempt, without

    def _parent(self, base: Base, recipe: Recipe) -> Manifest | None:
        """With the strategy `continue`: the newest adapter that fits this base and its template, if there is one."""
        if recipe.strategy != "continue":
            return None
        hashes = base.hash, template_hash(base.loaded.format.template)
        fitting = [each for each in self._shelf.all() if (each.base_hash, each.template_hash) == hashes]
        return fitting[-1] if fitting else None

    def _stand_where_it_stood(self, run: Run, attempt: Attempt) -> None:
        """Where a run that was cut off is gone on with, and where that is. A new one has no number of steps yet."""
        assert attempt.trainer is not None
        if self._checkpoint.restore(attempt.trainer, attempt.fingerprint):
            place = f"step {attempt.trainer.state.step} of {len(attempt.plan.steps)}"
            self._publish(Notice(f"Going on with the training that was cut off at {place}."))
        elif run.steps:
            self._publish(Notice(_ANEW))

    def _on_step(self, run: Run, attempt: Attempt, record: ProgressRecord) -> Callable[[Attempt], None]:
        """What follows each step: fit what is computed at once to the memory, tell the chat, write it down."""
        assert attempt.trainer is not None
        device, first = attempt.learner.device, attempt.trainer.state.step
        started, memory = self._clock(), Taken(device)

        def after(attempt: Attempt) -> None:
            trainer = attempt.trainer
            assert trainer is not None
            done = trainer.state.step - first
            if done == 1:
                parts = micro_batches(attempt.plan.steps[first], trainer.limits.rows, trainer.limits.tokens)
                trainer.limits = measured_limits(
                    trainer.limits,
                    free=free_memory_of(device),
                    taken=memory.bytes(),
                    tokens=max(map(cost, parts)),
                )
            self._publish(moved(run, attempt.plan.epochs, trainer.state, (self._clock() - started) / done))
            record.step(attempt)

        return after

    # Its end

    def _save(self, run: Run, attempt: Attempt, state: State, tensors: Mapping[str, Any]) -> Run:
        """Put the adapter on the shelf and mark what it learned; where the second fails, there is no adapter either."""
        drawn = {row.source for step in attempt.plan.steps[: state.step] for row in step}
        learned = tuple(id for id in run.example_ids if id in drawn)
        name = f"lora_adapter_{datetime.now():%Y%m%d_%H%M%S}"
        version = self._shelf.next_version()
        manifest = manifest_of(replace(run, example_ids=learned), attempt, state, name=name, version_number=version)
        folder = write_bundle(self._shelf.root, name, adapter_files(attempt, tensors, manifest), manifest)
        try:
            return self._shop.runs.finish(run.id, folder.name, self._shop.examples, learned=learned)
        except BaseException:
            with suppress(ShammahError):
                discard(folder)
            raise

    def _end(self, run: Run, state: Literal["failed", "cancelled", "interrupted"], why: str) -> Run:
        """What became of it. Where even that cannot be written down, the next run finds it cut off."""
        try:
            return self._shop.runs.end(run.id, state, error=why)
        except (StoreError, DiskFull):
            log.exception("the end of run %s is not written down", run.id)
            return replace(run, state=state, error=why)

    def _drop_checkpoint(self) -> None:
        with suppress(HomeError):  # no other run takes it for its own
            self._checkpoint.remove()

    def _say_what_is_left_out(self, without: Sequence[str], too_long: Sequence[str]) -> None:
        if without:
            self._publish(Notice(f"{_count(without)} without a better reply left out: /review shows them."))
        if too_long:
            self._publish(Notice(f"{_count(too_long)} too long for lora.training.max_length left out."))


_ANEW = "The training that was cut off begins anew."


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
