"""Which run is to be done: the one that was cut off, where it can be gone on with, or a new one.

Whoever asks holds the lock of the one trainer, so every run that seems to be under way is one whose process is gone.
"""

import os
from typing import TYPE_CHECKING

from shammah.adapters.bundle import discard, verify, version_in
from shammah.adapters.manifest import Manifest
from shammah.adapters.shelf import Shelf
from shammah.errors import AdapterDamaged, TrainingError
from shammah.records import Example, Run, Trigger
from shammah.store.activations import Activations
from shammah.store.adapter_notes import AdapterNotes
from shammah.store.audit import Audit
from shammah.store.database import Database
from shammah.store.examples import Examples
from shammah.store.identity import new_id, utc_now
from shammah.store.runs import JUDGED, Runs
from shammah.training.recipe import Recipe
from shammah.training.standing import settle_killed

if TYPE_CHECKING:
    from shammah.training.attempt import Base


def recipe_of(attempt: int, recipe: Recipe) -> Recipe:
    """What an attempt is made with: each is gentler than the one before it."""
    for _ in range(attempt - 1):
        recipe = recipe.gentler()
    return recipe


def fits(run: Run, model: str, recipe: Recipe) -> bool:
    """Whether a run that was cut off is one of this model and recipe."""
    return run.model == model and run.settings == recipe_of(run.attempt, recipe).as_json()


class NextRun:
    def __init__(self, database: Database, runs: Runs, examples: Examples, shelf: Shelf) -> None:
        self._database, self._runs, self._examples, self._shelf = database, runs, examples, shelf
        self._activations, self._audit = Activations(database), Audit(database)

    def cut_off(self) -> Run | None:
        """The last run, if it was cut off."""
        dead, last = self._runs.running(), self._runs.last()
        if last is not None and last.state == "interrupted":
            dead.append(last)
        settled = {run.id: self._settled(run) for run in dead}
        found = settled.get(last.id) if last is not None else None
        return found if found is not None and found.state == "interrupted" else None

    def _settled(self, run: Run) -> Run:
        remains = self._runs.remains(run)
        if run.lost or not remains:
            self._drop_saved(run)  # it has learned what was deleted since, or nothing is left to judge it by
        if not remains:
            return self._runs.end(run.id, "cancelled", error="None of the examples that it was begun with is left.")
        return settle_killed(self._runs, run) if run.state == "running" else run

    def _drop_saved(self, run: Run) -> None:
        adapter = self.saved(run)
        if adapter is not None:
            self.drop(run.id, adapter.name)

    def drop(self, run_id: str, adapter: str) -> None:
        """Take off the shelf what a run saved, unless it was judged, or answers all the same."""
        with self._database.transaction():  # whoever takes it into use writes too
            if self._runs.get(run_id).state not in JUDGED and not self._activations.bases_of(adapter):
                details = {"run": run_id, "version": version_in(self._shelf.root / adapter)}
                self._audit.add("training", "dropped", adapter, details)
                AdapterNotes(self._database).remove(adapter)
                discard(self._shelf.root / adapter)

    def drop_unjudged(self, *, but: Run | None = None) -> None:
        """The same of all runs that nobody goes on with, which are all `but` this one: nobody would judge them."""
        ended_so = {run.id: run.state for run in self._runs.recent(None)}
        for manifest in self._shelf.all():
            if but is not None and manifest.run_id == but.id:
                continue
            if ended_so.get(manifest.run_id, "finished") not in JUDGED:  # one from elsewhere is of no run here
                self.drop(manifest.run_id, manifest.name)

    def saved(self, run: Run) -> Manifest | None:
        """The adapter that a run saved whole, although its program ended before it was judged."""
        for manifest in self._shelf.all():
            if manifest.run_id == run.id:
                try:
                    verify(self._shelf.root / manifest.name, manifest)
                except AdapterDamaged:
                    continue
                return manifest
        return None

    def go_on(self, run: Run, base: "Base", recipe: Recipe) -> Run | None:
        """The run that was cut off, reopened; None where its examples, the model or the recipe are not what they were:
        it would be another run. Where its adapter only has to be judged the model alone has to be what it was."""
        saved = self.saved(run)
        if saved is not None:
            same = run.model == base.name and (saved.base_hash, saved.template_hash) == base.hashes
            return self._runs.reopen(run, pid=os.getpid()) if same else None
        if not fits(run, base.name, recipe):
            return None
        left = self._examples.find(ids=run.example_ids, status="trainable", limit=None)
        if len(left) < len(run.example_ids) or not self._runs.unchanged(run):
            return None
        return self._runs.reopen(run, pid=os.getpid())

    def begin(self, trigger: Trigger, model: str, recipe: Recipe, *, attempt: int = 1, after: Run | None = None) -> Run:
        """A new run of all that there is to learn; the second `attempt` comes after one that failed, and so on.

        `after` is one that ends with this, as what it says: never is there none of them.
        """
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
            ),
            after=after,
        )

    def live(self) -> list[Example]:
        """What a training from the base learns."""
        live = self._examples.live()
        if not live:
            raise TrainingError("There is nothing to learn from yet", hint="Rate a reply: /good, /medium or /critical.")
        return live
