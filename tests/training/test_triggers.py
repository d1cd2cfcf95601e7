import pytest
from hypothesis import given
from hypothesis import strategies as st

from shammah.records import Buffer, Run
from shammah.training.triggers import due, missing

ENDS = ["finished", "failed", "cancelled", "interrupted"]


def buffer(examples):
    return Buffer(examples=examples, weighted=3.0 * examples, needs_target=50, needs_review=50)


def a_run(state, waiting):
    return Run(
        id="run",
        started="2026-01-01T00:00:00.000Z",
        updated="2026-01-01T00:00:00.000Z",
        state=state,
        trigger="threshold",
        model="small",
        waiting=waiting,
    )


@pytest.mark.parametrize(
    ("examples", "last", "more"),
    [
        (0, None, 10),
        (9, None, 1),
        (10, None, 0),
        (25, None, 0),
        (9, a_run("finished", 10), 1),
        (10, a_run("finished", 10), 0),
        (10, a_run("failed", 10), 10),
        (19, a_run("failed", 10), 1),
        (20, a_run("failed", 10), 0),
        (10, a_run("cancelled", 10), 10),
        (20, a_run("cancelled", 10), 0),
        (12, a_run("running", 10), 8),
        (12, a_run("interrupted", 10), 8),
        (0, a_run("failed", 10), 20),
    ],
)
def test_how_many_more_examples_a_run_waits_for(examples, last, more):
    assert missing(buffer(examples), 10, last) == more
    assert due(buffer(examples), 10, last) == (more == 0)


ratings = st.tuples(st.just("rate"), st.integers(1, 4))
ends = st.tuples(st.just("end"), st.sampled_from(ENDS))
restarts = st.tuples(st.just("restart"), st.none())


@given(st.integers(1, 8), st.lists(ratings | ends | restarts, max_size=60))
def test_one_threshold_starts_one_run_also_after_a_restart(threshold, story):
    """Asked after every rating and every start: each run has a threshold of examples that none before it was
    begun with."""
    untrained, last, begun, rated = 0, None, [], 0
    for kind, what in story:
        if kind == "rate":
            untrained, rated = untrained + what, rated + what
        elif kind == "end" and last is not None and last.state == "running":
            last = a_run(what, last.waiting)
            untrained -= last.waiting if what == "finished" else 0
        elif kind == "restart" and last is not None and last.state == "running":
            last = a_run("interrupted", last.waiting)
        running = last is not None and last.state == "running"
        if due(buffer(untrained), threshold, last):
            # What is rated while a run is under way may make the next one due at its end, never the same examples.
            if not running:
                last = a_run("running", untrained)
                begun.append(rated)
            assert rated >= threshold * len(begun)
        else:
            assert untrained < threshold or last.state != "finished"
    assert all(later - earlier >= threshold for earlier, later in zip([0, *begun], begun, strict=False))
