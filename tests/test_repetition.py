"""Going round in circles: found whatever the circle's length, and never in a text that goes on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shammah.repetition import goes_round, repeated_share, sentences, went_round, words

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


def test_a_circle_is_found_where_the_text_went_on_after_it() -> None:
    said = [*range(100, 110), *[n % 4 for n in range(20)], *range(200, 210)]
    assert went_round(said, span=16)
    assert not goes_round(said, span=16)
    assert not went_round([*range(100, 110), *[n % 4 for n in range(19)], *range(200, 210)], span=16)


@given(st.lists(st.integers(0, 2), max_size=60), st.integers(2, 12))
def test_it_went_round_if_it_did_at_any_point(items: list[int], span: int) -> None:
    assert went_round(items, span=span) == any(goes_round(items[:end], span=span) for end in range(len(items) + 1))


@pytest.mark.parametrize(
    ("items", "size", "share"),
    [
        ([], 1, 0),
        ([1, 2], 3, 0),
        ([1, 2, 3], 3, 0),
        ([1, 1, 1, 1], 1, 3 / 4),
        ([1, 2, 3, 1, 2, 3], 3, 1 / 4),
        ([1, 2, 1, 2], 1, 1 / 2),
    ],
)
def test_the_share_of_what_was_said_before(items: list[int], size: int, share: float) -> None:
    assert repeated_share(items, size=size) == pytest.approx(share)


@given(st.lists(st.integers(0, 3), max_size=80), st.integers(1, 4))
def test_saying_it_all_again_raises_the_share(items: list[int], size: int) -> None:
    share = repeated_share(items, size=size)
    assert 0 <= share < 1
    assert repeated_share(items * 3, size=size) >= share


def test_words_and_sentences_are_compared_without_case_and_single_words_are_left_out() -> None:
    assert words("The  CAT\nsat") == ["the", "cat", "sat"]
    assert sentences("It is. IT  IS.\n}\n\nIs it? Yes! 猫がいる。犬 もいる。") == [
        "it is.",
        "it is.",
        "is it?",
        "犬 もいる。",
    ]
