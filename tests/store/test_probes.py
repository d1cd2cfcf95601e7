"""What a reply must hold, whatever is learned next."""

import itertools

import pytest

from shammah.errors import StoreError, UsageError
from shammah.store import Archive, Examples
from shammah.store.probes import Probes


@pytest.fixture
def probes(database):
    seconds = itertools.count()
    return Probes(database, now=lambda: f"2026-01-01T00:00:{next(seconds):02d}.000Z")


def test_they_stand_in_the_order_they_came(probes):
    assert probes.all() == []
    first = probes.add("  Who are you? ", ["Shammah", " shammah! ", ""])
    second = probes.add("Which port?", ("8443",))
    assert probes.all() == [first, second]
    assert (first.prompt, first.contains, first.source, first.time) == (
        "Who are you?",
        ("Shammah", "shammah!"),
        "user",
        "2026-01-01T00:00:00.000Z",
    )


def test_one_that_asks_the_same_is_not_doubled(probes):
    first = probes.add("Who are you?", ["Shammah", "me"])
    assert probes.add(" who  ARE you?", ["ME", "shammah"]) == first
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


@pytest.fixture
def examples(database, tmp_path):
    return Examples(database, archive=Archive(tmp_path))


@pytest.fixture
def kept(probes, examples, an_example):
    """Two examples that became probes, one after the other."""
    both = [examples.put(an_example(f"What is {n}?", f"It is {n}.", rejected="No.", level="critical")) for n in "AB"]
    probes.keep(both)
    return both


def test_examples_become_probes_once(probes, kept):
    probes.keep(kept)
    assert [(probe.id, probe.prompt, probe.contains, probe.source) for probe in probes.all()] == [
        (kept[0].id, "What is A?", ("It is A.",), "example"),
        (kept[1].id, "What is B?", ("It is B.",), "example"),
    ]


def test_one_of_the_users_own_that_asks_the_same_is_one_more(probes, kept):
    own = probes.add("What is A?", ["It is A."])
    assert own.source == "user" and probes.all()[-1] == own


@pytest.mark.parametrize("gone", ["deleted", "it teaches something else", "archived"])
def test_it_goes_where_its_example_goes(probes, examples, kept, database, gone, tmp_path):
    first, second = kept
    own = probes.add("What is C?", ["C"])
    examples.change(second.id, note="It still teaches the same")
    if gone == "deleted":
        examples.delete([first.id])
    elif gone == "archived":
        examples.mark_trained([first.id], "adapter")
        Examples(database, limit=1, archive=Archive(tmp_path)).trim()
    else:
        examples.change(first.id, target="It is another.")
    assert [probe.id for probe in probes.all()] == [second.id, own.id]


def test_of_examples_only_so_many_stay_those_that_came_last(probes, an_example):
    own = probes.add("Who?", ["Me"])
    many = [an_example(f"What is {number}?") for number in range(30)]
    for each in many:
        probes.keep([each])
    assert [probe.id for probe in probes.all()] == [own.id, *(each.id for each in many[-24:])]


def test_half_a_surrogate_pair_is_replaced(probes):
    probe = probes.add("bad \udcff", ["\udcff"])
    assert (probe.prompt, probe.contains) == ("bad \ufffd", ("\ufffd",)) and probes.all() == [probe]
