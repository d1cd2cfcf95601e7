"""What waits to be trained, and in which order."""

from dataclasses import dataclass, replace
from typing import Literal

from shammah.records import Trigger

# What the user asks for is high, what begins by itself medium: deferred while the machine should have a rest, and low
# when it was released after that.
Priority = Literal["high", "medium", "low", "deferred"]
_RANK: dict[Priority, int] = {"high": 0, "medium": 1, "low": 2, "deferred": 3}


@dataclass(frozen=True, slots=True)
class Job:
    """A run that was asked for. The queue gives it its number."""

    priority: Priority
    trigger: Trigger
    why: str = ""
    number: int = 0


class JobQueue:
    """The highest priority first, then first come, first served."""

    def __init__(self) -> None:
        self._jobs: list[Job] = []
        self._numbers = 0

    @property
    def deferred(self) -> bool:
        """Whether a job waits to be released."""
        return any(job.priority == "deferred" for job in self._jobs)

    def push(self, job: Job) -> Job:
        """The job as it stands in the queue: numbered, or the one that waits for the same reason already.

        Every run learns all that there is to learn, so a second one would find nothing left. The more urgent of the two
        keeps its words, the older one its place.
        """
        same = next((waiting for waiting in self._jobs if waiting.trigger == job.trigger), None)
        if same is None:
            self._numbers += 1
            job = replace(job, number=self._numbers)
            self._jobs.append(job)
            return job
        urgent = min(same, job, key=_rank)
        merged = replace(urgent, number=same.number)
        self._jobs[self._jobs.index(same)] = merged
        return merged

    def pop(self) -> Job | None:
        """The next job, which leaves the queue; None where all that wait are deferred."""
        job = next((job for job in self.jobs() if job.priority != "deferred"), None)
        if job is not None:
            self._jobs.remove(job)
        return job

    def jobs(self) -> list[Job]:
        """All that wait, in the order in which they will run."""
        return sorted(self._jobs, key=_rank)

    def cancel(self, number: int) -> bool:
        """Take a job out of the queue. Says whether it was there."""
        before = len(self._jobs)
        self._jobs = [job for job in self._jobs if job.number != number]
        return len(self._jobs) < before

    def release(self) -> None:
        """Let the deferred jobs run, after all others."""
        self._jobs = [replace(job, priority="low") if job.priority == "deferred" else job for job in self._jobs]


def _rank(job: Job) -> int:
    return _RANK[job.priority]
