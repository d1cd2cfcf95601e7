"""The log of a run: one line of JSON for each step. Numbers alone, nothing of what was learned."""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from shammah.durable import explained, make_folder, touch_private
from shammah.records import Run

if TYPE_CHECKING:
    from shammah.training.loop import State

# The logs of so many runs.
_KEPT = 50


def losses_of(folder: Path, run: Run) -> tuple[float, ...]:
    """The loss of each step of a run, as far as they are written down, whoever did it."""
    try:
        lines = [json.loads(line) for line in (folder / f"{run.id}.jsonl").read_text("utf-8").splitlines()]
        losses = {int(line["step"]): float(line["loss"]) for line in lines if "step" in line}
    except (OSError, ValueError, TypeError, KeyError):
        return ()  # none is kept for ever, and the last line may be cut off
    return tuple(losses[step] for step in sorted(losses))


class RunLog:
    def __init__(self, folder: Path, run: Run) -> None:
        self._path = folder / f"{run.id}.jsonl"
        self._run = run
        self._file: IO[str] | None = None

    def __enter__(self) -> "RunLog":
        make_folder(self._path.parent)
        touch_private(self._path)
        with explained(self._path):
            self._file = self._path.open("a", encoding="utf-8")
        about = {"run": self._run.id, "pid": os.getpid(), "model": self._run.model, "settings": self._run.settings}
        try:
            self._write(about)
        except BaseException:
            with suppress(OSError):  # it would write once more
                self._file.close()
            raise
        self._drop_old()
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            with explained(self._path):
                self._file.close()

    def step(self, state: "State") -> None:
        line = {"step": state.step, "loss": round(state.losses[-1], 5), "tokens": state.tokens}
        self._write({**line, "seconds": round(state.seconds, 3), "held_out": state.held_out[-1:]})

    def _drop_old(self) -> None:
        with suppress(OSError):  # the next run tries it again
            logs = sorted(self._path.parent.glob("*.jsonl"), key=lambda log: log.stat().st_mtime, reverse=True)
            for log in logs[_KEPT:]:
                log.unlink(missing_ok=True)

    def _write(self, line: dict[str, object]) -> None:
        assert self._file is not None, "used within its context"
        with explained(self._path):
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()
