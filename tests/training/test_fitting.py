from hypothesis import given
from hypothesis import strategies as st

from shammah.training.fitting import Limits, first_limits, halved, measured_limits

GIB = 1 << 30
# What one token of a small model takes, and of one with seven billion parameters.
SMALL, LARGE = 600_000, 5_000_000


def first(free, token_bytes=SMALL, model_bytes=1 << 60):
    return first_limits(free, token_bytes=token_bytes, model_bytes=model_bytes)


def test_a_run_takes_no_more_than_its_model_or_400_mb_however_much_is_free():
    assert first(64 * GIB, model_bytes=0).tokens == 400_000_000 // SMALL
    assert first(64 * GIB, model_bytes=GIB).tokens == GIB // SMALL
    assert first(4 * GIB, model_bytes=0).tokens == 256
    taken = {"free": 64 * GIB, "taken": GIB, "seconds": 0.0, "tokens": 1000}
    assert measured_limits(Limits(8, 4096), **taken).tokens == 400_000_000 * 1000 // GIB
    assert measured_limits(Limits(8, 4096), **taken, model_bytes=2 * GIB).tokens == 2000


def test_more_memory_more_at_once():
    tokens = [first(gib * GIB).tokens for gib in (1, 4, 8, 12, 16, 64)]
    assert tokens == [128, 256, 1024, 2048, 8192, 8192]


def test_a_larger_model_computes_less_at_once():
    for gib in (4, 8, 16, 64):
        small, large = (first(gib * GIB, size).tokens for size in (SMALL, LARGE))
        assert large * LARGE <= gib * GIB / 2 and 64 <= large <= small
    assert first(16 * GIB, LARGE).tokens == 8 * GIB // LARGE
    assert first_limits(GIB, token_bytes=10**9).tokens == 64


def test_the_users_own_limit_of_rows():
    assert first_limits(64 * GIB, token_bytes=SMALL, rows=2).rows == 2
    assert first_limits(1, token_bytes=SMALL, rows=9).rows == 9
    assert first_limits(1, token_bytes=SMALL).rows >= 1


def after(limits, *, free=GIB, taken=0, seconds=0.0, tokens=1000):
    return measured_limits(limits, free=free, taken=taken, seconds=seconds, tokens=tokens, model_bytes=1 << 60)


def test_what_a_step_took_sets_the_limit():
    assert after(Limits(8, 4096), taken=GIB) == Limits(8, 500)
    assert after(Limits(8, 300), taken=GIB) == Limits(8, 300)
    assert after(Limits(8, 4096), free=1, taken=GIB) == Limits(8, 64)


def test_so_does_how_long_the_chat_had_to_wait():
    assert after(Limits(8, 4096), seconds=2.0) == Limits(8, 100)
    assert after(Limits(8, 4096), seconds=9.0) == Limits(8, 64)
    assert after(Limits(8, 4096), seconds=2.0, taken=GIB) == Limits(8, 100)
    assert after(Limits(8, 4096), seconds=0.3, taken=GIB) == Limits(8, 500)
    assert after(Limits(8, 4096), seconds=0.1) == Limits(8, 4096)


def test_where_nothing_was_measured_it_stays():
    for limits in (Limits(8, 4096), Limits(1, 20)):
        assert after(limits) == after(limits, taken=-5) == limits


@given(st.integers(1, 1000), st.integers(1, 100_000))
def test_halving_comes_to_an_end(rows, tokens):
    limits, times = Limits(rows, tokens), 0
    while (smaller := halved(limits)) is not None:
        assert smaller.rows <= limits.rows and smaller.tokens <= max(64, limits.tokens)
        assert smaller != limits
        limits, times = smaller, times + 1
    assert limits.rows == 1 and limits.tokens <= 64 and times <= 20
