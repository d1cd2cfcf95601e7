"""What cannot be written down while a run goes on does not end it; what it comes to has to be saved."""

import json
import resource
import sqlite3
from contextlib import closing, contextmanager

import pytest
from support.small_runs import STEPS, Heard, came_to, kept, nothing_left_behind, run, shelf

from shammah.forgetting import Stores, forget_text
from shammah.training import checkpoint, progress_record
from shammah.training.control import Control
from shammah.ui.training_words import ended_words

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def always(monkeypatch):
    """The record of a run is brought up to date after each step."""
    monkeypatch.setattr(progress_record, "_RECORD_SECONDS", 0.0)


@pytest.fixture
def logged(caplog):
    """The warnings; the log of the program hands nothing on."""
    progress_record.log.addHandler(caplog.handler)
    yield caplog
    progress_record.log.removeHandler(caplog.handler)


@contextmanager
def held(app):
    """Another program writes to the database, for which this one does not wait long."""
    app.database.connection.execute("PRAGMA busy_timeout = 10")
    with closing(sqlite3.connect(app.home.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@contextmanager
def no_room(app):
    """No file can grow."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def during(trouble, app, first, last, then=lambda step: None):
    """A listener under whom there is trouble from one step to another."""
    entered = []

    def heard(event):
        step = event.step if getattr(event, "phase", "") == "training" else 0
        if step == first and not entered:
            entered.append(trouble(app))
            entered[0].__enter__()
        if step == last and entered:
            entered[0].__exit__(None, None, None)
        then(step)

    return Heard(heard)


def steps_logged(app, run):
    lines = (app.home.logs / "runs" / f"{run.id}.jsonl").read_text().splitlines()
    return [each["step"] for each in map(json.loads, lines) if "step" in each]


class TestARunThatIsHealthy:
    def test_a_database_that_is_held(self, an_app, teach, always, logged):
        app = an_app("lora.training.save_seconds=0")
        teach(app)
        recorded = {}
        heard = during(held, app, 2, 5, lambda step: recorded.setdefault(step, app.training.runs.last().step))
        done = run(app, heard=heard)
        assert (done.state, done.step, done.steps) == ("finished", STEPS, STEPS) and heard.notices() == []
        assert (recorded[2], recorded[5], recorded[6]) == (1, 1, 5), "and afterwards it goes on"
        assert len([each for each in logged.messages if "its record" in each]) == 1
        assert app.desk.buffer().examples == 0 and steps_logged(app, done) == [1, 2, 3, 4, 5, 6]
        nothing_left_behind(app)

    def test_a_disk_that_is_full_for_a_while(self, an_app, teach, always, logged):
        app = an_app("lora.training.save_seconds=0")
        teach(app)
        heard = during(no_room, app, 2, 5)
        done = run(app, heard=heard)
        assert (done.state, done.step) == ("finished", STEPS)
        (notice,) = heard.notices()
        assert notice.startswith("No room left to write") and "make room" in notice
        assert any("where it stands" in each for each in logged.messages)
        assert app.desk.buffer().examples == 0
        nothing_left_behind(app)

    def test_no_place_for_its_log(self, an_app, teach, logged):
        app = an_app()
        teach(app)
        (app.home.logs / "runs").write_text("")
        heard = Heard()
        assert run(app, heard=heard).state == "finished"
        assert heard.notices() == [] and len([each for each in logged.messages if "its log" in each]) == 1

    def test_too_little_memory_to_save_where_it_stands(self, an_app, teach, logged, monkeypatch):
        def no_memory(tensors, about):
            raise MemoryError

        monkeypatch.setattr(checkpoint, "file_of", no_memory)
        app, heard = an_app("lora.training.save_seconds=0"), Heard()
        teach(app)
        done = run(app, heard=heard)
        assert (done.state, heard.notices()) == ("finished", [])
        steps = [move.step for move in heard.moves() if move.phase == "training"]
        assert steps == [1, 2, 3, 4, 5, 6], "no step is taken twice"
        assert [each for each in logged.messages if "not enough memory" in each]


def is_judged(event):
    """Whether all that is left to do is to write that down."""
    return getattr(event, "phase", "") == "recording"


class TestItsEnd:
    def test_what_cannot_be_marked_as_learned_is_no_adapter_either(self, an_app, teach):
        app = an_app()
        ids = teach(app)
        control = Control()
        trouble = held(app)
        heard = Heard(lambda event: trouble.__enter__() if is_judged(event) else None)
        done = run(app, control, heard)
        trouble.__exit__(None, None, None)
        assert done.state == "failed" and "Another program holds the database" in done.error
        kept(app, ids)
        done = run(app)  # who could not look whether it is in use left it to this one
        assert done.state == "finished" and [each.name for each in shelf(app).all()] == [done.adapter]
        nothing_left_behind(app)


class TestWhatIsForgotten:
    @pytest.fixture
    def forget(self):
        def forget(app, text):
            return forget_text(Stores(app.database, app.desk.examples, app.desk.rules, app.home), text)

        return forget

    def test_where_a_run_stands_goes_with_what_it_learned(self, an_app, teach, forget):
        app, control = an_app("lora.training.save_seconds=0"), Control()
        teach(app, "Atlantis", "Berlin")
        run(app, control, Heard(lambda event: control.cancel(ending=True) if came_to(event, 3) else None))
        assert forget(app, "nothing of the kind").examples == 0 and app.home.checkpoint.exists()
        assert forget(app, "Atlantis").examples == 1 and not app.home.checkpoint.exists()

    def test_and_does_not_come_back_while_the_run_goes_on(self, an_app, teach, forget):
        app, control = an_app("lora.training.save_seconds=0"), Control()
        teach(app, "Atlantis", "Berlin")
        there = {}

        def then(event):
            step = event.step if getattr(event, "phase", "") == "training" else 0
            there[step] = app.home.checkpoint.exists()
            if step == 3:
                forget(app, "Atlantis")
            if step == 5:
                control.cancel(ending=True)

        assert run(app, control, Heard(then)).state == "interrupted"
        assert there[3] and not there[4] and not there[5] and not app.home.checkpoint.exists()

    @pytest.mark.parametrize("when", [{"step": 3, "phase": "training"}, {"phase": "saving"}])
    def test_it_is_not_learned_and_what_is_left_is(self, an_app, teach, forget, always, when):
        """At the latest where the adapter is put on the shelf."""
        app, moments = an_app(), []
        _, left = teach(app, "Atlantis", "Berlin")

        def then(event):
            if not moments and all(getattr(event, name, None) == value for name, value in when.items()):
                moments.append(event)
                forget(app, "Atlantis")

        done = run(app, heard=(heard := Heard(then)))
        begun, again = app.training.runs.recent()[::-1]
        assert (begun.state, begun.step, again) == ("cancelled", when.get("step", STEPS), done)
        assert (done.state, done.example_ids, done.trigger) == ("finished", (left,), begun.trigger)
        (manifest,) = shelf(app).all()
        assert manifest.example_ids == (left,) and app.desk.examples.get(left).trained == 1
        told = "An example that it learned from was deleted or taken back. What is left is learned anew."
        assert heard.notices() == [told]
        nothing_left_behind(app)

    def test_where_nothing_is_left_it_only_ends(self, an_app, teach, forget, always):
        app = an_app()
        teach(app, "Atlantis")
        heard = Heard(lambda event: forget(app, "Atlantis") if came_to(event, 3) else None)
        ended = run(app, heard=heard)
        assert ended.state == "cancelled"
        assert ended_words(ended) == "Training ended: all that it learned from was deleted or taken back."
        assert shelf(app).all() == [] and heard.notices() == []
        nothing_left_behind(app)
