"""What is known of adapters beside their folders, by the names of these: labels, pins, tags, verdicts.

To note something of an adapter that has no note yet makes one: a folder may be older than its note.
"""

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable
from typing import Any

from shammah.errors import UsageError
from shammah.records import AdapterNote
from shammah.store.database import Database
from shammah.store.identity import folded, utc_now
from shammah.store.rows import adapter_note_of, as_columns, plain, storable

# What else is typed in the place of an adapter's name: what it could be mistaken for, a label can't be.
_WORDS = frozenset(("none", "latest", "active", "base"))
_LABEL = re.compile(r"\w[\w.+-]{0,63}")
_NAME_OR_NUMBER = re.compile(r"v?[\d_]+|lora_adapter.*", re.IGNORECASE)
_LONGEST_TAG = 64


class AdapterNotes:
    def __init__(self, database: Database, *, now: Callable[[], str] = utc_now) -> None:
        self._database = database
        self._now = now

    def get(self, name: str) -> AdapterNote | None:
        rows = self._database.rows("SELECT * FROM adapters WHERE name = ?", (storable(name),))
        return adapter_note_of(rows[0]) if rows else None

    def all(self) -> dict[str, AdapterNote]:
        """By the names of the adapters, in their order."""
        rows = self._database.rows("SELECT * FROM adapters ORDER BY name")
        return {row["name"]: adapter_note_of(row) for row in rows}

    def add(self, name: str, *, imported: bool = False) -> AdapterNote:
        """A note without anything in it; one that is there stays as it is."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO adapters (name, time, imported) VALUES (?, ?, ?)",
                (storable(name), self._now(), imported),
            )
            return self._known(name)

    def label(self, name: str, text: str | None, *, there: Collection[str] | None = None) -> AdapterNote:
        """Give an adapter a name of the user's own, or none. UsageError where it is taken or could mean another.

        What is not `there`, where that is told, went without its note: its label is free.
        """
        text = None if text is None else _plain_label(text)
        with self._database.transaction():
            for other in self.all().values() if text is not None else ():
                if other.label is not None and other.name != name and folded(other.label) == folded(text or ""):
                    if there is not None and other.name not in there:
                        self._set(other.name, label=None)
                        continue
                    raise UsageError(
                        f"{other.name} is called {other.label!r} already",
                        hint="Choose another name, or rename that one.",
                    )
            return self._set(name, label=text)

    def pin(self, name: str, pinned: bool = True) -> AdapterNote:
        """Whether it is kept, however old it grows."""
        return self._set(name, pinned=pinned)

    def tag(self, name: str, tags: Iterable[str]) -> AdapterNote:
        """These tags and no others, each once."""
        return self._set(name, tags=list({folded(tag): tag for tag in map(_plain_tag, tags)}.values()))

    def judged(self, name: str, verdict: dict[str, Any]) -> AdapterNote:
        return self._set(name, verdict=plain(verdict))

    def remove(self, name: str) -> None:
        """Forget all that is known of it; nothing where nothing is."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM adapters WHERE name = ?", (storable(name),))

    def _set(self, name: str, **values: Any) -> AdapterNote:
        changes = ", ".join(f"{column} = :{column}" for column in values)
        with self._database.transaction() as connection:
            self.add(name)
            connection.execute(
                f"UPDATE adapters SET {changes} WHERE name = :name", as_columns({**values, "name": name})
            )
            return self._known(name)

    def _known(self, name: str) -> AdapterNote:
        note = self.get(name)
        assert note is not None, "it was written in this transaction"
        return note


def _plain_label(text: str) -> str:
    text = unicodedata.normalize("NFC", text.strip())
    if not _LABEL.fullmatch(text):
        raise UsageError(
            f"An adapter can't be called {text!r}", hint="Take one word of letters, digits and . + - _, as in my-style."
        )
    if text.casefold() in _WORDS or _NAME_OR_NUMBER.fullmatch(text):
        raise UsageError(f"{text!r} means something else already", hint="Take another word, as in my-style.")
    return text


def _plain_tag(text: str) -> str:
    text = " ".join(storable(text).split())
    if not text or len(text) > _LONGEST_TAG or not text.isprintable():
        raise UsageError(f"{text!r} is no tag", hint=f"A tag is a word or a few, up to {_LONGEST_TAG} letters.")
    return text
