from contextlib import closing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shammah.records import Buffer, Run
from shammah.store import Database, Examples, new_id
from shammah.store.runs import Runs
from shammah.training.triggers import due, missing

ENDS = ["finished", "failed", "cancelled", "interrupted"]


@pytest.mark.parametrize(("new", "more"), [(0, 10), (9, 1), (10, 0), (25, 0)])
def test_how_many_more_examples_a_run_waits_for(new, more):
    """Those that the last run was begun with do not count."""
    buffer = Buffer(examples=new + 30, weighted=90.0, new=new, new_weighted=3.0, needs_target=50, needs_review=50)
    assert missing(buffer, 10) == more
    assert due(buffer, 10) == (more == 0)


rated = st.tuples(st.just("rate"), st.integers(1, 4))
# How a run ends, and which of its examples it left out: too long, or without a better reply.
ends = st.tuples(st.just("end"), st.tuples(st.sampled_from(ENDS), st.integers(0, 3)))
restarts = st.tuples(st.just("restart"), st.none())


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(threshold=st.integers(1, 5), story=st.lists(rated | ends | restarts, max_size=30))
def test_one_threshold_starts_one_run_also_after_a_restart(tmp_path_factory, an_example, threshold, story):
    """Asked after every rating, every end and every start: each run has a threshold of examples that none before it
    was begun with."""
    path = tmp_path_factory.mktemp("story") / "shammah.db"
    begun, count = [], 0
    database = Database(path)
    for kind, what in story:
        examples, runs = Examples(database), Runs(database)
        under_way = runs.running()
        if kind == "rate":
            for _ in range(what):
                count += 1
                examples.put(an_example(f"What is {count}?"))
        elif kind == "end" and under_way:
            state, left_out = what
            (run,) = under_way
            if state == "finished":
                runs.finish(run.id, "lora", examples, learned=run.example_ids[left_out:])
            else:
                runs.end(run.id, state)
        elif kind == "restart":
            database.close()
            database = Database(path)
            examples, runs = Examples(database), Runs(database)
            for run in runs.running():
                runs.end(run.id, "interrupted")
        if due(examples.buffer(), threshold) and not runs.running():
            ids = tuple(example.id for example in examples.live())
            runs.begin(
                Run(id=new_id(), started=str(len(begun)), updated="", trigger="threshold", model="m", example_ids=ids)
            )
            begun.append(count)
            assert examples.buffer().new == 0
        assert runs.running() or missing(examples.buffer(), threshold) > 0
    with closing(database):
        assert all(later - earlier >= threshold for earlier, later in zip([0, *begun], begun, strict=False))
