import math

import pytest
import torch

from shammah.training.preference import Preference


@pytest.fixture
def pair(a_row):
    return a_row(16, 11, 1, rejected=a_row(18, 11, 2))


def losses(*values):
    return torch.tensor(values, requires_grad=True)


def test_odds_are_those_of_the_mean(pair):
    wanted, rejected = losses(0.5, 1.5), losses(2.0, 2.0, 2.0)
    loss = Preference("odds", lambda row: pytest.fail("the base is not asked")).loss(pair, wanted, rejected)
    odds = [p / (1 - p) for p in (math.exp(-1.0), math.exp(-2.0))]
    assert float(loss.detach()) == pytest.approx(-math.log(1 / (1 + odds[1] / odds[0])), rel=1e-5)


def test_dpo_counts_from_the_base(pair):
    base = {pair.ids: torch.tensor([1.0, 1.0]), pair.rejected.ids: torch.tensor([3.0])}
    asked = []

    def base_losses(row):
        asked.append(row)
        return base[row.ids]

    preference = Preference("dpo", base_losses)
    still = preference.loss(pair, losses(1.0, 1.0), losses(3.0))
    assert float(still.detach()) == pytest.approx(math.log(2), rel=1e-5)
    moved = preference.loss(pair, losses(0.5, 0.5), losses(13.0))
    assert float(moved.detach()) == pytest.approx(math.log(1 + math.exp(-0.1 * 11)), rel=1e-5)
    assert len(asked) == 2  # once for each of the pair


@pytest.mark.parametrize("kind", ["odds", "dpo"])
def test_it_pulls_the_two_apart(pair, kind):
    wanted, rejected = losses(1.0, 1.0), losses(1.0, 1.0)
    Preference(kind, lambda row: torch.tensor([1.0])).loss(pair, wanted, rejected).backward()
    assert (wanted.grad > 0).all() and (rejected.grad < 0).all()


@pytest.mark.parametrize("kind", ["odds", "dpo"])
@pytest.mark.parametrize(("wanted", "rejected"), [(0.0, 0.0), (0.0, 60.0), (60.0, 0.0), (1e-9, 1e-9)])
def test_certainty_is_finite(pair, kind, wanted, rejected):
    one, other = losses(wanted), losses(rejected)
    loss = Preference(kind, lambda row: torch.tensor([1.0])).loss(pair, one, other)
    loss.backward()
    assert all(torch.isfinite(tensor).all() for tensor in (loss, one.grad, other.grad))


@pytest.mark.parametrize("kind", ["odds", "dpo"])
def test_trained_with_it_the_rejected_reply_gets_less_likely(a_trainer, a_learner, pair, kind):
    def gap(weight):
        learner = a_learner(moved=False)
        trainer = a_trainer([[pair]] * 8, learner=learner, preference_weight=weight)

        def base_losses(row):
            with torch.no_grad(), learner.as_base():
                return trainer.losses([row])

        trainer._preference = Preference(kind, base_losses)
        trainer.run()
        with torch.no_grad():
            return float(trainer.losses([pair.rejected]).mean() - trainer.losses([pair]).mean())

    assert gap(5.0) > gap(0.0) + 0.1
