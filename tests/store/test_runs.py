import itertools
import os
import signal
import subprocess
import sys
from contextlib import closing
from dataclasses import replace

import pytest

from shammah.errors import ExampleDeleted, StoreError
from shammah.records import Message, Run
from shammah.store import Database, Examples, new_id
from shammah.store.activations import Activations
from shammah.store.audit import Audit
from shammah.store.runs import Runs


@pytest.fixture
def a_run():
    """Make a run with some of its fields."""

    def make(**changes):
        fields = {
            "id": new_id(),
            "started": "2026-01-31T09:05:00.000Z",
            "updated": "2026-01-31T09:05:00.000Z",
            "trigger": "threshold",
            "model": "small",
        }
        return Run(**(fields | changes))

    return make


@pytest.fixture
def runs(database):
    seconds = itertools.count()
    return Runs(database, now=lambda: f"2026-02-01T00:00:{next(seconds):02d}.000Z")


@pytest.fixture
def examples(database):
    return Examples(database)


@pytest.fixture
def some(examples, an_example):
    """Ids of stored examples that wait."""
    return tuple(examples.put(an_example(f"What is {number}?")).id for number in range(3))


def waiting(examples):
    return examples.buffer().examples


def new(examples):
    return examples.buffer().new


class TestReading:
    def test_what_was_begun_is_read_again_whole(self, runs, a_run):
        run = a_run(
            attempt=2,
            example_ids=("one", "two"),
            weighted=13.0,
            steps=60,
            seed=7,
            settings={"r": 8, "targets": ["q_proj"], "anchor": {"weight": 2.0}, "name": "é"},
            pid=123,
        )
        assert runs.begin(run) == run
        assert runs.get(run.id) == runs.last() == run
        assert runs.running() == runs.recent() == [run]

    def test_a_home_without_runs(self, runs):
        assert (runs.last(), runs.running(), runs.recent()) == (None, [], [])

    def test_the_beginning_of_an_id_will_do(self, runs, a_run):
        first, second = runs.begin(a_run(id="abc1")), runs.begin(a_run(id="abd2"))
        assert runs.get("abc") == first
        assert runs.get(" abd2 ") == second
        with pytest.raises(StoreError, match="More than one run"):
            runs.get("ab")
        for wrong in ("", "x", "abc12"):
            with pytest.raises(StoreError, match="There is no run") as caught:
                runs.get(wrong)
            assert caught.value.hint

    def test_they_come_in_the_order_of_their_start(self, runs, a_run):
        late, early, last = (a_run(started=f"2026-01-{day}") for day in ("20", "10", "20"))
        for run in (late, early, last):
            runs.begin(run)
        assert runs.recent() == [last, late, early]
        assert runs.recent(2) == [last, late]
        assert runs.recent(None) == runs.recent()
        assert runs.last() == last
        assert runs.running() == [early, late, last]

    def test_the_newest_are_found_without_reading_all(self, database):
        plan = database.rows("EXPLAIN QUERY PLAN SELECT * FROM runs ORDER BY started DESC, sequence DESC LIMIT 1")
        assert "runs_by_start" in plan[0]["detail"]
        assert not any("TEMP B-TREE" in row["detail"] for row in plan)


class TestChanging:
    def test_how_far_it_came(self, runs, a_run):
        run = runs.begin(a_run())
        runs.update(run.id, steps=60, first_loss=2.5)
        runs.update(run.id, step=1, tokens=500, seconds=1.5, last_loss=2.25)
        assert runs.get(run.id) == replace(
            run,
            step=1,
            steps=60,
            tokens=500,
            seconds=1.5,
            first_loss=2.5,
            last_loss=2.25,
            updated="2026-02-01T00:00:01.000Z",
        )

    def test_a_loss_that_is_no_number_is_none(self, runs, a_run):
        run = runs.begin(a_run())
        runs.update(run.id, last_loss=float("nan"))
        assert runs.get(run.id).last_loss is None

    @pytest.mark.parametrize("name", ["state", "adapter", "example_ids", "updated", "step = 1 --"])
    def test_what_it_is_does_not_move(self, runs, a_run, name):
        run = runs.begin(a_run())
        with pytest.raises(AssertionError, match="do not move"):
            runs.update(run.id, **{name: "x"})
        assert runs.get(run.id) == run

    @pytest.mark.parametrize("state", ["failed", "cancelled", "interrupted"])
    def test_its_end(self, runs, a_run, state):
        run, other = runs.begin(a_run()), runs.begin(a_run())
        ended = runs.end(run.id, state, error="no room \udcff")
        moment = "2026-02-01T00:00:00.000Z"
        assert ended == replace(run, state=state, error="no room \ufffd", updated=moment, ended=moment)
        assert runs.get(run.id) == ended
        assert runs.running() == [other]

    def test_the_adapter_is_kept_with_it(self, runs, a_run):
        run = runs.begin(a_run())
        assert runs.end(run.id, "finished", adapter="lora-1").adapter == runs.get(run.id).adapter == "lora-1"

    def test_what_is_finished_stays_so(self, runs, a_run, examples, some):
        """Another process may take the run for abandoned just as it is being finished."""
        run = runs.begin(a_run(example_ids=some))
        finished = runs.finish(run.id, "lora-1", examples)
        assert runs.end(run.id, "interrupted", error="gone") == finished
        assert runs.finish(run.id, "lora-2", examples) == finished
        assert [examples.get(id).trained for id in some] == [1, 1, 1]

    def test_what_was_taken_for_abandoned_can_finish(self, runs, a_run, examples, some):
        run = runs.begin(a_run(example_ids=some))
        runs.end(run.id, "interrupted", error="gone")
        finished = runs.finish(run.id, "lora-1", examples)
        assert (finished.state, finished.adapter, finished.error) == ("finished", "lora-1", "")
        assert waiting(examples) == 0

    def test_only_whole_ids_change(self, runs, a_run, examples, some):
        run = runs.begin(a_run(example_ids=some))
        for change in (
            lambda id: runs.update(id, step=1),
            lambda id: runs.end(id, "failed"),
            lambda id: runs.finish(id, "lora-1", examples),
            lambda id: runs.reject(id, "lora-1"),
        ):
            for wrong in (run.id[:-1], "", "\udcff"):
                with pytest.raises(StoreError, match="There is no run"):
                    change(wrong)
        assert runs.get(run.id) == run
        assert waiting(examples) == 3

    def test_a_run_is_begun_once(self, runs, a_run):
        run = runs.begin(a_run())
        with pytest.raises(StoreError):
            runs.begin(run)
        assert runs.recent() == [run]


class TestAudited:
    def test_what_made_no_adapter_and_how_it_ended(self, database, runs, a_run):
        runs.begin(a_run(id="one", step=4, steps=60))
        runs.end("one", "interrupted")
        runs.reopen(runs.get("one"), pid=1)
        runs.end("one", "failed", error="hunter2")
        runs.begin(a_run(id="two", attempt=2))
        runs.end("two", "cancelled")
        entries = Audit(database).entries(oldest_first=True)
        assert [(entry.actor, entry.action, entry.subject) for entry in entries] == [
            ("training", "interrupted", "one"),
            ("training", "failed", "one"),
            ("training", "cancelled", "two"),
        ]
        assert entries[1].details == {"trigger": "threshold", "attempt": 1, "step": 4, "steps": 60}
        assert "hunter2" not in str(entries)

    def test_also_where_the_next_one_begins_with_that(self, database, runs, a_run):
        failed = runs.begin(a_run())
        runs.begin(a_run(attempt=2), after=replace(failed, state="failed"))
        assert [entry.action for entry in Audit(database).entries()] == ["failed"]

    def test_once_and_what_was_judged_with_its_adapter_only(self, database, runs, a_run, examples, some):
        for finished in (True, False):
            run = runs.begin(a_run(example_ids=some))
            if finished:
                runs.finish(run.id, "lora-1", examples)
            else:
                runs.reject(run.id, "lora-2")
            runs.end(run.id, "failed")
        assert Audit(database).count() == 0
        run = runs.begin(a_run())
        for _ in range(2):
            runs.end(run.id, "failed")
        assert Audit(database).count() == 1


class TestAsLearned:
    def test_what_says_the_same_still(self, runs, a_run, examples, some):
        runs.finish(runs.begin(a_run(example_ids=some)).id, "lora-1", examples)
        assert runs.as_learned("lora-1", some) == set(some)
        examples.change(some[0], target="Something else.")
        examples.change(some[1], weight=3.0)
        assert runs.as_learned("lora-1", some) == set(some[1:])
        runs.finish(runs.begin(a_run(example_ids=some)).id, "lora-2", examples)
        assert (runs.as_learned("lora-1", some), runs.as_learned("lora-2", some)) == (set(some[1:]), set(some))
        examples.delete(some[2:])
        assert runs.as_learned("lora-2", some) == set(some[:2])

    def test_of_one_that_was_refused_what_was_never_edited(self, runs, a_run, examples, some):
        runs.reject(runs.begin(a_run(example_ids=some)).id, "lora-1")
        examples.change(some[0], target="Something else.")
        assert runs.as_learned("lora-1", some) == set(some[1:])


class TestInHand:
    """What the last run was begun with is not new, whatever becomes of the run."""

    @pytest.mark.parametrize("state", ["running", "rejected", "failed", "cancelled", "interrupted"])
    def test_until_a_later_run_begins(self, runs, a_run, examples, some, an_example, state):
        assert new(examples) == 3
        run = runs.begin(a_run(example_ids=some))
        if state == "rejected":
            runs.reject(run.id, "lora-1")
        elif state != "running":
            runs.end(run.id, state)
        assert (new(examples), waiting(examples)) == (0, 3)
        examples.put(an_example("Rated since?", weight=10.0))
        buffer = examples.buffer()
        assert (buffer.new, buffer.new_weighted, buffer.examples, buffer.weighted) == (1, 10.0, 4, 13.0)
        runs.end(run.id, "failed")
        runs.begin(a_run(example_ids=some[:1]))
        assert new(examples) == 3, "two that the later run has nothing to do with, and the one rated since"

    def test_what_a_finished_run_left_out_too(self, runs, a_run, examples, some):
        run = runs.begin(a_run(example_ids=some))
        finished = runs.finish(run.id, "lora-1", examples, learned=some[1:])
        assert finished.example_ids == runs.get(run.id).example_ids == some[1:]
        assert [examples.get(id).trained for id in some] == [0, 1, 1]
        assert (new(examples), waiting(examples)) == (0, 1)

    @pytest.mark.parametrize("state", ["finished", "failed"])
    @pytest.mark.parametrize("changes", [{"target": "Something else."}, {"rejected": "Nothing."}])
    def test_until_it_changes(self, runs, a_run, examples, some, changes, state):
        run = runs.begin(a_run(example_ids=some))
        runs.finish(run.id, "lora-1", examples, learned=some[1:]) if state == "finished" else runs.end(run.id, state)
        examples.put(replace(examples.get(some[0]), **changes))
        assert new(examples) == 1
        assert not runs.unchanged(run)

    def test_with_another_note_there_is_another_rewrite(self, runs, a_run, examples, an_example):
        lacks = {"target": None, "rejected": "Bad.", "note": "Shorter", "level": "medium", "state": "needs review"}
        ids = tuple(examples.put(an_example(*said, **more)).id for said, more in [(("A?",), lacks), (("B?",), {})])
        run = runs.begin(a_run(example_ids=ids))
        for id in ids:
            examples.change(id, tags=("mine",), weight=5.0)
        assert (new(examples), runs.unchanged(run)) == (0, True)
        for id in ids:
            examples.change(id, note="Longer")
        assert (new(examples), runs.unchanged(run)) == (1, False), "the one with a target says what it said"

    def test_one_that_is_gone_is_not_counted_against_others(self, runs, a_run, examples, some, an_example):
        run = runs.begin(a_run(example_ids=some))
        runs.end(run.id, "failed")
        examples.delete(some)
        examples.put(an_example("Rated since?"))
        assert (new(examples), runs.unchanged(run)) == (1, False)

    def test_whether_anything_is_left_to_go_on_with(self, runs, a_run, examples, some):
        run = runs.begin(a_run(example_ids=some))
        examples.delete(some[:2])
        assert runs.remains(run)
        examples.change(some[2], state="disabled")
        assert not runs.remains(run)
        examples.change(some[2], state="ready")
        assert runs.remains(run)


class TestWithoutRewrite:
    @pytest.fixture
    def asked(self, runs, a_run, some):
        """A run of which one example got no better reply."""
        run = runs.begin(a_run(example_ids=some))
        runs.found_no_rewrite(run.id, some[:1])
        return run

    def test_later_runs_of_the_same_model_know(self, runs, a_run, some, asked):
        runs.end(asked.id, "failed")
        for _ in range(2):
            runs.begin(a_run(example_ids=some))
            assert runs.without_rewrite("small") == set(some[:1])

    def test_those_of_another_model_ask_for_themselves(self, runs, a_run, some, asked):
        assert runs.without_rewrite("large") == set()
        runs.end(asked.id, "failed")
        runs.begin(a_run(example_ids=some, model="large"))
        assert runs.without_rewrite("small") == runs.without_rewrite("large") == set()

    def test_one_that_says_something_else_is_asked_again(self, runs, a_run, examples, some, asked):
        examples.change(some[0], rejected="Nothing.")
        runs.end(asked.id, "failed")
        runs.begin(a_run(example_ids=some))
        assert runs.without_rewrite("small") == set()


class TestRejecting:
    """An adapter that was found no better ends its run, and nothing has learned anything."""

    def test_it_ends_with_its_adapter_and_its_examples_wait(self, runs, a_run, examples, some):
        run = runs.begin(a_run(example_ids=some))
        rejected = runs.reject(run.id, "lora-1", why="it is worse")
        moment = "2026-02-01T00:00:00.000Z"
        assert rejected == replace(
            run, state="rejected", adapter="lora-1", error="it is worse", updated=moment, ended=moment
        )
        assert runs.last() == runs.get(run.id) == rejected and runs.running() == []
        assert [examples.get(id).trained for id in some] == [0, 0, 0]
        assert (waiting(examples), new(examples), runs.remains(rejected), runs.unchanged(rejected)) == (
            3,
            0,
            True,
            True,
        )

    def test_an_example_that_comes_to_say_something_else_is_new_again(self, runs, a_run, examples, some):
        runs.reject(runs.begin(a_run(example_ids=some)).id, "lora-1")
        examples.change(some[0], target="Something else.")
        assert (waiting(examples), new(examples)) == (3, 1)

    def test_what_was_judged_stays_so(self, runs, a_run, examples, some):
        """Another process may take the run for abandoned just as it is being judged."""
        rejected = runs.reject(runs.begin(a_run(example_ids=some)).id, "lora-1")
        for later in (
            lambda: runs.end(rejected.id, "interrupted", error="gone"),
            lambda: runs.finish(rejected.id, "lora-2", examples),
            lambda: runs.reject(rejected.id, "lora-2"),
            lambda: runs.reopen(rejected, pid=1),
        ):
            assert later() == rejected
        assert [examples.get(id).trained for id in some] == [0, 0, 0]
        finished = runs.finish(runs.begin(a_run(example_ids=some)).id, "lora-2", examples)
        assert runs.reject(finished.id, "lora-2") == finished
        assert [examples.get(id).trained for id in some] == [1, 1, 1]

    def test_what_was_taken_for_abandoned_can_be_rejected(self, runs, a_run, some):
        run = runs.begin(a_run(example_ids=some))
        runs.end(run.id, "interrupted", error="gone")
        assert (runs.reject(run.id, "lora-1").state, runs.get(run.id).error) == ("rejected", "")

    def test_not_where_an_example_was_deleted_meanwhile(self, runs, a_run, examples, some):
        run = runs.begin(a_run(example_ids=some))
        examples.delete([some[1]])
        with pytest.raises(ExampleDeleted):
            runs.reject(run.id, "lora-1")
        assert runs.get(run.id).state == "running"

    def test_the_next_attempt_learns_the_same(self, runs, a_run, examples, some):
        runs.reject(runs.begin(a_run(example_ids=some)).id, "lora-1")
        runs.finish(runs.begin(a_run(example_ids=some, attempt=2)).id, "lora-2", examples)
        assert [examples.get(id).trained for id in some] == [1, 1, 1]


class TestFinishing:
    def test_what_it_learned_waits_no_more(self, runs, a_run, examples, some, an_example):
        run = runs.begin(a_run(example_ids=some))
        later = examples.put(an_example("Rated while it ran?"))
        finished = runs.finish(run.id, "lora-1", examples)
        assert (finished.state, finished.adapter, finished.ended) == ("finished", "lora-1", finished.updated)
        assert runs.get(run.id) == finished
        assert [examples.get(id).trained for id in (*some, later.id)] == [1, 1, 1, 0]
        assert waiting(examples) == 1

    @pytest.mark.parametrize(
        "changes",
        [{"target": "Something else."}, {"rejected": "Nothing."}, {"messages": (Message("user", "what is 0?"),)}],
    )
    def test_what_was_changed_meanwhile_waits_for_the_next(self, runs, a_run, examples, some, changes):
        run = runs.begin(a_run(example_ids=some))
        changed = examples.put(replace(examples.get(some[0]), **changes))
        assert changed.id == some[0]
        runs.finish(run.id, "lora-1", examples)
        assert [examples.get(id).trained for id in some] == [0, 1, 1]
        again = runs.begin(a_run(example_ids=some))
        runs.finish(again.id, "lora-2", examples)
        assert [examples.get(id).trained for id in some] == [1, 2, 2]

    def test_what_was_said_again_in_the_same_words_is_learned(self, runs, a_run, examples, some):
        run = runs.begin(a_run(example_ids=some))
        examples.put(examples.get(some[0]))
        examples.change(some[1], weight=3.0, tags=("mine",))
        runs.finish(run.id, "lora-1", examples)
        assert waiting(examples) == 0

    def test_nothing_is_learned_of_which_a_part_was_deleted_meanwhile(self, runs, a_run, examples, some):
        run = runs.begin(a_run(example_ids=some))
        runs.require_examples(run)
        examples.delete([some[1]])
        for refused in (lambda: runs.finish(run.id, "lora-1", examples), lambda: runs.require_examples(run)):
            with pytest.raises(ExampleDeleted, match="deleted"):
                refused()
        assert runs.get(run.id).state == "running" and examples.find(status="trained") == []

    def test_nor_where_a_target_was_rated_critical_meanwhile(self, runs, a_run, examples, an_example):
        """By the user who called it good before, or in another turn that got the same reply."""
        for rated in (
            lambda mine: examples.put(
                replace(mine, target=None, rejected=mine.target, level="critical", state="needs target")
            ),
            lambda mine: examples.put(
                an_example(mine.prompt, None, rejected=mine.target, level="medium", state="needs target")
            ),
        ):
            mine = examples.put(an_example("Which one?", f"This one, {len(runs.recent())}."))
            run = runs.begin(a_run(example_ids=(mine.id,)))
            rated(mine)
            with pytest.raises(ExampleDeleted, match="taken back"):
                runs.finish(run.id, "lora-1", examples)
            runs.end(run.id, "cancelled")

    def test_nor_where_it_was_changed_first_and_deleted_then(self, runs, a_run, examples, some):
        run = runs.begin(a_run(example_ids=some))
        examples.change(some[0], target="Something else.")
        runs.require_examples(run)
        examples.delete([some[0]])
        with pytest.raises(ExampleDeleted):
            runs.require_examples(run)

    def test_a_better_target_takes_nothing_away(self, runs, a_run, examples, some):
        run = runs.begin(a_run(example_ids=some))
        examples.change(some[0], target="Better.", weight=3.0)
        assert runs.finish(run.id, "lora-1", examples).state == "finished"

    def test_what_went_otherwise_does_not_keep_it_from_that(self, database, runs, a_run, an_example):
        """To the archive, or because another one came to say the same."""
        examples = Examples(database, limit=3)
        old, *new = (examples.put(an_example(f"What is {number}?")).id for number in range(3))
        examples.mark_trained([old], "lora-0")
        run = runs.begin(a_run(example_ids=(old, *new)))
        examples.put(an_example("Rated since?"))
        assert not examples.has(old)
        examples.put(replace(examples.get(new[0]), messages=examples.get(new[1]).messages))
        assert not examples.has(new[1])
        assert runs.finish(run.id, "lora-1", examples).state == "finished"

    def test_a_run_that_failed_has_learned_nothing(self, database, runs, a_run, examples, some):
        failed = runs.begin(a_run(example_ids=some))
        runs.end(failed.id, "failed", error="out of memory")
        assert waiting(examples) == 3
        run = runs.begin(a_run(example_ids=some[:1], attempt=2))
        assert {row["run_id"] for row in database.rows("SELECT run_id FROM learning")} == {run.id}
        runs.finish(run.id, "lora-1", examples)
        assert waiting(examples) == 2

    def test_all_or_nothing(self, database, runs, a_run, examples, some):
        run = runs.begin(a_run(example_ids=some))
        database.connection.execute(
            "CREATE TEMP TRIGGER refuse BEFORE UPDATE OF state ON runs BEGIN SELECT RAISE(ABORT, 'power is out'); END"
        )
        with pytest.raises(StoreError, match="power is out"):
            runs.finish(run.id, "lora-1", examples)
        assert runs.running() == [run]
        assert waiting(examples) == 3

    def test_with_the_activation_of_its_adapter_as_one(self, database, runs, a_run, examples, some):
        run, activations = runs.begin(a_run(example_ids=some)), Activations(database)

        def swap():
            with database.transaction():
                runs.finish(run.id, "lora-1", examples)
                activations.activate("small", "lora-1", actor="training")

        database.connection.execute(
            "CREATE TEMP TRIGGER refuse BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'power is out'); END"
        )
        with pytest.raises(StoreError, match="power is out"):
            swap()
        assert (runs.running(), waiting(examples), activations.current("small")) == ([run], 3, None)
        database.connection.execute("DROP TRIGGER refuse")
        swap()
        assert (runs.running(), waiting(examples)) == ([], 0) and activations.current("small").adapter == "lora-1"

    @pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
    def test_killed_between_the_mark_and_the_end(self, path, a_run, an_example):
        with closing(Database(path)) as database:
            id = Examples(database).put(an_example()).id
            run = Runs(database).begin(a_run(example_ids=(id,)))
        script = (
            "import os, signal, sys; from pathlib import Path\n"
            "from shammah.store import Database, Examples; from shammah.store.runs import Runs\n"
            "class Killed(Examples):\n"
            "    def mark_trained(self, ids, adapter):\n"
            "        super().mark_trained(ids, adapter)\n"
            "        assert self.buffer().examples == 0\n"
            "        os.kill(os.getpid(), signal.SIGKILL)\n"
            "database = Database(Path(sys.argv[1]))\n"
            "Runs(database).finish(sys.argv[2], 'lora-1', Killed(database))\n"
        )
        done = subprocess.run([sys.executable, "-c", script, str(path), run.id], timeout=60, check=False)
        assert done.returncode == -signal.SIGKILL
        with closing(Database(path)) as database:
            runs, examples = Runs(database), Examples(database)
            assert (runs.running(), waiting(examples)) == ([run], 1)
            runs.finish(run.id, "lora-1", examples)
            assert (runs.running(), waiting(examples)) == ([], 0)
