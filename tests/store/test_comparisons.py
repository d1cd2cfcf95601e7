"""Which of two voices was picked."""

import pytest

from shammah.records import Comparison
from shammah.store.comparisons import Comparisons, Score


@pytest.fixture
def comparisons(database):
    return Comparisons(database, now=lambda: "2026-01-01T00:00:00.000Z")


def test_what_was_picked_is_kept(comparisons):
    assert comparisons.all("small") == [] and comparisons.tally("small") == {}
    made = comparisons.add("small", "a", None, "second")
    other = comparisons.add("small", None, "b", None)
    comparisons.add("large", "a", "b", "first")
    assert made == Comparison(time="2026-01-01T00:00:00.000Z", base="small", first="a", second=None, picked="second")
    assert comparisons.all("small") == [made, other]


def test_each_voice_is_counted_on_its_own_base(comparisons):
    for first, second, picked in [
        ("a", None, "first"),
        (None, "a", "second"),
        ("b", "a", "first"),
        ("a", "b", None),
        (None, "b", "first"),
    ]:
        comparisons.add("small", first, second, picked)
    comparisons.add("large", "a", "b", "first")
    assert comparisons.tally("small") == {"a": (2, 1, 1), None: (1, 2, 0), "b": (1, 1, 1)}
    assert comparisons.tally("large") == {"a": Score(wins=1), "b": Score(losses=1)}


def test_how_one_came_off_against_each_other_from_a_time_on(database):
    for second, picks in enumerate([("a", None, "second"), ("a", None, "first"), (None, "a", "first"), ("b", "a", None),
                                    ("b", None, "first")]):  # fmt: skip
        Comparisons(database, now=lambda second=second: f"2026-01-01T00:00:0{second}.000Z").add("small", *picks)
    against = Comparisons(database).against
    assert against("small", "a", since="2026-01-01T00:00:01.000Z") == {None: (1, 1, 0), "b": (0, 0, 1)}
    assert against("small", "c", since="") == against("large", "a", since="") == {}


def test_a_voice_is_not_compared_with_itself(comparisons):
    with pytest.raises(AssertionError, match="itself"):
        comparisons.add("small", "a", "a", "first")
    assert comparisons.all("small") == []
