import math

import pytest
import torch
from safetensors.torch import save_file

from shammah.errors import AdapterMisfit
from shammah.training.continuing import elastic_penalty, start_from


@pytest.fixture
def folder(a_learner, tmp_path):
    """An adapter that was trained before."""
    save_file(a_learner().tensors(), tmp_path / "adapter_model.safetensors")
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
