"""Training for a home: what begins a run, the thread that does it in a chat, and a process of its own beside it.

Nothing here computes: what does is imported by the thread that trains, when it trains.
"""

import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from shammah.config import Config
from shammah.durable import explained, touch_private
from shammah.events import EventBus, Handler
from shammah.home import Home
from shammah.records import Buffer, Run, Trigger
from shammah.store.runs import Runs
from shammah.training.control import Control
from shammah.training.jobs import Job
from shammah.training.resources import hold_reason, lower_priority
from shammah.training.standing import standing
from shammah.training.triggers import due, missing
from shammah.training.worker import Worker

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
    def load_model(self) -> "Callable[[], ChatModel]": ...
    @property
    def model_cache(self) -> Any: ...


class Training:
    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self.runs = Runs(owner.database)

    @cached_property
    def worker(self) -> Worker:
        settings = self._owner.config.lora.training
        return Worker(
            self._run,
            self._owner.events.publish,
            hold_reason=self._hold_reason,
            limit_minutes=settings.max_minutes,
        )

    @property
    def started(self) -> bool:
        return "worker" in self.__dict__

    def missing(self, buffer: Buffer) -> int:
        """How many more examples the next run waits for."""
        return missing(buffer, self._owner.config.examples.threshold)

    def start_if_due(self, buffer: Buffer) -> str:
        """Begin where enough came together, or where a run was cut off. What there is to say of it, or nothing."""
        if not self._owner.config.lora.training.auto or (self.started and self.worker.current):
            return ""
        if standing(self.runs, self._owner.home.adapters).cut_off:
            return self.worker.submit(Job("medium", "resume", "a run was cut off"))
        if not due(buffer, self._owner.config.examples.threshold):
            return ""
        new = f"{buffer.new} new example{'s' * (buffer.new != 1)}"
        return self.worker.submit(Job("medium", "threshold", new))

    def start(self, trigger: Trigger = "user") -> str:
        return self.worker.submit(Job("high", trigger, "asked for"))

    def in_foreground(self, control: Control, publish: Handler, trigger: Trigger = "user") -> Run:
        """One run, here and now, on a thread that yields to all others from now on."""
        lower_priority()
        return self._run(Job("high", trigger, "asked for"), control, publish)

    def control(self) -> Control:
        """For a run in the foreground."""
        return Control(limit_minutes=self._owner.config.lora.training.max_minutes, hold_reason=self._hold_reason)

    def in_background(self, arguments: Sequence[str] = ()) -> int:
        """A process of its own, which goes on when this one ends. Its id."""
        log = self._owner.home.logs / "train.log"
        touch_private(log)
        command = [sys.executable, "-m", "shammah", "train", "--now", "--wait", "--json", *arguments]
        with explained(log), log.open("ab") as out:
            started = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, close_fds=True
            )
        return started.pid

    def cycle(self) -> "Cycle":
        """Imports torch."""
        from shammah.model.fingerprint import base_hash
        from shammah.training.attempt import Base
        from shammah.training.courtesy import take_threads
        from shammah.training.cycle import Cycle, Workshop

        owner = self._owner

        def base() -> Base:
            model = owner.load_model()
            take_threads(owner.config.lora.training.run_threads)  # loading has set the chat's number
            digest = base_hash(model.loaded, owner.model_cache.root.parent)
            return Base(model.name, model.loaded, digest)

        return Cycle(
            Workshop(
                home=owner.home,
                config=owner.config,
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

    def _run(self, job: Job, control: Control, publish: Handler) -> Run:
        return self.cycle().run(job, control, publish)

    def _hold_reason(self) -> str:
        floor = self._owner.config.lora.training.battery
        return hold_reason(on_battery="pause" if floor else "train", battery_floor=floor)
