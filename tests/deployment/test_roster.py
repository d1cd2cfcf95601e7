import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
from support.bundles import BASE

from shammah.adapters.bundle import MANIFEST, README, judged, read_bundle
from shammah.deployment.roster import Roster
from shammah.errors import AdapterError
from shammah.store import Conversations

ACCEPTED, REFUSED = {"accepted": True, "improvement": 0.2}, {"accepted": False, "improvement": 0.0}


def states(roster, **which):
    return {each.name: each.state for each in roster.entries(**which)}


def test_an_empty_home(roster, a_home):
    assert (roster.entries(), roster.entries(archived=True), roster.active(BASE), roster.next_version()) == (
        [],
        [],
        None,
        1,
    )
    for name in ("latest", "1", "x"):
        with pytest.raises(AdapterError, match="There is no adapter yet"):
            roster.find(name)
    with pytest.raises(AdapterError, match="No adapter is active") as caught:
        roster.find("active")
    assert "/adapters load" in caught.value.hint
    shutil.rmtree(a_home.adapters)
    assert roster.entries(archived=True) == []


def test_what_is_known_of_one(roster, put, database, a_turn):
    folder = put(verdict=ACCEPTED)
    roster.notes.label(folder.name, "mine")
    roster.notes.tag(folder.name, ["a", "b"])
    roster.notes.pin(folder.name)
    for rating in ("good", "critical", None):
        Conversations(database).add(a_turn(adapter=folder.name, feedback=rating), title="t")
    (entry,) = roster.entries()
    assert (entry.name, entry.folder, entry.manifest) == (folder.name, folder, read_bundle(folder))
    said = entry.summary
    assert (said.version, said.base, said.examples, said.parent, said.created[:4]) == (1, BASE, 2, None, "2026")
    assert (entry.label, entry.tags, entry.pinned, entry.imported) == ("mine", ("a", "b"), True, False)
    assert (entry.uses.turns, entry.uses.good, entry.uses.medium, entry.uses.critical) == (3, 1, 0, 1)
    assert entry.size == sum(path.stat().st_size for path in folder.iterdir()) and entry.broken == ""
    assert entry.verdict == ACCEPTED


class TestStates:
    def test_one_that_waits_for_its_verdict_or_passed_is_a_candidate(self, roster, put):
        put("waits")
        put("passed", verdict=ACCEPTED)
        assert states(roster) == {"waits": "candidate", "passed": "candidate"}

    def test_what_the_verdict_says(self, roster, put):
        folder = put("one")
        put("two", verdict=ACCEPTED)
        judged(folder, {}, REFUSED)
        roster.notes.judged("two", REFUSED)
        assert states(roster) == {"one": "rejected", "two": "rejected"}
        roster.notes.judged("one", ACCEPTED)
        assert states(roster)["one"] == "candidate", "what the store has is the newer word"

    def test_the_newest_activation_of_its_base_counts(self, roster, put, three):
        other = put("other", base="other/model").name
        first, second, third = three
        for base, name in ((BASE, first), (BASE, second), ("other/model", other)):
            roster.activations.activate(base, name, actor="user")
        assert states(roster) == {first: "retired", second: "active", third: "candidate", other: "active"}
        assert (roster.active(BASE).name, roster.active("other/model").name) == (second, other)
        roster.activations.activate(BASE, None, actor="user")
        assert states(roster)[second] == "retired" and roster.active(BASE) is None
        assert roster.active("third/model") is None

    def test_one_that_answered_is_retired_whatever_its_verdict(self, roster, put):
        name = put(verdict=REFUSED).name
        roster.activations.activate(BASE, name, actor="user")
        assert states(roster) == {name: "active"}
        roster.activations.activate(BASE, None, actor="user")
        assert states(roster) == {name: "retired"}

    def test_archived_is_where_it_lies(self, roster, three, shelving):
        shelving.archive(three[0])
        assert list(states(roster)) == three[1:]
        assert states(roster, archived=True)[three[0]] == "archived"
        assert [each.name for each in roster.entries(archived=True)] == three, "by age, wherever they lie"


def test_those_of_a_base(roster, put, three):
    put("other", base="other/model", version=9)
    (broken := put("broken")) and (broken / MANIFEST).unlink()
    assert [each.name for each in roster.entries(BASE)] == [*three, "broken"]
    assert [each.name for each in roster.entries("other/model")] == ["other", "broken"]


def test_what_is_broken_is_in_the_list_with_the_reason(roster, put, three):
    (roster.shelf.root / three[0] / MANIFEST).unlink()
    (roster.shelf.root / three[1] / README).unlink()
    roster.notes.label(three[0], "mine")
    lacking, whole, broken = roster.entries()
    assert (whole.name, whole.broken) == (three[2], "")
    assert (lacking.name, lacking.broken) == (three[1], f"The adapter {three[1]} is damaged: README.md is missing")
    assert (broken.name, broken.summary, broken.label) == (three[0], None, "mine")
    assert "it has no manifest" in broken.broken and broken.size > 0
    for wanted in (three[0], "20260131_090500", "mine"):
        assert roster.find(wanted) == broken, "it can be looked at, and deleted"
    with pytest.raises(AdapterError, match="no adapter"):
        roster.find("20260131")


def test_an_active_one_whose_folder_is_gone(roster, three):
    roster.activations.activate(BASE, three[0], actor="user")
    shutil.rmtree(roster.shelf.root / three[0])
    entry = roster.active(BASE)
    assert (entry.name, entry.state, entry.summary, entry.manifest) == (three[0], "active", None, None)
    assert entry.broken == f"The adapter {three[0]} is not there any more"


def test_an_active_one_that_can_not_be_read_is_still_the_active_one(roster, three):
    roster.activations.activate(BASE, three[0], actor="user")
    (roster.shelf.root / three[0] / MANIFEST).write_text("{}")
    assert states(roster)[three[0]] == "active" == roster.active(BASE).state


class TestFinding:
    def test_by_any_of_its_names(self, roster, three):
        roster.notes.label(three[1], "mine")
        for wanted in (three[1], "20260132_090500", "20260132", "2", "v2", "mine", "min"):
            assert roster.find(wanted).name == three[1]

    def test_active_is_that_of_the_base(self, roster, put, three):
        other = put("other", base="other/model").name
        roster.activations.activate(BASE, three[0], actor="user")
        assert roster.find(" active ").name == roster.find("active", base=BASE).name == three[0]
        with pytest.raises(AdapterError, match="No adapter is active"):
            roster.find("active", base="other/model")
        roster.activations.activate("other/model", other, actor="user")
        assert roster.find("active", base="other/model").name == other
        with pytest.raises(AdapterError, match="2 adapters are active"):
            roster.find("active")

    def test_latest_is_that_of_the_base(self, roster, put, three):
        put("other", base="other/model", version=9)
        for name in ("other", three[2]):
            roster.notes.judged(name, ACCEPTED)
        assert roster.find("latest").name == "other"
        assert roster.find("latest", base=BASE).name == three[2]

    def test_latest_is_none_that_was_refused_or_waits_for_its_verdict(self, roster, put, three):
        with pytest.raises(AdapterError, match="No adapter was accepted yet"):
            roster.find("latest")
        roster.notes.judged(three[0], ACCEPTED)
        roster.notes.judged(three[1], REFUSED)
        assert roster.find("latest").name == three[0]
        roster.notes.add(three[2], imported=True)
        assert roster.find("latest").name == three[2]

    def test_one_that_was_refused_is_latest_only_while_it_is_in_use(self, roster, three):
        roster.notes.judged(three[0], ACCEPTED)
        roster.notes.judged(three[1], REFUSED)
        roster.activations.activate(BASE, three[1], actor="user")
        assert roster.find("latest").name == three[1]
        roster.activations.activate(BASE, None, actor="user")
        assert roster.find("latest").name == three[0]

    def test_in_the_archive_where_the_shelf_has_none(self, roster, shelving, put, three):
        shelving.archive(three[0])
        assert roster.find("1").state == roster.find("20260131").state == "archived"
        put("lora_adapter_20260131_100000", version=1)
        assert roster.find("1").state == roster.find("20260131").state == "candidate"
        with pytest.raises(AdapterError, match="no adapter '20260130'"):
            roster.find("20260130")


def test_versions_are_not_given_again_while_one_is_archived(roster, shelving, three):
    shelving.archive(three[2])
    assert roster.next_version() == 4


class TestNumbers:
    """A receipt speaks of its adapter by its number for ever."""

    def test_none_is_given_again_when_its_adapter_is_gone(self, roster, shelving, three):
        shelving.delete(three[2])
        assert roster.next_version() == 4

    def test_nor_where_it_was_archived_and_then_removed_by_hand(self, roster, shelving, three):
        shutil.rmtree(shelving.archive(three[2]).folder)
        assert roster.next_version() == 4

    def test_an_entry_that_is_damaged_tells_of_none(self, roster, three, database):
        database.connection.execute("INSERT INTO audit VALUES (1, '', '', '', '', '{', '', '')")
        assert roster.next_version() == 4


class TestFreeNames:
    def test_one_that_nobody_has(self, roster, three):
        assert roster.free_name("new") == "new" and roster.free_name(three[0]) == f"{three[0]}_2"

    def test_nor_had_while_it_answered_or_something_was_noted_of_it(self, roster, shelving, three):
        shelving.archive(three[0])
        roster.activations.activate(BASE, three[1], actor="user")
        roster.notes.label(three[2], "mine")
        for name in three[1:]:
            shutil.rmtree(roster.shelf.root / name)
        assert [roster.free_name(name) for name in three] == [f"{name}_2" for name in three]


class TestTheSetting:
    """One that it names answers without any row."""

    def roster(self, a_home, database, setting):
        return Roster(a_home, database, setting=setting)

    @pytest.mark.parametrize("setting", ["v2", "mine", "20260132"])
    def test_marks_the_one_that_it_names(self, a_home, roster, database, three, setting):
        roster.notes.label(three[1], "mine")
        named = self.roster(a_home, database, setting)
        assert [each.named for each in named.entries()] == [False, True, False]
        assert named.find(three[1]).named and not roster.find(three[1]).named

    @pytest.mark.parametrize("setting", ["active", "none", "latest", "nobody", "2026"])
    def test_marks_none_where_it_names_none(self, a_home, database, three, setting):
        assert not any(each.named for each in self.roster(a_home, database, setting).entries(archived=True))

    def test_one_that_is_archived_is_told_to_be(self, a_home, database, shelving, three):
        shelving.archive(three[0])
        with pytest.raises(AdapterError, match=f"{three[0]} is archived") as caught:
            self.roster(a_home, database, "v1").on_shelf("v1", base=BASE)
        assert f"adapters restore {three[0]}" in caught.value.hint


def test_names_and_notes_of_what_is_gone_stay_out_of_it(roster, three):
    roster.notes.label("gone", "lost")
    assert [each.name for each in roster.entries()] == three
    with pytest.raises(AdapterError, match="no adapter 'lost'"):
        roster.find("lost")


def test_an_entry_is_a_value(roster, three):
    one, again = roster.find("1"), roster.find("1")
    assert one == again != replace(one, pinned=True)


def test_looking_does_not_import_what_computes():
    code = (
        "import sys\n"
        "import shammah.deployment.roster, shammah.deployment.activation, shammah.deployment.shelving\n"
        "import shammah.deployment.retention, shammah.deployment.importing\n"
        "print([name for name in ('torch', 'transformers', 'peft', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"
