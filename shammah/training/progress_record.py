"""What is written down of a run while it goes on: its record, its log, and where it stands for the next start.

Nothing that fails here ends a run that is healthy. It is logged, and told once where the user can mend it: what the run
comes to is saved at its end, and that has to succeed.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

from shammah.errors import DiskFull, HomeError, StoreError
from shammah.events import Handler, Notice
from shammah.home import Home
from shammah.records import Run
from shammah.store.runs import Runs
from shammah.training.attempt import Attempt
from shammah.training.checkpoint import Checkpoint
from shammah.training.loop import State
from shammah.training.run_log import RunLog

log = logging.getLogger(__name__)
# How often the record of a run is brought up to date while it runs.
_RECORD_SECONDS = 2.0


class ProgressRecord:
    def __init__(
        self,
        run: Run,
        runs: Runs,
        home: Home,
        publish: Handler,
        *,
        save_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Where the run stands is saved every `save_seconds`."""
        self._run, self._runs, self._publish = run, runs, publish
        self._checkpoint = Checkpoint(home.checkpoint)
        self._log = RunLog(home.run_logs, run)
        self._save_seconds, self._clock = save_seconds, clock
        self._recorded = self._saved = clock()
        self._closing = ExitStack()
        self._logs = self._told = False
        self._failed: set[str] = set()

    def __enter__(self) -> "ProgressRecord":
        with self._going_on("its log"):
            self._closing.enter_context(self._log)
            self._logs = True
        return self

    def __exit__(self, *_: object) -> None:
        with self._going_on("its log"):
            self._closing.close()

    def left_out(self, without: Collection[str]) -> None:
        """Of these examples the model made no better reply."""
        with self._going_on("its record"):
            self._runs.found_no_rewrite(self._run.id, without)

    def prepared(self, steps: int) -> Run:
        """The run takes so many steps."""
        with self._going_on("its record"):
            self._runs.update(self._run.id, steps=steps)
        self._recorded = self._saved = self._clock()
        self._run = replace(self._run, steps=steps)
        return self._run

    def step(self, attempt: Attempt) -> None:
        """After each of them. ExampleDeleted, within seconds, where the run has no longer what it was to learn."""
        state = _state(attempt)
        if self._logs:
            with self._going_on("its log"):
                self._log.step(state)
        if self._clock() - self._recorded >= _RECORD_SECONDS:
            self.stands(state)
            with self._going_on("its record"):
                self._runs.require_examples(self._run)
        if self._clock() - self._saved >= self._save_seconds:
            self._save(attempt)

    def leave(self, attempt: Attempt, *, for_the_next_start: bool) -> None:
        """The run was told to end: every number is as the last whole step left it."""
        self.stands(_state(attempt))
        if for_the_next_start:
            self._save(attempt)

    def stands(self, state: State) -> None:
        moved: dict[str, Any] = {"step": state.step, "tokens": state.tokens, "seconds": state.seconds}
        if state.losses:
            moved |= {"first_loss": state.losses[0], "last_loss": state.losses[-1]}
        with self._going_on("its record"):
            self._runs.update(self._run.id, **moved)
        self._recorded = self._clock()

    def _save(self, attempt: Attempt) -> None:
        assert attempt.trainer is not None
        with self._going_on("where it stands"):
            # Once an example changed or is gone nobody goes on from here, and what was forgotten must not come back.
            if self._runs.unchanged(self._run):
                self._checkpoint.save(attempt.trainer, attempt.fingerprint)
                if self._run.kills:
                    self._runs.update(self._run.id, kills=0)
                    self._run = replace(self._run, kills=0)
        self._saved = self._clock()

    @contextmanager
    def _going_on(self, what: str) -> Iterator[None]:
        try:
            yield
        except (StoreError, DiskFull, HomeError, MemoryError) as error:
            if what not in self._failed:
                why = str(error) or "not enough memory"
                log.warning("run %s: %s is not written down: %s", self._run.id, what, why)
            self._failed.add(what)
            if isinstance(error, DiskFull) and not self._told:
                self._told = True
                self._publish(Notice(f"{error.message}. Training goes on; make room before it saves what it learned."))


def _state(attempt: Attempt) -> State:
    assert attempt.trainer is not None
    return attempt.trainer.state
