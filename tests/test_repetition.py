"""Going round in circles: found whatever the circle's length, and never in a text that goes on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shammah.repetition import goes_round

SPAN = 128


@pytest.mark.parametrize("circle", [1, 2, 3, 17, 63, 64])
def test_a_circle_is_found_once_it_filled_the_span(circle: int) -> None:
    said = list(range(1000, 1100))
    round_and_round = [n % circle for n in range(SPAN + circle)]
    assert goes_round(said + round_and_round, span=SPAN)
    assert not goes_round(said + round_and_round[:-1], span=SPAN)


@given(st.lists(st.integers(0, 3), max_size=400))
def test_it_is_told_only_of_what_repeats(items: list[int]) -> None:
    found = any(
        len(items) >= SPAN + circle and all(items[-n] == items[-n - circle] for n in range(1, SPAN + 1))
        for circle in range(1, 65)
    )
    assert goes_round(items, span=SPAN) == found


def test_a_table_that_counts_is_no_circle() -> None:
    counting = [word for number in range(100) for word in ("row", number, "is", "full")]
    assert not goes_round(counting, span=SPAN)


def test_a_refrain_longer_than_a_circle_is_none() -> None:
    assert not goes_round([n % 65 for n in range(600)], span=SPAN)
