"""What becomes of an adapter that was trained: judged as it was saved, and written down as one. Whole runs."""

import os
import shutil
import signal
import sys
import threading
import time

import pytest
from support import starting
from support.small_runs import SMALL, Heard, back_to_the_base, came_to, judging, kept, nothing_left_behind, run, shelf

from shammah.adapters.bundle import verify
from shammah.events import AdapterSwapped, ReceiptReady
from shammah.records import Example, Message
from shammah.store.activations import Activations
from shammah.store.adapter_notes import AdapterNotes
from shammah.store.audit import Audit
from shammah.store.probes import Probes
from shammah.store.receipts import Receipts
from shammah.training import trial
from shammah.training.control import Control
from shammah.training.examining import Examined
from shammah.training.standing import standing

pytestmark = pytest.mark.usefixtures("one_thread")
NEVER = "adapters.min_improvement=1"
WAIT = 1.0
AGAIN = "Going on with the adapter that was not judged yet."


def answering(app):
    """The adapter that answers, by the store alone."""
    current = Activations(app.database).current(app.base)
    return current.adapter if current else None


def audited(app):
    return [(entry.actor, entry.action, entry.subject) for entry in Audit(app.database).entries(oldest_first=True)]


def verdict_of(app, adapter):
    return AdapterNotes(app.database).get(adapter).verdict


class TestBetter:
    def test_it_answers_from_now_on_and_all_is_written_down(self, an_app, teach):
        app, heard = an_app(), Heard()
        ids = teach(app)
        done = run(app, heard=heard)
        assert (done.state, done.error, answering(app)) == ("finished", "", done.adapter)
        assert all(example.trained == 1 for example in app.desk.examples.live())
        (manifest,) = shelf(app).all()
        verify(app.home.adapters / manifest.name, manifest)
        verdict = verdict_of(app, done.adapter)
        assert manifest.verdict == verdict and verdict["accepted"]
        assert manifest.metrics["held_out"] == verdict["improvement"] > 0 and manifest.metrics["steps"] == done.step
        assert audited(app) == [("training", what, done.adapter) for what in ("trained", "judged", "activated")]
        (receipt,) = Receipts(app.database).recent()
        assert (receipt.run_id, receipt.adapter, receipt.body["deployed"]) == (done.id, done.adapter, True)
        assert receipt.body["run"]["model"] == app.base != done.model, "no path is told"
        assert {lesson["example"] for lesson in receipt.body["lessons"]} == set(ids)
        assert len(receipt.body["loss"]["curve"]) == done.step
        told = [event for event in heard.events if isinstance(event, AdapterSwapped | ReceiptReady)]
        assert told == [AdapterSwapped(done.adapter, None, "better than the base model"), ReceiptReady(receipt)]
        nothing_left_behind(app)

    def test_not_where_that_is_not_wanted_by_itself(self, an_app, teach):
        app, heard = an_app("adapters.auto_swap=0"), Heard()
        teach(app)
        done = run(app, heard=heard)
        assert done.state == "finished" and answering(app) is None
        assert all(example.trained == 1 for example in app.desk.examples.live())
        (notice,) = heard.notices()
        assert done.adapter in notice and "auto_swap" in notice and "`/adapters load v1`" in notice
        shutil.rmtree(app.home.adapters / done.adapter)
        assert app.roster.next_version() == 2, "the receipt tells of v1 for ever"
        assert app.roster.notes.get(done.adapter).verdict["accepted"]
        assert not Receipts(app.database).get().body["deployed"]
        assert not any(isinstance(event, AdapterSwapped) for event in heard.events)

    def test_rules_that_it_obeys_untold_are_not_given_while_it_answers(self, an_app, teach, monkeypatch):
        app = an_app()
        ids = teach(app)
        rule, other = app.desk.rules.add("Always be brief."), app.desk.rules.add("Never be long.")
        monkeypatch.setattr(trial, "graduated", lambda rules, learned, new, base: (rule.id,) if new != base else ())
        monkeypatch.setattr(trial, "worth_keeping", lambda learned, taught, new: learned[1:] if new.answers else [])
        done = run(app)
        assert app.desk.rules.active(done.adapter) == [other] and app.desk.rules.active() == [rule, other]
        assert ("training", "graduated", done.adapter) in audited(app)
        (told,) = Receipts(app.database).get().body["graduated"]
        assert told == {"rule": rule.id, "text": "Always be brief."}
        assert [probe.id for probe in Probes(app.database).all()] == ids[1::-1], (
            "and what is worth it is kept as probes"
        )


class TestNotBetter:
    def test_it_is_kept_and_marked_and_its_examples_wait(self, an_app, teach, monkeypatch):
        monkeypatch.setattr(trial, "worth_keeping", lambda learned, *_: learned)
        app, heard = an_app(NEVER), Heard()
        ids = teach(app)
        done = run(app, heard=heard)
        assert done.state == "rejected" and "held-out questions" in done.error and answering(app) is None
        (manifest,) = shelf(app).all()
        assert done.adapter == manifest.name and manifest.verdict == verdict_of(app, done.adapter)
        assert not manifest.verdict["accepted"] and done.error == "; ".join(manifest.verdict["reasons"])
        assert audited(app) == [("training", what, done.adapter) for what in ("trained", "judged")]
        (receipt,) = Receipts(app.database).recent()
        assert receipt.run_id == done.id and not receipt.body["deployed"]
        assert Probes(app.database).all() == [], "what was refused is no measure"
        kept(app, ids)
        assert app.training.missing(app.desk.buffer()) == 3
        assert app.training.start_if_due(app.desk.buffer()) == "", "the same examples begin no other run by themselves"
        assert len(app.training.runs.recent()) == 1 and heard.notices() == []
        nothing_left_behind(app)

    def test_it_went_too_far_so_gentler_ones_are_tried_and_then_no_more(self, an_app, teach):
        app, now = an_app("adapters.drift=0.000001", "lora.training.retries=2"), [0.0]
        ids = teach(app)

        def then(event):
            now[0] += 40 * (getattr(event, "phase", "") == "recording")

        each_a_minute = Control(limit_minutes=1, clock=lambda: now[0])
        done = run(app, each_a_minute, heard := Heard(then))
        assert (done.state, done.attempt, done.trigger) == ("rejected", 3, "retry") and "drift" in done.error
        runs = app.training.runs.recent()[::-1]
        rates = [each.settings["learning_rate"] for each in runs]
        assert rates == [rates[0], rates[0] / 2, rates[0] / 4] and {each.state for each in runs} == {"rejected"}
        assert [manifest.verdict["accepted"] for manifest in shelf(app).all()] == [False] * 3
        again = "It is tried again, more gently: try"
        assert heard.notices() == [f"{again} 2 of 3.", f"{again} 3 of 3."]
        kept(app, ids)

    def test_a_gentler_one_may_be_better(self, an_app, teach):
        app = an_app("adapters.drift=0.08")
        teach(app)
        done = run(app)
        assert (done.state, answering(app)) == ("finished", done.adapter) and done.attempt > 1
        assert [manifest.verdict["accepted"] for manifest in shelf(app).all()] == [False] * (done.attempt - 1) + [True]

    @pytest.mark.parametrize("check", ["log_probabilities", "replies", "drift", "perplexity", "tokens_per_second"])
    def test_a_check_that_cannot_run_is_no_pass(self, an_app, teach, monkeypatch, check):
        def broken(voice, *_):
            if voice._folder is None:
                return own(voice, *_)
            raise ZeroDivisionError("surprise")

        own = getattr(Examined, check)
        monkeypatch.setattr(Examined, check, broken)
        app = an_app("lora.training.retries=0")
        ids = teach(app)
        done = run(app)
        assert done.state == "rejected" and "surprise" in done.error and answering(app) is None
        kept(app, ids)

    def test_what_is_damaged_once_it_was_saved_is_not_judged_by_what_was_in_memory(self, an_app, teach):
        app = an_app()
        teach(app)

        def damage():
            (weights,) = app.home.adapters.glob("*/adapter_model.safetensors")
            data = bytearray(weights.read_bytes())
            data[-1] ^= 1
            weights.write_bytes(bytes(data))

        done = run(app, heard=judging(damage))
        assert done.state == "rejected" and "not what was saved" in done.error and answering(app) is None


def test_the_oldest_leave_where_only_so_many_are_kept(an_app, teach):
    app, names = an_app("adapters.keep_last=2", "adapters.keep_best=0"), []
    for name in "ABC":
        teach(app, name)
        names.append(run(app).adapter)
        back_to_the_base(app)
    assert [manifest.name for manifest in shelf(app).all()] == names[1:]
    assert [path.name for path in (app.home.archive / "adapters").iterdir()] == names[:1]
    assert ("retention", "archived", names[0]) in audited(app)


class TestComparedWithWhatAnswersNow:
    @pytest.fixture
    def learned(self, an_app, teach):
        app = an_app()
        teach(app)
        return app, run(app).adapter

    def test_its_own_figures_at_its_strength(self, learned, teach):
        app, first = learned
        perplexities = []
        for strength in (1.0, 0.5, 0.0):
            app.activations.activate(app.base, first, strength=strength, actor="user")
            teach(app, f"of {strength}")
            run(app)
            told = Receipts(app.database).get().body
            assert told["adapter"]["before"] == first and told["learned_from"]["new"] >= 1
            perplexities.append(told["figures"]["before"]["perplexity"] / told["figures"]["base"]["perplexity"])
        whole, half, none = perplexities
        assert whole < half < none and none == pytest.approx(1, abs=1e-6)

    def test_what_it_learned_otherwise_is_new(self, learned, teach):
        app, _ = learned
        before, meanwhile, _ = [example.id for example in app.desk.examples.live()]
        (added,) = teach(app, "D")
        app.desk.examples.change(before, target="It is quite another thing.")

        def then(event):
            if came_to(event, 2):  # both learned what it said until now
                app.desk.examples.change(meanwhile, target="It is that, and no more.")

        run(app, heard=Heard(then))
        told = Receipts(app.database).get().body
        assert {lesson["example"] for lesson in told["lessons"] if lesson["new"]} == {before, added}
        assert told["learned_from"]["new"] == 2

    def test_without_what_is_gone_it_need_not_be_better(self, learned):
        app, first = learned
        app.desk.examples.delete([app.desk.examples.live()[0].id])
        done = run(app)
        assert (done.state, answering(app)) == ("finished", done.adapter) and done.adapter != first
        told = Receipts(app.database).get(done.id).body
        assert "better than the base model; nothing is new, and 1 lesson is gone" in told["verdict"]["reasons"][0]
        now = Activations(app.database).current(app.base)
        assert now.cause == f"no worse than {first}, without what is gone"

    def test_the_base_where_that_answers_again(self, learned, teach):
        app, first = learned
        back_to_the_base(app)
        teach(app, "D")
        second = run(app).adapter
        told = Receipts(app.database).get().body
        assert told["adapter"]["before"] is None and told["learned_from"]["new"] == 4
        assert answering(app) == second != first

    def test_the_base_too_where_the_adapter_cannot_answer(self, learned, teach):
        app, first = learned
        (app.home.adapters / first / "adapter_model.safetensors").write_bytes(b"nothing")
        teach(app, "D")
        second = run(app).adapter
        assert answering(app) == second and Receipts(app.database).get().body["adapter"]["before"] is None

    def test_once_more_where_another_one_was_taken_into_use_meanwhile(self, an_app, teach):
        app, taken = an_app(), []

        def then(event):
            if getattr(event, "phase", "") == "recording" and not taken:
                taken.append(app.activations.activate(app.base, first, strength=0.0, actor="user"))

        teach(app)
        first = run(app).adapter
        back_to_the_base(app)
        teach(app, "D")
        done = run(app, heard=Heard(then))
        assert taken and Receipts(app.database).get(done.id).body["adapter"]["before"] == first
        assert len(Receipts(app.database).recent()) == 2


class TestEndedMeanwhile:
    def test_cancelled_nothing_is_left_of_it(self, an_app, teach):
        app, control = an_app(), Control()
        ids = teach(app)
        done = run(app, control, judging(control.cancel))
        assert done.state == "cancelled" and done.adapter is None and answering(app) is None
        kept(app, ids)
        assert shelf(app).all() == [] and Receipts(app.database).recent() == []
        dropped, cancelled = Audit(app.database).entries(oldest_first=True)
        assert (dropped.action, dropped.details["run"]) == ("dropped", done.id)
        assert (cancelled.action, cancelled.subject) == ("cancelled", done.id)
        nothing_left_behind(app)

    def test_at_the_limit_of_time(self, an_app, teach):
        app, now = an_app(), [0.0]
        ids = teach(app)

        def pass_by():
            now[0] += 61

        done = run(app, Control(limit_minutes=1, clock=lambda: now[0]), judging(pass_by))
        assert done.state == "failed" and "longer than the limit" in done.error
        kept(app, ids)
        nothing_left_behind(app)
        assert shelf(app).all() == []

    def test_by_the_deletion_of_what_it_learned(self, an_app, teach):
        app = an_app()
        bad, *good = teach(app)
        done = run(app, heard=judging(lambda: app.desk.examples.delete([bad])))
        assert done.state == "finished" and set(done.example_ids) == set(good)
        (manifest,) = shelf(app).all()
        assert answering(app) == manifest.name and set(manifest.example_ids) == set(good)
        nothing_left_behind(app)

    def test_a_probe_that_is_forgotten_is_in_no_receipt(self, an_app, an_example, teach, monkeypatch):
        def hear(voice, prompts, most_tokens):
            asked.extend(map(tuple, prompts))
            return own(voice, prompts, most_tokens)

        asked, own = [], Examined.replies
        monkeypatch.setattr(Examined, "replies", hear)
        app = an_app("system=Be brief.")
        examples, probes = app.desk.examples, Probes(app.database)
        lesson = examples.put(an_example("What is D?", "It is D.", rejected="No.", level="critical"))
        teach(app)
        probes.keep([lesson])
        secret, stays = probes.add("Where?", ["hunter2secret"]), probes.add("Which planets?", ["Neptune"])
        done = run(app, heard=judging(lambda: probes.delete(secret.id)))
        receipt = Receipts(app.database).get(done.id)
        assert "hunter2secret" not in f"{receipt}" and secret.id not in f"{receipt}"
        told = {"id": stays.id, "prompt": "Which planets?", "contains": ["Neptune"]}
        assert receipt.body["probes"]["failing"] == [told]
        assert receipt.body["figures"]["after"]["probes"] == 8 + 2
        assert (Message("system", "Be brief."), Message("user", "Which planets?")) in asked, "as the chat does"

    @pytest.mark.parametrize("reason", ["a pause", "a reply"])
    def test_it_waits_where_it_is_told_to(self, an_app, teach, reason):
        app, control, seen = an_app(), Control(), []
        teach(app)

        def begin():
            if reason == "a pause":
                control.pause()
                threading.Timer(WAIT, control.resume).start()
            else:
                replying = threading.Event()
                threading.Thread(target=reply, args=(replying,)).start()
                assert replying.wait(60)
            seen.append(time.monotonic())

        def reply(replying):
            with app.right_of_way.taken():
                replying.set()
                time.sleep(WAIT)

        def hear(event):
            if getattr(event, "phase", "") == "judging" and event.step and not event.waiting:
                seen.append(time.monotonic()) if seen else begin()

        assert run(app, control, hear).state == "finished"
        assert seen[1] - seen[0] > 0.9 * WAIT


class TestCutOff:
    @pytest.fixture
    def killed(self, models_dir, tiny_model):
        """A run in a process of its own that is killed by one of these lines."""

        def start(dying):
            script = f"""
import os, signal
from shammah.app import App
from shammah.store.runs import Runs
from shammah.store.receipts import Receipts
from shammah.training.control import Control
from shammah.training import trial
from shammah.training.jobs import Job
trial.worth_keeping = lambda learned, *_: learned
def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
hear = lambda event: None
{dying}
settings = {(*SMALL, f"models_dir={models_dir}")!r}
app = App.build(flags={{"model": {str(tiny_model)!r}}}, assignments=settings)
app.training.cycle().run(Job("high", "user"), Control(), lambda event: hear(event))
"""
            ended = starting.run([sys.executable, "-c", script])
            assert ended.returncode == -signal.SIGKILL, ended.stderr

        return start

    @pytest.mark.parametrize(
        "dying",
        ["hear = lambda event: die() if event.phase == 'judging' and event.step > 20 else None", "Receipts.put = die"],
        ids=["while it is judged", "while that is written down"],
    )
    def test_killed_it_is_judged_at_the_next_start(self, an_app, teach, killed, dying):
        app, heard = an_app(), Heard()
        ids = teach(app)
        killed(dying)
        (left,) = app.training.runs.running()
        (manifest,) = shelf(app).all()
        kept(app, ids)
        assert answering(app) is None and audited(app) == [] and AdapterNotes(app.database).get(manifest.name) is None
        assert Probes(app.database).all() == []
        assert standing(app.training.runs, app.home.adapters).cut_off
        done = run(app, heard=heard)
        assert (done.id, done.state, done.adapter, done.pid) == (left.id, "finished", manifest.name, os.getpid())
        assert {move.phase for move in heard.moves()} == {"judging", "recording"} and heard.notices() == [AGAIN]
        assert answering(app) == manifest.name
        assert [action for _, action, _ in audited(app)] == ["interrupted", "trained", "judged", "activated"]
        assert Receipts(app.database).get().body["loss"]["curve"], "the log of the run has its losses"
        nothing_left_behind(app)

    def test_closed_too_whatever_the_recipe_is_by_then(self, an_app, teach):
        app, control = an_app(), Control()
        ids = teach(app)
        left = run(app, control, judging(lambda: control.cancel(ending=True)))
        assert left.state == "interrupted" and len(shelf(app).all()) == 1
        kept(app, ids)
        assert not app.home.checkpoint.exists()
        other = an_app("lora.training.learning_rate=0.001")
        assert other.training.waits_for(other.training.runs.last()) == ""
        done = run(other)
        assert (done.id, done.state) == (left.id, "finished") and answering(app) == done.adapter

    def test_not_by_another_model(self, an_app, teach, tiny_model, tmp_path):
        import shutil

        app, control = an_app(), Control()
        teach(app)
        left = run(app, control, judging(lambda: control.cancel(ending=True)))
        other = an_app(model=shutil.copytree(tiny_model, tmp_path / "other"))
        assert "its model" in other.training.waits_for(other.training.runs.last())
        done = run(other)
        assert done.id != left.id and done.state == "finished"

    def test_a_rewrite_that_nobody_saw_is_made_again(self, an_app, an_example, teach, monkeypatch):
        from shammah.training import preparing

        app, control = an_app(), Control()
        teach(app)
        lacks = {"target": None, "rejected": "I do not know.", "level": "critical", "state": "needs review"}
        poor = app.desk.examples.put(an_example("What is poor?", note="Say what it is", **lacks)).id
        asked: list[Example] = []

        def by(speaker, settings):
            return lambda example: asked.append(example) or "It is poor, no more."

        monkeypatch.setattr(preparing, "rewrite_by", by)
        run(app, control, judging(lambda: control.cancel(ending=True)))
        assert len(asked) == 1
        done = run(app)
        assert done.state == "finished" and len(asked) == 2
        told = {lesson["example"]: lesson for lesson in Receipts(app.database).get().body["lessons"]}
        assert told[poor]["wanted"] == "It is poor, no more."


def test_how_far_it_is_can_be_seen(an_app, teach):
    app, heard = an_app(), Heard()
    teach(app)
    run(app, heard=heard)
    moves = [move for move in heard.moves() if move.phase == "judging"]
    steps = [move.step for move in moves]
    assert steps == sorted(steps) and len(set(steps)) > 10 and steps[-1] == moves[-1].steps
    assert len({move.steps for move in moves}) == 1


def test_what_there_is_not_time_for_all_of_is_asked_in_the_order_of_its_weight(seeded):
    from shammah.training.planning import Lesson

    taught = [Lesson(f"new {number}", (), "", float(number)) for number in range(40)]
    taught += [Lesson(f"old {number}", (), "", 1.0) for number in range(100)]
    known = frozenset(lesson.id for lesson in taught if lesson.id.startswith("old"))
    found = trial.in_order(taught, known, seeded())
    assert sorted(lesson.id for lesson in found) == sorted(lesson.id for lesson in taught)
    assert [lesson.id for lesson in found[:32]] == [f"new {number}" for number in range(39, 7, -1)]
    assert {lesson.id[:3] for lesson in found[32:48]} == {"old"}
    assert [lesson.id for lesson in found[32:48]] != [
        lesson.id for lesson in trial.in_order(taught, known, seeded(1))[32:48]
    ]
