"""What is told of a run's waits, whichever process runs it: beside how far it has come, in its record, and once in
words where nobody asked for the wait."""

from collections.abc import Callable
from dataclasses import replace

from shammah.events import Event, Handler, Notice, TrainingMoved
from shammah.model.thread_team import dismiss_team

# Writes down why a run, by its id, waits; nothing for that it goes on.
RecordWait = Callable[[str, str], None]


class Waiting:
    """For one run. All of it is for the thread that trains; `last_moved` may be read by any."""

    def __init__(self, publish: Handler, hold_reason: Callable[[], str], record: RecordWait) -> None:
        """`hold_reason` says why the machine should have a rest."""
        self._publish, self._ask_machine, self._record = publish, hold_reason, record
        self._hold_told = False
        self.last_moved: TrainingMoved | None = None

    def publish(self, event: Event) -> None:
        """What the run tells goes through here: a wait is told with how far it had come."""
        if isinstance(event, TrainingMoved):
            self.last_moved = event
        self._publish(event)

    def hold_reason(self) -> str:
        """Why the machine should have a rest. The user reads it once in a run, however often it comes and goes."""
        reason = self._ask_machine()
        if reason and not self._hold_told:
            self._hold_told = True
            self._publish(Notice(f"Training waits: {reason}. It goes on by itself."))
        return reason

    def tell(self, reason: str) -> None:
        """Why the run waits; nothing where it goes on."""
        if reason:
            dismiss_team()
        if self.last_moved is not None:
            self.publish(replace(self.last_moved, waiting=reason))
            self._record(self.last_moved.run_id, reason)
