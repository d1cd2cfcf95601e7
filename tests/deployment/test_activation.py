import shutil

import pytest
from support.bundles import BASE

from shammah.adapters.bundle import WEIGHTS
from shammah.deployment.activation import Helm
from shammah.errors import AdapterDamaged, AdapterError, AdapterMisfit, AdapterOvertaken, UsageError
from shammah.records import Run
from shammah.store.runs import Runs


def spoil(roster, name):
    path = roster.shelf.root / name / WEIGHTS
    path.write_bytes(path.read_bytes()[:-1] + b"\1")


def way(roster, base=BASE):
    """Who answered, oldest first."""
    return [each.adapter for each in reversed(roster.activations.all(base))]


class TestLoading:
    def test_it_answers_from_now_on(self, helm, roster, three, actions):
        made = helm.load("2", base=BASE, strength=0.5, actor="training", cause="found better")
        assert (made.adapter, made.base, made.strength, made.actor) == (three[1], BASE, 0.5, "training")
        assert made == roster.activations.current(BASE) and made.cause == "found better"
        assert roster.active(BASE).name == three[1]
        assert actions() == [("training", "activated", three[1])]

    def test_again_is_nothing_new(self, helm, roster, three):
        made = helm.load("2", base=BASE)
        assert helm.load(three[1], base=BASE) == made
        assert helm.load("2", base=BASE, strength=0.5) != made
        assert way(roster) == [three[1], three[1]]

    def test_one_for_another_model_never_answers(self, helm, roster, put, actions):
        put(base="other/model")
        with pytest.raises(AdapterMisfit, match="made for other/model, not for some/model") as caught:
            helm.load("1", base=BASE)
        assert "-m other/model" in caught.value.hint
        assert way(roster) == [] and [action for _, action, _ in actions()] == ["failed"]

    def test_nor_does_a_damaged_one(self, helm, roster, three, actions):
        helm.load("1", base=BASE)
        spoil(roster, three[1])
        with pytest.raises(AdapterDamaged, match="not what was saved"):
            helm.load("2", base=BASE)
        (roster.shelf.root / three[2] / "manifest.json").unlink()
        for wanted in (three[2], "20260133_090500"):
            with pytest.raises(AdapterDamaged, match="no manifest"):
                helm.load(wanted, base=BASE)
        assert way(roster) == [three[0]]
        assert [action for _, action, _ in actions()] == ["activated", "failed", "failed", "failed"]
        failed = roster.audit.entries(None)[2]
        assert failed.subject == three[1] and "not what was saved" in failed.details["reason"]

    @pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan"), float("inf")])
    def test_a_strength_is_from_0_to_1(self, helm, roster, three, strength):
        with pytest.raises(UsageError, match="strength can't be"):
            helm.load("1", base=BASE, strength=strength)
        assert way(roster) == []

    def test_one_from_the_archive_comes_back_for_it(self, helm, roster, shelving, three, actions):
        shelving.archive("1")
        assert helm.load("1", base=BASE).adapter == three[0]
        assert roster.active(BASE).folder == roster.shelf.root / three[0]
        assert [action for _, action, _ in actions()] == ["archived", "restored", "activated"]

    def test_one_that_is_taken_away_meanwhile_is_not_activated(self, helm, roster, three, monkeypatch):
        from shammah.deployment import activation

        def gone(folder, manifest):
            shutil.rmtree(folder)

        monkeypatch.setattr(activation, "verify", gone)
        with pytest.raises(AdapterError, match="not there any more"):
            helm.load("1", base=BASE)
        assert way(roster) == []


class TestUnloading:
    def test_the_base_answers(self, helm, roster, three, actions):
        helm.load("1", base=BASE)
        assert helm.unload(BASE, "user", "enough").adapter is None
        assert roster.active(BASE) is None
        assert actions()[-1] == ("user", "deactivated", three[0])

    def test_where_none_answers(self, helm, three):
        for _ in range(2):
            with pytest.raises(AdapterError, match="No adapter is active"):
                helm.unload(BASE)
            helm.load("1", base=BASE)
            helm.unload(BASE)


class TestGoingBack:
    def test_step_by_step_down_to_the_base(self, helm, roster, three):
        for name in three:
            helm.load(name, base=BASE)
        assert [helm.rollback(BASE).adapter for _ in range(3)] == [three[1], three[0], None]
        with pytest.raises(AdapterError, match="There is nothing further back") as caught:
            helm.rollback(BASE)
        assert caught.value.hint == "`/adapters load NAME` takes one up again."
        assert roster.activations.current(BASE).adapter is None

    def test_several_at_once(self, helm, three, actions):
        for name in three:
            helm.load(name, base=BASE)
        assert helm.rollback(BASE, 2, "probation", "rated worse").adapter == three[0]
        assert actions()[-1] == ("probation", "rolled back", three[2])
        assert helm.rollback(BASE).adapter is None
        with pytest.raises(UsageError, match="0 steps"):
            helm.rollback(BASE, 0)

    def test_further_than_it_goes(self, helm, three):
        helm.load("1", base=BASE)
        with pytest.raises(AdapterError, match="1 step back is as far as it goes"):
            helm.rollback(BASE, 2)
        helm.load("2", base=BASE)
        with pytest.raises(AdapterError, match="2 steps back is as far as it goes"):
            helm.rollback(BASE, 3)

    def test_nothing_to_go_back_from(self, helm, three):
        with pytest.raises(AdapterError, match="There is no way back"):
            helm.rollback(BASE)

    def test_with_the_strength_that_it_had(self, helm, three):
        helm.load("1", base=BASE, strength=0.25)
        helm.load("2", base=BASE)
        assert helm.rollback(BASE).strength == 0.25

    def test_past_those_that_are_gone_or_damaged(self, helm, roster, three):
        for name in three:
            helm.load(name, base=BASE)
        shutil.rmtree(roster.shelf.root / three[1])
        assert helm.rollback(BASE).adapter == three[0]
        helm.load("3", base=BASE)
        spoil(roster, three[0])
        assert helm.rollback(BASE).adapter is None

    def test_one_from_the_archive_comes_back_for_it(self, helm, roster, shelving, three):
        helm.load("1", base=BASE)
        helm.load("2", base=BASE)
        shelving.archive("1")
        assert helm.rollback(BASE).adapter == three[0]
        assert roster.active(BASE).state == "active"


class TestMeanwhile:
    """Another process changes who answers, or judges, between the decision and what is written."""

    def test_one_that_is_still_judged_is_refused_to_the_last_moment(self, helm, roster, three, database):
        runs = Runs(database)
        values = {"id": "run", "started": "2026-02-01", "updated": "2026-02-01", "trigger": "user", "model": BASE}
        runs.begin(Run(**values))
        for state in ("running", "interrupted"):
            if state == "interrupted":
                runs.end("run", state)
            with pytest.raises(AdapterError, match="is being judged") as caught:
                helm.load("1", base=BASE)
            assert caught.value.hint
        assert way(roster) == []
        runs.end("run", "finished", adapter=three[0])
        assert helm.load("1", base=BASE).adapter == three[0]

    @pytest.mark.parametrize("earlier", [0, 1])
    def test_nobody_goes_back_from_what_was_taken_into_use_just_now(self, helm, roster, three, monkeypatch, earlier):
        for name in three[: earlier + 1]:
            helm.load(name, base=BASE)
        left, own = roster.activations.current(BASE), roster.activations.way_back

        def overtaken(base):
            way = own(base)
            roster.activations.activate(base, three[2], actor="training")
            return way

        with monkeypatch.context() as patched:
            patched.setattr(roster.activations, "way_back", overtaken)
            with pytest.raises(AdapterOvertaken, match="has changed meanwhile"):
                helm.rollback(BASE)
        assert roster.activations.current(BASE).adapter == three[2]
        with pytest.raises(AdapterOvertaken):
            helm.rollback(BASE, left=left)

    def test_what_the_loaded_model_cannot_use_is_refused_before_it_is_taken_into_use(self, roster, three, actions):
        def require_fit(manifest):
            if manifest.name != three[0]:
                raise AdapterMisfit("It was made with another chat template")

        helm = Helm(roster, roster.activations, roster.audit, require_fit=require_fit)
        helm.load("1", base=BASE)
        with pytest.raises(AdapterMisfit, match="another chat template"):
            helm.load("2", base=BASE)
        assert way(roster) == [three[0]] and actions()[-1] == ("user", "failed", three[1])
