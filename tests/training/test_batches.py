from hypothesis import given
from hypothesis import strategies as st

from shammah.training.batches import cost, micro_batches, with_rejected
from shammah.training.packing import Row

TOKENS = st.lists(st.integers(0, 3), min_size=2, max_size=12)


@st.composite
def rows(draw):
    ids = draw(TOKENS)
    return Row(ids=tuple(ids), start=draw(st.integers(1, len(ids) - 1)))


@given(st.lists(rows(), max_size=12), st.integers(1, 5), st.integers(1, 40))
def test_every_row_is_in_one_part_and_every_part_fits(given_rows, most_rows, most_tokens):
    parts = micro_batches(given_rows, most_rows, most_tokens)
    assert sorted((row for part in parts for row in part), key=id) == sorted(given_rows, key=id)
    for part in parts:
        assert len(part) <= most_rows and (cost(part) <= most_tokens or len(part) == 1)
    lengths = [len(row.ids) for part in parts for row in part]
    assert lengths == sorted(lengths, reverse=True)


def test_the_parts_do_not_depend_on_the_order_of_the_rows(a_row):
    given_rows = [a_row(12 + seed % 3, 9, seed) for seed in range(9)]
    assert micro_batches(given_rows, 4, 60) == micro_batches(given_rows[::-1], 4, 60)


def test_a_row_costs_what_it_is_weighed_against_too(a_row):
    row = a_row(20, 12, rejected=a_row(24, 12, seed=0))
    assert with_rejected([row]) == [row, row.rejected]
    assert cost([row]) == 11 + 9 + 13
