"""Runs that the program ended in the midst of: the next start goes on with them, or says why it does not."""

import os
import signal
import sys
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from support import starting
from support.small_runs import (
    SMALL,
    STEPS,
    Heard,
    back_to_the_base,
    cut_off,
    kept,
    nothing_left_behind,
    run,
    shelf,
)

from shammah.errors import TrainingError
from shammah.training.control import Control
from shammah.training.standing import standing

pytestmark = pytest.mark.usefixtures("one_thread")
ANEW = "The training that was cut off begins anew."


def tensors_of(app, run):
    return load_file(app.home.adapters / run.adapter / "adapter_model.safetensors")


@pytest.fixture
def uninterrupted(an_app, teach, home, tmp_path, monkeypatch):
    """How the same run ends elsewhere where it is left alone."""
    monkeypatch.setenv("SHAMMAH_HOME", str(tmp_path / "elsewhere"))
    app = an_app()
    teach(app)
    done = run(app, heard=(heard := Heard()))
    monkeypatch.setenv("SHAMMAH_HOME", str(home))
    return losses_of(heard), tensors_of(app, done)


def losses_of(heard):
    return [move for move in heard.moves() if move.phase == "training"][-1].losses


@pytest.fixture
def killed(models_dir, tiny_model):
    """A run in a process of its own that is killed by one of these lines."""

    def start(dying):
        script = f"""
import os, signal
from shammah.app import App
from shammah.store.runs import Runs
from shammah.training.control import Control
from shammah.training.jobs import Job
def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
hear = lambda event: None
{dying}
settings = {(*SMALL, f"models_dir={models_dir}", "lora.training.save_seconds=0")!r}
app = App.build(flags={{"model": {str(tiny_model)!r}}}, assignments=settings)
app.training.cycle().run(Job("high", "user"), Control(), lambda event: hear(event))
"""
        ended = starting.run([sys.executable, "-c", script])
        assert ended.returncode == -signal.SIGKILL, ended.stderr

    return start


class TestGoneOnWith:
    @pytest.mark.parametrize("save", [0, 1000])
    def test_it_goes_on_as_if_nothing_had_been(self, an_app, teach, uninterrupted, save):
        first = an_app(f"lora.training.save_seconds={save}")
        ids = teach(first)
        left = cut_off(first, 3)
        assert (left.state, left.step) == ("interrupted", 3)
        assert (first.home.adapters / ".training" / "checkpoint.safetensors").exists()
        kept(first, ids)
        first.close()
        app, heard = an_app(), Heard()
        done = run(app, heard=heard)
        assert (done.id, done.state, done.step, done.pid) == (left.id, "finished", STEPS, os.getpid())
        assert heard.notices() == [f"Going on with the training that was cut off at step 3 of {STEPS}."]
        losses, tensors = uninterrupted
        assert [move.step for move in heard.moves() if move.phase == "training"] == [4, 5, 6]
        assert losses_of(heard) == pytest.approx(losses, abs=1e-6)
        again = tensors_of(app, done)
        assert all(torch.allclose(tensors[name], again[name], atol=1e-6) for name in tensors)
        assert len(app.training.runs.recent()) == 1 and app.desk.buffer().examples == 0
        nothing_left_behind(app)

    def test_other_examples_begin_a_run_of_their_own(self, an_app, teach):
        app, heard = an_app("lora.training.save_seconds=0"), Heard()
        teach(app)
        left = cut_off(app, 3)
        app.desk.examples.delete([left.example_ids[0]])
        done = run(app, heard=heard)
        assert heard.notices() == [f"{ANEW} Its examples, its model or its settings have changed."]
        assert done.id != left.id and done.state == "finished" and len(done.example_ids) == 2
        assert app.training.runs.get(left.id).state == "interrupted"
        nothing_left_behind(app)

    def test_another_recipe_begins_a_run_of_its_own(self, an_app, teach):
        app = an_app("lora.training.save_seconds=0")
        teach(app)
        left = cut_off(app, 3)
        done = run(an_app("lora.training.learning_rate=0.001"))
        assert done.id != left.id and done.state == "finished"

    def test_a_damaged_checkpoint_begins_at_the_first_step(self, an_app, teach, uninterrupted):
        app, heard = an_app("lora.training.save_seconds=0"), Heard()
        teach(app)
        left = cut_off(app, 3)
        (app.home.adapters / ".training" / "checkpoint.safetensors").write_bytes(b"nothing")
        done = run(app, heard=heard)
        assert done.id == left.id and done.state == "finished" and heard.notices() == [ANEW]
        assert losses_of(heard) == pytest.approx(uninterrupted[0], abs=1e-6)

    def test_killed(self, an_app, teach, killed):
        app = an_app()
        ids = teach(app)
        killed("hear = lambda event: die() if (event.phase, event.step) == ('training', 4) else None")
        (left,) = app.training.runs.running()
        kept(app, ids)
        assert shelf(app).all() == [] and shelf(app).listed()[1] == []
        heard = Heard()
        done = run(app, heard=heard)
        assert (done.id, done.state) == (left.id, "finished")
        assert [move.step for move in heard.moves() if move.phase == "training"] == [4, 5, 6]
        nothing_left_behind(app)

    def test_with_examples_that_it_leaves_out(self, an_app, an_example, teach):
        """They are of the run all the same: whether it is the same run is told by all that it was begun with."""
        app, heard = an_app(), Heard()
        teach(app)
        app.desk.examples.put(an_example("What is long?", "very " * 400))
        left = cut_off(app, 3)
        done = run(app, heard=heard)
        assert (done.id, done.state, len(left.example_ids), len(done.example_ids)) == (left.id, "finished", 4, 3)
        assert heard.notices()[-1] == f"Going on with the training that was cut off at step 3 of {STEPS}."

    def test_it_does_not_teach_what_was_rejected_since(self, an_app, an_example, teach):
        app = an_app()
        bad, *good = teach(app)
        left = cut_off(app, 3)
        reject(app, an_example, bad)
        done = run(app)
        assert done.id != left.id and done.state == "finished" and set(done.example_ids) == set(good)

    def test_nor_what_is_rejected_while_it_gets_ready(self, an_app, an_example, teach):
        app = an_app()
        bad, *good = teach(app)
        left = cut_off(app, 3)
        heard = Heard(lambda event: getattr(event, "phase", "") == "preparing" and reject(app, an_example, bad))
        done = run(app, heard=heard)
        assert (app.training.runs.get(left.id).state, done.state) == ("cancelled", "finished")
        assert heard.notices()[-1].endswith("deleted or taken back. What is left is learned anew.")
        (manifest,) = shelf(app).all()
        assert set(done.example_ids) == set(manifest.example_ids) == set(good)
        assert app.desk.examples.get(bad).trained == 0


def reject(app, an_example, id):
    """Another rating of the same question says that this reply is a bad one."""
    example = app.desk.examples.get(id)
    app.desk.examples.put(
        an_example(example.prompt, target=None, rejected=example.target, level="critical", weight=10.0)
    )
    assert not app.desk.examples.get(id).trainable


class TestWhileItIsSaved:
    def test_quit_before_it_the_next_start_only_saves(self, an_app, teach, uninterrupted):
        app = an_app("lora.training.save_seconds=1000")
        teach(app)
        left = cut_off(app, STEPS)
        assert (left.state, left.step, shelf(app).all()) == ("interrupted", STEPS, [])
        heard = Heard()
        done = run(app, heard=heard)
        assert (done.id, done.state) == (left.id, "finished")
        assert {move.phase for move in heard.moves()} == {"preparing", "saving", "judging", "recording"}
        again = tensors_of(app, done)
        assert all(torch.equal(tensor, again[name]) for name, tensor in uninterrupted[1].items())
        nothing_left_behind(app)

    def test_quit_in_the_midst_of_it_it_is_saved(self, an_app, teach):
        app, control = an_app(), Control()
        teach(app)
        heard = Heard(lambda event: event.phase == "saving" and control.cancel(ending=True))
        assert run(app, control, heard).state == "interrupted" and len(shelf(app).all()) == 1
        nothing_left_behind(app)
        assert run(app).state == "finished" and len(shelf(app).all()) == 1

    def test_killed_when_the_adapter_was_on_the_shelf_it_is_not_trained_anew(self, an_app, an_example, teach, killed):
        app, heard = an_app(), Heard()
        ids = teach(app)
        long = app.desk.examples.put(an_example("What is long?", "very " * 400)).id
        killed("Runs.finish = die")
        (left,) = app.training.runs.running()
        (manifest,) = shelf(app).all()
        kept(app, ids)
        app.desk.examples.change(ids[0], target="Something else.")
        done = run(app, heard=heard)
        assert (done.id, done.state, done.adapter) == (left.id, "finished", manifest.name)
        assert {move.phase for move in heard.moves()} == {"judging", "recording"}
        assert set(done.example_ids) == set(ids) and [each.name for each in shelf(app).all()] == [manifest.name]
        assert [app.desk.examples.get(id).trained for id in (*ids, long)] == [0, 1, 1, 0]
        nothing_left_behind(app)

    def test_unless_it_learned_what_was_deleted_since(self, an_app, teach, killed):
        app = an_app()
        ids = teach(app)
        killed("Runs.finish = die")
        app.desk.examples.delete(ids[:1])
        done = run(app)
        (manifest,) = shelf(app).all()
        assert (done.state, done.adapter) == ("finished", manifest.name)
        assert set(manifest.example_ids) == set(ids[1:])
        nothing_left_behind(app)

    def test_unless_it_is_damaged(self, an_app, teach, killed):
        app = an_app()
        teach(app)
        killed("Runs.finish = die")
        (manifest,) = shelf(app).all()
        (app.home.adapters / manifest.name / "adapter_model.safetensors").write_bytes(b"nothing")
        done = run(app)
        assert done.state == "finished" and done.adapter != manifest.name


class TestNothingLeft:
    @pytest.mark.parametrize("other", [False, True])
    def test_it_ends_and_is_told_no_more(self, an_app, teach, other):
        app = an_app()
        ids = teach(app)
        left = cut_off(app, 3)
        assert standing(app.training.runs, app.home.adapters).cut_off
        app.desk.examples.delete(ids)
        if other:
            teach(app, "D")
        assert not standing(app.training.runs, app.home.adapters).cut_off
        assert app.training.start_if_due(app.desk.buffer()) == ""
        heard = Heard()
        if other:
            assert run(app, heard=heard).state == "finished"
        else:
            with pytest.raises(TrainingError, match="nothing to learn"):
                run(app, heard=heard)
        assert heard.notices() == []
        ended = app.training.runs.get(left.id)
        assert ended.state == "cancelled" and "examples" in ended.error
        nothing_left_behind(app)

    def test_one_that_was_killed_too(self, an_app, teach, killed):
        app = an_app()
        ids = teach(app)
        killed("hear = lambda event: die() if (event.phase, event.step) == ('training', 4) else None")
        app.desk.examples.delete(ids)
        assert not standing(app.training.runs, app.home.adapters).cut_off
        with pytest.raises(TrainingError, match="nothing to learn"):
            run(app)
        assert app.training.runs.last().state == "cancelled"


class TestFromTheAdapterInUse:
    """With the strategy `continue`."""

    @pytest.fixture
    def losses(self, an_app, teach):
        """The first losses of a run from the base, and of one after its manifest was changed."""

        def of(then=lambda app: None, **changes):
            app = an_app("lora.training.anchors=0", "lora.training.exact=1")
            teach(app)
            first = run(app)
            (manifest,) = shelf(app).all()
            then(app)
            text = replace(manifest, **changes).to_json()
            (app.home.adapters / manifest.name / "manifest.json").write_text(text)
            settings = ("lora.training.anchors=0", "lora.training.exact=1", "lora.training.strategy=continue")
            return first.first_loss, run(an_app(*settings)).first_loss

        return of

    def test_where_it_fits(self, losses):
        first, second = losses()
        assert second < first

    def test_not_from_one_that_does_not_answer(self, losses):
        first, second = losses(back_to_the_base)
        assert second == pytest.approx(first)

    def test_nor_from_a_damaged_one(self, losses):
        def damage(app):
            (weights,) = app.home.adapters.glob("*/adapter_model.safetensors")
            data = bytearray(weights.read_bytes())
            data[-1] ^= 1
            weights.write_bytes(bytes(data))

        first, second = losses(damage)
        assert second == pytest.approx(first)

    def test_one_of_another_rank_is_told_and_left(self, an_app, teach):
        app, heard = an_app(), Heard()
        teach(app)
        assert run(app).adapter
        done = run(an_app("lora.training.strategy=continue", "lora.r=2"), heard=heard)
        assert done.state in ("finished", "rejected") and done.step == STEPS
        assert any("another shape" in text and "begins at the base" in text for text in heard.notices())

    @pytest.mark.parametrize("name", ["base_hash", "template_hash"])
    def test_not_where_its_base_or_its_template_is_another(self, losses, name):
        first, second = losses(**{name: "0" * 64})
        assert second == pytest.approx(first)
