"""What a reply must hold, whatever is learned next."""

import itertools

import pytest

from shammah.errors import StoreError, UsageError
from shammah.store.probes import Probes


@pytest.fixture
def probes(database):
    seconds = itertools.count()
    return Probes(database, now=lambda: f"2026-01-01T00:00:{next(seconds):02d}.000Z")


def test_they_stand_in_the_order_they_came(probes):
    assert probes.all() == []
    first = probes.add("  Who are you? ", ["Shammah", " shammah! ", ""])
    second = probes.add("Which port?", ("8443",), source="example")
    assert probes.all() == [first, second]
    assert (first.prompt, first.contains, first.source, first.time) == (
        "Who are you?",
        ("Shammah", "shammah!"),
        "user",
        "2026-01-01T00:00:00.000Z",
    )
    assert second.source == "example"


def test_one_that_asks_the_same_is_not_doubled(probes):
    first = probes.add("Who are you?", ["Shammah", "me"])
    assert probes.add(" who  ARE you?", ["ME", "shammah"], source="example") == first
    others = [probes.add("Who are you?", ["Shammah"]), probes.add("Who is he?", ["Shammah", "me"])]
    assert probes.all() == [first, *others]


@pytest.mark.parametrize(("prompt", "contains"), [("", ["x"]), (" \n", ["x"]), ("Who?", []), ("Who?", [" ", ""])])
def test_one_that_asks_nothing_is_refused(probes, prompt, contains):
    with pytest.raises(UsageError) as caught:
        probes.add(prompt, contains)
    assert "/probe" in caught.value.hint and probes.all() == []


def test_one_is_found_by_number_or_id(probes):
    first, second = probes.add("One?", ["1"]), probes.add("Two?", ["2"])
    assert probes.get(1) == probes.get("1") == probes.get(first.id) == first
    assert probes.get(" 2 ") == probes.get(second.id[:-1]) == second
    for wrong in ("3", "0", "-1", "", "zz", 0):
        with pytest.raises(StoreError, match="There is no probe") as caught:
            probes.get(wrong)
        assert "/probe list" in caught.value.hint
    with pytest.raises(StoreError, match="More than one probe"):
        probes.get(first.id[:2])


def test_a_deleted_one_is_gone(probes):
    first, second = probes.add("One?", ["1"]), probes.add("Two?", ["2"])
    for wrong in (first.id[:-1], "1", "", "\udcff"):
        with pytest.raises(StoreError, match="There is no probe"):
            probes.delete(wrong)
    probes.delete(first.id)
    assert probes.all() == [second] and probes.get(1) == second


def test_half_a_surrogate_pair_is_replaced(probes):
    probe = probes.add("bad \udcff", ["\udcff"])
    assert (probe.prompt, probe.contains) == ("bad \ufffd", ("\ufffd",)) and probes.all() == [probe]
