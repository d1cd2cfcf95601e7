"""How training stands in a home, whichever process does it: what runs, what came of the last run. Without torch."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from shammah.records import Run
from shammah.store.runs import Runs
from shammah.training.trainer_lock import TrainerLock

# Before the newest run that ended there is at most the one under way, and those whose process was killed.
_RECENT = 20
# A run whose program was killed so often, without coming any further, is not gone on with.
_MOST_KILLS = 3


@dataclass(frozen=True, slots=True)
class Standing:
    """The run under way, and the newest of all others. `trainer` is the process that trains, or gets ready to."""

    running: Run | None
    last: Run | None
    trainer: int | None = None

    @property
    def cut_off(self) -> bool:
        """Whether the last run ended with its program, so that the next one goes on with it."""
        return self.trainer is None and self.last is not None and self.last.state == "interrupted"


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
        last = killed(last)
    if last is not None and last.state == "interrupted" and not runs.remains(last):
        last = replace(last, state="cancelled")  # nobody will go on with it
    return Standing(running, last, pid)


def killed(run: Run) -> Run:
    """What has become of a run whose program was killed."""
    kills = run.kills + 1
    if kills < _MOST_KILLS:
        return replace(run, state="interrupted", error="", kills=kills)
    error = f"Its program was killed {kills} times before it could save where it stood. `/train now` tries again."
    return replace(run, state="failed", error=error, kills=kills)


def settle_killed(runs: Runs, run: Run) -> Run:
    """Write that down."""
    found = killed(run)
    state: Literal["failed", "interrupted"] = "failed" if found.state == "failed" else "interrupted"
    return runs.end(run.id, state, error=found.error, kills=found.kills)
