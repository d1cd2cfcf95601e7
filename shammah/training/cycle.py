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
from shammah.errors import (
    DiskFull,
    ExampleDeleted,
    HomeError,
    ShammahError,
    StoreError,
    TrainingCancelled,
    TrainingError,
    TrainingUnstable,
)
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
from shammah.training.learner import bytes_of_a_token
from shammah.training.loop import State
from shammah.training.memory import Taken, free_memory_of, give_back_memory
from shammah.training.next_run import NextRun, recipe_of
from shammah.training.progress_record import ProgressRecord
from shammah.training.recipe import Recipe, recipe_for
from shammah.training.saving import adapter_files, manifest_of
from shammah.training.standing import trainer_lock
from shammah.training.targets import lessons, rewrite_by
from shammah.training.triggers import due

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

    def run(self, job: Wanted, control: Control, publish: Publish) -> Run | None:
        """Train once, with gentler tries after a failure; None where what nobody asked for is not wanted any more.
        Raises where no run could be begun at all."""
        self._publish = publish
        with self._lock.held():
            sweep(self._shop.home.adapters, everything=True)
            cut_off = self._next.cut_off()
            if cut_off is not None and cut_off.state == "finished":
                self._drop_checkpoint()
                return cut_off
            if not self._is_wanted(job.trigger, cut_off):
                return None
            base = self._shop.base()
            recipe = recipe_for(self._shop.config.lora, base.loaded.parameters)
            return self._tries(self._first(job.trigger, cut_off, base, recipe), base, recipe, control)

    def prepared(self) -> tuple[Attempt, int]:
        """The next run as it would begin, and how many examples it would leave out. Nothing is stored."""
        base = self._shop.base()
        recipe = recipe_for(self._shop.config.lora, base.loaded.parameters)
        courtesy = Courtesy(self._shop.right_of_way, Control(), base.loaded.network.device)
        attempt, without = self._prepare(base, recipe, courtesy, self._next.live())
        return attempt, len(without) + len(attempt.plan.too_long)

    def _is_wanted(self, trigger: Trigger, cut_off: Run | None) -> bool:
        """Whether what began by itself still has something to do: it may have waited while another run learned all."""
        if trigger == "threshold":
            return due(self._shop.examples.buffer(), self._shop.config.examples.threshold)
        return trigger != "resume" or cut_off is not None

    def _first(self, trigger: Trigger, cut_off: Run | None, base: Base, recipe: Recipe) -> Run:
        again = cut_off and self._next.go_on(cut_off, base.name, recipe)
        if again is not None:
            return again
        self._drop_checkpoint()
        if cut_off is not None and cut_off.step:
            self._publish(Notice(f"{_ANEW} Its examples, its model or its settings have changed."))
        return self._next.begin(trigger, base.name, recipe)

    # Its tries

    def _tries(self, run: Run, base: Base, recipe: Recipe, control: Control) -> Run:
        while True:
            try:
                return self._try(run, base, recipe_of(run.attempt, recipe), control)
            except ExampleDeleted as error:
                ended = self._end(run, "cancelled", error.one_line())
                if not self._shop.examples.live():
                    return ended
                self._publish(Notice(f"{error.message}. What is left is learned anew."))
                run = self._next.begin(run.trigger, base.name, recipe, attempt=run.attempt)
            except TrainingUnstable as error:
                log.info("attempt %s of run %s failed", run.attempt, run.id)
                ended = self._end(run, "failed", error.one_line())
                if run.attempt > self._shop.config.lora.training.retries:
                    return ended
                run = self._next.begin("retry", base.name, recipe, attempt=run.attempt + 1)

    def _try(self, run: Run, base: Base, recipe: Recipe, control: Control) -> Run:
        """The run as it ended. What went wrong is in its record; raised is what another try may mend, and what nobody
        foresaw."""
        keep = False
        try:
            with low_priority_stream(base.loaded.network.device):
                return self._attempt(run, base, recipe, control)
        except (TrainingUnstable, ExampleDeleted) as error:
            log.info("run %s failed", run.id, exc_info=True)
            raise error.with_traceback(None) from None  # on which all hangs that this try took: the next takes as much
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
        except BaseException:
            if control.cancelled and not control.ending:  # a second Ctrl+C does not wait for the first to be heeded
                self._end(run, "cancelled", "Training was cancelled.")
            raise
        finally:
            if not keep:
                self._drop_checkpoint()
            give_back_memory(base.loaded.network.device)

    def _attempt(self, run: Run, base: Base, recipe: Recipe, control: Control) -> Run:
        shop = self._shop
        self._publish(TrainingMoved(run_id=run.id, phase="preparing"))
        courtesy = Courtesy(shop.right_of_way, control, base.loaded.network.device)
        examples = shop.examples.find(ids=run.example_ids, status="trainable", oldest_first=True, limit=None)
        record = ProgressRecord(
            run, shop.runs, shop.home, self._publish,
            save_seconds=shop.config.lora.training.save_seconds, clock=self._clock,
        )  # fmt: skip
        attempt, _ = self._prepare(base, recipe, courtesy, examples, self._leaving_out(record))
        self._say_that_are_left_out(attempt.plan.too_long, _TOO_LONG)
        with record:
            self._stand_where_it_stood(run, attempt)
            run = record.prepared(len(attempt.plan.steps))
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
        self,
        base: Base,
        recipe: Recipe,
        courtesy: Courtesy,
        examples: Sequence[Example],
        leave_out: Callable[[Sequence[str]], None] = lambda without: None,
    ) -> tuple[Attempt, list[str]]:
        """Everything that is decided before the first step, and the ids of examples without a target, which `leave_out`
        is told as soon as they are known: to find them took long, whatever comes after."""
        shop = self._shop
        network = base.loaded.network
        limits = first_limits(
            free_memory_of(network.device),
            token_bytes=bytes_of_a_token(network),
            rows=shop.config.lora.training.max_rows,
        )
        parent = self._parent(base, recipe)
        folder = self._shelf.root / parent.name if parent else None
        attempt = Attempt(base, recipe, limits, courtesy, go_on_from=folder, clock=courtesy.working_time)
        hopeless = shop.runs.without_rewrite(base.name)
        with attempt.learner.as_base():
            rewrite = rewrite_by(attempt.speaker, shop.config.generation)
            taught, without = lessons(
                examples,
                lambda example: None if example.id in hopeless else rewrite(example),
                unreviewed=shop.config.weights.unreviewed,
            )
        known = [example.id for example in examples if parent and example.trained and example.id in parent.example_ids]
        leave_out(without)
        try:
            attempt.prepare(taught, AnchorBook(shop.cache_folder / "anchors", attempt.voice, attempt.ask), known=known)
        except TrainingError as error:
            too_long = attempt.plan.too_long
            if len(too_long) < len(taught):
                raise
            hint = "/review shows what lacks a better reply." if without else _SET_LONGER
            raise TrainingError(f"There is nothing to train on: {_counts(without, too_long)}", hint=hint) from error
        return attempt, without

    def _leaving_out(self, record: ProgressRecord) -> Callable[[Sequence[str]], None]:
        def leave_out(without: Sequence[str]) -> None:
            if without and self._shop.config.weights.unreviewed:
                record.left_out(without)
            self._say_that_are_left_out(without, _WITHOUT)

        return leave_out

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
        before, taken = attempt.trainer.state.seconds, Taken(device)
        attempt.learner.watch = taken.look

        def after(attempt: Attempt) -> None:
            trainer = attempt.trainer
            assert trainer is not None
            done = trainer.state.step - first
            if done == 1:
                attempt.learner.watch = None
                parts = micro_batches(attempt.plan.steps[first], trainer.limits.rows, trainer.limits.tokens)
                trainer.limits = measured_limits(
                    trainer.limits,
                    free=free_memory_of(device),
                    taken=taken.bytes(),
                    seconds=taken.seconds_at_once(),
                    tokens=max(map(cost, parts)),
                )
            self._publish(moved(run, attempt.plan.epochs, trainer.state, (trainer.state.seconds - before) / done))
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

    def _say_that_are_left_out(self, ids: Sequence[str], why: str) -> None:
        if ids:
            self._publish(Notice(f"{_count(ids)} {why}"))


_ANEW = "The training that was cut off begins anew."
_WITHOUT = "without a better reply left out: /review shows them."
_TOO_LONG = "too long for lora.training.max_length left out."
_SET_LONGER = "Set lora.training.max_length higher."


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


def _counts(without: Sequence[str], too_long: Sequence[str]) -> str:
    parts = (without, "without a better reply"), (too_long, "too long for lora.training.max_length")
    return ", ".join(f"{_count(ids)} {why}" for ids, why in parts if ids) or "no example is left"


def _count(ids: Sequence[str]) -> str:
    return f"{len(ids)} example{'s' * (len(ids) != 1)}"
