"""What the chat may say to a run while it trains: wait, go on, end.

The thread that trains calls `check` before every layer. The chat's threads may call all the rest at any time.
"""

import math
import time
from collections.abc import Callable
from threading import Condition

from shammah.errors import TrainingCancelled, TrainingError

# What a run stands aside for is told only where it lasts: most replies are short.
_PATIENCE_SECONDS = 5.0


class Control:
    def __init__(
        self,
        *,
        limit_minutes: float = 0,
        hold_reason: Callable[[], str] | None = None,
        hold_seconds: float = 10.0,
        on_wait: Callable[[str], None] = lambda reason: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """A try may take `limit_minutes`, 0 for as long as it likes; the time for which it waited is not counted.

        `hold_reason` is asked every `hold_seconds` whether the machine should have a rest, and why. `on_wait` is told
        why the run waits, and "" when it goes on. Both are called by the thread that trains.
        """
        self._changed = Condition()
        self._clock = clock
        self._limit_minutes = limit_minutes
        self.begin()
        self._hold_reason, self._hold_seconds = hold_reason, hold_seconds
        self._next_question = clock() if hold_reason else math.inf
        self._on_wait = on_wait
        self._waited = 0.0
        self._cancelled = self._ending = self._spoken_to = False
        self._pause = self._hold = ""

    def begin(self) -> None:
        """A try begins: it has all of its time, whatever those before it took."""
        self._deadline = self._clock() + 60 * self._limit_minutes if self._limit_minutes else math.inf

    @property
    def cancelled(self) -> bool:
        return self._cancelled

    @property
    def ending(self) -> bool:
        """Whether it was cancelled only because the program ends: what is left of the run is for the next start."""
        return self._ending

    @property
    def paused(self) -> str:
        """Why nothing moves; empty while it does."""
        return self._pause or self._hold

    def pause(self, reason: str = "paused") -> None:
        with self._changed:
            self._pause = reason or "paused"
            self._tell()

    def resume(self) -> None:
        with self._changed:
            self._pause = ""
            self._tell()

    def cancel(self, *, ending: bool = False) -> None:
        """End the run at its next check. Who cancelled it first has said why."""
        with self._changed:
            self._ending = self._ending or (ending and not self._cancelled)
            self._cancelled = True
            self._tell()

    def check(self) -> None:
        """Wait while paused; raise where the run is to end."""
        # Asked at every layer: no lock unless there is something to do.
        if self._spoken_to or self._clock() >= min(self._deadline, self._next_question):
            self._obey()

    def raise_if_cancelled(self) -> None:
        """Raise where the run was told to end, but never wait: for those who wait for something else themselves."""
        if self._cancelled and self._ending:
            raise TrainingCancelled("Training stopped with the program", hint="It goes on at the next start.")
        if self._cancelled:
            raise TrainingCancelled(
                "Training was cancelled", hint="Its examples are kept. Start again by `/train now`."
            )

    def stand_aside(self, wait: Callable[[Callable[[], None]], float], reason: str) -> None:
        """Have the run wait for something else; the seconds that `wait` says it took do not count either.

        What `wait` is given is to be called now and then while it lasts.
        """
        since, told = self._clock(), False

        def check() -> None:
            nonlocal told
            self.raise_if_cancelled()
            if not told and self._clock() - since >= _PATIENCE_SECONDS:
                told = True
                self._on_wait(reason)

        self._grant(wait(check))
        if told:
            self._on_wait("")

    def working_time(self) -> float:
        """A clock in seconds that stands still for as long as the run waits."""
        return self._clock() - self._waited

    def _grant(self, seconds: float) -> None:
        self._deadline += seconds
        self._waited += seconds

    def _tell(self) -> None:
        self._spoken_to = self._cancelled or bool(self._pause)
        self._changed.notify_all()

    def _obey(self) -> None:
        # Nobody is called under the lock: who is told of the wait may hold a lock under which the chat speaks to us.
        self.raise_if_cancelled()
        self._raise_if_late()
        since, told = self._clock(), ""
        while reason := self._why_wait():
            if reason != told:
                self._on_wait(reason)
                told = reason
            with self._changed:
                if self._pause:
                    self._changed.wait_for(lambda: self._cancelled or not self._pause)
                elif self._hold:
                    self._changed.wait_for(lambda: self._cancelled or bool(self._pause), self._hold_seconds)
                    self._next_question = self._clock()
            self.raise_if_cancelled()
        if told:
            self._grant(self._clock() - since)
            self._on_wait("")

    def _raise_if_late(self) -> None:
        if self._clock() >= self._deadline:
            minutes = f"{self._limit_minutes:g} minute{'' if self._limit_minutes == 1 else 's'}"
            raise TrainingError(
                f"Training took longer than the limit of {minutes}",
                hint="Set lora.training.max_minutes higher.",
            )

    def _why_wait(self) -> str:
        if not self._pause and self._hold_reason and self._clock() >= self._next_question:
            self._hold = self._hold_reason()
            self._next_question = self._clock() + self._hold_seconds
        return self.paused
