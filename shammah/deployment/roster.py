"""All adapters of a home with what is known of each: from its folder, from the store, and from where the folder lies.

A state is never stored, it follows from the rest: whatever is cut off midway leaves one adapter active, or none.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shammah.adapters.bundle import read_bundle
from shammah.adapters.manifest import Manifest
from shammah.adapters.shelf import PREFIX, Shelf, meant
from shammah.adapters.shelf_index import Summary, sizes_in
from shammah.deployment.moving import Moves
from shammah.errors import AdapterDamaged, AdapterError, DiskFull, HomeError, StoreError
from shammah.home import Home
from shammah.records import AdapterNote, AdapterState
from shammah.store.activations import Activations
from shammah.store.adapter_notes import AdapterNotes
from shammah.store.audit import Audit
from shammah.store.database import Database
from shammah.store.identity import utc_now
from shammah.store.statistics import Use, uses

ACTIVE = "active"
IMPORT = "import"
_UNUSED = Use(turns=0, good=0, medium=0, critical=0, last="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One adapter. `broken` says why it can't be used; where its manifest can't be read there is no `summary`.

    `verdict` is what `Verdict.as_json` gave, None where it was never judged. `size` is in bytes.
    """

    name: str
    folder: Path
    summary: Summary | None
    state: AdapterState
    label: str | None = None
    pinned: bool = False
    tags: tuple[str, ...] = ()
    imported: bool = False
    verdict: dict[str, Any] | None = None
    size: int = 0
    uses: Use = _UNUSED
    broken: str = ""

    @property
    def manifest(self) -> Manifest | None:
        """All that it says about itself, read now; None where it can't be read. A list has no need of it."""
        try:
            return read_bundle(self.folder)
        except AdapterDamaged:
            return None


class Roster:
    def __init__(self, home: Home, database: Database, *, now: Callable[[], str] = utc_now) -> None:
        self.database = database
        self.notes = AdapterNotes(database, now=now)
        self.activations = Activations(database, now=now)
        self.audit = Audit(database, now=now)
        self.shelf = Shelf(home.adapters)
        self.archive = Shelf(home.archive / "adapters")
        self.moves = Moves(self.shelf.root, self.archive.root, self.activations, self.notes, self.audit, database)

    def entries(self, base: str | None = None, *, archived: bool = False) -> list[Entry]:
        """Oldest first, the broken ones last; for one base or for all, with the archived ones where they are asked for.

        What can't be read may have been made for any base.
        """
        if self.moves.are_left():
            with suppress(StoreError, DiskFull, HomeError):  # they are taken up again next time
                self.moves.finish()
        known = _Known(self)
        found = known.entries(self.shelf)
        if archived:
            found = sorted([*found, *known.entries(self.archive, archived=True)], key=_age)
        return [each for each in found if base is None or each.summary is None or each.summary.base == base]

    def find(self, name: str, *, base: str | None = None) -> Entry:
        """The adapter that a user means, by any of the names that `meant` takes, or by `active`; the newest one of this
        base and the one that answers for it. In the archive only where the shelf has none of that name.

        A broken one is found by its whole name, as it is."""
        if name.strip() == ACTIVE:
            return self._active(base)
        entries = self.entries(archived=True)
        try:
            return _meant(name, [each for each in entries if each.state != "archived"], base)
        except AdapterError:
            with suppress(AdapterError):
                return _meant(name, [each for each in entries if each.state == "archived"], base)
            raise

    def active(self, base: str) -> Entry | None:
        """The adapter that answers for a base, None where the base itself does. Broken where its folder is gone."""
        current = self.activations.current(base)
        if current is None or current.adapter is None:
            return None
        entries = self.entries(archived=True)
        gone = Entry(
            name=current.adapter,
            folder=self.shelf.root / current.adapter,
            summary=None,
            state="active",
            broken=f"The adapter {current.adapter} is not there any more",
        )
        return next((each for each in entries if each.name == current.adapter), gone)

    def next_version(self) -> int:
        """The number of the next adapter: one that no other has or had, where that is still here."""
        return max(self.shelf.next_version(), self.archive.next_version())

    def _active(self, base: str | None) -> Entry:
        bases = {each.base for each in self.activations.all()} if base is None else {base}
        found = [entry for each in sorted(bases) if (entry := self.active(each)) is not None]
        if not found:
            raise AdapterError(
                "No adapter is active: the model itself answers", hint="Take one into use: `/adapters load NAME`."
            )
        if len(found) > 1:
            raise AdapterError(
                f"{len(found)} adapters are active, each for another model",
                hint=f"Type its name, as in {found[0].name}.",
            )
        return found[0]


class _Known:
    """What the store knows, read once for all entries."""

    def __init__(self, roster: Roster) -> None:
        self._notes = roster.notes.all()
        self._uses = uses(roster.database)
        self._was_active = roster.activations.was_active()
        self._current: dict[str, str | None] = {}
        for activation in roster.activations.all():  # newest first
            self._current.setdefault(activation.base, activation.adapter)

    def entries(self, shelf: Shelf, *, archived: bool = False) -> list[Entry]:
        whole, broken = shelf.listed()
        return [
            *(self._entry(shelf.root / summary.name, summary, "", archived=archived) for summary in whole),
            *(self._entry(folder, None, why, archived=archived) for folder, why in broken),
        ]

    def _entry(self, folder: Path, summary: Summary | None, broken: str, *, archived: bool) -> Entry:
        name = folder.name
        note = self._notes.get(name) or AdapterNote(name=name, time="")
        verdict = note.verdict or (summary.verdict if summary else None)
        if summary is not None and summary.lacks:
            broken = f"The adapter {name} is damaged: {summary.lacks} is missing"
        return Entry(
            name=name,
            folder=folder,
            summary=summary,
            state=self._state(name, summary, verdict, archived=archived),
            label=note.label,
            pinned=note.pinned,
            tags=note.tags,
            imported=note.imported or bool(summary and summary.trigger == IMPORT),
            verdict=verdict,
            size=summary.size if summary else sum(sizes_in(folder).values()),
            uses=self._uses.get(name, _UNUSED),
            broken=broken,
        )

    def _state(
        self, name: str, summary: Summary | None, verdict: dict[str, Any] | None, *, archived: bool
    ) -> AdapterState:
        if archived:
            return "archived"
        if self._current.get(summary.base) == name if summary else name in self._current.values():
            return "active"
        if name in self._was_active:
            return "retired"
        return "rejected" if verdict is not None and not verdict.get("accepted") else "candidate"


def _meant(name: str, entries: list[Entry], base: str | None) -> Entry:
    wanted = name.strip()
    for each in entries:
        if each.summary is None and wanted and wanted in (each.name, each.name.removeprefix(PREFIX), each.label):
            return each
    whole = [each.summary for each in entries if each.summary is not None]
    newest_last = sorted(whole, key=lambda summary: base is None or summary.base == base)
    found = meant(wanted, newest_last, {each.label: each.name for each in entries if each.label})
    return next(each for each in entries if each.name == found)


def _age(entry: Entry) -> tuple[bool, int, str, str]:
    said = entry.summary
    return (said is None, said.version if said else 0, said.created if said else "", entry.name)
