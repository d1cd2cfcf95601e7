import sqlite3
from contextlib import closing

import pytest

from shammah.errors import StoreError, StoreTooNew
from shammah.records import Run
from shammah.store import Conversations, Database, Examples, Rules
from shammah.store.activations import Activations
from shammah.store.audit import Audit
from shammah.store.migrations import SCHEMA, Schema, version_of
from shammah.store.receipts import Receipts
from shammah.store.runs import Runs


def one_table():
    schema = Schema()

    @schema.migration(1, "fruit")
    def _(connection):
        connection.execute("CREATE TABLE fruit (name TEXT)")
        connection.execute("INSERT INTO fruit VALUES ('apple')")

    return schema


def with_second_step(run):
    schema = one_table()
    schema.migration(2, "second")(run)
    return schema


def real(steps):
    """The tables as they were after so many steps."""
    schema = Schema()
    for step in SCHEMA._migrations[:steps]:
        schema.migration(step.number, step.name)(step.run)
    return schema


def recorded(path):
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT number, name FROM migrations ORDER BY number").fetchall()
        return version_of(connection), rows


def test_a_fresh_file_gets_every_step_with_its_record(path):
    schema = with_second_step(lambda connection: connection.execute("ALTER TABLE fruit ADD COLUMN colour TEXT"))
    with closing(Database(path, schema=schema)) as database:
        assert tuple(database.rows("SELECT name, colour FROM fruit")[0]) == ("apple", None)
    assert recorded(path) == (2, [(1, "fruit"), (2, "second")])


def test_the_real_schema_is_recorded(path):
    Database(path).close()
    version, rows = recorded(path)
    assert version == SCHEMA.latest == len(rows)
    assert rows == [
        (1, "conversations and turns"),
        (2, "ratings, examples and rules"),
        (3, "training runs"),
        (4, "adapters, what happened to them, and receipts"),
        (5, "which receipts were told"),
        (6, "replies that go on with one that was stopped"),
    ]


def test_a_file_of_the_first_version_goes_on_where_it_was(path):
    """Turns get the one before them as their parent, conversations their last turn as their head."""
    with closing(Database(path, schema=real(1))) as database, database.transaction() as connection:
        for name in ("talk", "other"):
            connection.execute("INSERT INTO conversations VALUES (?, 'title', 'model', '', '2026', '2026')", (name,))
        for name, number in (("talk", 1), ("other", 1), ("talk", 2), ("talk", 3)):
            values = {column["name"]: "0" for column in connection.execute("PRAGMA table_info (turns)")}
            values |= {"sequence": None, "id": f"{name}-{number}", "conversation_id": name, "number": number}
            values |= {"options": "{}", "query": "What is it?", "quality": None, "feedback": None, "note": None}
            connection.execute(
                f"INSERT INTO turns ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})", [*values.values()]
            )
    with closing(Database(path)) as database:
        conversations = Conversations(database)
        assert [(turn.id, turn.parent) for turn in conversations.turns("talk")] == [
            ("talk-1", None),
            ("talk-2", "talk-1"),
            ("talk-3", "talk-2"),
        ]
        assert conversations.context("talk") == conversations.turns("talk")
        assert conversations.context("other") == conversations.turns("other")
        turn = conversations.turn("talk-3")
        assert (turn.quality_parts, turn.dropped, turn.retry_of, turn.rules) == ({}, 0, None, ())
        assert len(conversations.search("what")) == 4


def test_a_file_of_the_second_version_keeps_what_was_learned_and_can_learn_more(path, an_example):
    with closing(Database(path, schema=real(2))) as database:
        examples = Examples(database)
        learned, waits = examples.put(an_example("One?")), examples.put(an_example("Two?"))
        examples.mark_trained([learned.id], "lora-1")
        before = examples.find()
    with closing(Database(path)) as database:
        examples, runs = Examples(database), Runs(database)
        assert examples.find() == before
        assert runs.recent() == []
        ids = (learned.id, waits.id)
        runs.begin(Run(id="run", started="2026", updated="2026", trigger="user", model="small", example_ids=ids))
        runs.finish("run", "lora-2", examples)
        assert [examples.get(each.id).trained for each in (learned, waits)] == [2, 1]


def test_a_file_of_the_third_version_keeps_its_rules_and_runs_and_can_graduate_and_reject(path, an_example):
    with closing(Database(path, schema=real(3))) as database:
        rule, example = Rules(database).add("Be brief"), Examples(database).put(an_example())
        run = Run(id="run", started="2026", updated="2026", trigger="user", model="small", example_ids=(example.id,))
        Runs(database).begin(run)
    with closing(Database(path)) as database:
        rules, runs = Rules(database), Runs(database)
        assert rules.active("lora-1") == rules.all() == [rule]
        rules.graduate([rule.id], "lora-1")
        assert rules.active("lora-1") == []
        assert runs.reject("run", "lora-1").state == "rejected"
        Activations(database).activate("small", "lora-1", actor="user")
        assert Audit(database).broken() is None


def test_receipts_of_a_file_of_the_fourth_version_count_as_told(path):
    with closing(Database(path, schema=real(4))) as database, database.transaction() as connection:
        connection.execute("INSERT INTO receipts (run_id, time, adapter, body) VALUES ('old', '2026', NULL, '{}')")
    with closing(Database(path)) as database:
        receipts = Receipts(database)
        new = receipts.put("new", None, {})
        assert receipts.untold() == [new] and [each.run_id for each in receipts.recent()] == ["new", "old"]


def test_an_older_file_gets_only_the_steps_it_lacks(path):
    Database(path, schema=one_table()).close()
    schema = with_second_step(lambda connection: connection.execute("UPDATE fruit SET name = name || '!'"))
    for _ in range(2):
        with closing(Database(path, schema=schema)) as database:
            assert [row["name"] for row in database.rows("SELECT name FROM fruit")] == ["apple!"]
    assert recorded(path) == (2, [(1, "fruit"), (2, "second")])


def test_a_current_file_is_opened_without_a_lock_or_a_write(path):
    Database(path, schema=one_table()).close()
    before = path.read_bytes()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        Database(path, schema=one_table(), busy_timeout=0).close()
    assert path.read_bytes() == before


@pytest.mark.parametrize("number", [0, 1, 3])
def test_a_number_taken_twice_or_left_out_is_refused_when_declared(number):
    with pytest.raises(ValueError, match="must have the number 2"):
        one_table().migration(number, "wrong")


def test_a_failing_step_leaves_the_file_as_it_was(path):
    Database(path, schema=one_table()).close()

    def fails(connection):
        connection.execute("CREATE TABLE half (done TEXT)")
        connection.execute("DELETE FROM fruit")
        connection.execute("SELECT * FROM nowhere")

    with pytest.raises(StoreError, match="no such table: nowhere") as caught:
        Database(path, schema=with_second_step(fails))
    assert caught.value.hint
    assert recorded(path) == (1, [(1, "fruit")])
    with closing(Database(path, schema=one_table())) as database:
        assert [row["name"] for row in database.rows("SELECT name FROM fruit")] == ["apple"]
        assert not database.rows("SELECT * FROM sqlite_master WHERE name = 'half'")


def test_a_failing_first_step_leaves_an_empty_file(path):
    schema = Schema()

    @schema.migration(1, "broken")
    def _(connection):
        connection.execute("CREATE TABLE half (done TEXT)")
        raise RuntimeError("power is out")

    with pytest.raises(RuntimeError):
        Database(path, schema=schema)
    with closing(Database(path, schema=one_table())) as database:
        assert {row[0] for row in database.rows("SELECT name FROM sqlite_master")} == {"fruit", "migrations"}


def test_a_step_must_not_commit(path):
    def commits(connection):
        connection.execute("COMMIT")

    with pytest.raises(AssertionError, match="migration 2 must not commit"):
        Database(path, schema=with_second_step(commits))


def test_a_newer_file_is_refused_and_left_untouched(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE future (x)")
        connection.execute("PRAGMA user_version = 99")
    before = path.read_bytes()
    with pytest.raises(StoreTooNew) as caught:
        Database(path)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["shammah.db"]
    line = caught.value.one_line()
    assert str(path) in line
    assert "99" in line
    assert f"knows {SCHEMA.latest}" in line
    assert "pip install --upgrade shammah" in line


def test_a_file_that_became_newer_while_waiting_is_refused(path):
    """The other process, of a newer version, is done between our first look and our transaction."""
    schema = Schema()

    @schema.migration(1, "overtaken")
    def _(connection):
        connection.execute("CREATE TABLE theirs (x)")
        connection.execute("INSERT INTO theirs VALUES (1)")

    newer = one_table()
    for number in (2, 3):
        newer.migration(number, f"step {number}")(lambda connection: None)
    with closing(Database(path, schema=newer)) as database, database.transaction() as connection:
        schema.advance(connection)
        assert version_of(connection) == 3
    with pytest.raises(StoreTooNew):
        Database(path, schema=schema)
    assert recorded(path)[0] == 3
