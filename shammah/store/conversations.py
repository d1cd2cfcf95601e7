"""The usage log: every exchange with the model, in conversations, searchable. Records go in, records come out."""

import json
import sqlite3
from typing import Any

from shammah.errors import StoreError
from shammah.records import Conversation, Turn
from shammah.store.database import Database
from shammah.store.search_terms import search_terms

_CONVERSATIONS = (
    "SELECT conversations.*, (SELECT count(*) FROM turns WHERE conversation_id = conversations.id) AS turns "
    "FROM conversations"
)
_NEWEST_FIRST = "ORDER BY updated DESC, id DESC"
# Above every character that an id can hold: the ids that start with P are those from P to P + _END.
_END = "\x7f"


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
        The conversation takes on the model and the system prompt of its last turn.
        """
        values = _row_of(turn)
        with self._database.transaction() as connection:
            known = connection.execute(
                "SELECT * FROM turns WHERE id = :id AND conversation_id = :conversation_id", values
            ).fetchone()
            if known:
                return _turn_of(known)
            connection.execute(
                "INSERT INTO conversations (id, title, model, system, created, updated) "
                "VALUES (:conversation_id, :title, :model, :system, :time, :time) "
                "ON CONFLICT (id) DO UPDATE SET "
                "model = excluded.model, system = excluded.system, updated = max(updated, excluded.updated)",
                {**values, "title": _storable(title)},
            )
            (values["number"],) = connection.execute(
                "SELECT coalesce(max(number), 0) + 1 FROM turns WHERE conversation_id = :conversation_id", values
            ).fetchone()
            names = ", ".join(values)
            marks = ", ".join(f":{name}" for name in values)
            connection.execute(f"INSERT INTO turns ({names}) VALUES ({marks})", values)
        return _turn_of(values)

    def turns(self, conversation_id: str) -> list[Turn]:
        """All turns of a conversation in their order; none if it is not there."""
        sql = "SELECT * FROM turns WHERE conversation_id = ? ORDER BY number"
        rows = self._database.rows(sql, (_storable(conversation_id),))
        return [_turn_of(row) for row in rows]

    def turn(self, id_or_prefix: str) -> Turn:
        return _turn_of(self._only("turn", "SELECT * FROM turns", id_or_prefix))

    def conversation(self, id_or_prefix: str) -> Conversation:
        return _conversation_of(self._only("conversation", _CONVERSATIONS, id_or_prefix))

    def latest(self) -> Conversation | None:
        """The conversation that was last spoken in."""
        return next(iter(self.recent(1)), None)

    def recent(self, limit: int | None = 20) -> list[Conversation]:
        """Last spoken in first; all of them when the limit is None."""
        rows = self._database.rows(f"{_CONVERSATIONS} {_NEWEST_FIRST} LIMIT ?", (_limit(limit),))
        return [_conversation_of(row) for row in rows]

    def search(
        self, text: str = "", *, limit: int | None = 20, conversation: str | None = None, model: str | None = None
    ) -> list[Turn]:
        """Turns that hold every word of the text, newest first; any turns without a text. See search_terms for words.

        `conversation` (a whole id) and `model` narrow it down; a limit of None gives all.
        """
        terms = search_terms(text)
        if text.strip() and not terms:
            return []
        source, conditions, parameters = "turns", ["1"], list[Any]()
        order = "turns.sequence"
        if terms.match:
            # The index leads and walks backwards, so that a word found everywhere costs no more than the limit.
            source, order = "turns_found CROSS JOIN turns ON turns.sequence = turns_found.rowid", "turns_found.rowid"
            conditions.append("turns_found MATCH ?")
            parameters.append(terms.match)
        for pattern in terms.patterns:
            columns = ("turns.query", "turns.response", "turns.note")
            conditions.append("(" + " OR ".join(rf"{column} LIKE ? ESCAPE '\'" for column in columns) + ")")
            parameters += [pattern] * len(columns)
        for column, value in (("conversation_id", conversation), ("model", model)):
            if value is not None:
                conditions.append(f"turns.{column} = ?")
                parameters.append(_storable(value))
        sql = f"SELECT turns.* FROM {source} WHERE {' AND '.join(conditions)} ORDER BY {order} DESC LIMIT ?"
        return [_turn_of(row) for row in self._database.rows(sql, [*parameters, _limit(limit)])]

    def delete_conversation(self, id: str) -> int:
        """Remove a conversation by its whole id, from the search index too. Returns how many turns went with it."""
        with self._database.transaction() as connection:
            turns = connection.execute("DELETE FROM turns WHERE conversation_id = ?", (_storable(id),)).rowcount
            if not connection.execute("DELETE FROM conversations WHERE id = ?", (_storable(id),)).rowcount:
                raise _no_such("conversation", id)
            # The index only marks words as deleted; merging it whole is what takes them off the disk.
            connection.execute("INSERT INTO turns_found (turns_found) VALUES ('optimize')")
        return turns

    def count(self) -> int:
        """How many turns are stored."""
        return int(self._database.rows("SELECT count(*) FROM turns")[0][0])

    def _only(self, kind: str, select: str, prefix: str) -> sqlite3.Row:
        """The row of this id, or the only one whose id starts so."""
        wanted = _storable(prefix.strip())
        if not wanted:
            raise _no_such(kind, prefix)
        rows = self._database.rows(f"{select} WHERE id >= ? AND id < ? ORDER BY id LIMIT 2", (wanted, wanted + _END))
        if not rows:
            raise _no_such(kind, prefix)
        # A whole id comes first among those that start with it.
        if len(rows) == 1 or rows[0]["id"] == wanted:
            return rows[0]
        raise StoreError(
            f"More than one {kind} has an id that starts with {wanted!r}",
            hint=f"Type more of it, as in {rows[0]['id']} or {rows[1]['id']}.",
        )


def _no_such(kind: str, id: str) -> StoreError:
    return StoreError(f"There is no {kind} {id!r}", hint="See `shammah logs list` for what is stored.")


def _limit(limit: int | None) -> int:
    return -1 if limit is None else max(0, limit)


def _storable(text: str) -> str:
    """The text with what UTF-8 cannot write (half a surrogate pair) replaced; it may come from any terminal or file."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _row_of(turn: Turn) -> dict[str, Any]:
    values: dict[str, Any] = {
        "id": turn.id,
        "conversation_id": turn.conversation_id,
        "number": turn.number,
        "time": turn.time,
        "query": turn.query,
        "response": turn.response,
        "reasoning": turn.reasoning,
        "model": turn.model,
        "adapter": turn.adapter,
        "expert": turn.expert,
        "system": turn.system,
        "options": json.dumps(turn.options, ensure_ascii=False),
        "stop_reason": turn.stop_reason,
        "latency_ms": turn.latency_ms,
        "first_token_ms": turn.first_token_ms,
        "input_tokens": turn.input_tokens,
        "cached_tokens": turn.cached_tokens,
        "output_tokens": turn.output_tokens,
        "quality": turn.quality,
        "feedback": turn.feedback,
        "note": turn.note,
        "context_hash": turn.context_hash,
        "dedupe_hash": turn.dedupe_hash,
    }
    return {name: _storable(value) if isinstance(value, str) else value for name, value in values.items()}


def _turn_of(row: sqlite3.Row | dict[str, Any]) -> Turn:
    return Turn(
        id=row["id"],
        conversation_id=row["conversation_id"],
        number=row["number"],
        time=row["time"],
        query=row["query"],
        response=row["response"],
        reasoning=row["reasoning"],
        model=row["model"],
        adapter=row["adapter"],
        expert=row["expert"],
        system=row["system"],
        options=json.loads(row["options"]),
        stop_reason=row["stop_reason"],
        latency_ms=row["latency_ms"],
        first_token_ms=row["first_token_ms"],
        input_tokens=row["input_tokens"],
        cached_tokens=row["cached_tokens"],
        output_tokens=row["output_tokens"],
        quality=row["quality"],
        feedback=row["feedback"],
        note=row["note"],
        context_hash=row["context_hash"],
        dedupe_hash=row["dedupe_hash"],
    )


def _conversation_of(row: sqlite3.Row) -> Conversation:
    return Conversation(
        id=row["id"],
        title=row["title"],
        model=row["model"],
        system=row["system"],
        created=row["created"],
        updated=row["updated"],
        turns=row["turns"],
    )
