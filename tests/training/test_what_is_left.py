"""What a run leaves behind in memory, and how it fits what it computes at once to the machine. Whole runs."""

import gc

import pytest
import torch
from support.small_runs import Heard, back_to_the_base, run

from shammah.training import cycle as cycle_module
from shammah.training import fitting, loop, memory, preparing
from shammah.training.control import Control
from shammah.training.courtesy import low_priority_stream
from shammah.training.fitting import Limits, measured_limits
from shammah.training.learner import FlatParameters, Learner
from shammah.training.loop import Trainer

pytestmark = pytest.mark.usefixtures("one_thread")


def _is(event, phase):
    return getattr(event, "phase", "") == phase


def _begins(event):
    return _is(event, "preparing") and not event.steps


def parts_of_runs():
    """Whether anybody still knows them or not."""
    return [each for each in gc.get_objects() if type(each) in (Learner, Trainer, FlatParameters)]


@pytest.fixture
def left():
    """What is there of this test's runs. Python looks for what nobody uses only where it is told to."""
    gc.collect()
    others = parts_of_runs()
    known = set(map(id, others))
    gc.disable()
    yield lambda: [type(each).__name__ for each in parts_of_runs() if id(each) not in known]
    gc.enable()


class TestMemory:
    @pytest.fixture
    def given_back(self, monkeypatch, left):
        """What was left each time that memory was given back to the system."""
        times = []
        monkeypatch.setattr(memory, "release_memory", lambda: times.append(left()))
        return times

    def test_nothing_is_left_when_it_is_given_back(self, an_app, teach, given_back):
        app = an_app()
        for names in ("ABC", "DEF"):
            teach(app, *names)
            assert run(app).state == "finished"
            back_to_the_base(app)
        assert len(given_back) == 2 * 4, "before it is judged, after each voice, and at the end"
        assert all(there == [] for there in given_back)

    def test_nothing_of_the_training_is_left_while_it_is_judged(self, an_app, teach, left):
        app, there = an_app(), []
        teach(app)
        run(app, heard=Heard(lambda event: there.append(left()) if _is(event, "judging") else None))
        assert there[0] == [] and all(set(each) <= {"Learner", "FlatParameters"} for each in there)
        assert all(len(each) <= 2 for each in there), "one voice at a time"

    def test_nor_of_a_run_that_was_cancelled(self, an_app, teach, given_back):
        app, control = an_app(), Control()
        teach(app)
        heard = Heard(lambda event: control.cancel() if event.phase == "training" else None)
        assert run(app, control, heard).state == "cancelled"
        assert given_back == [[]]

    def test_nor_beside_a_gentler_try(self, an_app, teach, left, given_back, monkeypatch):
        monkeypatch.setattr(loop, "learning_rate", lambda recipe, step, steps: 1e30)
        app, beginnings = an_app("lora.training.retries=2"), []
        teach(app)
        heard = Heard(lambda event: beginnings.append(left()) if _begins(event) else None)
        assert run(app, heard=heard).attempt == 3
        assert given_back == beginnings == [[], [], []]

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
    def test_all_runs_compute_on_one_stream(self):
        """What is kept of a stream's memory is of no use to another."""
        device = torch.device("cuda", 0)
        streams = []
        for _ in range(3):
            with low_priority_stream(device):
                streams.append(torch.cuda.current_stream(device))
        assert streams[0] == streams[1] == streams[2] != torch.cuda.current_stream(device)


class TestAtOnce:
    def begun(self, app, monkeypatch):
        """The limits of a run before its first step and after it, and what they were made of."""
        found = []

        def listened(limits, **more):
            found.append((limits, measured_limits(limits, **more), more))
            return found[-1][1]

        monkeypatch.setattr(cycle_module, "measured_limits", listened)
        assert run(app).state == "finished"
        assert len(found) == 1
        return found[0]

    def test_the_first_step_tells_memory_and_time(self, an_app, teach, monkeypatch):
        app = an_app()
        teach(app)
        looked, own = [], memory.Taken.look
        monkeypatch.setattr(memory.Taken, "look", lambda taken: looked.append(1) or own(taken))
        before, after, measured = self.begun(app, monkeypatch)
        assert before == after and 0 < measured["seconds"] < 0.2 and measured["tokens"] > 0
        stops = 2 * 2 * 3 + 2
        assert stops <= len(looked) < 12 * stops  # of the first step, not of all six

    def test_where_the_chat_would_have_to_wait_less_is_computed_at_once(self, an_app, teach, monkeypatch):
        monkeypatch.setattr(fitting, "_MOST_SECONDS", 1e-9)
        app = an_app()
        teach(app)
        before, after, _ = self.begun(app, monkeypatch)
        assert before.tokens > 64 == after.tokens

    def test_a_larger_model_begins_with_less(self, an_app, teach, monkeypatch):
        limits = []
        for free in (16 << 30, 1_000_000):
            monkeypatch.setattr(preparing, "free_memory_of", lambda device, free=free: free)
            app = an_app()
            teach(app, f"of {free} bytes")
            limits.append(app.training.cycle().prepared()[0].trainer.limits)
        assert limits == [Limits(32, 8192), Limits(4, 64)]


def test_a_model_that_cannot_compute_its_layers_again_says_that_memory_is_too_small(an_app, teach, monkeypatch):
    """Where that would be the next to try."""

    def full(trainer, rows, share):
        raise RuntimeError("MPS backend out of memory")

    app = an_app()
    teach(app)
    app.load_model().loaded.network.supports_gradient_checkpointing = False
    monkeypatch.setattr(loop.Trainer, "_part_loss", full)
    done = run(app)
    assert done.state == "failed" and "Not enough memory to train" in done.error
