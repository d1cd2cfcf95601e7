"""Taking turns out of the log, and words out of what stays, so that no page of the file holds them any more.

What overwrites deleted rows (secure_delete) does not reach copies that a row left behind when the pages of its table
were balanced, and the search index only marks words as deleted. So the index is merged whole, and at the end `scrub`
writes the file anew.
"""

import json
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from shammah.errors import DiskFull, StoreBusy
from shammah.records import Turn
from shammah.store.database import Database
from shammah.store.identity import dedupe_hash
from shammah.store.rows import adapter_note_of, as_columns, listed, probe_of, storable, turn_of, with_texts

_AT_ONCE = 500
_AMONG = "IN (SELECT value FROM json_each(?))"
_TEXTS = ("query", "response", "reasoning", "system", "note")


def each_turn(database: Database) -> Iterator[Turn]:
    """All turns, oldest first, a few at a time: they need not fit into the memory."""
    after = 0
    while rows := database.rows(f"SELECT * FROM turns WHERE sequence > ? ORDER BY sequence LIMIT {_AT_ONCE}", (after,)):
        yield from map(turn_of, rows)
        after = rows[-1]["sequence"]


def conversations_of(database: Database, turn_ids: Collection[str]) -> set[str]:
    rows = database.rows(f"SELECT DISTINCT conversation_id FROM turns WHERE id {_AMONG}", (listed(turn_ids),))
    return {id for (id,) in rows}


def count_turns(database: Database, conversation_id: str) -> int:
    sql = "SELECT count(*) FROM turns WHERE conversation_id = ?"
    return int(database.rows(sql, (conversation_id,))[0][0])


def remove_turns(database: Database, ids: Collection[str]) -> None:
    """Remove turns by their whole ids, and conversations that it leaves empty. The turns that followed them follow the
    ones before; examples and rules that came from them stand for themselves."""
    gone = frozenset(ids)
    with database.transaction() as connection:
        for conversation in conversations_of(database, gone):
            _relink(connection, conversation, gone)
            connection.execute(
                f"DELETE FROM turns WHERE conversation_id = ? AND id {_AMONG}", (conversation, listed(gone))
            )
            _go_on_or_go(connection, conversation)
        for table in ("examples", "rules"):
            connection.execute(f"UPDATE {table} SET turn_id = NULL WHERE turn_id {_AMONG}", (listed(gone),))
        merge_index(connection)


def rewrite_turn(database: Database, turn: Turn, change: Callable[[str], str]) -> bool:
    """Pass every text of a turn through `change`. Whether that made a difference."""
    texts = {name: text and change(text) for name in _TEXTS if (text := getattr(turn, name)) is not None}
    rules = [change(rule) for rule in turn.rules]
    if (*texts.values(), *rules) == (*(getattr(turn, name) for name in texts), *turn.rules):
        return False
    _update_turn(
        database, turn.id, {**texts, "rules": rules, "dedupe_hash": dedupe_hash(texts["query"], texts["response"])}
    )
    return True


def rewrite_conversations(database: Database, change: Callable[[str], str]) -> int:
    """Pass every title and system prompt through `change`. Returns how many conversations it made a difference to."""
    changed = 0
    with database.transaction() as connection:
        for row in database.rows("SELECT id, title, system FROM conversations"):
            title, system = change(row["title"]), change(row["system"])
            if (title, system) != (row["title"], row["system"]):
                connection.execute(
                    "UPDATE conversations SET title = ?, system = ? WHERE id = ?",
                    (storable(title), storable(system), row["id"]),
                )
                changed += 1
    return changed


def rewrite_receipts(database: Database, change: Callable[[str], str]) -> None:
    """Pass every text of every receipt through `change`."""
    with database.transaction() as connection:
        for row in database.rows("SELECT run_id, body FROM receipts"):
            body = json.loads(row["body"])
            if (changed := with_texts(body, change)) != body:
                values = as_columns({"body": changed, "run_id": row["run_id"]})
                connection.execute("UPDATE receipts SET body = :body WHERE run_id = :run_id", values)


def rewrite_probes(database: Database, change: Callable[[str], str]) -> None:
    """Pass what probes ask, and what replies must hold, through `change`."""
    with database.transaction() as connection:
        for probe in map(probe_of, database.rows("SELECT * FROM probes")):
            values = {"prompt": change(probe.prompt), "contains": [change(text) for text in probe.contains]}
            connection.execute(
                "UPDATE probes SET prompt = :prompt, contains = :contains WHERE id = :id",
                as_columns({**values, "id": probe.id}),
            )


def rewrite_adapter_notes(database: Database, change: Callable[[str], str]) -> None:
    """Pass what was noted of adapters through `change`. A label that it makes a difference to goes, and so does a tag
    that it leaves empty."""
    with database.transaction() as connection:
        for note in map(adapter_note_of, database.rows("SELECT * FROM adapters")):
            values = {
                "label": note.label if note.label and change(note.label) == note.label else None,
                "tags": [changed for tag in note.tags if (changed := change(tag))],
                "verdict": with_texts(note.verdict, change),
            }
            connection.execute(
                "UPDATE adapters SET label = :label, tags = :tags, verdict = :verdict WHERE name = :name",
                as_columns({**values, "name": note.name}),
            )


def drop_rules_of_turn(database: Database, turn: Turn, unwanted: Callable[[str], bool]) -> None:
    """Leave out some of the rules that the model was given for a turn."""
    _update_turn(database, turn.id, {"rules": [rule for rule in turn.rules if not unwanted(rule)]})


def retitle(database: Database, conversation_id: str, title_of: Callable[[str], str]) -> None:
    """Make the title anew, from the first question that is left. Without one the conversation has no title."""
    with database.transaction() as connection:
        first = connection.execute(
            "SELECT query FROM turns WHERE conversation_id = ? ORDER BY number LIMIT 1", (conversation_id,)
        ).fetchone()
        title = title_of(first["query"]) if first else ""
        connection.execute("UPDATE conversations SET title = ? WHERE id = ?", (storable(title), conversation_id))


def merge_index(connection: sqlite3.Connection) -> None:
    """Merge the search index whole: it only marks words as deleted."""
    connection.execute("INSERT INTO turns_found (turns_found) VALUES ('optimize')")


def scrub(database: Database) -> bool:
    """Write the file anew without what was deleted, and empty the WAL. False when another program that uses the
    database, or a disk without room, kept it from being done whole."""
    try:
        database.rows("VACUUM")
    except (StoreBusy, DiskFull):
        database.checkpoint()
        return False
    return database.checkpoint()


def _relink(connection: sqlite3.Connection, conversation: str, gone: frozenset[str]) -> None:
    """Let the turns that stay, and the conversation itself, point past those that go."""
    turns = connection.execute(
        "SELECT id, parent, retry_of, continues, dropped, response <> '' AS spoke FROM turns WHERE conversation_id = ? "
        "ORDER BY sequence",
        (conversation,),
    ).fetchall()
    parents: dict[str, str | None] = {}
    tries: dict[str, str | None] = {}
    begun: dict[str, str | None] = {}
    for turn in turns:
        # Only what came before can have led here, so no chain runs in a circle.
        parents[turn["id"]] = turn["parent"] if turn["parent"] in parents else None
        tries[turn["id"]] = turn["retry_of"] if turn["retry_of"] in tries else None
        begun[turn["id"]] = turn["continues"] if turn["continues"] in begun else None
    spoke = {turn["id"] for turn in turns if turn["spoke"]}
    for turn in turns:
        if turn["id"] not in gone:
            said = [id for id in _lineage(turn["id"], parents) if id in spoke] if turn["dropped"] else []
            connection.execute(
                "UPDATE turns SET parent = ?, retry_of = ?, continues = ?, dropped = ? WHERE id = ?",
                (
                    _past(turn["parent"], gone, parents),
                    _past(turn["retry_of"], gone, tries),
                    _past(turn["continues"], gone, begun),
                    turn["dropped"] - len(gone.intersection(said[: turn["dropped"]])),
                    turn["id"],
                ),
            )
    (head,) = connection.execute("SELECT head FROM conversations WHERE id = ?", (conversation,)).fetchone()
    connection.execute("UPDATE conversations SET head = ? WHERE id = ?", (_past(head, gone, parents), conversation))


def _past(id: str | None, gone: frozenset[str], before: Mapping[str, str | None]) -> str | None:
    """The nearest one that stays, going back from this one."""
    while id in gone:
        id = before.get(id)
    return id


def _lineage(id: str, parents: Mapping[str, str | None]) -> list[str]:
    """The turns that led to this one, oldest first."""
    lineage: list[str] = []
    at = parents[id]
    while at is not None:
        lineage.append(at)
        at = parents[at]
    return lineage[::-1]


def _go_on_or_go(connection: sqlite3.Connection, conversation: str) -> None:
    """A conversation without turns goes; another one is, as ever, of its last turn's system prompt."""
    last = connection.execute(
        "SELECT system FROM turns WHERE conversation_id = ? ORDER BY number DESC LIMIT 1", (conversation,)
    ).fetchone()
    if last is None:
        connection.execute("DELETE FROM conversations WHERE id = ?", (conversation,))
    else:
        connection.execute("UPDATE conversations SET system = ? WHERE id = ?", (last["system"], conversation))


def _update_turn(database: Database, id: str, values: Mapping[str, Any]) -> None:
    changes = ", ".join(f"{name} = :{name}" for name in values)
    with database.transaction() as connection:
        connection.execute(f"UPDATE turns SET {changes} WHERE id = :id", as_columns({**values, "id": id}))
