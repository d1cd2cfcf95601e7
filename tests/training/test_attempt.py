"""Attempts on a tiny model: what is found out before the first step, and where memory runs out or numbers run away."""

import copy
import json
import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from shammah.adapters.bundle import CONFIG, README, WEIGHTS
from shammah.errors import AdapterMisfit, DeviceError, TrainingError, TrainingUnstable
from shammah.records import Message
from shammah.training import attempt as attempt_module
from shammah.training.attempt import Attempt, Base
from shammah.training.checkpoint import Checkpoint
from shammah.training.fitting import Limits
from shammah.training.planning import Lesson
from shammah.training.recipe import Recipe
from shammah.training.saving import adapter_files, manifest_of

pytestmark = pytest.mark.usefixtures("one_thread")
FULL = RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 1 bytes")
LIMITS = Limits(8, 1024)


def lessons(names="ABC"):
    return [Lesson(n, (Message("user", f"What is {n}?"),), f"It is {n}, no more.", 1.0) for n in names]


@pytest.fixture
def base(tiny_loaded):
    return Base("org/tiny", tiny_loaded, "ba5e")


@pytest.fixture
def an_attempt(base):
    """An attempt of three steps of lessons alone, prepared unless told not to."""

    def make(*, base=base, prepared=True, parent=None, known=(), limits=LIMITS, names="ABC", **changes):
        fields = {"preset": "default", "r": 4, "steps": 3, "anchors": 0.0, "learning_rate": 5e-3, **changes}
        attempt = Attempt(base, Recipe(**fields), limits, lambda: None, go_on_from=parent)
        return prepare(attempt, names, known) if prepared else attempt

    return make


def prepare(attempt, names="ABC", known=()):
    book = SimpleNamespace(replies=attempt.ask)  # the base is asked each time
    attempt.prepare(lessons(names), book, known=known)
    return attempt


def trained(attempt):
    attempt.train(lambda attempt: None)
    return attempt


@pytest.fixture
def parent(an_attempt, tmp_path):
    """The folder of an adapter that learned A, B and C."""
    attempt = trained(an_attempt(steps=30))
    return saved(attempt, tmp_path / "lora_adapter_20260131_090500")


def saved(attempt, folder):
    folder.mkdir()
    for name, data in adapter_files(attempt, attempt.tensors(), manifest(attempt)).items():
        (folder / name).write_bytes(data)
    return folder


def manifest(attempt, name="lora_adapter_1"):
    run = SimpleNamespace(example_ids=("A", "B"), trigger="user", id="run")
    return manifest_of(run, attempt, attempt.trainer.state, name=name, version_number=1)


def in_other_format(loaded, dtype):
    return replace(loaded, network=copy.deepcopy(loaded.network).to(dtype))


class TestFingerprint:
    """What a checkpoint belongs to: equal for the very same run alone."""

    def test_the_same_is_equal_whatever_was_trained_since(self, an_attempt):
        attempt = an_attempt()
        before = attempt.fingerprint
        assert before == trained(attempt).fingerprint == an_attempt().fingerprint

    def test_it_is_made_once(self, an_attempt):
        """A run of thousands of rows is written down every few seconds."""
        attempt = an_attempt()
        assert attempt.fingerprint and attempt.fingerprint is attempt.fingerprint

    @pytest.mark.parametrize(
        "changes", [{"learning_rate": 1e-3}, {"seed": 1}, {"names": "ABD"}, {"dropout": 0.1}], ids=str
    )
    def test_another_run_is_another(self, an_attempt, changes):
        assert an_attempt(**changes).fingerprint != an_attempt().fingerprint

    def test_another_base(self, an_attempt, base):
        assert an_attempt(base=replace(base, hash="other")).fingerprint != an_attempt().fingerprint

    def test_another_format(self, an_attempt, base, parent):
        """Also from the very same numbers on."""
        other = replace(base, loaded=in_other_format(base.loaded, torch.bfloat16))
        one, two = (an_attempt(base=each, parent=parent) for each in (base, other))
        assert torch.equal(one.learner.flat.values, two.learner.flat.values)
        assert one.fingerprint != two.fingerprint

    def test_another_template_even_where_it_writes_the_same(self, an_attempt, base, tiny_model):
        from shammah.model.device import Compute
        from shammah.model.loading import load

        loaded = load(tiny_model, Compute("cpu", "float32", 1, "", {}))
        loaded.format.template += "{# the same #}"
        other = replace(base, loaded=loaded)
        assert other.voice != base.voice and an_attempt(base=other).fingerprint != an_attempt().fingerprint

    def test_another_beginning(self, an_attempt, parent):
        fingerprints = {an_attempt().fingerprint, an_attempt(parent=parent).fingerprint}
        fingerprints.add(an_attempt(parent=parent, known="AB").fingerprint)
        assert len(fingerprints) == 3


class TestContinue:
    def test_it_tells_where_it_began(self, an_attempt, parent):
        assert manifest(trained(an_attempt(parent=parent))).parent == parent.name
        assert manifest(trained(an_attempt())).parent is None

    def test_to_end_where_it_began_is_a_run_that_failed(self, an_attempt, parent):
        """Though it is far from the base."""
        attempt = an_attempt(parent=parent)
        with pytest.raises(TrainingError, match="changes nothing"):
            attempt.tensors()
        assert trained(attempt).tensors()

    def test_only_what_the_parent_learned_holds_it(self, an_attempt, parent):
        assert an_attempt(parent=parent).trainer.penalty is None
        assert an_attempt(known="AB").trainer.penalty is None
        assert an_attempt(parent=parent, known="AB", ewc=0.0).trainer.penalty is None
        old, all_of_it = (an_attempt(parent=parent, known=known) for known in ("AB", "ABC"))
        elsewhere = old.learner.flat.values.detach() + 0.01
        costs = [float(attempt.trainer.penalty(elsewhere)) for attempt in (old, all_of_it)]
        assert min(costs) > 0 and costs[0] != costs[1]
        assert {row.source for row in old._held} == {"A", "B"}

    def test_with_it_old_lessons_lose_less(self, an_attempt, parent, an_old_loss):
        """The new one alone is trained here: nothing else reminds of the old."""
        lost = []
        for strength in (0.0, 10.0):
            attempt = an_attempt(parent=parent, known="ABC", names="ABCZ", steps=12, ewc=strength)
            new = [row for step in attempt.plan.steps for row in step if row.source == "Z"]
            attempt.trainer.plan = [(row,) for row in new] * 2
            before = an_old_loss(attempt)
            trained(attempt)
            lost.append(an_old_loss(attempt) - before)
        assert lost[1] < 0.7 * lost[0] and lost[0] > 0.1

    @pytest.fixture
    def an_old_loss(self):
        def loss(attempt):
            rows = attempt._first_of_each("ABC")
            with torch.no_grad():
                return float(attempt.trainer.losses(rows).mean())

        return loss

    def test_a_parent_of_another_shape_is_refused(self, an_attempt, parent):
        with pytest.raises(AdapterMisfit):
            an_attempt(parent=parent, r=2)


def full_beyond(monkeypatch, learner, most, method="hidden"):
    """Memory that is full whenever more rows than that are computed at once; the list grows each time it is."""
    times, own = [], getattr(learner, method)

    def limited(rows):
        if len(rows) > most:
            times.append(len(rows))
            raise FULL
        return own(rows)

    monkeypatch.setattr(learner, method, limited)
    return times


class TestOutOfMemory:
    def test_a_step_is_done_in_smaller_parts_with_the_same_result(self, an_attempt, monkeypatch):
        whole, small = trained(an_attempt()), an_attempt()
        times = full_beyond(monkeypatch, small.learner, 1)
        assert trained(small).trainer.state.losses == pytest.approx(whole.trainer.state.losses, rel=1e-4)
        assert times and small.trainer.limits.rows < LIMITS.rows

    def test_the_trial_of_packing_is_done_with_fewer(self, an_attempt, monkeypatch):
        attempt = an_attempt(prepared=False)
        times = full_beyond(monkeypatch, attempt.learner, 1, "_packed")
        prepare(attempt)
        assert times and attempt.learner.packs and attempt.trainer.limits.rows == 1

    def test_what_is_held_out_is_measured_in_smaller_parts(self, an_attempt, monkeypatch):
        attempt = an_attempt(patience=9, check_every=1)
        attempt.trainer.plan = [step[:1] for step in attempt.plan.steps]
        times = full_beyond(monkeypatch, attempt.learner, 1)
        assert len(trained(attempt).trainer.state.held_out) == 3 and times

    @pytest.mark.parametrize("when", ["base states", "the hold", "the last look"])
    def test_everywhere_else_it_is_tried_again(self, an_attempt, parent, monkeypatch, when):
        """What takes one row at a time has room once something else has gone."""
        left = [2]

        def once_more(own):
            def limited(*arguments):
                if left[0]:
                    left[0] -= 1
                    raise FULL
                return own(*arguments)

            return limited

        if when == "base states":
            attempt = an_attempt(anchors=0.34)
            assert any(row.kind == "anchor" for step in attempt.plan.steps for row in step)
            attempt._base_states = once_more(attempt._base_states)
            attempt.trainer._base_states = attempt._base_states
            trained(attempt)
        elif when == "the hold":
            monkeypatch.setattr(attempt_module, "elastic_penalty", once_more(attempt_module.elastic_penalty))
            attempt = an_attempt(parent=parent, known="AB")
            assert attempt.trainer.penalty is not None
        else:
            attempt = trained(an_attempt())
            monkeypatch.setattr(attempt.learner, "hidden", once_more(attempt.learner.hidden))
            assert attempt.tensors()
        assert left == [0] and attempt.trainer.limits == Limits(2, 256)

    def test_the_base_is_asked_fewer_prompts_at_once(self, an_attempt, monkeypatch):
        attempt = an_attempt(prepared=False)
        asked, own = [], attempt.speaker.replies

        def limited(prompts, settings, *, rows):
            asked.append(rows)
            if rows > 4:
                raise DeviceError("Not enough memory")
            return own(prompts, settings, rows=rows)

        monkeypatch.setattr(attempt.speaker, "replies", limited)
        said = attempt.ask(["What is A?", "What is B?"])
        assert asked == [16, 8, 4] and [reply.prompt for reply in said] == ["What is A?", "What is B?"]

    def test_at_last_layers_are_computed_again_and_then_it_is_said(self, an_attempt, monkeypatch):
        attempt = an_attempt()
        full_beyond(monkeypatch, attempt.learner, 0)
        with pytest.raises(DeviceError, match="Not enough memory to train") as caught:
            trained(attempt)
        assert attempt.learner.recomputes and "max_length" in caught.value.hint

    def test_a_step_that_has_begun_to_move_the_numbers_is_not_taken_again(self, an_attempt, monkeypatch):
        attempt = an_attempt()
        steps = []

        def full():
            steps.append(attempt.trainer.state.step)
            raise FULL

        monkeypatch.setattr(attempt.trainer.optimizer, "step", full)
        with pytest.raises(DeviceError, match="Not enough memory to train"):
            trained(attempt)
        assert steps == [0]

    def test_other_errors_are_not_taken_for_it(self, an_attempt, monkeypatch):
        attempt = an_attempt()

        def broken(rows):
            raise RuntimeError("shapes cannot be multiplied")

        monkeypatch.setattr(attempt.learner, "hidden", broken)
        with pytest.raises(RuntimeError, match="multiplied"):
            trained(attempt)


class TestABaseOfNoUse:
    """Numbers that are not finite before anything was trained: no gentler try could mend that."""

    @pytest.fixture
    def spoiled(self, base):
        def spoiled(part):
            loaded = in_other_format(base.loaded, torch.float32)
            head = loaded.network.lm_head
            head.weight = torch.nn.Parameter(head.weight.detach().clone())  # no longer that of the embeddings
            with torch.no_grad():
                part(loaded.network).weight[5:].fill_(math.nan)
            return replace(base, loaded=loaded)

        return spoiled

    @pytest.mark.parametrize(
        "part", [lambda n: n.model.norm, lambda n: n.model.layers[1].mlp.up_proj, lambda n: n.lm_head], ids="nwh"
    )
    def test_it_is_named(self, an_attempt, spoiled, part):
        with pytest.raises(TrainingError, match="org/tiny itself") as caught:
            an_attempt(base=spoiled(part))
        assert not isinstance(caught.value, TrainingUnstable) and "dtype" in caught.value.hint

    def test_also_where_it_shows_in_an_anchor_only(self, an_attempt):
        attempt = an_attempt(anchors=0.34)
        anchor = next(row for step in attempt.plan.steps for row in step if row.kind == "anchor")
        with torch.no_grad():
            attempt.learner.network.model.norm.weight[0] = math.nan
        try:
            with pytest.raises(TrainingError, match="org/tiny itself"):
                attempt._base_states(anchor)
        finally:
            with torch.no_grad():
                attempt.learner.network.model.norm.weight[0] = 1.0


class TestFloat16:
    """The base in float16, the adapter and the losses in float32."""

    @pytest.fixture
    def narrow(self, base):
        return replace(base, loaded=in_other_format(base.loaded, torch.float16))

    def test_it_learns_as_in_float32(self, an_attempt, narrow):
        half = trained(an_attempt(base=narrow, steps=12))
        whole = trained(an_attempt(steps=12))
        assert half.learner.network.dtype is torch.float16 and half.learner.flat.values.dtype is torch.float32
        assert half.trainer.state.losses == pytest.approx(whole.trainer.state.losses, rel=0.05)
        assert half.trainer.state.scale > 1 and whole.trainer.state.scale == 1

    def test_gradients_come_back_in_their_own_size(self, an_attempt, base, narrow):
        norms = []
        for each in (base, narrow):
            attempt = an_attempt(base=each)
            attempt.trainer.backward(attempt.plan.steps[0])
            norms.append(float(attempt.learner.flat.values.grad.norm()))
        assert norms[1] == pytest.approx(norms[0], rel=0.05)

    def test_small_gradients_do_not_vanish(self, an_attempt, narrow):
        """A reply that is all but certain: what is left of its gradient is below what float16 can hold."""
        rates = []
        for scale in (1.0, 2.0**13):
            attempt = an_attempt(base=narrow)
            attempt.trainer.state.scale = scale
            own = attempt.trainer._part_loss
            attempt.trainer._part_loss = lambda part, share, own=own: own(part, share) * 1e-6
            attempt.trainer.backward(attempt.plan.steps[0])
            rates.append(float((attempt.learner.flat.values.grad != 0).float().mean()))
        assert rates[1] > 1.5 * rates[0] and rates[1] > 0.4

    def test_gradients_too_large_halve_the_scale_and_nothing_else(self, an_attempt, narrow):
        plain, large = an_attempt(base=narrow), an_attempt(base=narrow)
        large.trainer.state.scale = 2.0**40
        assert trained(large).trainer.state.losses == pytest.approx(trained(plain).trainer.state.losses, rel=1e-2)
        assert 1 < large.trainer.state.scale < 2.0**24 and large.trainer.state.step == 3

    def test_the_scale_is_gone_on_with(self, an_attempt, narrow, tmp_path):
        whole, cut, again = (an_attempt(base=narrow) for _ in range(3))
        checkpoint = Checkpoint(tmp_path / "checkpoint.safetensors")
        for attempt in (whole, cut):
            attempt.trainer.state.scale = 2.0**40
        cut.trainer.plan = cut.plan.steps[:1]
        checkpoint.save(trained(cut).trainer, cut.fingerprint)
        assert checkpoint.restore(again.trainer, again.fingerprint)
        assert again.trainer.state.scale == cut.trainer.state.scale not in (2.0**40, 2.0**13)
        assert len(trained(again).trainer.state.losses) == len(trained(whole).trainer.state.losses) == 3

    def test_losses_that_are_not_finite_end_it_at_once(self, an_attempt, narrow):
        attempt = an_attempt(base=narrow)
        attempt.trainer._part_loss = lambda part, share: attempt.learner.flat.values.sum() * math.inf
        with pytest.raises(TrainingUnstable, match="at step 1"):
            trained(attempt)
        assert attempt.trainer.state.scale == 2.0**13


class TestFiles:
    def test_the_base_is_called_what_the_hub_calls_it(self, an_attempt, base):
        attempt = trained(an_attempt(base=replace(base, name="smollm2-135m")))
        files = adapter_files(attempt, attempt.tensors(), manifest(attempt))
        config = json.loads(files[CONFIG])
        assert config["base_model_name_or_path"] == "HuggingFaceTB/SmolLM2-135M-Instruct"
        assert b'base_model: "HuggingFaceTB/SmolLM2-135M-Instruct"' in files[README]
        assert manifest(attempt).base == "smollm2-135m"

    def test_no_path_of_the_users_is_in_any_of_them(self, an_attempt, base, tiny_model, tmp_path):
        attempt = trained(an_attempt(base=replace(base, name=str(tiny_model))))
        files = adapter_files(attempt, attempt.tensors(), manifest(attempt))
        everything = b"".join(files.values()) + manifest(attempt).to_json().encode()
        assert str(tiny_model.parent).encode() not in everything
        assert json.loads(files[CONFIG])["base_model_name_or_path"] == "model" == manifest(attempt).base

    def test_the_weights_are_those_that_were_trained(self, an_attempt, tmp_path):
        attempt = trained(an_attempt())
        folder = saved(attempt, tmp_path / "adapter")
        expected = attempt.learner.tensors()
        found = load_file(folder / WEIGHTS)
        assert found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in found)
