"""What is done to adapters on the shelf, each with its entry in the audit: put away, fetched back, deleted, named,
pinned, tagged.

Labels and tags are the user's own words: what the audit holds can't be forgotten, so they stay out of it.
"""

from collections.abc import Iterable

from shammah.deployment.roster import Entry, Roster
from shammah.errors import AdapterError
from shammah.records import Actor


class Shelving:
    def __init__(self, roster: Roster) -> None:
        self.roster = roster

    def delete(self, name: str, *, actor: Actor = "user", cause: str = "") -> Entry:
        """For good, from the shelf or from the archive. Never what answers."""
        entry = self.roster.find(name)
        _require_unnamed(entry)
        self.roster.moves.move(entry.folder, "deleted", actor, {"cause": cause})
        return entry

    def archive(self, name: str, *, actor: Actor = "user", cause: str = "") -> Entry:
        """Put away, where only its name or `load` finds it. Never what answers."""
        entry = self.roster.find(name)
        if entry.state == "archived":
            raise AdapterError(
                f"The adapter {entry.name} is archived already", hint="`/adapters restore` fetches it back."
            )
        _require_unnamed(entry)
        self.roster.moves.move(entry.folder, "archived", actor, {"cause": cause})
        return self.roster.find(entry.name)

    def restore(self, name: str, *, actor: Actor = "user", cause: str = "") -> Entry:
        """Fetch it back from the archive."""
        entry = self.roster.find(name)
        if entry.state != "archived":
            raise AdapterError(f"The adapter {entry.name} is not archived", hint="It can be used as it is.")
        self.roster.moves.move(entry.folder, "restored", actor, {"cause": cause})
        return self.roster.find(entry.name)

    def rename(self, name: str, label: str | None, *, actor: Actor = "user") -> Entry:
        """Give it a name that says more, or none. Its folder keeps its own."""
        entry = self.roster.find(name)
        there = {each.name for each in self.roster.entries(archived=True)}
        with self.roster.database.transaction():
            self.roster.notes.label(entry.name, label, there=there)
            self.roster.audit.add(actor, "renamed", entry.name, {"labelled": label is not None})
        return self.roster.find(entry.name)

    def pin(self, name: str, pinned: bool = True, *, actor: Actor = "user") -> Entry:
        """Keep it, however old it grows and however many better ones come."""
        entry = self.roster.find(name)
        with self.roster.database.transaction():
            self.roster.notes.pin(entry.name, pinned)
            self.roster.audit.add(actor, "pinned" if pinned else "unpinned", entry.name)
        return self.roster.find(entry.name)

    def tag(self, name: str, tags: Iterable[str], *, actor: Actor = "user") -> Entry:
        """These tags and no others."""
        entry = self.roster.find(name)
        with self.roster.database.transaction():
            note = self.roster.notes.tag(entry.name, tags)
            self.roster.audit.add(actor, "tagged", entry.name, {"tags": len(note.tags)})
        return self.roster.find(entry.name)


def _require_unnamed(entry: Entry) -> None:
    """AdapterError for one without which no chat would begin."""
    if entry.named:
        raise AdapterError(
            f"The adapter {entry.name} is the one that answers by the setting `adapter`",
            hint="First `shammah config set adapter active`; begin a chat without --adapter.",
        )
