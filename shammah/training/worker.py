"""The thread that trains. Whatever becomes of a run, the chat goes on, and the next job finds the thread alive."""

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from threading import Condition, Thread

from shammah.errors import ShammahError, TrainingError
from shammah.events import Event, Handler, Notice, TrainingEnded, TrainingMoved
from shammah.model.thread_team import dismiss_team
from shammah.records import Run
from shammah.training.control import Control
from shammah.training.jobs import Job, JobQueue
from shammah.training.resources import lower_priority
from shammah.training.waiting import RecordWait, Waiting

# One learning attempt. It tells what it does by the handler, heeds the control, and puts its failure into the Run.
# None where there was nothing left to do.
RunCycle = Callable[[Job, Control, Handler], Run | None]

log = logging.getLogger(__name__)


class Worker:
    def __init__(
        self,
        run_cycle: RunCycle,
        publish: Handler,
        *,
        hold_reason: Callable[[], str] = lambda: "",
        hold_seconds: float = 10.0,
        limit_minutes: float = 0,
        record_wait: RecordWait = lambda run_id, reason: None,
    ) -> None:
        """`hold_reason` says why the machine should have a rest, and is asked every `hold_seconds`. A try that takes
        more than `limit_minutes` fails. `record_wait` writes down why one waits."""
        self._run_cycle, self._publish = run_cycle, publish
        self._hold_reason, self._hold_seconds, self._limit_minutes = hold_reason, hold_seconds, limit_minutes
        self._record_wait = record_wait
        self._changed = Condition()
        self._jobs = JobQueue()
        self._current: tuple[Job, Control] | None = None
        self._waiting: Waiting | None = None
        self._paused = self._recording = self._closing = False
        self._thread = Thread(target=self._work, name="train", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            raise TrainingError(
                "The system starts no further thread, so nothing can be trained", hint="Close other programs."
            ) from error

    # What the chat sees

    @property
    def current(self) -> Job | None:
        """The job that runs now."""
        current = self._current
        return current and current[0]

    @property
    def last_moved(self) -> TrainingMoved | None:
        """How far the run that is under way has come."""
        waiting = self._waiting
        return waiting.last_moved if waiting else None

    @property
    def paused(self) -> str:
        """Why nothing is trained although it could be; empty otherwise."""
        current = self._current
        return "paused" if self._paused else current[1].paused if current else ""

    def queue(self) -> list[Job]:
        """What waits, in the order in which it will run."""
        with self._changed:
            return self._jobs.jobs()

    # What the chat says. The answers are words for the user.

    def submit(self, job: Job) -> str:
        """What nobody asked for is deferred while the machine should have a rest."""
        rest = self._hold_reason() if job.priority == "medium" else ""
        with self._changed:
            if self._closing:
                return "Nothing starts any more: the program ends."
            job = self._jobs.push(replace(job, priority="deferred") if rest else job)
            self._changed.notify_all()
            if self._paused:
                return f"Run {job.number} waits: training is paused, `/train resume` goes on."
            if job.priority == "deferred":
                return f"Run {job.number} waits: {rest}. It begins by itself."
            ahead = [waiting for waiting in self._jobs.jobs() if waiting.priority != "deferred"]
            first = ahead[ahead.index(job) - 1] if ahead[0] != job else self.current
        return f"Queued behind run {first.number}." if first else "Training starts."

    def pause(self) -> str:
        """Training waits, and nothing new starts, until it is resumed."""
        with self._changed:
            self._paused = True
            if self._current is None:
                return "Nothing is trained until `/train resume`."
            job, control = self._current
            control.pause()
        return f"Run {job.number} is paused; `/train resume` goes on."

    def resume(self) -> str:
        with self._changed:
            if not self._paused:
                return f"Training waits by itself: {self.paused}." if self.paused else "Training is not paused."
            self._paused = False
            self._changed.notify_all()
            if self._current is None:
                return "Training starts when there is something to learn."
            job, control = self._current
            control.resume()
        return f"Run {job.number} goes on."

    def cancel(self, number: int | None = None) -> str:
        """End the run that is under way, or the one of this number, under way or still waiting. A pause ends with the
        run that was paused."""
        with self._changed:
            if self._current and number in (None, self._current[0].number):
                job, control = self._current
                if self._recording:
                    return f"Run {job.number} is judged, and that is being written down: it is too late to cancel it."
                control.cancel()
                self._paused = False
                return f"Run {job.number} is cancelled; its examples are kept."
            if number is None:
                return "No run is under way."
            found = self._jobs.cancel(number)
        return f"Run {number} is out of the queue." if found else f"There is no run {number}. See `/train queue`."

    def close(self, timeout: float = 5.0) -> bool:
        """End the run that is under way, for the next start to go on with. Says whether the thread came to its end."""
        with self._changed:
            self._closing = True
            if self._current is not None:
                self._current[1].cancel(ending=True)
            self._changed.notify_all()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    # The thread

    def _work(self) -> None:
        lower_priority()
        while (task := self._next()) is not None:
            if not self._survives(partial(self._run, *task)):
                words = "Training stopped on an error of its own. See `shammah logs path` for what it was."
                self._survives(partial(self._publish, Notice(words)))
            dismiss_team()
            with self._changed:
                self._current = self._waiting = None
                self._recording = False

    def _next(self) -> tuple[Job, Control, Waiting] | None:
        """Wait for a job; None where the program ends."""
        with self._changed:
            while not self._closing:
                if self._jobs.deferred and not self._hold_reason():
                    self._jobs.release()
                if not self._paused and (job := self._jobs.pop()) is not None:
                    self._waiting = Waiting(self._publish, self._hold_reason, self._record_wait)
                    self._current = job, self._new_control(self._waiting)
                    return *self._current, self._waiting
                self._changed.wait(self._hold_seconds if self._jobs.deferred else None)
        return None

    def _new_control(self, waiting: Waiting) -> Control:
        return Control(
            limit_minutes=self._limit_minutes,
            hold_reason=waiting.hold_reason,
            hold_seconds=self._hold_seconds,
            on_wait=waiting.tell,
        )

    def _run(self, job: Job, control: Control, waiting: Waiting) -> None:
        log.info("Run %s starts (%s): %s", job.number, job.trigger, job.why)
        try:
            run = self._run_cycle(job, control, partial(self._tell, waiting))
        except ShammahError as error:
            log.warning("Run %s: %s", job.number, error.one_line())
            self._publish(Notice(error.one_line()))
        else:
            if run is None:
                log.info("Run %s had nothing left to do", job.number)
                self._publish(Notice("Nothing is left to learn: another run has learned it."))
            else:
                self._publish(TrainingEnded(run))

    def _tell(self, waiting: Waiting, event: Event) -> None:
        if isinstance(event, TrainingMoved):
            with self._changed:  # who cancels has done so before, and is heeded, or comes too late and is told so
                self._recording = event.phase == "recording"
        waiting.publish(event)

    def _survives(self, work: Callable[[], None]) -> bool:
        try:
            work()
        except BaseException:  # a panic in a library's Rust is none of the Exceptions
            log.exception("The thread that trains met an error")
            return False
        return True
