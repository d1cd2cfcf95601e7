"""Conversations by what they are called: naming one, and finding one by its name, its id or what was said in it.

A conversation is called what its first question was, until the user gives it a name. Names differ; questions need not.
"""

import unicodedata

from shammah.errors import StoreError, UsageError
from shammah.excerpt import excerpt
from shammah.records import Conversation
from shammah.store.conversations import NEWEST_FIRST, SELECT_CONVERSATIONS, turns_holding
from shammah.store.database import Database
from shammah.store.identity import folded
from shammah.store.lookup import END, at_most, no_such
from shammah.store.rows import conversation_of, listed, storable
from shammah.store.search_terms import holds, search_terms

# What the conversation that was last spoken in can be called anywhere.
LATEST = "latest"
LONGEST = 60
_HINT = "`/sessions` in the chat and `shammah logs sessions` list them."


class Titles:
    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, name: str) -> Conversation:
        """The one conversation that is meant by a title, an id, the beginning of one, or `latest`."""
        found = self.meant_by(name)
        if len(found) == 1:
            return found[0]
        if not found and name == LATEST:
            raise StoreError("There is no conversation yet", hint="Start one: `shammah`.")
        if not found:
            raise no_such("conversation", name, _HINT)
        raise StoreError(
            f"{len(found)} conversations are meant by {name!r}",
            hint=f"Give the id of one: {', '.join(one.id for one in found[:3])}{', ...' if len(found) > 3 else ''}.",
        )

    def meant_by(self, name: str) -> list[Conversation]:
        """All that may be meant, last spoken in first: titles go before ids, and a whole id before its beginnings."""
        wanted = storable(name.strip())
        if wanted == LATEST:
            return self._chosen("1", limit=1)
        ids = self._titled(wanted)
        if ids:
            return self._chosen("id IN (SELECT value FROM json_each(?))", listed(ids))
        found = self._chosen("id >= ? AND id < ?", wanted, wanted + END) if wanted else []
        return [one for one in found if one.id == wanted] or found

    def search(self, text: str = "", limit: int | None = 20) -> list[Conversation]:
        """Those whose title, or one turn of which, holds every word of the text, last spoken in first; all without a
        text. See search_terms for words."""
        terms = search_terms(text)
        if not text.strip():
            return self._chosen("1", limit=limit)
        if not terms:
            return []
        titled = [row["id"] for row in self._database.rows("SELECT id, title FROM conversations")
                  if holds(row["title"], terms)]  # fmt: skip
        source, conditions, parameters = turns_holding(terms)
        said = f"SELECT turns.conversation_id FROM {source} WHERE {' AND '.join(conditions)}"
        return self._chosen(
            f"id IN (SELECT value FROM json_each(?)) OR id IN ({said})", listed(titled), *parameters, limit=limit
        )

    def rename(self, id: str, name: str) -> Conversation:
        """Call a conversation, by its whole id, something that no other one is called."""
        title = as_title(name)
        with self._database.transaction() as connection:
            others = [other for other in self._titled(title) if other != id]
            if others:
                raise UsageError(
                    f"Another conversation is called {title!r} already",
                    hint=f"Choose another name; that one is {others[0]}.",
                )
            if not connection.execute("UPDATE conversations SET title = ? WHERE id = ?", (title, id)).rowcount:
                raise no_such("conversation", id, _HINT)
        return self.find(id)

    def _titled(self, title: str) -> list[str]:
        """The ids of those that are called so; case and white space do not count."""
        wanted = folded(title)
        rows = self._database.rows("SELECT id, title FROM conversations") if wanted else []
        return [row["id"] for row in rows if folded(row["title"]) == wanted]

    def _chosen(self, condition: str, *parameters: str, limit: int | None = None) -> list[Conversation]:
        sql = f"{SELECT_CONVERSATIONS} WHERE {condition} {NEWEST_FIRST} LIMIT ?"
        return [conversation_of(row) for row in self._database.rows(sql, (*parameters, at_most(limit)))]


def as_title(name: str) -> str:
    """A name as it is kept: one line, not too long, and nothing that means something else where it could be typed."""
    title = " ".join(storable(name).split())
    if not title:
        raise UsageError("The name is empty", hint="/save NAME, as in /save holiday plans.")
    if any(unicodedata.category(letter) == "Cc" for letter in title):
        raise UsageError("A name holds letters that can be seen", hint="Leave out the control characters.")
    if title.isdecimal() or title.casefold() == LATEST:
        raise UsageError(f"{title!r} is no name: it means a conversation by its place", hint="Add a word to it.")
    if excerpt(title, LONGEST) != title:
        raise UsageError(f"A name has at most {LONGEST} characters", hint="Choose a shorter one.")
    return title
