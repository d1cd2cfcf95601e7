"""One learning attempt from end to end: what waits in the store is trained into an adapter, which has to be better than
what answers now.

Whatever happens on the way is in the record of the run, and examples are never lost: they count as learned in the
very transaction that says which adapter learned them.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from math import ceil
from typing import Any, Literal, Protocol

from shammah.adapters.bundle import sweep, write_bundle
from shammah.adapters.manifest import Manifest
from shammah.adapters.shelf import PREFIX, Shelf
from shammah.deployment.retention import Policy, prune
from shammah.deployment.roster import Roster
from shammah.deployment.shelving import Shelving
from shammah.errors import (
    DiskFull,
    ExampleDeleted,
    HomeError,
    ShammahError,
    StoreError,
    TrainingCancelled,
    TrainingUnstable,
)
from shammah.events import Notice, ReceiptReady, TrainingMoved
from shammah.judging.verdict import Verdict
from shammah.model.device import is_out_of_memory
from shammah.records import Run, Trigger
from shammah.store.identity import utc_now
from shammah.training.attempt import Attempt, Base
from shammah.training.batches import cost, micro_batches
from shammah.training.checkpoint import Checkpoint
from shammah.training.control import Control
from shammah.training.courtesy import Courtesy, low_priority_stream
from shammah.training.examining import Examiner
from shammah.training.fitting import measured_limits, too_little_memory
from shammah.training.loop import State
from shammah.training.memory import Taken, free_memory_of, give_back_memory
from shammah.training.next_run import NextRun, recipe_of
from shammah.training.preparing import Prepared, Preparing, counted
from shammah.training.progress_record import ProgressRecord
from shammah.training.recipe import Recipe, recipe_for
from shammah.training.run_log import losses_of
from shammah.training.saving import adapter_files, manifest_of
from shammah.training.standing import trainer_lock
from shammah.training.trial import Candidate, Judged, Trial
from shammah.training.triggers import due
from shammah.training.workshop import Publish, Workshop

log = logging.getLogger(__name__)


class Wanted(Protocol):
    """What began a run."""

    @property
    def trigger(self) -> Trigger: ...


class Cycle:
    def __init__(self, workshop: Workshop, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._shop = workshop
        self._clock = clock
        self._publish: Publish = lambda event: None
        self._shelf = Shelf(workshop.home.adapters)
        self._checkpoint = Checkpoint(workshop.home.checkpoint)
        self._next = NextRun(workshop.database, workshop.runs, workshop.examples, self._shelf)
        self._lock = trainer_lock(workshop.home.adapters)

    def run(self, job: Wanted, control: Control, publish: Publish) -> Run | None:
        """Train once and judge what comes of it, with gentler tries after a failure; None where what nobody asked for
        is not wanted any more. Raises where no run could be begun at all."""
        self._publish = publish
        with self._lock.held():
            sweep(self._shop.home.adapters, everything=True)
            cut_off = self._next.cut_off()
            if not self._is_wanted(job.trigger, cut_off):
                return None
            base = self._shop.base()
            recipe = recipe_for(self._shop.config.lora, base.loaded.parameters)
            ended = self._tries(self._first(job.trigger, cut_off, base, recipe), base, recipe, control)
            if ended.adapter is not None:
                self._prune()
            return ended

    def prepared(self) -> tuple[Attempt, int]:
        """The next run as it would begin, and how many examples it would leave out. Nothing is stored."""
        base = self._shop.base()
        recipe = recipe_for(self._shop.config.lora, base.loaded.parameters)
        courtesy = self._courtesy(base, Control())
        found = Preparing(self._shop, self._shelf, "", self._publish).attempt(self._next.live(), base, recipe, courtesy)
        return found.attempt, len(found.without) + len(found.attempt.plan.too_long)

    def _is_wanted(self, trigger: Trigger, cut_off: Run | None) -> bool:
        """Whether what began by itself still has something to do: it may have waited while another run learned all."""
        if trigger == "threshold":
            return due(self._shop.examples.buffer(), self._shop.config.examples.threshold)
        return trigger != "resume" or cut_off is not None

    def _first(self, trigger: Trigger, cut_off: Run | None, base: Base, recipe: Recipe) -> Run:
        again = cut_off and self._next.go_on(cut_off, base, recipe)
        self._next.drop_unjudged(but=again)
        if again is not None:
            return again
        self._drop_checkpoint()
        if cut_off is not None and cut_off.step:
            self._publish(Notice(f"{_ANEW} Its examples, its model or its settings have changed."))
        return self._next.begin(trigger, base.name, recipe)

    def _courtesy(self, base: Base, control: Control) -> Courtesy:
        return Courtesy(self._shop.right_of_way, control, base.loaded.network.device)

    # Its tries

    def _tries(self, run: Run, base: Base, recipe: Recipe, control: Control) -> Run:
        retries = self._shop.config.lora.training.retries
        while True:
            try:
                ended = self._try(run, base, recipe_of(run.attempt, recipe), control)
            except ExampleDeleted as error:
                if not self._shop.examples.live():
                    return self._end(run, "cancelled", error.one_line())
                self._publish(Notice(f"{error.message}. What is left is learned anew."))
                lost = replace(run, state="cancelled", error=error.one_line())
                run = self._next.begin(run.trigger, base.name, recipe, attempt=run.attempt, after=lost)
            except TrainingUnstable as error:
                log.info("attempt %s of run %s failed", run.attempt, run.id)
                if run.attempt > retries or not self._shop.examples.live():
                    return self._end(run, "failed", error.one_line())
                failed = replace(run, state="failed", error=error.one_line())
                run = self._next.begin("retry", base.name, recipe, attempt=run.attempt + 1, after=failed)
            else:
                if isinstance(ended, Run):
                    return ended
                if ended.retry is None:
                    return ended.run
                self._publish(Notice(f"It is tried again, more gently: try {ended.retry.attempt} of {retries + 1}."))
                run = ended.retry

    def _try(self, run: Run, base: Base, recipe: Recipe, control: Control) -> Run | Judged:
        """What its adapter was found to be, or the run as it ended without one that was judged. What went wrong is in
        its record; raised is what another try may mend, and what nobody foresaw."""
        keep = False
        control.begin()
        try:
            with low_priority_stream(base.loaded.network.device):
                return self._learned(run, base, recipe, control)
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

    def _learned(self, run: Run, base: Base, recipe: Recipe, control: Control) -> Judged:
        """Train, unless an adapter of this run is on the shelf already, and judge it."""
        saved, candidate = self._next.saved(run), None
        if saved is None:
            candidate = self._attempt(run, base, recipe, control)
            give_back_memory(base.loaded.network.device)  # all that training took is free before anything is judged
            saved = candidate.manifest
        with self._left_to_nobody(run, saved.name, control):
            if candidate is None:
                candidate = self._found_again(run, saved, base, control)
            trial = Trial(self._shop, self._shelf, self._publish, self._gentler(base))
            judged = trial.judge(candidate, base, control)
        if judged.swap is not None:
            self._publish(judged.swap)
        elif judged.verdict.accepted:
            self._publish(Notice(f"{saved.name} {_WAITS} `/adapters load v{saved.version}` takes it into use."))
        self._publish(ReceiptReady(judged.receipt))
        return judged

    def _attempt(self, run: Run, base: Base, recipe: Recipe, control: Control) -> Candidate:
        shop = self._shop
        self._publish(TrainingMoved(run_id=run.id, phase="preparing"))
        courtesy = self._courtesy(base, control)
        examples = shop.examples.find(ids=run.example_ids, status="trainable", oldest_first=True, limit=None)
        record = ProgressRecord(
            run, shop.runs, shop.home, self._publish,
            save_seconds=shop.config.lora.training.save_seconds, clock=self._clock,
        )  # fmt: skip
        preparing = Preparing(shop, self._shelf, run.id, self._publish)
        prepared = preparing.attempt(examples, base, recipe, courtesy, self._leaving_out(record))
        attempt = prepared.attempt
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
        manifest = self._save(run, prepared, state, tensors)
        taught = tuple(lesson for lesson in prepared.taught if lesson.id in manifest.example_ids)
        return Candidate(run, manifest, taught, tuple(state.losses))

    def _leaving_out(self, record: ProgressRecord) -> Callable[[Sequence[str]], None]:
        def leave_out(without: Sequence[str]) -> None:
            if without and self._shop.config.weights.unreviewed:
                record.left_out(without)
            self._say_that_are_left_out(without, _WITHOUT)

        return leave_out

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
                    model_bytes=attempt.base.loaded.network.get_memory_footprint(),
                )
            self._publish(moved(run, attempt.plan.epochs, trainer.state, (trainer.state.seconds - before) / done))
            record.step(attempt)

        return after

    # Its adapter

    def _save(self, run: Run, prepared: Prepared, state: State, tensors: Mapping[str, Any]) -> Manifest:
        """Put the adapter on the shelf. From then on it only has to be judged, whoever is killed."""
        attempt = prepared.attempt
        drawn = {row.source for step in attempt.plan.steps[: state.step] for row in step}
        learned = tuple(id for id in run.example_ids if id in drawn)
        roster = Roster(self._shop.home, self._shop.database)
        name, version = roster.free_name(f"{PREFIX}{datetime.now():%Y%m%d_%H%M%S}"), roster.next_version()
        learning = replace(run, example_ids=learned)
        manifest = manifest_of(
            learning, attempt, state, name=name, version_number=version, inherited=prepared.inherited
        )
        folder = write_bundle(self._shelf.root, name, adapter_files(attempt, tensors, manifest), manifest)
        self._drop_checkpoint()
        return replace(manifest, name=folder.name)

    def _found_again(self, run: Run, saved: Manifest, base: Base, control: Control) -> Candidate:
        """A candidate whose program ended before it was judged. What was taught is known from the examples that still
        say what they said then; where nobody had looked at a reply, another one is written by the same note."""
        self._publish(Notice("Going on with the adapter that was not judged yet."))
        preparing, courtesy = Preparing(self._shop, self._shelf, run.id, self._publish), self._courtesy(base, control)
        same = self._shop.runs.as_begun(run.id) & set(saved.example_ids)
        examples = self._shop.examples.find(ids=tuple(same), status="trainable", oldest_first=True, limit=None)
        with Examiner(base, courtesy, self._shop.cache_folder).voice() as voice:
            taught, _ = preparing.lessons(examples, base.name, voice.speaker)
        return Candidate(run, saved, tuple(taught), losses_of(self._shop.home.run_logs, run))

    @contextmanager
    def _left_to_nobody(self, run: Run, adapter: str, control: Control) -> Iterator[None]:
        """Whoever ends the judging leaves no adapter behind that nobody would judge: only the program's end does."""
        try:
            yield
        except BaseException as error:
            if not (isinstance(error, TrainingCancelled) and control.ending):
                with suppress(ShammahError):
                    self._next.drop(run.id, adapter)
            raise

    def _gentler(self, base: Base) -> Callable[[Run, Verdict], Run | None]:
        """How another try begins with the end of one that went too far, where one is left and something to learn."""
        lora = self._shop.config.lora

        def again(run: Run, verdict: Verdict) -> Run | None:
            if not verdict.too_far or run.attempt > lora.training.retries or not self._shop.examples.live():
                return None
            recipe = recipe_for(lora, base.loaded.parameters)
            return self._next.begin("retry", base.name, recipe, attempt=run.attempt + 1)

        return again

    def _prune(self) -> None:
        """There is one more: others leave, where the settings keep only so many."""
        kept = self._shop.config.adapters
        policy = Policy(keep_last=kept.keep_last, keep_best=kept.keep_best, max_days=kept.max_days)
        try:
            roster = Roster(self._shop.home, self._shop.database, setting=self._shop.config.adapter)
            prune(Shelving(roster), policy, now=utc_now(), put_away=kept.put_away)
        except ShammahError:
            log.warning("no adapter was put away", exc_info=True)

    # Its end

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
            self._publish(Notice(f"{counted(ids)} {why}"))


_ANEW = "The training that was cut off begins anew."
_WITHOUT = "without a better reply left out: /review shows them."
_TOO_LONG = "too long for lora.training.max_length left out."
_WAITS = "was found better, and waits (adapters.auto_swap is false)."


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
