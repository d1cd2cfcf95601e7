"""Whole runs on a tiny model, from examples in the store to an adapter on the shelf, and all the ways they can end."""

import json
import shutil
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from support import starting
from support.small_runs import (
    SMALL,
    STEPS,
    Heard,
    back_to_the_base,
    came_to,
    kept,
    nothing_left_behind,
    run,
    shelf,
)

from shammah.adapters.bundle import verify
from shammah.config import GenerationSettings
from shammah.errors import AdapterMisfit, ShammahError, TrainingBusy, TrainingError
from shammah.model.adapted import adapted
from shammah.records import Message
from shammah.training import loop, targets
from shammah.training.control import Control
from shammah.training.learner import FlatParameters
from shammah.training.standing import trainer_lock

pytestmark = pytest.mark.usefixtures("one_thread")


def logits(network):
    with torch.no_grad():
        return network(torch.arange(3, 40)[None]).logits


class TestFinished:
    def test_makes_an_adapter_and_marks_what_it_learned(self, an_app, teach):
        # Of lessons alone, in their own words: else the loss of a few steps may as well rise.
        app, heard = an_app("lora.training.anchors=0", "lora.training.exact=1"), Heard()
        ids = teach(app)
        done = run(app, heard=heard)
        assert (done.state, done.error, done.step, done.steps) == ("finished", "", STEPS, STEPS)
        assert set(done.example_ids) == set(ids) and done.weighted == 3 and done.last_loss < done.first_loss
        (manifest,) = shelf(app).all()
        verify(app.home.adapters / manifest.name, manifest)
        assert (manifest.name, manifest.run_id, set(manifest.example_ids)) == (done.adapter, done.id, set(ids))
        assert all(example.trained == 1 for example in app.desk.examples.live())
        assert app.desk.buffer().examples == 0 and heard.notices() == []
        nothing_left_behind(app)

    def test_tells_how_it_goes(self, an_app, teach, models_dir):
        for asked_before in models_dir.parent.rglob("anchors"):
            shutil.rmtree(asked_before)
        app, heard = an_app(), Heard()
        teach(app)
        done = run(app, heard=heard)
        moves = heard.moves()
        phases = [move.phase for move in moves]
        in_turn = [phase for place, phase in enumerate(phases) if phases[place - 1 : place] != [phase]]
        assert in_turn == ["preparing", "training", "saving", "judging", "recording"]
        asked = [move for move in moves if move.phase == "preparing"][1:]
        assert asked and all(0 < move.step <= move.steps for move in asked), "the base is asked for its replies"
        training = [move for move in moves if move.phase == "training"]
        assert [move.step for move in training] == list(range(1, STEPS + 1))
        assert all(
            move.run_id == done.id and move.steps == STEPS and 1 <= move.epoch <= move.epochs for move in training
        )
        assert len(training[-1].losses) == STEPS and training[-1].seconds_left == 0

    def test_the_time_for_which_it_waited_is_none_of_its_own(self, an_app, teach):
        app, control, wait = an_app(), Control(), 2.0
        teach(app)

        def then(event):
            if came_to(event, 1) and not timers:
                control.pause()
                timers.append(threading.Timer(wait, control.resume))
                timers[0].start()

        timers, heard, started = [], Heard(then), time.monotonic()
        done = run(app, control, heard)
        assert time.monotonic() - started > wait > done.seconds > 0
        training = [move for move in heard.moves() if move.phase == "training"]
        assert all(move.seconds_left < wait * STEPS / 2 for move in training[1:])
        (manifest,) = shelf(app).all()
        assert manifest.metrics["seconds"] == pytest.approx(done.seconds, abs=0.001)

    def test_the_adapter_is_what_was_trained_and_private(self, an_app, teach, open_umask):
        app = an_app()
        teach(app)
        folder = app.home.adapters / run(app).adapter
        modes = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}
        assert len(modes) == 4 and set(modes.values()) == {0o600} and folder.stat().st_mode & 0o777 == 0o700
        network = app.load_model().loaded.network
        assert not torch.equal(logits(adapted(network, folder)), logits(network))
        logged = list((app.home.logs / "runs").iterdir())
        assert len(logged[0].read_text().splitlines()) == STEPS + 1 and "It is A" not in logged[0].read_text()

    def test_the_model_that_answers_stays_as_it_was(self, an_app, teach):
        app = an_app()
        teach(app)
        network = app.load_model().loaded.network
        before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        said = logits(network)
        run(app)
        after = network.state_dict()
        assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
        assert torch.equal(logits(network), said)

    def test_a_second_run_needs_new_ones(self, an_app, teach):
        app = an_app()
        teach(app)
        assert app.training.missing(app.desk.buffer()) == 0
        first = run(app)
        assert app.training.missing(app.desk.buffer()) == 3
        assert an_app().training.missing(app.desk.buffer()) == 3  # also after a restart
        teach(app, "D", "E")
        assert app.training.missing(app.desk.buffer()) == 1
        back_to_the_base(app)
        second = run(app)
        assert (second.weighted, len(second.example_ids)) == (2.0, 5) and first.id != second.id
        assert [manifest.version for manifest in shelf(app).all()] == [1, 2]
        assert sorted(example.trained for example in app.desk.examples.live()) == [1, 1, 2, 2, 2]

    def test_what_is_rated_while_it_runs_waits(self, an_app, teach):
        app = an_app()
        teach(app)
        heard = Heard(lambda event: teach(app, "late") if came_to(event, 2) else None)
        assert len(run(app, heard=heard).example_ids) == 3
        assert app.desk.buffer().examples == 1

    def test_the_same_seed_trains_the_same_adapter(self, an_app, teach):
        app = an_app("lora.dropout=0.2")
        teach(app)
        folders = [app.home.adapters / run(app).adapter for _ in range(2)]
        one, other = (load_file(folder / "adapter_model.safetensors") for folder in folders)
        assert all(torch.equal(one[name], other[name]) for name in one)

    def test_it_goes_on_from_the_one_in_use_where_that_is_wanted(self, an_app, teach):
        app = an_app()
        gone, *left = teach(app)
        first = run(app)
        app.desk.examples.delete([gone])
        second = run(an_app("lora.training.strategy=continue"))
        assert second.state in ("finished", "rejected") and second.first_loss < first.first_loss
        base, child = shelf(app).all()
        assert base.inherited_ids == () and set(child.example_ids) == set(left)
        assert child.inherited_ids == (gone,), "its numbers hold something of that still"

    @pytest.mark.parametrize("preference", ["odds", "dpo"])
    def test_against_what_was_rejected(self, an_app, an_example, preference):
        app = an_app(f"lora.training.preference={preference}")
        app.desk.examples.put(an_example("What is A?", "It is A.", rejected="I do not know.", level="critical"))
        done = run(app)
        assert done.state == "finished", done.error

    def test_the_seeds_recipe(self, an_app, teach):
        app = an_app("lora.preset=seed")
        teach(app)
        done = run(app)
        assert done.state == "finished", done.error


class TestNothingToDo:
    def test_without_examples_no_run_begins(self, an_app):
        app = an_app()
        with pytest.raises(TrainingError, match="nothing to learn"):
            run(app)
        assert app.training.runs.last() is None
        nothing_left_behind(app)

    def test_one_trainer_for_each_home(self, an_app, teach):
        app = an_app()
        teach(app)
        with trainer_lock(app.home.adapters).held(), pytest.raises(TrainingBusy):
            run(an_app())
        assert app.training.runs.last() is None

    def test_what_is_too_long_is_left_out_and_said(self, an_app, an_example, teach):
        app, heard = an_app(), Heard()
        ids = teach(app)
        long = app.desk.examples.put(an_example("What is long?", "very " * 400)).id
        done = run(app, heard=heard)
        assert done.state == "finished" and set(done.example_ids) == set(ids)
        assert heard.notices() == ["1 example too long for lora.training.max_length left out."]
        assert app.desk.buffer().examples == 1
        assert app.training.missing(app.desk.buffer()) == 3, "it does not count towards the next run"
        kept(app, [long])
        app.desk.examples.change(long, target="It is long.")
        assert app.training.missing(app.desk.buffer()) == 2

    def test_what_was_never_drawn_is_not_learned(self, an_app, teach):
        app = an_app("lora.training.steps=1")
        ids = teach(app, *map(str, range(12)))
        self.only_a_part_is_learned(app, ids, steps=1)

    def test_nor_what_would_have_come_after_an_early_end(self, an_app, teach, monkeypatch):
        monkeypatch.setattr(loop, "learning_rate", lambda recipe, step, steps: 1e-3 if step < 10 else 0.0)
        app = an_app("lora.training.steps=40", "lora.training.patience=1")
        ids = teach(app, *map(str, range(120)))
        self.only_a_part_is_learned(app, ids, steps=20)

    def only_a_part_is_learned(self, app, ids, *, steps):
        done = run(app)
        assert (done.state, done.step) == ("finished", steps)
        trained = {id for id in ids if app.desk.examples.get(id).trained}
        assert trained == set(done.example_ids) == set(shelf(app).all()[0].example_ids)
        assert 0 < len(trained) < len(ids)
        assert app.training.missing(app.desk.buffer()) == 3, "the others do not begin the next run"

    def test_where_all_is_too_long(self, an_app, an_example):
        app = an_app()
        long = app.desk.examples.put(an_example("What is long?", "very " * 400)).id
        done = run(app)
        assert done.state == "failed" and "nothing to train on: 1 example too long" in done.error
        assert "Set lora.training.max_length higher" in done.error
        kept(app, [long])
        nothing_left_behind(app)

    def test_an_adapter_that_changes_nothing_is_a_run_that_failed(self, an_app, teach, monkeypatch):
        monkeypatch.setattr(loop, "learning_rate", lambda recipe, step, steps: 0.0)
        app = an_app()
        ids = teach(app)
        done = run(app)
        assert done.state == "failed" and "changes nothing" in done.error
        kept(app, ids)
        nothing_left_behind(app)


class TestWithoutABetterReply:
    @pytest.fixture
    def asked(self, monkeypatch):
        """The notes by which the model was asked for a rewrite, one entry for each example and run."""
        real, notes = targets.rewrites, []

        def listened(model, messages, rejected, note, settings):
            notes.append(note)
            return real(model, messages, rejected, note, settings)

        monkeypatch.setattr(targets, "rewrites", listened)
        return notes

    def test_it_is_left_out_and_asked_for_once(self, an_app, an_example, teach, asked):
        app, heard = an_app("generation.max_tokens=4"), Heard()
        ids = teach(app)
        lacks = {"target": None, "rejected": "I do not know.", "level": "critical", "state": "needs review"}
        poor = app.desk.examples.put(an_example("What is poor?", note="Say what it is", **lacks)).id
        done = run(app, heard=heard)
        assert done.state == "finished" and set(done.example_ids) == set(ids) and asked == ["Say what it is"]
        left_out = "1 example without a better reply left out: /review shows them."
        assert heard.notices() == [left_out] and app.training.missing(app.desk.buffer()) == 3
        for _ in range(2):
            run(app, heard=(heard := Heard()))
            assert heard.notices() == [left_out] and len(asked) == 1
        app.desk.examples.change(poor, note="In one sentence")
        assert app.training.missing(app.desk.buffer()) == 2
        run(app)
        assert asked == ["Say what it is", "In one sentence"]

    def test_where_nothing_else_is_there_that_is_said_and_remembered(self, an_app, an_example, asked):
        app = an_app("generation.max_tokens=4")
        lacks = {"target": None, "rejected": "I do not know.", "level": "critical", "state": "needs review"}
        app.desk.examples.put(an_example("What is poor?", note="Say what it is", **lacks))
        for _ in range(2):
            done = run(app, heard=(heard := Heard()))
            assert done.state == "failed" and len(asked) == 1
            for part in ("nothing to train on: 1 example without a better reply", "/review shows"):
                assert part in done.error
            assert heard.notices() == ["1 example without a better reply left out: /review shows them."]

    def test_where_none_was_asked_for_it_is_asked_later(self, an_app, an_example, teach, asked):
        app = an_app("weights.unreviewed=0")
        teach(app)
        lacks = {"target": None, "rejected": "I do not know.", "level": "critical", "state": "needs review"}
        app.desk.examples.put(an_example("What is poor?", note="Say what it is", **lacks))
        run(app)
        assert asked == []
        run(an_app("generation.max_tokens=4"))
        assert len(asked) == 1


class TestCancelled:
    @pytest.mark.parametrize("phase", ["preparing", "training", "saving", "judging"])
    def test_in_each_phase(self, an_app, teach, phase):
        app, control = an_app(), Control()
        ids = teach(app)
        heard = Heard(lambda event: control.cancel() if event.phase == phase else None)
        done = run(app, control, heard)
        assert done.state == "cancelled" and "cancelled" in done.error
        kept(app, ids)
        nothing_left_behind(app)
        assert shelf(app).all() == []

    def test_by_who_does_not_wait_until_that_is_heeded(self, an_app, teach):
        """Ctrl+C twice."""
        app, control = an_app(), Control()
        ids = teach(app)

        def twice(event):
            control.cancel()
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run(app, control, Heard(twice))
        last = app.training.runs.last()
        assert last.state == "cancelled" and "cancelled" in last.error
        assert app.training.start_if_due(app.desk.buffer()) == ""
        kept(app, ids)
        nothing_left_behind(app)

    def test_while_a_reply_is_produced(self, an_app, teach):
        app, control = an_app(), Control()
        ids = teach(app)
        app.load_model()
        timer = threading.Timer(0.4, control.cancel)
        with app.right_of_way.taken():
            timer.start()
            assert run(app, control).state == "cancelled"
        kept(app, ids)

    def test_by_the_limit_of_time(self, an_app, teach):
        app = an_app()
        ids = teach(app)
        app.load_model()
        done = run(app, Control(limit_minutes=0.0001))
        assert done.state == "failed" and "longer than the limit" in done.error
        kept(app, ids)
        nothing_left_behind(app)


class TestFailed:
    def test_what_is_not_finite_is_tried_gentler_and_given_up(self, an_app, teach, monkeypatch):
        monkeypatch.setattr(loop, "learning_rate", lambda recipe, step, steps: 1e30)
        app, heard = an_app("lora.training.retries=2"), Heard()
        ids = teach(app)
        done = run(app, heard=heard)
        assert done.state == "failed" and "not a finite number" in done.error and done.attempt == 3
        runs = app.training.runs.recent()[::-1]
        assert [each.trigger for each in runs] == ["user", "retry", "retry"]
        assert {each.state for each in runs} == {"failed"} and heard.notices() == [], "the end tells all"
        rates = [each.settings["learning_rate"] for each in runs]
        assert rates == [rates[0], rates[0] / 2, rates[0] / 4]
        kept(app, ids)
        nothing_left_behind(app)

    def test_a_gentler_try_may_do(self, an_app, teach, monkeypatch):
        rates = []

        def wild_at_first(recipe, step, steps):
            rates.append(recipe.learning_rate)
            return 1e30 if recipe.learning_rate == rates[0] else recipe.learning_rate

        monkeypatch.setattr(loop, "learning_rate", wild_at_first)
        app = an_app()
        teach(app)
        done = run(app)
        assert (done.state, done.attempt, done.trigger) == ("finished", 2, "retry")
        assert app.desk.buffer().examples == 0

    def test_what_nobody_foresaw_is_written_down(self, an_app, teach, monkeypatch):
        def fails(recipe, step, steps):
            raise ZeroDivisionError("surprise")

        monkeypatch.setattr(loop, "learning_rate", fails)
        app = an_app()
        ids = teach(app)
        with pytest.raises(ZeroDivisionError):
            run(app)
        assert app.training.runs.last().state == "failed" and "surprise" in app.training.runs.last().error
        kept(app, ids)
        nothing_left_behind(app)

    def test_out_of_memory_it_goes_on_in_smaller_parts(self, an_app, teach, monkeypatch):
        real, sizes = loop.Trainer._part_loss, []

        def short_of_memory(trainer, rows, share):
            sizes.append(len(rows))
            if len(rows) > 2:
                raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")
            return real(trainer, rows, share)

        monkeypatch.setattr(loop.Trainer, "_part_loss", short_of_memory)
        app = an_app()
        teach(app)
        done = run(app)
        assert done.state == "finished" and done.step == STEPS and max(sizes) > 2

    def test_without_any_memory_it_fails_in_words(self, an_app, teach, monkeypatch):
        def no_memory(trainer, rows, share):
            raise MemoryError

        monkeypatch.setattr(loop.Trainer, "_part_loss", no_memory)
        app = an_app()
        ids = teach(app)
        done = run(app)
        assert done.state == "failed" and "Not enough memory" in done.error
        kept(app, ids)

    @pytest.mark.parametrize("where", ["__init__", "digest", "load"])
    def test_nor_where_it_gets_ready(self, an_app, teach, monkeypatch, where):
        def no_memory(*_):
            raise MemoryError

        app, control = an_app(), Control()
        ids = teach(app)
        if where == "load":  # of a run that is gone on with
            ends = Heard(lambda event: control.cancel(ending=True) if came_to(event, 3) else None)
            assert run(app, control, ends).state == "interrupted"
        monkeypatch.setattr(FlatParameters, where, no_memory)
        done = run(app)
        assert done.state == "failed" and done.error.startswith("Not enough memory to train.")
        kept(app, ids)
        nothing_left_behind(app)

    def test_a_full_disk(self, an_app, teach, models_dir, tiny_model):
        """Told once on the way, where there still is time; what is saved at the end fails."""
        app = an_app()
        ids = teach(app)
        run(an_app())  # what is kept beside the models is written already
        more = teach(app, "D")
        script = f"""
import resource
from shammah.app import App
from shammah.events import Notice
from shammah.training.control import Control
from shammah.training.jobs import Job
settings = {(*SMALL, "lora.r=256", f"models_dir={models_dir}")!r}
resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, 1_500_000))
for seconds in (0, 1000):
    saving = f"lora.training.save_seconds={{seconds}}"
    app = App.build(flags={{"model": {str(tiny_model)!r}}}, assignments=(*settings, saving))
    tell = lambda event: isinstance(event, Notice) and print(event.text)
    run = app.training.cycle().run(Job("high", "user"), Control(), tell)
    print(run.state, run.step, run.error)
"""
        found = starting.run([sys.executable, "-c", script])
        told, on_the_way, at_the_end = found.stdout.decode().splitlines()
        assert told.startswith("No room left to write") and "checkpoint" in told and "make room" in told
        assert on_the_way.startswith(f"failed {STEPS} No room left to write") and "lora_adapter" in on_the_way
        assert at_the_end.startswith(f"failed {STEPS} No room left to write") and "lora_adapter" in at_the_end
        kept(app, more)
        assert len(app.desk.examples.live()) == len(ids) + 1 and len(shelf(app).all()) == 1
        nothing_left_behind(app)

    @pytest.mark.parametrize("loaded", [True, False])
    def test_a_base_model_that_was_deleted(self, an_app, teach, tiny_model, tmp_path, loaded):
        folder = shutil.copytree(tiny_model, tmp_path / "model")
        app = an_app(model=folder)
        ids = teach(app)
        if loaded:
            app.load_model()
        shutil.rmtree(folder)
        with pytest.raises(ShammahError) as caught:
            run(app)
        assert str(folder) in str(caught.value) and caught.value.hint
        kept(app, ids)
        assert app.training.runs.last() is None
        nothing_left_behind(app)


class TestAnswering:
    @pytest.fixture
    def learned(self, an_app, teach):
        app = an_app("lora.training.learning_rate=0.01")
        teach(app)
        return app, run(app)

    def test_with_it_and_without_it(self, learned, an_app, shammah, tiny_model, models_dir):
        _, done = learned
        few = ("-m", str(tiny_model), "-o", "temperature", "0", "-o", "max_tokens", "12", "--json", "-n")
        environment = {"SHAMMAH_MODELS_DIR": str(models_dir), "SHAMMAH_DTYPE": "float32"}

        def answer(*adapter):
            result = shammah(*few, *adapter, "What is A?", **environment)
            assert result.returncode == 0, result.stderr
            return json.loads(result.stdout)

        base, latest = answer("--adapter", "none"), answer("--adapter", "latest")
        assert base["adapter"] is None and latest["adapter"] == done.adapter
        model = an_app(adapter="none").load_model()
        prompt, greedy = model.encode([Message("user", "What is A?")]), GenerationSettings(temperature=0, max_tokens=12)
        *_, plain = model.reply(prompt, greedy)
        *_, taught = an_app(adapter="latest").load_model().reply(prompt, greedy)
        assert [base["response"].strip(), latest["response"].strip()] == [plain.text.strip(), taught.text.strip()]
        assert taught.text != plain.text

    def test_one_of_another_base_does_not_fit(self, learned, an_app, tiny_model, tmp_path):
        other = shutil.copytree(tiny_model, tmp_path / "other")
        tensors = load_file(other / "model.safetensors")
        tensors["model.norm.weight"] = tensors["model.norm.weight"] * 1.5
        save_file(tensors, other / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(AdapterMisfit, match="not for other$") as caught:
            an_app(model=other, adapter="latest").load_model()
        assert caught.value.hint.startswith(f"Use -m {tiny_model.name}, ")
        assert an_app(adapter="latest").load_model().adapter == learned[1].adapter

    @pytest.mark.parametrize(
        ("weights", "config", "words"),
        [
            (False, True, "another config.json or version of transformers"),
            (True, False, "other weights"),
            (True, True, "other weights and another config.json or version of transformers"),
        ],
    )
    def test_nor_does_one_of_a_model_that_has_changed(
        self, learned, an_app, tiny_model, tmp_path, weights, config, words
    ):
        same = shutil.copytree(tiny_model, tmp_path / tiny_model.name)
        if weights:
            tensors = load_file(same / "model.safetensors")
            tensors["model.norm.weight"] = tensors["model.norm.weight"] * 1.5
            save_file(tensors, same / "model.safetensors", metadata={"format": "pt"})
        if config:
            values = json.loads((same / "config.json").read_text())
            values["rope_parameters"] = {"rope_theta": 5e5, "rope_type": "default"}
            (same / "config.json").write_text(json.dumps(values))
        with pytest.raises(AdapterMisfit, match=f"was made for {tiny_model.name} with {words}$"):
            an_app(model=same, adapter="latest").load_model()

    def test_nor_does_one_of_another_template(self, learned, an_app, tiny_model, tmp_path):
        same = shutil.copytree(tiny_model, tmp_path / tiny_model.name)
        (same / "chat_template.jinja").write_text("{# Another. #}" + (same / "chat_template.jinja").read_text())
        with pytest.raises(AdapterMisfit, match=f"was made for {tiny_model.name} with another chat template$"):
            an_app(model=same, adapter="latest").load_model()

    def test_one_that_was_changed_is_not_loaded(self, learned, an_app):
        app, done = learned
        weights = Path(app.home.adapters / done.adapter / "adapter_model.safetensors")
        data = bytearray(weights.read_bytes())
        data[-1] ^= 1
        weights.write_bytes(bytes(data))
        with pytest.raises(ShammahError, match="not what was saved"):
            an_app(adapter="latest").load_model()


def test_a_run_beside_the_chat_leaves_the_store_whole(an_app, teach):
    """The chat's own thread reads and writes while training does."""
    app = an_app()
    teach(app)
    done, begun = [], threading.Event()
    thread = threading.Thread(target=lambda: done.append(run(app, heard=Heard(lambda event: begun.set()))))
    thread.start()
    assert begun.wait(60)
    count = 0
    while thread.is_alive():
        teach(app, f"beside {count}")
        count += 1
        time.sleep(0.01)
    thread.join()
    assert done[0].state == "finished" and app.desk.buffer().examples == count > 0
    with closing(app.database):
        assert app.database.rows("PRAGMA integrity_check")[0][0] == "ok"
