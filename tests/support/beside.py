"""The program as a chat runs it, without a terminal: a model that answers, the thread that trains, and what the user
was told of it.

Run as a program it trains while it is short of something, which is told as JSON, and once more when it no longer is.
"""

import json
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from shammah.adapters.bundle import verify
from shammah.adapters.shelf import Shelf
from shammah.app import App
from shammah.errors import ShammahError
from shammah.events import Event, Notice, TrainingEnded, TrainingMoved
from shammah.judging import measuring
from shammah.records import Example, Message, Turn
from shammah.store import new_id, utc_now
from shammah.ui.training_words import ended_words

# Longer than any run of a test takes.
_PATIENCE = 120.0


class Chat:
    def __init__(self, model: Path | str, *settings: str) -> None:
        self.app = App.build(flags={"model": str(model)}, assignments=settings)
        self.told: list[str] = []
        self.then: Callable[[TrainingMoved], None] = lambda moved: None
        self.app.events.subscribe(self._hear)
        self._session = self.app.session(self.app.load_model())
        self._settings = replace(self.app.config.generation, max_tokens=8, temperature=0.0)

    def _hear(self, event: Event) -> None:
        """What a chat shows of it, in its own words."""
        if isinstance(event, Notice):
            self.told.append(event.text)
        elif isinstance(event, TrainingEnded):
            self.told.append(ended_words(event.run))
        elif isinstance(event, TrainingMoved):
            self.then(event)

    def ask(self, text: str) -> Turn:
        """The reply; where it can't be stored just now that is tried again with the next one."""
        said: list[Any] = []
        with suppress(ShammahError):
            said.extend(self._session.ask(text, self._settings))
        assert said and isinstance(said[-1], Turn), said
        return said[-1]

    def teach(self, *names: str) -> list[str]:
        """An example of each name; their ids."""
        return [self.app.desk.examples.put(_example(name)).id for name in names]

    def train(self) -> None:
        """One run by the thread that trains, as `/train now` asks for it, until nothing is under way."""
        self.told.clear()
        self.app.training.start()
        self.wait()

    def wait(self) -> None:
        worker, end = self.app.training.worker, time.monotonic() + _PATIENCE
        while worker.queue() or worker.current:
            assert time.monotonic() < end, f"training never ended: {worker.last_moved}"
            time.sleep(0.002)

    def report(self) -> dict[str, Any]:
        """How everything stands, as plain values. The chat is asked something first."""
        self.ask("And now?")
        shelf, database = Shelf(self.app.home.adapters), self.app.database
        for manifest in shelf.all():
            verify(shelf.root / manifest.name, manifest)
        last = self.app.training.runs.last()
        stored = {turn.id for turn in self.app.conversations.search(limit=None)}
        return {
            "unstored": [turn.query for turn in self._session.turns if turn.id not in stored],
            "told": list(self.told),
            "state": last and last.state,
            "step": last and last.step,
            "error": last and last.error,
            "trained": dict(map(tuple, database.rows("SELECT id, trained FROM examples"))),
            "adapters": [manifest.name for manifest in shelf.all()],
            "halves": sorted(
                {path.name for path in shelf.root.iterdir()} - {".training", *(each.name for each in shelf.all())}
            ),
            "integrity": database.rows("PRAGMA integrity_check")[0][0],
        }

    def close(self) -> None:
        self.app.close()


def _example(name: str) -> Example:
    return Example(
        id=new_id(),
        time=utc_now(),
        source="rating",
        level="good",
        weight=1.0,
        messages=(Message("user", f"What is {name}?"),),
        target=f"It is {name}, no more.",
        state="ready",
    )


def train_short_of(
    what: str, room: int, *, model: str, settings: list[str], names: list[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """How all stands after a run beside a chat that may take so many bytes more, of memory or in each of its files,
    and after another one as soon as it may take what it likes."""
    import resource

    import torch

    torch.set_num_threads(1)
    measuring.MOST_TOKENS = 8  # of replies that never end
    chat = Chat(model, *settings)
    chat.teach(*names)
    chat.ask("Hello?")
    chat.app.training.cycle(), chat.app.training.worker  # what computes and its thread are there, as after a first run
    kind, limit = resource.RLIMIT_FSIZE, room
    if what == "memory":
        kind, limit = resource.RLIMIT_AS, psutil.Process().memory_info().vms + room
    before = resource.getrlimit(kind)
    resource.setrlimit(kind, (limit, before[1]))
    chat.train()
    chat.ask("Are you there?")
    resource.setrlimit(kind, before)
    short = chat.report()
    chat.train()
    freed = chat.report()
    chat.close()
    return short, freed


if __name__ == "__main__":
    sys.stdout.write(json.dumps(train_short_of(**json.loads(sys.argv[1]))))
