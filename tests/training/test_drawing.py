from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shammah.training.drawing import draw_shares, draws, epoch_length, loss_weights, spread

WEIGHTS = st.dictionaries(st.text("abcdefgh", min_size=1, max_size=3), st.floats(0.01, 1000), min_size=1, max_size=12)
CAPS = st.floats(1, 20)


def test_weight_three_is_drawn_three_times_as_often_as_one():
    drawn = Counter(draws({"a": 1.0, "b": 3.0, "c": 1.0, "d": 2.0}, 7 * 40, 3.0, Random(1)))
    assert drawn == {"a": 40, "b": 120, "c": 40, "d": 80}


def test_parts_of_a_draw_add_up_over_the_epochs():
    drawn = Counter(draws({"a": 2.0, "b": 3.0}, 250, 5.0, Random(1)))
    assert drawn == {"a": 100, "b": 150}


def test_nothing_is_drawn_more_often_than_the_cap():
    weights = {"light": 1.0, "heavy": 10.0}
    assert draw_shares(weights, 3.0) == {"light": 1.0, "heavy": 3.0}
    assert Counter(draws(weights, 400, 3.0, Random(0))) == {"light": 100, "heavy": 300}


def test_what_the_cap_leaves_over_counts_in_the_loss():
    weights = {"light": 1.0, "heavy": 12.0}
    whole = loss_weights(weights, 3.0, 1.0)
    assert whole["heavy"] / whole["light"] == pytest.approx(4.0)
    tempered = loss_weights(weights, 3.0, 0.5)
    assert tempered["heavy"] / tempered["light"] == pytest.approx(2.0)
    assert loss_weights(weights, 3.0, 0.0) == {"light": 1.0, "heavy": 1.0}


@given(WEIGHTS, CAPS, st.floats(0, 1))
def test_the_loss_weights_of_an_epoch_have_a_mean_of_one(weights, cap, power):
    shares, counts = draw_shares(weights, cap), loss_weights(weights, cap, power)
    assert sum(shares[id] * counts[id] for id in weights) / sum(shares.values()) == pytest.approx(1.0)


@given(WEIGHTS, CAPS, st.integers(0, 5))
def test_each_epoch_holds_every_one(weights, cap, seed):
    longest = sum(int(share) + 1 for share in draw_shares(weights, cap).values())
    drawn = draws(weights, 4 * longest, cap, Random(seed))
    for at in range(0, len(drawn) - 2 * longest, longest):
        assert set(drawn[at : at + 2 * longest]) == set(weights)


@given(WEIGHTS, CAPS, st.integers(0, 5), st.integers(0, 60))
def test_the_same_seed_draws_the_same(weights, cap, seed, count):
    drawn = draws(weights, count, cap, Random(seed))
    assert drawn == draws(weights, count, cap, Random(seed)) and len(drawn) == count


def test_another_seed_draws_in_another_order():
    weights = dict.fromkeys("abcdefgh", 1.0)
    assert len({tuple(draws(weights, 8, 3.0, Random(seed))) for seed in range(5)}) == 5


def test_of_nothing_nothing_is_drawn():
    assert draws({}, 10, 3.0, Random(0)) == [] and epoch_length({}, 3.0) == 0


@given(st.integers(2, 6), st.integers(0, 20))
def test_repeats_stay_apart(times, seed):
    """Each falls into its own stretch of the epoch."""
    ids = [*"a" * times, *"bcdefgh"]
    placed = spread(ids, Random(seed))
    assert sorted(placed) == sorted(ids)
    others = [sum(id != "a" for id in placed[: place + 1]) for place, id in enumerate(placed) if id == "a"]
    spreads = [later - earlier for earlier, later in zip(others, others[2:], strict=False)]
    assert others[-1] > 0 and all(between >= 0 for between in spreads)


def test_an_epoch_is_as_long_as_its_draws():
    weights = {"a": 1.0, "b": 3.0, "c": 9.0}
    assert epoch_length(weights, 4.0) == 8.0
    assert Counter(draws(weights, 8, 4.0, Random(0))) == {"a": 1, "b": 3, "c": 4}
