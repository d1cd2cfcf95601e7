"""What may happen to an adapter between its training and its verdict, and what becomes of those that get none."""

import shutil
from dataclasses import replace
from datetime import datetime

import pytest
from support.small_runs import Heard, back_to_the_base, judging, kept, run, shelf

from shammah.adapters.bundle import STAGED, read_bundle, write_bundle
from shammah.deployment.shelving import Shelving
from shammah.errors import AdapterError
from shammah.store.activations import Activations
from shammah.store.receipts import Receipts
from shammah.store.runs import Runs
from shammah.training import cycle, trial
from shammah.training.control import Control
from shammah.training.preparing import Preparing

pytestmark = pytest.mark.usefixtures("one_thread")
TOO_FAR = ("adapters.drift=0.000001", "lora.training.retries=2")


def answering(app):
    current = Activations(app.database).current(app.base)
    return current.adapter if current else None


def taken_into_use(app):
    (manifest,) = shelf(app).all()
    app.activations.activate(app.base, manifest.name, actor="user")


@pytest.fixture
def left(an_app, teach):
    """A program, and the run whose adapter it left without a verdict."""
    app, control = an_app(), Control()
    teach(app)
    return app, run(app, control, judging(lambda: control.cancel(ending=True)))


class TestTakenIntoUse:
    def test_it_can_not_be_yet_and_then_it_can(self, an_app, teach):
        app, refused = an_app("adapters.auto_swap=0"), []

        def load():
            with pytest.raises(AdapterError, match="is being judged") as caught:
                app.helm.load("v1", base=app.base)
            refused.append(caught.value)

        teach(app)
        done = run(app, heard=judging(load))
        assert refused and refused[0].hint and Activations(app.database).all() == []
        assert app.helm.load("latest", base=app.base).adapter == done.adapter

    def test_nor_one_that_was_cut_off(self, left):
        app, _ = left
        with pytest.raises(AdapterError, match="is being judged"):
            app.helm.load("v1", base=app.base)

    def test_one_that_answers_all_the_same_is_never_thrown_away(self, an_app, teach):
        app, control = an_app(), Control()
        teach(app)

        def then():
            taken_into_use(app)
            control.cancel()

        assert run(app, control, judging(then)).state == "cancelled"
        assert [each.name for each in shelf(app).all()] == [answering(app)]

    def test_nor_when_its_examples_are_gone(self, left):
        app, before = left
        taken_into_use(app)
        app.desk.examples.delete([before.example_ids[0]])
        assert run(app).id != before.id
        assert before.id in {each.run_id for each in shelf(app).all()}

    def test_it_is_not_compared_with_itself(self, left):
        app, before = left
        taken_into_use(app)
        done = run(app)
        told = Receipts(app.database).get().body
        assert (done.id, done.state) == (before.id, "finished") and told["adapter"]["before"] is None
        assert told["figures"]["before"] == told["figures"]["base"]


class TestComparedWithOneThatTheChatRefuses:
    @pytest.fixture
    def learned(self, an_app, teach):
        app = an_app()
        teach(app)
        return app, run(app).adapter

    @pytest.mark.parametrize("name", ["base_hash", "template_hash"])
    def test_it_is_the_base_where_the_model_or_its_template_has_changed(self, learned, name):
        app, first = learned
        path = app.home.adapters / first / "manifest.json"
        path.write_text(replace(read_bundle(path.parent), **{name: "0" * 64 + "-" + "0" * 64}).to_json())
        done = run(app)
        assert done.state == "finished" and answering(app) == done.adapter != first
        assert Receipts(app.database).get().body["adapter"]["before"] is None

    @pytest.mark.parametrize("error", [RuntimeError("size mismatch"), KeyError("lora"), OSError("gone")])
    def test_and_where_it_cannot_be_read_for_whatever_reason(self, learned, monkeypatch, error):
        def load(voice):
            raise error

        app, first = learned
        monkeypatch.setattr(trial.Examiner.voice.__wrapped__.__globals__["Examined"], "load", load)
        done = run(app)
        assert done.state == "finished" and answering(app) == done.adapter != first


class TestNobodyJudgesIt:
    def test_killed_too_often(self, left):
        app, before = left
        for _ in range(3):
            app.training.runs.reopen(before, pid=0)
            app.training.cycle()._next.cut_off()
        assert app.training.runs.get(before.id).state == "failed"
        done = run(app)
        assert done.id != before.id and [each.run_id for each in shelf(app).all()] == [done.id]

    def test_another_model_is_learned_with(self, left, an_app, tiny_model, tmp_path):
        _, before = left
        other = an_app(model=shutil.copytree(tiny_model, tmp_path / "other"))
        done = run(other)
        assert done.id != before.id and [each.run_id for each in shelf(other).all()] == [done.id]

    def test_what_it_was_taught_cannot_be_found_again(self, left, monkeypatch):
        def broken(*_):
            raise ZeroDivisionError("surprise")

        app, _ = left
        Shelving(app.roster).rename("v1", "mine")
        monkeypatch.setattr(Preparing, "lessons", broken)
        with pytest.raises(ZeroDivisionError):
            run(app)
        assert shelf(app).all() == [] and app.roster.notes.all() == {}, "its label is free"
        assert app.roster.next_version() == 2, "and its number is not"

    def test_one_of_another_home_is_left_alone(self, an_app, teach):
        app = an_app()
        teach(app)
        first = app.home.adapters / run(app).adapter
        manifest = replace(read_bundle(first), run_id="elsewhere", name="lora_adapter_20260101_000000")
        files = {name: (first / name).read_bytes() for name in manifest.files}
        kept_too = write_bundle(app.home.adapters, manifest.name, files, manifest)
        run(app)
        assert kept_too.is_dir()

    def test_what_was_taken_away_meanwhile_is_never_taken_into_use(self, an_app, teach, monkeypatch):
        app = an_app()
        ids = teach(app)

        def gone(folder, *found):
            shutil.rmtree(folder)

        monkeypatch.setattr(trial, "judged", gone)
        done = run(app)
        assert done.state == "failed" and "taken away while it was judged" in done.error
        assert answering(app) is None and Receipts(app.database).recent() == []
        kept(app, ids)


class OneSecond(datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2026, 1, 31, 9, 5)


def test_the_archive_counts_for_the_name_and_the_number_of_the_next(an_app, teach, monkeypatch):
    monkeypatch.setattr(cycle, "datetime", OneSecond)
    app = an_app("adapters.keep_last=1", "adapters.keep_best=0")
    teach(app)
    archive = app.home.archive / "adapters"
    run(app)
    (only,) = shelf(app).all()
    back_to_the_base(app)
    archive.mkdir(parents=True, exist_ok=True)
    (app.home.adapters / only.name).rename(archive / only.name)
    run(app)
    assert [(each.name, each.version) for each in shelf(app).all()] == [(f"{only.name}_2", only.version + 1)]


def test_an_import_under_way_outlives_the_beginning_of_a_run(an_app, teach):
    app = an_app()
    teach(app)
    staged = app.home.adapters / f"{STAGED}abc"
    staged.mkdir(parents=True)
    run(app)
    assert staged.is_dir()


class TestTriedAgain:
    def test_a_program_that_is_killed_after_the_verdict_has_its_other_tries_left(self, an_app, teach, monkeypatch):
        class Killed(BaseException):
            pass

        def die(event):
            if getattr(event, "text", "").startswith("It is tried again"):
                raise Killed

        app = an_app(*TOO_FAR)
        ids = teach(app)
        with pytest.raises(Killed):
            run(app, heard=Heard(die))
        rejected, begun = app.training.runs.recent()[::-1]
        assert (rejected.state, begun.state, begun.attempt, begun.trigger) == ("rejected", "running", 2, "retry")
        done = run(app)
        runs = app.training.runs.recent()[::-1]
        assert [each.attempt for each in runs] == [1, 2, 3] and runs[1].id == begun.id and done.state == "rejected"
        kept(app, ids)

    def test_where_nothing_is_left_to_learn_there_is_a_verdict(self, an_app, teach, monkeypatch):
        app, own = an_app(*TOO_FAR), Runs.reject
        ids = teach(app)

        def reject(runs, *given, **why):
            ended = own(runs, *given, **why)
            app.desk.examples.delete(ids)
            return ended

        monkeypatch.setattr(Runs, "reject", reject)
        done = run(app)
        assert (done.state, done.attempt) == ("rejected", 1) and len(app.training.runs.recent()) == 1
