"""The usage log: every exchange with the model, in conversations, searchable. Records go in, records come out."""

from collections.abc import Iterable, Mapping
from typing import Any

from shammah.records import Conversation, Level, Turn
from shammah.store.database import Database
from shammah.store.lookup import at_most, no_such, one_row
from shammah.store.rows import as_columns, conversation_of, storable, turn_of, turn_row
from shammah.store.search_terms import SearchTerms, search_terms

SELECT_CONVERSATIONS = (
    "SELECT conversations.*, (SELECT count(*) FROM turns WHERE conversation_id = conversations.id) AS turns "
    "FROM conversations"
)
NEWEST_FIRST = "ORDER BY updated DESC, id DESC"
_HINT = "See `shammah logs list` for what is stored."
# A turn always arrives after the one it follows, so that no chain can run in a circle.
_CHAIN = """
    WITH RECURSIVE chain AS (
        SELECT * FROM turns WHERE id = ({start})
        UNION ALL
        SELECT turns.* FROM chain JOIN turns ON turns.id = chain.parent AND turns.sequence < chain.sequence
    )
    SELECT * FROM chain ORDER BY sequence"""


class Conversations:
    def __init__(self, database: Database) -> None:
        self._database = database

    def require_writable(self) -> None:
        """StoreBusy where another program keeps the database from being written."""
        with self._database.transaction():
            pass

    def add(self, turn: Turn, *, title: str) -> Turn:
        """Append the turn to its conversation, which is made with this title if it is new. Its number is given here.

        Adding it again does nothing: who was interrupted can't know whether it was stored, and asks for it once more.
        The conversation goes on from this turn, and takes on its model and its system prompt.
        """
        values = as_columns(turn_row(turn))
        with self._database.transaction() as connection:
            known = connection.execute(
                "SELECT * FROM turns WHERE id = :id AND conversation_id = :conversation_id", values
            ).fetchone()
            if known:
                return turn_of(known)
            connection.execute(
                "INSERT INTO conversations (id, title, model, system, created, updated, head) "
                "VALUES (:conversation_id, :title, :model, :system, :time, :time, :id) "
                "ON CONFLICT (id) DO UPDATE SET model = excluded.model, system = excluded.system, "
                "updated = max(updated, excluded.updated), head = excluded.head",
                {**values, "title": storable(title)},
            )
            (values["number"],) = connection.execute(
                "SELECT coalesce(max(number), 0) + 1 FROM turns WHERE conversation_id = :conversation_id", values
            ).fetchone()
            names = ", ".join(values)
            marks = ", ".join(f":{name}" for name in values)
            connection.execute(f"INSERT INTO turns ({names}) VALUES ({marks})", values)
        return turn_of(values)

    def turns(self, conversation_id: str) -> list[Turn]:
        """All turns of a conversation in their order; none if it is not there."""
        sql = "SELECT * FROM turns WHERE conversation_id = ? ORDER BY number"
        return self._turns(sql, storable(conversation_id))

    def context(self, conversation_id: str) -> list[Turn]:
        """What a conversation goes on with, oldest first: without the turns that were undone or tried again."""
        return self._turns(
            _CHAIN.format(start="SELECT head FROM conversations WHERE id = ?"), storable(conversation_id)
        )

    def lineage(self, turn: Turn) -> list[Turn]:
        """The turns that led to this one, oldest first, without itself."""
        return self._turns(_CHAIN.format(start="?"), None if turn.parent is None else storable(turn.parent))

    def retries_of(self, turn_id: str) -> list[Turn]:
        """The other tries at the question of this turn, oldest first."""
        # They stand in its conversation, which has an index.
        sql = (
            "SELECT tries.* FROM turns JOIN turns AS tries USING (conversation_id) "
            "WHERE turns.id = ? AND tries.retry_of = turns.id ORDER BY tries.number"
        )
        return self._turns(sql, storable(turn_id))

    def variants(self, turn: Turn) -> list[Turn]:
        """The replies to the question of this turn at its place of the conversation, oldest first, itself among them.
        One that another goes on with stands only for that one."""
        sql = (
            "SELECT others.* FROM turns JOIN turns AS others USING (conversation_id, query) "
            "WHERE turns.id = ? AND others.parent IS turns.parent ORDER BY others.sequence"
        )
        return without_beginnings(self._turns(sql, turn.id), turn)

    def with_beginnings(self, id_or_prefix: str) -> list[Turn]:
        """A turn and those that it goes on with: their replies are the beginning of its own."""
        turns = [self.turn(id_or_prefix)]
        while (begun := turns[-1].continues) is not None and self.has(begun):
            turns.append(self.turn(begun))
        return turns

    def set_head(self, conversation_id: str, turn_id: str | None) -> None:
        """Let the conversation go on from this turn of it, or from its beginning."""
        conversation, turn = storable(conversation_id), None if turn_id is None else storable(turn_id)
        with self._database.transaction() as connection:
            mine = "SELECT 1 FROM turns WHERE id = ? AND conversation_id = ?"
            if turn is not None and not connection.execute(mine, (turn, conversation)).fetchone():
                raise no_such("turn", turn, _HINT)
            if not connection.execute("UPDATE conversations SET head = ? WHERE id = ?", (turn, conversation)).rowcount:
                raise no_such("conversation", conversation, _HINT)

    def rate(
        self,
        turn_id: str,
        level: Level | None,
        note: str | None,
        *,
        quality: float | None,
        quality_parts: dict[str, float],
    ) -> Turn:
        """What the user thinks of a turn, by its whole id; None takes it back."""
        return self._update(
            turn_id, {"feedback": level, "note": note, "quality": quality, "quality_parts": quality_parts}
        )

    def set_quality(self, turn_id: str, quality: float | None, parts: dict[str, float]) -> Turn:
        return self._update(turn_id, {"quality": quality, "quality_parts": parts})

    def has(self, turn_id: str) -> bool:
        """Whether a turn of this whole id is stored."""
        return bool(self._database.rows("SELECT 1 FROM turns WHERE id = ?", (storable(turn_id),)))

    def turn(self, id_or_prefix: str) -> Turn:
        return turn_of(one_row(self._database, "SELECT * FROM turns", id_or_prefix, kind="turn", hint=_HINT))

    def conversation(self, id_or_prefix: str) -> Conversation:
        row = one_row(self._database, SELECT_CONVERSATIONS, id_or_prefix, kind="conversation", hint=_HINT)
        return conversation_of(row)

    def latest(self) -> Conversation | None:
        """The conversation that was last spoken in."""
        return next(iter(self.recent(1)), None)

    def recent(self, limit: int | None = 20) -> list[Conversation]:
        """Last spoken in first; all of them when the limit is None."""
        rows = self._database.rows(f"{SELECT_CONVERSATIONS} {NEWEST_FIRST} LIMIT ?", (at_most(limit),))
        return [conversation_of(row) for row in rows]

    def search(
        self, text: str = "", *, limit: int | None = 20, conversation: str | None = None, model: str | None = None
    ) -> list[Turn]:
        """Turns that hold every word of the text, newest first; any turns without a text. See search_terms for words.

        `conversation` (a whole id) and `model` narrow it down; a limit of None gives all.
        """
        terms = search_terms(text)
        if text.strip() and not terms:
            return []
        source, conditions, parameters = turns_holding(terms)
        # The index leads and walks backwards, so that a word found everywhere costs no more than the limit.
        order = "turns_found.rowid" if terms.match else "turns.sequence"
        for column, value in (("conversation_id", conversation), ("model", model)):
            if value is not None:
                conditions.append(f"turns.{column} = ?")
                parameters.append(storable(value))
        sql = f"SELECT turns.* FROM {source} WHERE {' AND '.join(conditions)} ORDER BY {order} DESC LIMIT ?"
        return [turn_of(row) for row in self._database.rows(sql, [*parameters, at_most(limit)])]

    def delete_conversation(self, id: str) -> int:
        """Remove a conversation by its whole id, from the search index too. Returns how many turns went with it."""
        with self._database.transaction() as connection:
            turns = connection.execute("DELETE FROM turns WHERE conversation_id = ?", (storable(id),)).rowcount
            if not connection.execute("DELETE FROM conversations WHERE id = ?", (storable(id),)).rowcount:
                raise no_such("conversation", id, _HINT)
            # The index only marks words as deleted; merging it whole is what takes them off the disk.
            connection.execute("INSERT INTO turns_found (turns_found) VALUES ('optimize')")
        return turns

    def count(self) -> int:
        """How many turns are stored."""
        return int(self._database.rows("SELECT count(*) FROM turns")[0][0])

    def _turns(self, sql: str, parameter: str | None) -> list[Turn]:
        return [turn_of(row) for row in self._database.rows(sql, (parameter,))]

    def _update(self, turn_id: str, values: Mapping[str, Any]) -> Turn:
        changes = ", ".join(f"{name} = :{name}" for name in values)
        columns = as_columns({**values, "id": turn_id})
        with self._database.transaction() as connection:
            connection.execute(f"UPDATE turns SET {changes} WHERE id = :id", columns)
            row = connection.execute("SELECT * FROM turns WHERE id = :id", columns).fetchone()
            if row is None:
                raise no_such("turn", turn_id, _HINT)
            return turn_of(row)


def turns_holding(terms: SearchTerms) -> tuple[str, list[str], list[Any]]:
    """Where turns with all of these stand, as SQL has it: what to read from, the conditions, and their parameters."""
    source, conditions, parameters = "turns", ["1"], list[Any]()
    if terms.match:
        source = "turns_found CROSS JOIN turns ON turns.sequence = turns_found.rowid"
        conditions.append("turns_found MATCH ?")
        parameters.append(terms.match)
    for pattern in terms.patterns:
        columns = ("turns.query", "turns.response", "turns.note")
        conditions.append("(" + " OR ".join(rf"{column} LIKE ? ESCAPE '\'" for column in columns) + ")")
        parameters += [pattern] * len(columns)
    return source, conditions, parameters


def without_beginnings(turns: Iterable[Turn], current: Turn) -> list[Turn]:
    """The turns that say something and that no other goes on with, and the current one in any case."""
    turns = list(turns)
    begun = {turn.continues for turn in turns}
    return [turn for turn in turns if turn.id == current.id or (turn.response and turn.id not in begun)]
