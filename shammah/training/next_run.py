"""Which run is to be done: the one that was cut off, where it can be gone on with, or a new one.

Whoever asks holds the lock of the one trainer, so every run that seems to be under way is one whose process is gone.
"""

import os

from shammah.adapters.bundle import discard, verify
from shammah.adapters.manifest import Manifest
from shammah.adapters.shelf import Shelf
from shammah.errors import AdapterDamaged, TrainingError
from shammah.records import Example, Run, Trigger
from shammah.store.examples import Examples
from shammah.store.identity import new_id, utc_now
from shammah.store.runs import Runs
from shammah.training.recipe import Recipe
from shammah.training.standing import settle_killed


def recipe_of(attempt: int, recipe: Recipe) -> Recipe:
    """What an attempt is made with: each is gentler than the one before it."""
    for _ in range(attempt - 1):
        recipe = recipe.gentler()
    return recipe


def fits(run: Run, model: str, recipe: Recipe) -> bool:
    """Whether a run that was cut off is one of this model and recipe."""
    return run.model == model and run.settings == recipe_of(run.attempt, recipe).as_json()


class NextRun:
    def __init__(self, runs: Runs, examples: Examples, shelf: Shelf) -> None:
        self._runs, self._examples, self._shelf = runs, examples, shelf

    def cut_off(self) -> Run | None:
        """The last run, if it was cut off: interrupted, or finished by this where its adapter was on the shelf."""
        dead, last = self._runs.running(), self._runs.last()
        if last is not None and last.state == "interrupted":
            dead.append(last)
        settled = {run.id: self._settled(run) for run in dead}
        found = settled.get(last.id) if last is not None else None
        return found if found is not None and found.state in ("interrupted", "finished") else None

    def _settled(self, run: Run) -> Run:
        adapter = self._adapter_of(run)
        if adapter is not None and run.lost:
            discard(self._shelf.root / adapter.name)  # it was never told of, and has learned what was deleted since
        elif adapter is not None:
            return self._runs.finish(run.id, adapter.name, self._examples, learned=adapter.example_ids)
        if not self._runs.remains(run):
            return self._runs.end(run.id, "cancelled", error="None of the examples that it was begun with is left.")
        return settle_killed(self._runs, run) if run.state == "running" else run

    def _adapter_of(self, run: Run) -> Manifest | None:
        """What a run saved whole, although its program ended before that was written down."""
        for manifest in self._shelf.all():
            if manifest.run_id == run.id:
                try:
                    verify(self._shelf.root / manifest.name, manifest)
                except AdapterDamaged:
                    continue
                return manifest
        return None

    def go_on(self, run: Run, model: str, recipe: Recipe) -> Run | None:
        """The run that was cut off, reopened; None where its examples, the model or the recipe are not what they were:
        it would be another run."""
        if not fits(run, model, recipe):
            return None
        left = self._examples.find(ids=run.example_ids, status="trainable", limit=None)
        if len(left) < len(run.example_ids) or not self._runs.unchanged(run):
            return None
        return self._runs.reopen(run, pid=os.getpid())

    def begin(self, trigger: Trigger, model: str, recipe: Recipe, *, attempt: int = 1) -> Run:
        """A new run of all that there is to learn; the second `attempt` comes after one that failed, and so on."""
        live, now = self.live(), utc_now()
        return self._runs.begin(
            Run(
                id=new_id(),
                started=now,
                updated=now,
                trigger=trigger,
                attempt=attempt,
                model=model,
                example_ids=tuple(example.id for example in live),
                weighted=sum(example.weight for example in live if not example.trained),
                seed=recipe.seed,
                settings=recipe_of(attempt, recipe).as_json(),
                pid=os.getpid(),
            )
        )

    def live(self) -> list[Example]:
        """What a training from the base learns."""
        live = self._examples.live()
        if not live:
            raise TrainingError("There is nothing to learn from yet", hint="Rate a reply: /good, /medium or /critical.")
        return live
