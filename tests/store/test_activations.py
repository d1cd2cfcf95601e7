"""Which adapter answers, which did, and the way back. That much of it is found by an index."""

import itertools
import os
import signal
import subprocess
import sys
from contextlib import closing

import pytest

from shammah.errors import StoreError
from shammah.records import Activation
from shammah.store import Database
from shammah.store.activations import Activations
from shammah.store.adapter_notes import AdapterNotes
from shammah.store.audit import Audit


@pytest.fixture
def activations(database):
    seconds = itertools.count()
    return Activations(database, now=lambda: f"2026-01-01T00:00:{next(seconds):02d}.000Z")


@pytest.fixture
def load(activations):
    """Activate adapters one after the other; a number is that of the activation that is gone back to."""

    def load(*names, base="small"):
        for name in names:
            if isinstance(name, int):
                (back,) = [each for each in activations.way_back(base) if each.sequence == name]
                activations.activate(base, back.adapter, actor="user", back_to=back.sequence)
            else:
                activations.activate(base, name, actor="user")

    return load


def way(activations, base="small"):
    return [(each.adapter, each.sequence) for each in activations.way_back(base)]


def test_nobody_was_ever_activated(activations):
    assert (activations.current("small"), activations.all(), activations.way_back("small")) == (None, [], [])
    assert (activations.was_active(), activations.bases_of("a"), activations.newest_sequence()) == (set(), set(), 0)


def test_the_newest_of_a_base_counts(activations):
    first = activations.activate("small", "a", strength=0.5, actor="training", cause="better")
    assert first == Activation(
        sequence=1,
        time="2026-01-01T00:00:00.000Z",
        base="small",
        adapter="a",
        strength=0.5,
        actor="training",
        cause="better",
    )
    other = activations.activate("large", "c", actor="user")
    second = activations.activate("small", "b", actor="user")
    assert (activations.current("small"), activations.current("large")) == (second, other)
    assert activations.current("smaller") is None
    none = activations.activate("small", None, actor="failure", cause="it is damaged")
    assert activations.current("small") == none and none.adapter is None
    assert activations.all() == [none, second, other, first]
    assert activations.all("small") == [none, second, first] and activations.all("small", 2) == [none, second]
    assert activations.newest_sequence() == none.sequence == 4


def test_who_answers_now_and_who_ever_did(activations, load):
    load("a", "b")
    load("b", "a", base="large")
    load("b", None, base="huge")
    assert activations.was_active() == {"a", "b"}
    assert activations.bases_of("a") == {"large"} and activations.bases_of("b") == {"small"}
    assert activations.bases_of("c") == set()


class TestTheWayBack:
    def test_ends_with_the_base_itself(self, activations, load):
        load("a", "b", "c")
        assert way(activations) == [("b", 2), ("a", 1), (None, 0)]
        assert activations.way_back("small")[-1].base == "small"

    def test_names_each_once_and_never_the_one_that_answers(self, activations, load):
        load("a", "b", "a", None, "b", "b")
        assert way(activations) == [(None, 4), ("a", 3)]

    def test_what_was_gone_back_from_is_not_come_to_again(self, activations, load):
        load("a", "b", "c", 2)
        assert way(activations) == [("a", 1), (None, 0)]
        load(1)
        assert activations.current("small").adapter == "a" and way(activations) == [(None, 0)]
        load(0)
        assert activations.current("small").adapter is None and way(activations) == []

    def test_several_steps_at_once(self, activations, load):
        load("a", "b", "c", 1)
        assert way(activations) == [(None, 0)]

    def test_what_was_loaded_after_a_step_back_is_a_way_of_its_own(self, activations, load):
        load("a", "b", "c", 2, "d")
        assert way(activations) == [("b", 4), ("a", 1), (None, 0)]
        load(4, "c")
        assert way(activations) == [("b", 6), ("a", 1), (None, 0)]

    def test_each_base_has_its_own(self, activations, load):
        load("a", "b")
        load("c", "d", base="large")
        load(1)
        assert way(activations, "large") == [("c", 3), (None, 0)]

    def test_the_strength_of_then_comes_with_it(self, activations):
        activations.activate("small", "a", strength=0.25, actor="user")
        activations.activate("small", "b", actor="user")
        assert activations.way_back("small")[0].strength == 0.25


class TestTheAudit:
    def test_has_an_entry_of_each(self, database, activations, load):
        load("a", "b", None, 2, None, "a", 5)
        told = [
            (entry.action, entry.subject, entry.details["before"], entry.details["adapter"])
            for entry in Audit(database).entries(oldest_first=True)
        ]
        assert told == [
            ("activated", "a", None, "a"),
            ("activated", "b", "a", "b"),
            ("deactivated", "b", "b", None),
            ("rolled back", "small", None, "b"),
            ("deactivated", "b", "b", None),
            ("activated", "a", None, "a"),
            ("rolled back", "a", "a", None),
        ]

    def test_says_who_and_why(self, database, activations):
        made = activations.activate("small", "a", strength=0.5, actor="probation", cause="rated worse")
        (entry,) = Audit(database).entries()
        assert (entry.actor, entry.time >= made.time) == ("probation", True)
        assert entry.details == {
            "base": "small",
            "adapter": "a",
            "before": None,
            "strength": 0.5,
            "cause": "rated worse",
        }

    def test_is_stored_with_it_or_nothing_is(self, database, activations):
        database.connection.execute(
            "CREATE TEMP TRIGGER refuse BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'power is out'); END"
        )
        with pytest.raises(StoreError, match="power is out"):
            activations.activate("small", "a", actor="user")
        assert activations.current("small") is None

    @pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
    def test_killed_at_any_statement_both_are_there_or_neither(self, path):
        script = (
            "import os, signal, sys\n"
            "from pathlib import Path\n"
            "from shammah.store import Database\n"
            "from shammah.store.activations import Activations\n"
            "database, left = Database(Path(sys.argv[1])), int(sys.argv[2])\n"
            "def step(sql):\n"
            "    global left\n"
            "    left -= 1\n"
            "    if not left: os.kill(os.getpid(), signal.SIGKILL)\n"
            "database.connection.set_trace_callback(step)\n"
            "Activations(database).activate('small', 'b', actor='user')\n"
        )
        with closing(Database(path)) as database:
            Activations(database).activate("small", "a", actor="user")
        last, ended = 0, -signal.SIGKILL
        while ended == -signal.SIGKILL:
            last += 1
            command = [sys.executable, "-c", script, str(path), str(last)]
            ended = subprocess.run(command, timeout=60, check=False).returncode
            with closing(Database(path)) as database:
                activations, audit = Activations(database), Audit(database)
                assert len(activations.all()) == audit.count() and audit.broken() is None
                assert activations.current("small").adapter in ("a", "b")
        assert ended == 0 and last > 5, "more statements than that are one activation"


class TestManyOnTheShelf:
    """A thousand adapters, ten thousand activations: what is asked often is answered by an index."""

    @pytest.fixture
    def many(self, database, activations):
        notes = AdapterNotes(database)
        with database.transaction() as connection:
            for number in range(1000):
                notes.add(f"lora_adapter_{number:04d}")
            connection.executemany(
                "INSERT INTO activations (time, base, adapter, strength, actor, cause) "
                "VALUES ('', ?, ?, 1.0, 'user', '')",
                [(f"base-{number % 3}", f"lora_adapter_{number % 1000:04d}") for number in range(10_000)],
            )
        return notes

    @pytest.fixture
    def plans(self, database, monkeypatch):
        """How SQLite goes about each statement of a call."""

        def plans(call):
            asked = []
            rows = database.rows
            with monkeypatch.context() as patched:
                patched.setattr(
                    database, "rows", lambda sql, values=(): asked.append((sql, values)) or rows(sql, values)
                )
                found = call()
            details = [row["detail"] for sql, values in asked for row in rows("EXPLAIN QUERY PLAN " + sql, values)]
            return found, " | ".join(details)

        return plans

    def test_who_answers(self, activations, many, plans):
        found, plan = plans(lambda: activations.current("base-1"))
        assert found.sequence == 9_998
        assert "SEARCH activations USING INDEX activations_by_base (base=?)" in plan
        assert "SCAN" not in plan and "TEMP B-TREE" not in plan

    def test_whether_that_changed(self, activations, many, plans):
        found, plan = plans(activations.newest_sequence)
        assert found == 10_000 and plan == "SEARCH activations"

    def test_the_newest_of_all(self, activations, many, plans):
        found, plan = plans(lambda: activations.all(limit=5))
        assert len(found) == 5 and "TEMP B-TREE" not in plan

    def test_where_one_answers_now(self, activations, many, plans):
        found, plan = plans(lambda: activations.bases_of("lora_adapter_0999"))
        assert found == {"base-0"}
        assert "activations_by_adapter" in plan and "SCAN" not in plan

    def test_who_ever_did(self, activations, many, plans):
        found, plan = plans(activations.was_active)
        assert len(found) == 1000 and "COVERING INDEX activations_by_adapter" in plan and "TEMP B-TREE" not in plan

    def test_all_notes_in_their_order(self, many, plans):
        found, plan = plans(many.all)
        assert list(found) == [f"lora_adapter_{number:04d}" for number in range(1000)]
        assert "TEMP B-TREE" not in plan

    def test_one_note(self, many, plans):
        found, plan = plans(lambda: many.get("lora_adapter_0500"))
        assert found.name == "lora_adapter_0500" and "SEARCH adapters USING PRIMARY KEY" in plan
