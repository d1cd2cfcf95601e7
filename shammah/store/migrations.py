"""The tables as numbered steps. A step, its record and the new `user_version` are one transaction, held by the caller.

To change the tables: add a function below with the next number. Never edit one that was released. Steps use `execute`
only, because `executescript` commits what came before it.
"""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

from shammah.store.identity import utc_now

Run = Callable[[sqlite3.Connection], None]


@dataclass(frozen=True, slots=True)
class Migration:
    number: int
    name: str
    run: Run


class Schema:
    """Migrations in the order of their numbers: 1, 2, 3 and so on."""

    def __init__(self) -> None:
        self._migrations: list[Migration] = []

    @property
    def latest(self) -> int:
        return len(self._migrations)

    def migration(self, number: int, name: str) -> Callable[[Run], Run]:
        """Declare the next step."""
        if number != self.latest + 1:
            raise ValueError(f"migration {number} ({name}) must have the number {self.latest + 1}")

        def declare(run: Run) -> Run:
            self._migrations.append(Migration(number, name, run))
            return run

        return declare

    def advance(self, connection: sqlite3.Connection) -> None:
        """Run the next step, if another process has not done so while this one waited for its transaction."""
        assert connection.in_transaction, "a migration runs inside a transaction"
        done = version_of(connection)
        if done >= self.latest:
            return
        step = self._migrations[done]
        connection.execute(
            "CREATE TABLE IF NOT EXISTS migrations "
            "(number INTEGER PRIMARY KEY, name TEXT NOT NULL, applied TEXT NOT NULL)"
        )
        step.run(connection)
        connection.execute("INSERT INTO migrations VALUES (?, ?, ?)", (step.number, step.name, utc_now()))
        connection.execute(f"PRAGMA user_version = {step.number}")
        assert connection.in_transaction, f"migration {step.number} must not commit"


def version_of(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


SCHEMA = Schema()
migration = SCHEMA.migration


@migration(1, "conversations and turns")
def _(connection: sqlite3.Connection) -> None:
    connection.execute("""
        CREATE TABLE conversations (
            id      TEXT PRIMARY KEY NOT NULL,
            title   TEXT NOT NULL,
            model   TEXT NOT NULL,
            system  TEXT NOT NULL,
            created TEXT NOT NULL,
            updated TEXT NOT NULL
        )""")
    connection.execute("CREATE INDEX conversations_by_update ON conversations (updated)")
    # `sequence` is the order of arrival. It is declared because VACUUM may renumber an undeclared rowid, and the search
    # index refers to it.
    connection.execute("""
        CREATE TABLE turns (
            sequence        INTEGER PRIMARY KEY,
            id              TEXT NOT NULL UNIQUE,
            conversation_id TEXT NOT NULL REFERENCES conversations (id),
            number          INTEGER NOT NULL,
            time            TEXT NOT NULL,
            query           TEXT NOT NULL,
            response        TEXT NOT NULL,
            reasoning       TEXT NOT NULL,
            model           TEXT NOT NULL,
            adapter         TEXT,
            expert          TEXT,
            system          TEXT NOT NULL,
            options         TEXT NOT NULL,
            stop_reason     TEXT NOT NULL,
            latency_ms      REAL NOT NULL,
            first_token_ms  REAL NOT NULL,
            input_tokens    INTEGER NOT NULL,
            cached_tokens   INTEGER NOT NULL,
            output_tokens   INTEGER NOT NULL,
            quality         REAL,
            feedback        TEXT,
            note            TEXT,
            context_hash    TEXT NOT NULL,
            dedupe_hash     TEXT NOT NULL
        )""")
    connection.execute("CREATE UNIQUE INDEX turns_by_conversation ON turns (conversation_id, number)")
    connection.execute("CREATE INDEX turns_by_time ON turns (time)")
    connection.execute("CREATE INDEX turns_by_dedupe_hash ON turns (dedupe_hash)")
    # prefix: a word begun with one letter would otherwise have to gather a large part of the index.
    connection.execute("""
        CREATE VIRTUAL TABLE turns_found USING fts5 (
            query, response, note,
            content = 'turns', content_rowid = 'sequence', tokenize = 'unicode61 remove_diacritics 2', prefix = '1'
        )""")
    enter = (
        "INSERT INTO turns_found (rowid, query, response, note) "
        "VALUES (new.sequence, new.query, new.response, new.note)"
    )
    # The index keeps no copy of the text: to forget a row it must be told the words that it was given.
    leave = (
        "INSERT INTO turns_found (turns_found, rowid, query, response, note) "
        "VALUES ('delete', old.sequence, old.query, old.response, old.note)"
    )
    changed = "UPDATE OF query, response, note"
    connection.execute(f"CREATE TRIGGER turns_enter AFTER INSERT ON turns BEGIN {enter}; END")
    connection.execute(f"CREATE TRIGGER turns_leave AFTER DELETE ON turns BEGIN {leave}; END")
    connection.execute(f"CREATE TRIGGER turns_change AFTER {changed} ON turns BEGIN {leave}; {enter}; END")


@migration(2, "ratings, examples and rules")
def _(connection: sqlite3.Connection) -> None:
    for column in (
        "quality_parts TEXT NOT NULL DEFAULT '{}'",
        "parent TEXT",
        "dropped INTEGER NOT NULL DEFAULT 0",
        "retry_of TEXT",
        "rules TEXT NOT NULL DEFAULT '[]'",
    ):
        connection.execute(f"ALTER TABLE turns ADD COLUMN {column}")
    # Until now every turn followed the one before it.
    connection.execute("""
        UPDATE turns SET parent = (
            SELECT before.id FROM turns AS before
            WHERE before.conversation_id = turns.conversation_id AND before.number = turns.number - 1
        )""")
    connection.execute("ALTER TABLE conversations ADD COLUMN head TEXT")
    connection.execute("""
        UPDATE conversations SET head = (
            SELECT id FROM turns WHERE conversation_id = conversations.id ORDER BY number DESC LIMIT 1
        )""")
    # The statistics read this index alone, not the texts. It holds whole times: where only an expression of a column is
    # in an index, older SQLite looks at every row after all. Whatever asked for times finds them here too.
    connection.execute("CREATE INDEX turns_for_statistics ON turns (time, model, adapter, feedback, quality)")
    connection.execute("DROP INDEX turns_by_time")
    connection.execute("""
        CREATE TABLE examples (
            sequence     INTEGER PRIMARY KEY,
            id           TEXT NOT NULL UNIQUE,
            time         TEXT NOT NULL,
            turn_id      TEXT UNIQUE,
            source       TEXT NOT NULL,
            level        TEXT NOT NULL,
            weight       REAL NOT NULL,
            messages     TEXT NOT NULL,
            rules        TEXT NOT NULL,
            target       TEXT,
            rejected     TEXT,
            note         TEXT,
            state        TEXT NOT NULL,
            reason       TEXT NOT NULL,
            secrets      TEXT NOT NULL,
            hold         TEXT NOT NULL,
            quality      REAL,
            model        TEXT NOT NULL,
            adapter      TEXT,
            tags         TEXT NOT NULL,
            extra        TEXT NOT NULL,
            trained      INTEGER NOT NULL,
            trainable    INTEGER NOT NULL,
            prompt_hash  TEXT NOT NULL,
            dedupe_hash  TEXT NOT NULL,
            first_hash   TEXT NOT NULL
        )""")
    connection.execute("CREATE INDEX examples_by_prompt ON examples (prompt_hash)")
    connection.execute("CREATE INDEX examples_by_dedupe_hash ON examples (dedupe_hash)")
    connection.execute("CREATE INDEX examples_by_first_hash ON examples (first_hash)")
    # What waits for training is counted after every rating, from this index alone.
    connection.execute("CREATE INDEX examples_waiting ON examples (trainable, trained, state, hold, secrets, weight)")
    connection.execute("CREATE INDEX examples_trained ON examples (trained, sequence, time)")
    # What was rejected stays rejected when its example leaves for the archive. Hashes alone: no text stays behind.
    connection.execute("""
        CREATE TABLE rejections (
            prompt_hash TEXT NOT NULL,
            reply_hash  TEXT NOT NULL,
            level       TEXT NOT NULL,
            PRIMARY KEY (prompt_hash, reply_hash)
        ) WITHOUT ROWID""")
    connection.execute("""
        CREATE TABLE trainings (
            example_id TEXT NOT NULL REFERENCES examples (id) ON DELETE CASCADE,
            adapter    TEXT NOT NULL,
            time       TEXT NOT NULL,
            PRIMARY KEY (example_id, adapter)
        ) WITHOUT ROWID""")
    connection.execute("""
        CREATE TABLE rules (
            sequence INTEGER PRIMARY KEY,
            id       TEXT NOT NULL UNIQUE,
            time     TEXT NOT NULL,
            text     TEXT NOT NULL,
            muted    INTEGER NOT NULL,
            turn_id  TEXT
        )""")


@migration(3, "training runs")
def _(connection: sqlite3.Connection) -> None:
    connection.execute("""
        CREATE TABLE runs (
            sequence    INTEGER PRIMARY KEY,
            id          TEXT NOT NULL UNIQUE,
            started     TEXT NOT NULL,
            updated     TEXT NOT NULL,
            ended       TEXT,
            state       TEXT NOT NULL,
            trigger     TEXT NOT NULL,
            attempt     INTEGER NOT NULL,
            model       TEXT NOT NULL,
            adapter     TEXT,
            example_ids TEXT NOT NULL,
            weighted    REAL NOT NULL,
            step        INTEGER NOT NULL,
            steps       INTEGER NOT NULL,
            tokens      INTEGER NOT NULL,
            seconds     REAL NOT NULL,
            first_loss  REAL,
            last_loss   REAL,
            seed        INTEGER NOT NULL,
            settings    TEXT NOT NULL,
            error       TEXT NOT NULL,
            pid         INTEGER NOT NULL,
            kills       INTEGER NOT NULL,
            lost        INTEGER NOT NULL
        )""")
    connection.execute("CREATE INDEX runs_by_start ON runs (started)")
    # What the last run was begun with, whatever became of it. An example that comes to say something else is no longer
    # that: it waits for the next run. `no_rewrite`: the model found no better reply by its note.
    connection.execute("""
        CREATE TABLE learning (
            example_id TEXT NOT NULL REFERENCES examples (id) ON DELETE CASCADE,
            run_id     TEXT NOT NULL,
            no_rewrite INTEGER NOT NULL DEFAULT 0,
            PRIMARY KEY (example_id, run_id)
        ) WITHOUT ROWID""")
    connection.execute("""
        CREATE TRIGGER learning_changed AFTER UPDATE OF messages, target, rejected, note ON examples
        WHEN (new.messages, new.target, new.rejected) IS NOT (old.messages, old.target, old.rejected)
          OR (new.target IS NULL AND new.note IS NOT old.note)
        BEGIN DELETE FROM learning WHERE example_id = old.id; END""")
    # With the id: which of those that wait are new is told by it.
    connection.execute("DROP INDEX examples_waiting")
    connection.execute(
        "CREATE INDEX examples_waiting ON examples (trainable, trained, state, hold, secrets, weight, id)"
    )


@migration(4, "adapters, what happened to them, and receipts")
def _(connection: sqlite3.Connection) -> None:
    connection.execute("""
        CREATE TABLE adapters (
            name     TEXT PRIMARY KEY NOT NULL,
            time     TEXT NOT NULL,
            label    TEXT UNIQUE,
            pinned   INTEGER NOT NULL DEFAULT 0,
            tags     TEXT NOT NULL DEFAULT '[]',
            verdict  TEXT,
            imported INTEGER NOT NULL DEFAULT 0
        ) WITHOUT ROWID""")
    # The newest row of a base says who answers for it; those before it are the way back. `back_to` is the row that a
    # step back came to rest on, 0 for the beginning: what lies between is not come to again.
    connection.execute("""
        CREATE TABLE activations (
            sequence INTEGER PRIMARY KEY AUTOINCREMENT,
            time     TEXT NOT NULL,
            base     TEXT NOT NULL,
            adapter  TEXT,
            strength REAL NOT NULL,
            actor    TEXT NOT NULL,
            cause    TEXT NOT NULL,
            back_to  INTEGER
        )""")
    connection.execute("CREATE INDEX activations_by_base ON activations (base, sequence)")
    connection.execute("CREATE INDEX activations_by_adapter ON activations (adapter, base)")
    connection.execute("""
        CREATE TABLE audit (
            sequence INTEGER PRIMARY KEY AUTOINCREMENT,
            time     TEXT NOT NULL,
            actor    TEXT NOT NULL,
            action   TEXT NOT NULL,
            subject  TEXT NOT NULL,
            details  TEXT NOT NULL,
            previous TEXT NOT NULL,
            hash     TEXT NOT NULL
        )""")
    for change in ("UPDATE", "DELETE"):
        connection.execute(
            f"CREATE TRIGGER audit_no_{change.lower()} BEFORE {change} ON audit "
            "BEGIN SELECT RAISE(ABORT, 'the audit trail is only added to'); END"
        )
    connection.execute("""
        CREATE TABLE probes (
            sequence INTEGER PRIMARY KEY,
            id       TEXT NOT NULL UNIQUE,
            time     TEXT NOT NULL,
            prompt   TEXT NOT NULL,
            contains TEXT NOT NULL,
            source   TEXT NOT NULL
        )""")
    connection.execute("""
        CREATE TABLE receipts (
            sequence INTEGER PRIMARY KEY,
            run_id   TEXT NOT NULL UNIQUE,
            time     TEXT NOT NULL,
            adapter  TEXT,
            body     TEXT NOT NULL
        )""")
    connection.execute("""
        CREATE TABLE comparisons (
            sequence INTEGER PRIMARY KEY,
            time     TEXT NOT NULL,
            base     TEXT NOT NULL,
            first    TEXT,
            second   TEXT,
            picked   TEXT
        )""")
    # A rule that an adapter obeys without being told is left out while that adapter answers. In other words, or said
    # once more, it is told again.
    connection.execute("""
        CREATE TABLE graduations (
            rule_id TEXT NOT NULL REFERENCES rules (id) ON DELETE CASCADE,
            adapter TEXT NOT NULL,
            PRIMARY KEY (rule_id, adapter)
        ) WITHOUT ROWID""")
    connection.execute(
        "CREATE TRIGGER rules_reworded AFTER UPDATE OF text ON rules "
        "BEGIN DELETE FROM graduations WHERE rule_id = new.id; END"
    )


@migration(5, "which receipts were told")
def _(connection: sqlite3.Connection) -> None:
    # Those that there are lie long enough.
    connection.execute("ALTER TABLE receipts ADD COLUMN told INTEGER NOT NULL DEFAULT 1")
    connection.execute("CREATE INDEX receipts_untold ON receipts (sequence) WHERE told = 0")


@migration(6, "replies that go on with one that was stopped")
def _(connection: sqlite3.Connection) -> None:
    connection.execute("ALTER TABLE turns ADD COLUMN continues TEXT")
