"""Training for a home: what begins a run, the thread that does it in a chat, and a process of its own beside it.

Nothing here computes: what does is imported by the thread that trains, when it trains.
"""

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from shammah.adapters.shelf import Shelf
from shammah.config import Config
from shammah.durable import explained, touch_private
from shammah.errors import DiskFull, StoreError
from shammah.events import EventBus, Handler, Notice
from shammah.home import Home
from shammah.records import Buffer, Run, Trigger
from shammah.store.runs import Runs
from shammah.training.control import Control
from shammah.training.jobs import Job
from shammah.training.resources import hold_reason, lower_priority
from shammah.training.standing import settle_killed, standing
from shammah.training.triggers import due, missing
from shammah.training.waiting import Waiting
from shammah.training.worker import Worker

log = logging.getLogger(__name__)

# A log of processes that trained is put aside when it is larger; one older one is kept.
_LOG_BYTES = 1_000_000
_BY_HAND = "With lora.training.auto = false nothing is trained unasked."

if TYPE_CHECKING:
    from shammah.feedback.desk import Desk
    from shammah.model.chat_model import ChatModel
    from shammah.model.right_of_way import RightOfWay
    from shammah.store.database import Database
    from shammah.training.cycle import Cycle


class Owner(Protocol):
    """What is used of the program's composition root."""

    @property
    def home(self) -> Home: ...
    @property
    def config(self) -> Config: ...
    @property
    def events(self) -> EventBus: ...
    @property
    def database(self) -> "Database": ...
    @property
    def desk(self) -> "Desk": ...
    @property
    def right_of_way(self) -> "RightOfWay": ...
    @property
    def load_base(self) -> "Callable[[], ChatModel]": ...
    @property
    def model_cache(self) -> Any: ...


class Training:
    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self.runs = Runs(owner.database)
        # Runs that were cut off and are left to those who began them, by id.
        self._left: set[str] = set()

    @cached_property
    def worker(self) -> Worker:
        settings = self._owner.config.lora.training
        return Worker(
            self._run,
            self._owner.events.publish,
            hold_reason=self._hold_reason,
            limit_minutes=settings.max_minutes,
            record_wait=self._record_wait,
        )

    @property
    def started(self) -> bool:
        return "worker" in self.__dict__

    def missing(self, buffer: Buffer) -> int:
        """How many more examples the next run waits for."""
        return missing(buffer, self._owner.config.examples.threshold)

    def start_if_due(self, buffer: Buffer) -> str:
        """Begin where enough came together, or where a run was cut off that this model and these settings can go on
        with. What there is to say of it, or nothing; also where another process trains, or gets ready to."""
        if not self._owner.config.lora.training.auto or (self.started and self.worker.current):
            return ""
        found = standing(self.runs, self._owner.home.adapters)
        if found.trainer is not None:
            return ""
        self._give_up(found.last)
        if found.cut_off and found.last is not None:
            waits = self.waits_for(found.last)
            if not waits:
                return self.worker.submit(Job("medium", "resume", "a run was cut off"))
            self._tell_once(found.last, waits)
        if not due(buffer, self._owner.config.examples.threshold):
            return ""
        new = f"{buffer.new} new example{'s' * (buffer.new != 1)}"
        return self.worker.submit(Job("medium", "threshold", new))

    def start(self, trigger: Trigger = "user") -> str:
        return self.worker.submit(Job("high", trigger, "asked for"))

    def in_foreground(self, control: Control, publish: Handler, trigger: Trigger = "user") -> Run:
        """One run, here and now, on a thread that yields to all others from now on."""
        lower_priority()
        run = self._run(Job("high", trigger, "asked for"), control, publish)
        assert run is not None, "what was asked for is wanted"
        return run

    def waiting(self, publish: Handler) -> Waiting:
        """For a run in the foreground, as its control is."""
        return Waiting(publish, self._hold_reason, self._record_wait)

    def control(self, waiting: Waiting) -> Control:
        minutes = self._owner.config.lora.training.max_minutes
        return Control(limit_minutes=minutes, hold_reason=waiting.hold_reason, on_wait=waiting.tell)

    def in_background(self, arguments: Sequence[str] = ()) -> int:
        """A process of its own, which goes on when this one ends. Its id."""
        written = self._owner.home.train_log
        make_room(written)
        touch_private(written)
        # -P: what lies in the current folder is none of the program's modules.
        command = [sys.executable, "-P", "-m", "shammah", "train", "--now", "--wait", "--json", *arguments]
        with explained(written), written.open("ab") as out:
            started = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, close_fds=True
            )
        return started.pid

    def cycle(self) -> "Cycle":
        """Imports torch."""
        from shammah.model.fingerprint import base_hash
        from shammah.training.attempt import Base
        from shammah.training.courtesy import take_threads
        from shammah.training.cycle import Cycle
        from shammah.training.workshop import Workshop

        owner = self._owner

        def base() -> Base:
            model = owner.load_base()
            take_threads(owner.config.lora.training.run_threads)  # loading has set the chat's number
            digest = base_hash(model.loaded, owner.model_cache.root.parent)
            return Base(model.name, model.loaded, digest)

        return Cycle(
            Workshop(
                home=owner.home,
                config=owner.config,
                database=owner.database,
                examples=owner.desk.examples,
                runs=self.runs,
                base=base,
                right_of_way=owner.right_of_way,
                cache_folder=owner.model_cache.root.parent,
            )
        )

    def close(self) -> None:
        if self.started:
            self.worker.close()

    def _give_up(self, last: Run | None) -> None:
        """Once, where the program was killed too often while the last run went on."""
        if last is not None and last.state == "failed" and self.runs.get(last.id).state == "running":
            settle_killed(self.runs, self.runs.get(last.id))
            self._owner.events.publish(Notice(f"Training failed: {last.error} {_BY_HAND}"))

    def waits_for(self, run: Run) -> str:
        """What is needed to go on with a run that was cut off, and is not set here; empty where nothing is. One whose
        adapter only has to be judged needs no settings."""
        from shammah.training.next_run import NextRun, fits
        from shammah.training.recipe import recipes_for

        config = self._owner.config
        if run.model != config.model:
            return f"its model, -m {run.model}"
        if any(fits(run, config.model, recipe) for recipe in recipes_for(config.lora)):
            return ""
        saved = NextRun(
            self._owner.database, self.runs, self._owner.desk.examples, Shelf(self._owner.home.adapters)
        ).saved
        return "" if saved(run) is not None else "the settings it was begun with"

    def _tell_once(self, run: Run, waits: str) -> None:
        if run.id not in self._left:
            self._left.add(run.id)
            words = f"A run that was cut off waits for {waits}. `/train now` begins anew with what is set here."
            self._owner.events.publish(Notice(words))

    def _run(self, job: Job, control: Control, publish: Handler) -> Run | None:
        return self.cycle().run(job, control, publish)

    def _record_wait(self, run_id: str, reason: str) -> None:
        try:
            self.runs.update(run_id, error=reason)
        except (StoreError, DiskFull):  # no reason to end a run
            log.warning("that run %s waits is not written down", run_id, exc_info=True)

    def _hold_reason(self) -> str:
        floor = self._owner.config.lora.training.battery
        return hold_reason(on_battery="pause" if floor else "train", battery_floor=floor)


def make_room(file: Path) -> None:
    """Put a log aside that has become large. A process that still writes to it goes on in what it is called then."""
    with explained(file):
        if file.is_file() and file.stat().st_size > _LOG_BYTES:
            os.replace(file, file.with_name(f"{file.name}.1"))
