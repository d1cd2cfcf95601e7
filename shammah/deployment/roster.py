"""All adapters of a home with what is known of each: from its folder, from the store, and from where the folder lies.

A state is never stored, it follows from the rest: whatever is cut off midway leaves one adapter active, or none.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

from shammah.adapters.bundle import read_bundle
from shammah.adapters.manifest import IMPORT, Manifest
from shammah.adapters.shelf import LATEST, PREFIX, Shelf, meant
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
# What the setting `adapter` may say without naming one that has to stay: where the latest goes, another is it.
_NAMES_NONE = (ACTIVE, LATEST, "none")
_UNUSED = Use(turns=0, good=0, medium=0, critical=0, last="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One adapter. `broken` says why it can't be used; where its manifest can't be read there is no `summary`.

    `verdict` is what `Verdict.as_json` gave, None where it was never judged. `size` is in bytes. `named` says that the
    setting `adapter` names it: it answers without a row that says so.
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
    named: bool = False

    @property
    def refused(self) -> bool:
        """Whether its verdict was no, whoever tried it all the same."""
        return self.verdict is not None and not self.verdict.get("accepted")

    @property
    def approved(self) -> bool:
        """Whether it was accepted, or is wanted by the user: brought here, or in use."""
        return self.state == "active" or self.imported or (self.verdict is not None and not self.refused)

    @property
    def manifest(self) -> Manifest | None:
        """All that it says about itself, read now; None where it can't be read. A list has no need of it."""
        try:
            return read_bundle(self.folder)
        except AdapterDamaged:
            return None


class Roster:
    def __init__(
        self, home: Home, database: Database, *, setting: str = ACTIVE, now: Callable[[], str] = utc_now
    ) -> None:
        """`setting` is what the setting `adapter` says."""
        self.database = database
        self._setting = setting
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
        found = self._with_mark(found)
        return [each for each in found if base is None or each.summary is None or each.summary.base == base]

    def _with_mark(self, entries: list[Entry]) -> list[Entry]:
        """On the one that the setting names, if it names one that there is."""
        if self._setting not in _NAMES_NONE:
            with suppress(AdapterError):
                named = _found(self._setting, entries, None)
                return [replace(each, named=True) if each is named else each for each in entries]
        return entries

    def find(self, name: str, *, base: str | None = None) -> Entry:
        """The adapter that a user means, by any of the names that `meant` takes, or by `active`; the newest one of this
        base and the one that answers for it. In the archive only where the shelf has none of that name.

        A broken one is found by its whole name, as it is."""
        if name.strip() == ACTIVE:
            return self._active(base)
        return _found(name, self.entries(archived=True), base)

    def on_shelf(self, name: str, *, base: str) -> Entry:
        """The same to answer with. AdapterError for one that is archived."""
        entry = self.find(name, base=base)
        if entry.state == "archived":
            raise AdapterError(
                f"The adapter {entry.name} is archived",
                hint=f"`shammah adapters restore {entry.name}` fetches it back.",
            )
        return entry

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
        """The number of the next adapter: higher than any that is here, or that the audit tells of."""
        return max(self.shelf.next_version(), self.archive.next_version(), self.audit.highest_version() + 1)

    def free_name(self, wanted: str) -> str:
        """One that no adapter here has, or had while it answered, or while something was noted of it."""
        here = {each.name for each in self.entries(archived=True)}
        taken = here | self.activations.was_active() | self.notes.all().keys()
        names = (wanted if number == 1 else f"{wanted}_{number}" for number in count(1))
        return next(name for name in names if name not in taken)

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


def _found(name: str, entries: list[Entry], base: str | None) -> Entry:
    here = [each for each in entries if each.state != "archived"]
    away = [each for each in entries if each.state == "archived"]
    try:
        return _meant(name, here or away, base)
    except AdapterError:
        with suppress(AdapterError):
            return _meant(name, away, base)
        raise


def _meant(name: str, entries: list[Entry], base: str | None) -> Entry:
    wanted = name.strip()
    for each in entries:
        if each.summary is None and wanted and wanted in (each.name, each.name.removeprefix(PREFIX), each.label):
            return each
    whole = [(each, each.summary) for each in entries if each.summary is not None]
    newest_last = sorted(whole, key=lambda both: base is None or both[1].base == base)
    latest = next((each.name for each, _ in reversed(newest_last) if each.approved), None)
    labels = {each.label: each.name for each in entries if each.label}
    found = meant(wanted, [summary for _, summary in newest_last], labels, latest)
    return next(each for each in entries if each.name == found)


def _age(entry: Entry) -> tuple[bool, int, str, str]:
    said = entry.summary
    return (said is None, said.version if said else 0, said.created if said else "", entry.name)
