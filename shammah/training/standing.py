"""How training stands in a home, whichever process does it: what runs, what came of the last run. Without torch."""

from dataclasses import dataclass, replace
from pathlib import Path

from shammah.records import Run
from shammah.store.runs import Runs
from shammah.training.trainer_lock import TrainerLock

# Before the newest run that ended there is at most the one under way, and those whose process was killed.
_RECENT = 20


@dataclass(frozen=True, slots=True)
class Standing:
    """The run under way, and the newest of all others."""

    running: Run | None
    last: Run | None

    @property
    def cut_off(self) -> bool:
        """Whether the last run ended with its program, so that the next one goes on with it."""
        return self.running is None and self.last is not None and self.last.state == "interrupted"


def trainer_lock(adapters: Path) -> TrainerLock:
    return TrainerLock(adapters / ".training" / "lock")


def right_of_way_folder(adapters: Path) -> Path:
    """Where the processes of a home tell each other that they go first."""
    return adapters / ".training" / "way"


def standing(runs: Runs, adapters: Path) -> Standing:
    """`adapters` is the folder of the home's adapters, where the lock of the one trainer lies."""
    pid = trainer_lock(adapters).holder()
    running = next((run for run in reversed(runs.running()) if pid and run.pid == pid), None)
    last = next((run for run in runs.recent(_RECENT) if running is None or run.id != running.id), None)
    if last is not None and last.state == "running":  # its process is gone, and nobody wrote that down yet
        last = replace(last, state="interrupted")
    if last is not None and last.state == "interrupted" and not runs.remains(last):
        last = replace(last, state="cancelled")  # nobody will go on with it
    return Standing(running, last)
