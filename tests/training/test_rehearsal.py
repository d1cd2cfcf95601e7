"""What `shammah train --dry-run` finds out, on a tiny model."""

import threading

import pytest
from support.small_runs import STEPS

from shammah.training.rehearsal import rehearse

pytestmark = pytest.mark.usefixtures("one_thread")
WAIT = 1.5


def test_nothing_is_stored(an_app, teach):
    app = an_app()
    teach(app)
    found = rehearse(app.training)
    assert (found.examples, found.left_out, found.steps) == (3, 0, STEPS)
    assert app.training.runs.last() is None and app.desk.buffer().new == 3
    assert not any(path.name != ".training" for path in app.home.adapters.iterdir())
    assert not app.home.checkpoint.exists()


def test_getting_ready_is_a_part_of_the_time(an_app, teach):
    app = an_app()
    teach(app)
    app.load_model()
    assert rehearse(app.training).seconds < WAIT
    held = app.right_of_way.taken()
    held.__enter__()
    timer = threading.Timer(WAIT, held.__exit__, (None, None, None))
    timer.start()
    assert rehearse(app.training).seconds >= WAIT, "it waits before the first layer that it computes"
    timer.join()
