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
    trainer = a_trainer([], moved=True)
    flat = trainer.learner.flat
    penalty = elastic_penalty(trainer, some_rows[:2], 4.0)
    assert float(penalty(flat.values.detach())) == 0 and not flat.values.grad.any()
    fisher = torch.zeros_like(flat.values)
    for row in some_rows[:2]:
        flat.clear_grad()
        trainer.backward((row,))
        fisher += flat.values.grad**2 / 2
    step = torch.randn(flat.values.shape, generator=torch.Generator().manual_seed(1))
    assert float(penalty(flat.values.detach() + step)) == pytest.approx(float(2 * (fisher * step**2).sum()), rel=1e-3)


def test_its_pull_joins_the_gradient(a_trainer, some_rows):
    trainer = a_trainer([some_rows] * 5)
    trainer.penalty = elastic_penalty(trainer, some_rows, 1e6)
    held, free = trainer, a_trainer([some_rows] * 5)
    start = values(held.learner)
    held.run()
    free.run()
    fisher_moved = [float((values(one.learner) - start).norm()) for one in (held, free)]
    assert held.state.losses[0] == pytest.approx(free.state.losses[0])
    assert fisher_moved[0] < 0.9 * fisher_moved[1]
