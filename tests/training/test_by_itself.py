"""What begins by itself, and what of it is left alone: runs that others began, that learn nothing new, that kill."""

import shutil

import pytest
from support.small_runs import STEPS, Heard, back_to_the_base, cut_off, kept, nothing_left_behind, run, shelf

from shammah.events import Notice
from shammah.training import loop
from shammah.training.control import Control
from shammah.training.jobs import Job
from shammah.training.next_run import NextRun
from shammah.training.standing import standing, trainer_lock

pytestmark = pytest.mark.usefixtures("one_thread")
THRESHOLD, RESUME = Job("medium", "threshold"), Job("medium", "resume")


def stands(app):
    return standing(app.training.runs, app.home.adapters)


def starts(app):
    """What is said where it begins by itself, and the notices beside it."""
    heard = Heard()
    unsubscribe = app.events.subscribe(heard)
    words = app.training.start_if_due(app.desk.buffer())
    app.training.close()
    unsubscribe()
    return words, [event.text for event in heard.events if isinstance(event, Notice)]


def by_itself(app, job):
    return app.training.cycle().run(job, Control(), Heard())


class TestKilledAgainAndAgain:
    @pytest.fixture
    def killed(self):
        """The run is gone on with, and its program is killed before the next step."""

        def kill(app, left):
            app.training.runs.reopen(left, pid=0)
            return NextRun(app.database, app.training.runs, app.desk.examples, shelf(app)).cut_off()

        return kill

    def test_it_is_given_up_and_told_once(self, an_app, teach, killed):
        app = an_app()
        ids = teach(app)
        left = cut_off(app, 3)
        for kills in (1, 2):
            assert killed(app, left).kills == kills and stands(app).cut_off
        app.training.runs.reopen(left, pid=0)
        found = stands(app)
        assert not found.cut_off and (found.last.state, found.last.kills) == ("failed", 3)
        words, (notice,) = starts(app)
        assert words == "" and "killed 3 times" in notice and "lora.training.auto" in notice
        assert starts(app) == ("", [])
        assert app.training.runs.get(left.id).state == "failed"
        kept(app, ids)
        done = run(app)
        assert done.state == "finished" and done.id != left.id
        nothing_left_behind(app)

    def test_whoever_finds_it(self, an_app, teach, killed):
        app = an_app()
        teach(app)
        left = cut_off(app, 3)
        assert [killed(app, left) is None for _ in range(3)] == [False, False, True]
        assert "killed 3 times" in app.training.runs.last().error

    def test_not_where_it_comes_further_each_time(self, an_app, teach, killed):
        app = an_app("lora.training.save_seconds=0")
        teach(app)
        left = cut_off(app, 2)
        killed(app, left)
        assert killed(app, left).kills == 2
        assert cut_off(app, 3).kills == 0


class TestCutOffUnderOtherSettings:
    def test_another_model_leaves_it(self, an_app, teach, tiny_model, tmp_path):
        app = an_app()
        teach(app)
        left = cut_off(app, 3)
        other = an_app(model=shutil.copytree(tiny_model, tmp_path / "other"))
        words, (notice,) = starts(other)
        assert words == "" and str(tiny_model) in notice and "/train now" in notice
        assert starts(other) == ("", []), "told once"
        assert app.training.runs.last() == left and app.home.checkpoint.exists()
        assert starts(an_app())[0] == "Training starts."

    def test_so_do_other_settings_of_the_recipe(self, an_app, teach):
        app = an_app()
        teach(app)
        left = cut_off(app, 3)
        words, (notice,) = starts(an_app("lora.training.learning_rate=0.001"))
        assert words == "" and "the settings it was begun with" in notice
        assert app.training.runs.last() == left and app.home.checkpoint.exists()

    def test_new_examples_begin_one_all_the_same(self, an_app, teach):
        app = an_app()
        teach(app)
        cut_off(app, 3)
        teach(app, "D", "E", "F")
        words, notices = starts(an_app("lora.training.learning_rate=0.001"))
        assert words == "Training starts." and len(notices) >= 1


class TestNothingLeftToDo:
    def test_enough_that_another_run_learned_meanwhile(self, an_app, teach):
        app = an_app()
        teach(app)
        done = by_itself(app, THRESHOLD)
        assert done.state == "finished"
        assert by_itself(app, THRESHOLD) is None
        assert app.training.runs.recent() == [done] and len(shelf(app).all()) == 1

    def test_a_run_that_another_one_went_on_with(self, an_app, teach):
        app = an_app()
        teach(app)
        left = cut_off(app, 3)
        done = by_itself(app, RESUME)
        assert (done.id, done.state) == (left.id, "finished")
        assert by_itself(app, RESUME) is None and app.training.runs.recent() == [done]

    def test_what_the_user_asks_for_is_done(self, an_app, teach):
        app = an_app()
        teach(app)
        run(app)
        back_to_the_base(app)
        assert run(app).state == "finished" and len(shelf(app).all()) == 2


class TestAGentlerTryThatWasCutOff:
    @pytest.fixture
    def wild(self, monkeypatch):
        """The numbers run away with these learning rates, counted from the first."""

        def make(*places):
            rates = []

            def rate(recipe, step, steps):
                if recipe.learning_rate not in rates:
                    rates.append(recipe.learning_rate)
                return 1e30 if rates.index(recipe.learning_rate) in places else recipe.learning_rate

            monkeypatch.setattr(loop, "learning_rate", rate)
            return rates

        return make

    @pytest.fixture
    def left(self, an_app, teach):
        app = an_app("lora.training.save_seconds=0")
        teach(app)
        return lambda: cut_off(app, 3)

    def test_is_gone_on_with(self, an_app, left, wild):
        rates = wild(0)
        begun = left()
        assert (begun.attempt, begun.step, begun.state) == (2, 3, "interrupted")
        done = run(an_app(), heard=(heard := Heard()))
        assert (done.id, done.state, done.attempt) == (begun.id, "finished", 2)
        assert heard.notices() == [f"Going on with the training that was cut off at step 3 of {STEPS}."]
        assert rates == [rates[0], rates[0] / 2]

    def test_and_counts_as_one_of_them(self, an_app, left, wild):
        wild(0)
        begun = left()
        wild(0, 1)
        done = run(an_app("lora.training.retries=1"))
        assert (done.id, done.state, done.attempt) == (begun.id, "failed", 2)


class TestAnotherTrainer:
    def test_that_gets_ready_is_known(self, an_app, teach):
        app = an_app()
        teach(app)
        left = cut_off(app, 3)
        with trainer_lock(app.home.adapters).held():
            found = stands(app)
            assert (found.running, found.last.id, found.cut_off) == (None, left.id, False)
            assert found.trainer is not None and starts(app) == ("", [])
        assert stands(app).trainer is None and starts(app)[0] == "Training starts."

    def test_nor_does_enough_that_is_new_begin_another(self, an_app, teach):
        app = an_app()
        teach(app)
        with trainer_lock(app.home.adapters).held():
            assert starts(app) == ("", [])
        assert starts(app)[0] == "Training starts."
