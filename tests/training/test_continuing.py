import math

import pytest
import torch
from safetensors.torch import save_file
from support.networks import llama

from shammah.errors import AdapterDamaged, AdapterMisfit
from shammah.training.continuing import elastic_penalty, start_from


@pytest.fixture
def folder(a_learner, tmp_path):
    """An adapter that was trained before."""
    learner = a_learner()
    save_file(learner.tensors(), tmp_path / "adapter_model.safetensors")
    learner.config.save_pretrained(tmp_path)
    return tmp_path


def values(learner):
    return learner.flat.values.detach().clone()


def test_it_starts_with_the_very_numbers(a_learner, folder):
    learner = a_learner(moved=False)
    start_from(learner, folder)
    assert torch.equal(values(learner), values(a_learner()))
    assert all(
        torch.equal(one, other)
        for one, other in zip(learner.tensors().values(), a_learner().tensors().values(), strict=True)
    )


def test_and_goes_on_learning_from_there(a_trainer, a_learner, folder, some_rows):
    learner = a_learner(moved=False)
    start_from(learner, folder)
    before = values(learner)
    a_trainer([some_rows] * 2, learner=learner).run()
    assert not torch.equal(values(learner), before)


def test_another_shape_does_not_fit(a_learner, folder):
    for changes in ({"r": 2}, {"targets": "q_proj"}):
        with pytest.raises(AdapterMisfit, match="another shape"):
            start_from(a_learner(moved=False, **changes), folder)


def test_numbers_that_count_for_more_or_less_do_not_fit(a_learner, folder):
    """Of the same shape, they would be another adapter."""
    with pytest.raises(AdapterMisfit, match=r"another lora\.alpha") as caught:
        start_from(a_learner(moved=False, alpha=16.0), folder)
    assert "lora.alpha = 8.0" in caught.value.hint


@pytest.mark.parametrize("file", ["adapter_model.safetensors", "adapter_config.json"])
@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b"\x01" * 40), lambda path: path.unlink()], ids="wg")
def test_a_damaged_one_is_named(a_learner, folder, file, damage):
    damage(folder / file)
    learner = a_learner(moved=False)
    before = values(learner)
    with pytest.raises(AdapterDamaged, match=file) as caught:
        start_from(learner, folder)
    assert "strategy = rebuild" in caught.value.hint and torch.equal(values(learner), before)


class TestItsMeasure:
    """What is known of each number is measured anew at each beginning, on a sample where there is much."""

    @pytest.fixture
    def measured(self, a_trainer):
        def measure(rows, seed=0):
            trainer = a_trainer([rows[:2]] * 5, moved=True, seed=seed)
            seen, own = [], trainer.backward
            trainer.backward = lambda rows: seen.extend(rows) or own(rows)
            return seen, float(elastic_penalty(trainer, rows, 1.0)(values(trainer.learner) + 0.01 * spread(trainer)))

        return measure

    def test_many_are_a_sample_of_the_seed(self, measured, a_row):
        rows = [a_row(14, 10, number) for number in range(80)]
        (one, cost), (again, same), (other, differs) = measured(rows), measured(rows), measured(rows, seed=1)
        assert len(one) == 64 == len(set(one)) and set(one) < set(rows)
        assert (one, cost) == (again, same) and set(other) != set(one) and differs != cost

    def test_few_are_all(self, measured, some_rows):
        assert measured(some_rows)[0] == some_rows

    def test_layers_are_computed_again_where_that_is_how_they_fit(self, a_trainer, some_rows):
        trainer = a_trainer([some_rows] * 5, moved=True, dropout=0.5)
        again, calls = trainer.learner, []
        dropping = [module for name, module in again.network.named_modules() if name.endswith("lora_dropout.default")]
        block = again.network.get_decoder().layers[0].mlp
        block.register_forward_pre_hook(lambda *_: calls.append(any(module.training for module in dropping)))
        again.recompute()
        elastic_penalty(trainer, some_rows[:3], 1.0)
        assert dropping and calls == [False] * 6
        calls.clear()
        trainer.backward(some_rows[:1])
        assert len(calls) == 1  # and afterwards as before

    def test_in_float16_too_large_gradients_are_made_smaller(self, a_trainer, a_learner, some_rows):
        costs = []
        for scale in (2.0**8, 2.0**40):
            learner = a_learner(llama(vocab_size=128).half())
            trainer = a_trainer([some_rows] * 5, learner=learner)
            trainer.state.scale = scale
            costs.append(float(elastic_penalty(trainer, some_rows, 1.0)(values(learner) + 0.01 * spread(trainer))))
        assert costs[1] == pytest.approx(costs[0], rel=0.05) and trainer.state.scale < 2.0**30


def spread(trainer):
    numbers = trainer.learner.flat.values
    return torch.randn(numbers.shape, generator=torch.Generator().manual_seed(1))


def test_to_stay_costs_nothing_and_to_move_costs_by_what_it_would_change(a_trainer, some_rows):
    trainer = a_trainer([some_rows] * 9, moved=True)
    flat = trainer.learner.flat
    penalty = elastic_penalty(trainer, some_rows[:2], 4.0)
    assert float(penalty(flat.values.detach())) == 0 and not flat.values.grad.any()
    fisher = torch.zeros_like(flat.values)
    for row in some_rows[:2]:
        trainer.backward((row,))
        fisher += flat.values.grad**2
    step = torch.randn(flat.values.shape, generator=torch.Generator().manual_seed(1))
    expected = 2 * (fisher / fisher.mean() * (step / (0.01 * 3)) ** 2).mean()
    assert float(penalty(flat.values.detach() + step)) == pytest.approx(float(expected), rel=1e-3)


def test_what_it_costs_does_not_depend_on_how_well_it_was_learned(a_trainer, some_rows):
    """Whoever learned well has gradients near to nothing, and as much to lose."""
    far = 0.01 * math.sqrt(5)
    for moved in (True, False):
        trainer = a_trainer([some_rows] * 5, moved=moved)
        here = values(trainer.learner)
        assert float(elastic_penalty(trainer, some_rows, 1.0)(here + far)) == pytest.approx(0.5, rel=1e-3)


class TestForgetting:
    """What was learned before is learned no more: without a hold it goes."""

    OLD, NEW = range(4), range(50, 54)

    @pytest.fixture
    def after(self, a_trainer, a_learner, a_row):
        """How much the replies of old and new lessons cost after learning the new ones, held so strongly."""

        def after(strength):
            old, new = ([a_row(20, 12, seed) for seed in seeds] for seeds in (self.OLD, self.NEW))
            learner = a_learner(moved=False)
            a_trainer([old] * 40, learner=learner).run()
            trainer = a_trainer([new] * 30, learner=learner)
            if strength:
                trainer.penalty = elastic_penalty(trainer, old, strength)
            trainer.run()
            with torch.no_grad():
                return [float(trainer.losses(rows).mean()) for rows in (old, new)]

        return after

    def test_the_stronger_it_is_held_the_less_is_lost(self, after):
        (free, _), (held, learned), (tight, _) = after(0.0), after(1.0), after(10.0)
        assert held < free - 0.4 and tight < held - 0.4
        assert learned < 1  # and the new is learned all the same


def test_its_pull_joins_the_gradient(a_trainer, some_rows):
    held, free = (a_trainer([some_rows] * 5) for _ in range(2))
    held.penalty = elastic_penalty(held, some_rows, 30.0)
    start = values(held.learner)
    held.run()
    free.run()
    moved = [float((values(one.learner) - start).norm()) for one in (held, free)]
    assert held.state.losses[0] == pytest.approx(free.state.losses[0])
    assert moved[0] < 0.9 * moved[1]
