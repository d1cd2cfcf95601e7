from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.bundles import BASE, a_manifest

from shammah.adapters.shelf_index import Summary
from shammah.deployment.retention import Policy, leaving, prune
from shammah.deployment.roster import Entry, Roster
from shammah.deployment.shelving import Shelving

NOW = "2026-03-01T00:00:00.000Z"
ONE = Policy(keep_last=1, keep_best=0)


def entry(version, state="retired", *, improvement=None, accepted=None, base=BASE, parent=None, created=NOW, **changes):
    accepted = state != "rejected" if accepted is None else accepted
    verdict = None if improvement is None else {"accepted": accepted, "improvement": improvement}
    manifest = a_manifest(str(version), version=version, base=base, parent=parent, created=created)
    summary = Summary.of(Path("nowhere"), manifest)
    return Entry(name=str(version), folder=None, summary=summary, state=state, verdict=verdict, **changes)


def left(entries, policy=ONE, now=NOW):
    return [each.name for each in leaving(entries, policy, now=now)]


def test_the_newest_stay():
    entries = [entry(version) for version in (3, 1, 4, 2)]
    assert left(entries) == ["3", "1", "2"]
    assert left(entries, Policy(keep_last=2, keep_best=0)) == ["1", "2"]
    assert left(entries, Policy(keep_last=9)) == left([]) == []


def test_the_best_stay_too():
    entries = [entry(1, improvement=0.5), entry(2, improvement=0.1), entry(3, improvement=0.3), entry(4)]
    assert left(entries, Policy(keep_last=1, keep_best=2)) == ["2"]
    assert left(entries, Policy(keep_last=1, keep_best=9)) == []


def test_what_improved_nothing_is_none_of_the_best():
    entries = [entry(1, improvement=0.0), entry(2, improvement=-0.3), entry(3), entry(4)]
    assert left(entries, Policy(keep_last=1, keep_best=3)) == ["1", "2", "3"]


def test_refused_ones_drive_no_other_out():
    entries = [entry(1), entry(2), *(entry(version, "rejected", improvement=0.9) for version in range(3, 9))]
    assert left(entries, Policy(keep_last=2, keep_best=3)) == ["3", "4", "5", "6"]


def test_one_that_was_refused_and_tried_all_the_same_is_none_of_the_best():
    tried = entry(3, "retired", improvement=0.9, accepted=False)
    assert left([entry(1, improvement=0.3), entry(2), tried], Policy(keep_last=1, keep_best=1)) == []
    assert left([entry(1), entry(2), tried], Policy(keep_last=2, keep_best=0)) == []


def test_what_the_setting_names_and_what_it_was_trained_from():
    assert left([entry(1), entry(2, parent="1", named=True), entry(3), entry(4)]) == ["3"]


def test_what_answers_and_what_it_was_trained_from():
    entries = [entry(1), entry(2, parent="1"), entry(3, "active", parent="2"), entry(4), entry(5)]
    assert left(entries) == ["1", "4"]


def test_what_is_pinned_waits_or_lies_elsewhere():
    kept = [entry(1, pinned=True), entry(2, "candidate"), entry(3, "archived"), entry(4)]
    assert left(kept) == []
    assert left([entry(2, "candidate", improvement=0.5), entry(4)]) == ["2"]


def test_each_base_has_its_own():
    entries = [entry(1), entry(2), entry(3, base="other"), entry(4, base="other"), entry(5, base="third")]
    assert left(entries) == ["1", "3"]


def test_what_can_not_be_read_stays():
    broken = Entry(name="x", folder=None, summary=None, state="candidate", broken="why")
    assert left([broken, entry(1), entry(2)]) == ["1"]


def test_by_age():
    old, older = "2026-02-20T00:00:00.000Z", "2026-01-01T00:00:00.000Z"
    entries = [entry(1, created=older, improvement=0.9), entry(2, created=older, pinned=True), entry(3, created=old)]
    entries += [entry(4, created="when?"), entry(5, "active", created=older)]
    assert left(entries, Policy(max_days=30)) == ["1"]
    assert left(entries, Policy(max_days=5)) == ["1", "3"]
    assert left(entries, Policy(max_days=0)) == []


STATES = st.sampled_from(["candidate", "active", "retired", "rejected", "archived"])
ENTRIES = st.lists(st.tuples(STATES, st.none() | st.floats(-1, 1), st.booleans(), st.integers(0, 8)), max_size=8).map(
    lambda rows: [
        entry(at, state, improvement=better, pinned=pinned, parent=str(parent))
        for at, (state, better, pinned, parent) in enumerate(rows)
    ]
)


@settings(max_examples=200, deadline=None)
@given(ENTRIES, st.integers(1, 4), st.integers(0, 4), st.integers(0, 2))
def test_what_is_needed_never_leaves(entries, last, best, days):
    gone = leaving(entries, Policy(keep_last=last, keep_best=best, max_days=days), now="2027-01-01T00:00:00.000Z")
    parents = {each.summary.parent for each in entries if each.state == "active"}
    for each in gone:
        assert each.state not in ("active", "archived") and not each.pinned and each.name not in parents
        assert each.state != "candidate" or each.verdict is not None


class TestPruning:
    @pytest.fixture
    def six(self, put, helm):
        names = [put(f"a{version}", version=version).name for version in range(1, 7)]
        for name in names:
            helm.load(name, base=BASE)
        return names

    def test_they_are_put_away(self, shelving, roster, six, actions):
        gone = prune(shelving, Policy(keep_last=2), now=NOW)
        assert [each.name for each in gone] == six[:4]
        assert [each.name for each in roster.entries()] == six[4:]
        assert [each.state for each in roster.entries(archived=True)[:4]] == ["archived"] * 4
        assert actions()[-4:] == [("retention", "archived", name) for name in six[:4]]
        assert prune(shelving, Policy(keep_last=2), now=NOW) == []

    def test_or_deleted(self, shelving, roster, six, actions):
        prune(shelving, Policy(keep_last=2), now=NOW, put_away=False)
        assert [each.name for each in roster.entries(archived=True)] == six[4:]
        assert actions()[-1] == ("retention", "deleted", six[3])

    def test_what_the_setting_names_stays(self, a_home, database, six):
        roster = Roster(a_home, database, setting="v1")
        assert [each.name for each in prune(Shelving(roster), Policy(keep_last=2), now=NOW)] == six[1:4]

    def test_what_is_taken_into_use_meanwhile_stays(self, shelving, roster, helm, six):
        real = shelving.archive

        def archive(name, **options):
            if name == "a1":
                helm.load("a2", base=BASE)
            return real(name, **options)

        shelving.archive = archive
        gone = prune(shelving, Policy(keep_last=2), now=NOW)
        assert [each.name for each in gone] == ["a1", "a3", "a4"]
        assert roster.active(BASE).name == "a2"
