"""The audit trail: what is in it stays as it was, and whatever else was done to it shows."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import asdict

import pytest

from shammah.errors import StoreError
from shammah.store import Database
from shammah.store.audit import Audit, _hash


@pytest.fixture
def audit(database):
    seconds = itertools.count()
    return Audit(database, now=lambda: f"2026-01-01T00:00:{next(seconds) % 60:02d}.000Z")


@pytest.fixture
def four(audit):
    """Entries of which the first has no details."""
    details = (
        {},
        {"base": "small", "strength": 0.5},
        {"word": "é 🎉"},
        {"reasons": ["worse", "slower"], "parts": {"b": 1}},
    )
    return [audit.add("training", "judged", f"lora-{number}", each) for number, each in enumerate(details)]


def tamper(database, *statements):
    """Change what only is added to, as somebody who has the file can."""
    connection = database.connection
    for change in ("update", "delete"):
        connection.execute(f"DROP TRIGGER IF EXISTS audit_no_{change}")
    for statement in statements:
        connection.execute(statement)


def test_what_was_written_is_read_again(audit, four):
    assert audit.entries() == four[::-1]
    assert audit.entries(2) == [four[3], four[2]]
    assert audit.entries(2, oldest_first=True) == four[:2]
    assert audit.entries(None) == four[::-1] and audit.count() == 4
    assert [entry.sequence for entry in four] == [1, 2, 3, 4]
    second = four[1]
    assert (second.actor, second.action, second.subject, second.time) == (
        "training",
        "judged",
        "lora-1",
        "2026-01-01T00:00:01.000Z",
    )
    assert second.details == {"base": "small", "strength": 0.5}
    assert audit.broken() is None


def test_an_empty_trail_holds(audit):
    assert (audit.entries(), audit.count(), audit.broken()) == ([], 0, None)


def test_each_entry_is_chained_to_the_one_before(audit, four):
    assert [entry.previous for entry in four[1:]] == [entry.hash for entry in four[:-1]]
    assert len({entry.hash for entry in four}) == 4
    assert all(len(entry.hash) == len(entry.previous) == 64 for entry in four)


def test_what_json_has_no_word_for_still_holds(audit):
    entry = audit.add("user", "exported", "bad \udcff", {"value": float("nan"), "to": ("a", "\udcff"), 3: "\ud83c"})
    assert entry.details == {"value": None, "to": ["a", "\ufffd"], "3": "\ufffd"} and entry.subject == "bad \ufffd"
    assert audit.entries() == [entry] and audit.broken() is None


@pytest.mark.parametrize(
    "sql", ["UPDATE audit SET actor = 'user'", "DELETE FROM audit", "DELETE FROM audit WHERE 0 = 0"]
)
def test_it_is_only_added_to(database, audit, four, sql):
    with pytest.raises(StoreError, match="only added to"), database.transaction() as connection:
        connection.execute(sql)
    assert audit.entries() == four[::-1]


@pytest.mark.parametrize(
    ("sql", "first"),
    [
        *(
            (f"UPDATE audit SET {change} WHERE sequence = 3", 3)
            for change in (
                "time = '2026-01-01T00:00:02.001Z'",
                "actor = 'user'",
                "action = 'deleted'",
                "subject = 'lora-9'",
                "details = '{}'",
                "details = 'no json'",
                "details = x'00'",
                "subject = x'00'",
                "previous = ''",
                "hash = ''",
            )
        ),
        ("UPDATE audit SET hash = x'00' WHERE sequence = 4", 4),
        ("UPDATE audit SET hash = 'é' WHERE sequence = 4", 4),
        ("UPDATE audit SET hash = 'x', previous = 'x'", 1),
        ("DELETE FROM audit WHERE sequence = 1", 1),
        ("DELETE FROM audit WHERE sequence = 2", 2),
        ("DELETE FROM audit WHERE sequence > 2", 3),
        ("DELETE FROM audit WHERE sequence = 4", 4),
        ("DELETE FROM audit", 1),
        ("UPDATE audit SET sequence = sequence + 1 WHERE sequence = 4", 4),
    ],
)
def test_whatever_was_done_to_it_shows(database, audit, four, sql, first):
    tamper(database, sql)
    assert audit.broken() == first
    audit.entries()
    audit.add("user", "deleted", "lora-1")
    assert audit.broken() == first, "and is not mended by what follows"


def test_two_that_changed_places_show(database, audit, four):
    tamper(
        database,
        "UPDATE audit SET sequence = 99 WHERE sequence = 2",
        "UPDATE audit SET sequence = 2 WHERE sequence = 3",
        "UPDATE audit SET sequence = 3 WHERE sequence = 99",
    )
    assert audit.broken() == 2


def test_one_that_was_given_a_new_hash_does_not_fit_those_after_it(database, audit, four):
    """Even where the next one was made to name that hash."""
    changed = asdict(four[1]) | {"subject": "lora-9"}
    hash = _hash(four[0].hash, changed)
    tamper(
        database,
        f"UPDATE audit SET subject = 'lora-9', hash = '{hash}' WHERE sequence = 2",
        f"UPDATE audit SET previous = '{hash}' WHERE sequence = 3",
    )
    assert audit.broken() == 3


def test_details_that_cannot_be_read_are_shown_as_they_are(database, audit, four):
    tamper(database, "UPDATE audit SET details = 'no json' WHERE sequence = 4")
    assert audit.entries(1)[0].details == {"unreadable": "no json"}


def test_inside_a_transaction_it_is_stored_with_the_rest_or_not_at_all(database, audit, four):
    with pytest.raises(RuntimeError), database.transaction() as connection:
        connection.execute("DELETE FROM adapters")
        audit.add("user", "deleted", "lora-1")
        raise RuntimeError("power is out")
    assert audit.entries() == four[::-1]
    with database.transaction():
        fifth, sixth = (audit.add("user", "deleted", name) for name in ("lora-1", "lora-2"))
    assert (fifth.sequence, fifth.previous, sixth.previous) == (5, four[3].hash, fifth.hash)
    assert audit.broken() is None


ADDER = """
import sys
from pathlib import Path
from shammah.store import Database
from shammah.store.audit import Audit

database = Database(Path(sys.argv[1]), busy_timeout=60)
audit = Audit(database)
print("ready", flush=True)
sys.stdin.readline()
for number in range(int(sys.argv[3])):
    audit.add("training", "trained", f"{sys.argv[2]}-{number}")
"""


def test_several_processes_make_one_chain(path):
    """They all ask for the last entry while one is being written, and then go on side by side."""
    names, each = ("one", "two"), 20
    with closing(Database(path)) as database:
        audit = Audit(database)
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", ADDER, str(path), name, str(each)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            for name in names
        ]
        for process in processes:
            assert process.stdout.readline() == b"ready\n"
        with database.transaction():
            audit.add("user", "pinned", "first")
            for process in processes:
                process.stdin.write(b"go\n")
                process.stdin.flush()
            time.sleep(0.5)
        for process in processes:
            process.communicate(timeout=120)
            assert process.returncode == 0
        entries = audit.entries(None, oldest_first=True)
        assert audit.broken() is None
    assert entries[0].subject == "first"
    assert sorted(entry.subject for entry in entries[1:]) == sorted(
        f"{name}-{n}" for name in names for n in range(each)
    )


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_killed_at_any_statement_the_chain_holds(path):
    Database(path).close()
    script = ADDER.replace(
        'print("ready", flush=True)\nsys.stdin.readline()',
        "import os, signal\n"
        "left = int(sys.argv[4])\n"
        "def step(sql):\n"
        "    global left\n"
        "    left -= 1\n"
        "    if not left: os.kill(os.getpid(), signal.SIGKILL)\n"
        "database.connection.set_trace_callback(step)",
    )
    for last in range(1, 8):
        done = subprocess.run([sys.executable, "-c", script, str(path), "x", "2", str(last)], timeout=60, check=False)
        assert done.returncode == -signal.SIGKILL
        with closing(Database(path)) as database:
            audit = Audit(database)
            audit.add("user", "pinned", f"after {last}")
            assert audit.broken() is None, f"killed at statement {last}"
            assert json.loads(json.dumps(audit.entries(1)[0].details)) == {}
