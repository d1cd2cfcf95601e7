"""Which adapter answers for a base model: taken into use, put aside, gone back from.

Only one whose files are what they were, and that was made for this base, is ever taken into use. Whoever chats follows
the newest activation (deployment/live.py).
"""

import math
from collections.abc import Callable, Iterator

from shammah.adapters.bundle import MANIFEST, read_bundle, verify
from shammah.adapters.manifest import Manifest
from shammah.deployment.roster import Entry, Roster
from shammah.errors import AdapterDamaged, AdapterError, AdapterMisfit, AdapterOvertaken, UsageError
from shammah.records import Activation, Actor
from shammah.store.activations import Activations
from shammah.store.audit import Audit
from shammah.store.runs import Runs

_LIST = "`/adapters list` shows what there is."


class Helm:
    def __init__(
        self,
        roster: Roster,
        activations: Activations,
        audit: Audit,
        *,
        require_fit: Callable[[Manifest], None] = lambda manifest: None,
    ) -> None:
        """`require_fit` raises AdapterMisfit for one that the model that is loaded can't use."""
        self._roster, self._activations, self._audit = roster, activations, audit
        self._require_fit = require_fit

    def load(
        self, name: str, *, base: str, strength: float = 1.0, actor: Actor = "user", cause: str = ""
    ) -> Activation:
        """Let an adapter answer from the next message on, one from the archive too, at a strength from 0 to 1.

        Where it does already there is nothing new.
        """
        if not (math.isfinite(strength) and 0 <= strength <= 1):
            raise UsageError(f"The strength can't be {strength:g}", hint="Give a number from 0 to 1.")
        entry = self._roster.find(name, base=base)
        try:
            self._require_usable(entry, base)
        except (AdapterDamaged, AdapterMisfit) as error:
            self._audit.add(actor, "failed", entry.name, {"base": base, "reason": error.message, "cause": cause})
            raise
        current = self._activations.current(base)
        if current is not None and (current.adapter, current.strength) == (entry.name, strength):
            return current
        return self._activate(entry, base, strength, actor, cause)

    def unload(self, base: str, actor: Actor = "user", cause: str = "") -> Activation:
        """Let the base itself answer."""
        current = self._activations.current(base)
        if current is None or current.adapter is None:
            raise AdapterError(f"No adapter is active: {base} itself answers", hint=_LIST)
        return self._activations.activate(base, None, actor=actor, cause=cause)

    def rollback(
        self, base: str, steps: int = 1, actor: Actor = "user", cause: str = "", *, left: Activation | None = None
    ) -> Activation:
        """Go back to who answered before, or so many before. Adapters that are gone or damaged don't count.

        `left` is what is gone back from, the newest unless told. AdapterOvertaken where that is no longer what answers.
        """
        if steps < 1:
            raise UsageError(f"{steps} steps lead nowhere", hint="Give a number from 1.")
        left = left or self._activations.current(base)
        passed = 0
        for back, entry in self._way_back(base):
            passed += 1
            if passed < steps:
                continue
            if entry is not None:
                return self._activate(entry, base, back.strength, actor, cause, back_to=back.sequence, left=left)
            with self._roster.database.transaction():
                self._require_newest(base, left)
                return self._activations.activate(base, None, actor=actor, cause=cause, back_to=back.sequence)
        if not passed and any(each.adapter != (left and left.adapter) for each in self._activations.all(base)):
            raise AdapterError("There is nothing further back", hint="`/adapters load NAME` takes one up again.")
        what = f"{passed} step{'s' * (passed != 1)} back is as far as it goes" if passed else "There is no way back"
        raise AdapterError(f"{what}: nothing else answered for {base} before", hint=_LIST)

    def step_back(self, base: str) -> str | None:
        """The adapter that `rollback` would go back to; None is the base."""
        return next((back.adapter for back, _ in self._way_back(base)), None)

    def _way_back(self, base: str) -> Iterator[tuple[Activation, Entry | None]]:
        """Who can be gone back to, nearest first, each with its adapter."""
        way = self._activations.way_back(base)
        entries = {each.name: each for each in self._roster.entries(archived=True)}
        for back in way:
            if back.adapter is None:
                yield back, None
                continue
            entry = entries.get(back.adapter)
            try:
                if entry is not None:
                    self._require_usable(entry, base)
                    yield back, entry
            except AdapterError:
                continue

    def _activate(
        self,
        entry: Entry,
        base: str,
        strength: float,
        actor: Actor,
        cause: str,
        *,
        back_to: int | None = None,
        left: Activation | None = None,
    ) -> Activation:
        if entry.state == "archived":
            self._roster.moves.move(entry.folder, "restored", actor, {"cause": cause})
        folder = self._roster.shelf.root / entry.name
        with self._roster.database.transaction():
            # Whoever takes an adapter away writes too, so from here on this one stays.
            if not (folder / MANIFEST).is_file():
                raise AdapterError(f"The adapter {entry.name} is not there any more", hint=_LIST)
            _require_judged(read_bundle(folder), Runs(self._roster.database))
            if left is not None:
                self._require_newest(base, left)
            return self._activations.activate(
                base, entry.name, strength=strength, actor=actor, cause=cause, back_to=back_to
            )

    def _require_newest(self, base: str, left: Activation | None) -> None:
        """Asked while nobody else can write."""
        if self._activations.current(base) != left:
            raise AdapterOvertaken(
                f"What answers for {base} has changed meanwhile", hint="`/adapters` shows what does now."
            )

    def _require_usable(self, entry: Entry, base: str) -> None:
        """AdapterDamaged or AdapterMisfit unless its files are what they were, and it was made for this base."""
        if entry.summary is None:
            raise AdapterDamaged(entry.broken, hint="Put back a whole copy of the folder, or choose another adapter.")
        manifest = read_bundle(entry.folder)
        verify(entry.folder, manifest)
        if manifest.base != base:
            raise AdapterMisfit(
                f"The adapter {entry.name} was made for {manifest.base}, not for {base}",
                hint=f"Use -m {manifest.base}, or another adapter.",
            )
        self._require_fit(manifest)


def _require_judged(manifest: Manifest, runs: Runs) -> None:
    """AdapterError while training may still take it back. One from elsewhere is of no run here."""
    run = next((each for each in runs.recent(None) if each.id == manifest.run_id), None)
    if run is not None and run.state in ("running", "interrupted"):
        raise AdapterError(
            f"The adapter {manifest.name} is being judged: it can be used when its training has ended",
            hint="`/train status` shows how far that is; `/train now` goes on with one that was cut off.",
        )
