"""Moves of a folder between shelf, archive and nowhere, each with its rows: done whole, whenever the program is killed.

A folder on its way lies hidden on the shelf, under a name that says where it goes, who sent it, and which was the last
entry of the audit then. It goes there first, then the rows are written in one transaction, and only then it arrives.
What a killed program left on its way goes on from where it is when somebody looks next.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal, get_args

from shammah.adapters.bundle import version_in
from shammah.durable import explained, make_folder, sync_folder
from shammah.errors import AdapterError
from shammah.records import Actor
from shammah.store.activations import Activations
from shammah.store.adapter_notes import AdapterNotes
from shammah.store.audit import Audit
from shammah.store.database import Database

Move = Literal["archived", "restored", "deleted", "imported"]
_HIDDEN = ".moving-"


class Moves:
    def __init__(
        self,
        shelf: Path,
        archive: Path,
        activations: Activations,
        notes: AdapterNotes,
        audit: Audit,
        database: Database,
    ) -> None:
        self._shelf, self._archive = shelf, archive
        self._activations, self._notes, self._audit = activations, notes, audit
        self._database = database

    def move(self, folder: Path, move: Move, actor: Actor, details: dict[str, Any]) -> None:
        """AdapterError where it can't be moved so. Where it fails, for want of room or of the store, it stays."""
        assert not self._database.connection.in_transaction, "the rows would not be stored before it arrives"
        hidden = None
        try:
            with self._database.transaction():
                self._require_possible(folder, move)
                last = next((each.sequence for each in self._audit.entries(1)), 0)
                goes_by = self._shelf / f"{_HIDDEN}{move}-{actor}-{last}-{folder.name}"
                with _or_back(goes_by, folder):
                    with explained(folder):
                        folder.rename(goes_by)
                        sync_folder(self._shelf)
                    self._write_down(goes_by, folder.name, move, actor, details)
                hidden = goes_by
        except BaseException:
            if hidden is not None:  # only the end of the transaction failed
                with suppress(OSError):
                    hidden.rename(folder)
            raise
        self._arrive(hidden)

    def are_left(self) -> bool:
        return any(self._shelf.glob(f"{_HIDDEN}*"))

    def finish(self) -> None:
        """Take those to their end whose program was killed. One that another program is at just now has its end too."""
        for hidden in self._shelf.glob(f"{_HIDDEN}*"):
            sent = _sent(hidden)
            if sent is None:
                continue
            move, actor, last, name = sent
            with self._database.transaction():
                if hidden.exists() and not self._is_written_down(name, move, last):
                    self._write_down(hidden, name, move, actor, {})
            self._arrive(hidden)

    def _require_possible(self, folder: Path, move: Move) -> None:
        """Asked while nobody else can write: whoever loads an adapter writes."""
        name = folder.name
        if not folder.is_dir():
            raise AdapterError(f"The adapter {name} is not there any more", hint="See `/adapters list`.")
        goes_to = self._goes_to(name, move)
        if goes_to is not None and goes_to.exists():
            raise AdapterError(f"There is a {goes_to} already", hint="Move that folder away first.")
        if move in ("archived", "deleted") and folder.parent == self._shelf and self._activations.bases_of(name):
            raise AdapterError(
                f"The adapter {name} is active", hint="First `/adapters unload`, or load another in its place."
            )

    def _write_down(self, hidden: Path, name: str, move: Move, actor: Actor, details: dict[str, Any]) -> None:
        """With the number of the adapter, which no other is to have when this one is gone."""
        if move == "deleted":
            self._notes.remove(name)
        else:
            self._notes.add(name, imported=move == "imported")
        version = version_in(hidden)
        self._audit.add(actor, move, name, details if version is None else {**details, "version": version})

    def _is_written_down(self, name: str, move: Move, last: int) -> bool:
        since = takewhile(lambda each: each.sequence > last, self._audit.entries(None))
        return any((each.subject, each.action) == (name, move) for each in since)

    def _arrive(self, hidden: Path) -> None:
        sent = _sent(hidden)
        assert sent is not None
        move, _, _, name = sent
        goes_to = self._goes_to(name, move)
        if goes_to is None:
            if hidden.is_symlink():
                hidden.unlink(missing_ok=True)
                return
            import shutil  # with its compressors: more than a list should pay

            shutil.rmtree(hidden, ignore_errors=True)
            return
        make_folder(goes_to.parent)
        with explained(goes_to), suppress(FileNotFoundError):  # somebody else took it there
            hidden.rename(goes_to)
            sync_folder(goes_to.parent)
            sync_folder(self._shelf)

    def _goes_to(self, name: str, move: Move) -> Path | None:
        if move == "deleted":
            return None
        return (self._archive if move == "archived" else self._shelf) / name


@contextmanager
def _or_back(hidden: Path, folder: Path) -> Iterator[None]:
    """Where it fails the folder returns, before anybody else can find it hidden and take its move to the end."""
    try:
        yield
    except BaseException:
        with suppress(OSError):
            hidden.rename(folder)
        raise


def _sent(hidden: Path) -> tuple[Move, Actor, int, str] | None:
    """Where a hidden folder goes, who sent it, after which entry, and its name; None for one that is not named so."""
    move, _, rest = hidden.name.removeprefix(_HIDDEN).partition("-")
    actor, _, rest = rest.partition("-")
    last, _, name = rest.partition("-")
    if move not in get_args(Move) or actor not in get_args(Actor) or not last.isdecimal() or not name:
        return None
    return move, actor, int(last), name  # type: ignore[return-value]
