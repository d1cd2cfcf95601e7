from hypothesis import given
from hypothesis import strategies as st

from shammah.training.fitting import Limits, first_limits, halved, measured_limits

GIB = 1 << 30


def test_more_memory_more_at_once():
    tokens = [first_limits(gib * GIB).tokens for gib in (1, 4, 8, 12, 16, 64)]
    assert tokens == sorted(tokens) and tokens[0] == 128 and tokens[-1] == 8 * 1024


def test_the_users_own_limit_of_rows():
    assert first_limits(64 * GIB, rows=2).rows == 2 and first_limits(1, rows=9).rows == 9
    assert first_limits(1).rows >= 1


def test_what_a_step_took_sets_the_limit():
    assert measured_limits(Limits(8, 4096), free=GIB, taken=GIB, tokens=1000) == Limits(8, 500)
    assert measured_limits(Limits(8, 300), free=GIB, taken=GIB, tokens=1000) == Limits(8, 300)
    assert measured_limits(Limits(8, 4096), free=1, taken=GIB, tokens=1000) == Limits(8, 64)


def test_where_nothing_was_measured_it_stays():
    limits = Limits(8, 4096)
    assert measured_limits(limits, free=GIB, taken=0, tokens=10) == limits
    assert measured_limits(limits, free=GIB, taken=-5, tokens=10) == limits


@given(st.integers(1, 1000), st.integers(1, 100_000))
def test_halving_comes_to_an_end(rows, tokens):
    limits, times = Limits(rows, tokens), 0
    while (smaller := halved(limits)) is not None:
        assert smaller.rows <= limits.rows and smaller.tokens <= max(64, limits.tokens)
        assert smaller != limits
        limits, times = smaller, times + 1
    assert limits.rows == 1 and limits.tokens <= 64 and times <= 20
