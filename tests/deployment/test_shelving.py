import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.bundles import BASE

from shammah.adapters.bundle import read_bundle, verify
from shammah.deployment.roster import Roster
from shammah.deployment.shelving import Shelving
from shammah.errors import AdapterError, StoreBusy, UsageError
from shammah.store import Database

WHERE = ("shelf", "archive", "hidden")


def lies(roster, name):
    """Where the folders of a name are."""
    places = {"shelf": roster.shelf.root / name, "archive": roster.archive.root / name}
    found = {where for where, path in places.items() if path.exists()}
    return found | {"hidden" for path in roster.shelf.root.glob(f".moving-*{name}")}


class TestMoving:
    def test_put_away_and_fetched_back(self, shelving, roster, three, actions):
        roster.notes.label(three[0], "mine")
        entry = shelving.archive("mine", actor="retention", cause="old")
        assert (entry.state, entry.label, lies(roster, three[0])) == ("archived", "mine", {"archive"})
        verify(entry.folder, read_bundle(entry.folder))
        entry = shelving.restore("mine")
        assert (entry.state, entry.label, lies(roster, three[0])) == ("candidate", "mine", {"shelf"})
        assert actions() == [("retention", "archived", three[0]), ("user", "restored", three[0])]

    def test_deleted_for_good(self, shelving, roster, three, actions):
        roster.notes.label(three[0], "mine")
        assert shelving.delete("mine").name == three[0]
        assert (lies(roster, three[0]), roster.notes.get(three[0])) == (set(), None)
        shelving.archive(three[1])
        shelving.delete(three[1])
        assert lies(roster, three[1]) == set() and lies(roster, three[2]) == {"shelf"}
        assert [action for _, action, _ in actions()] == ["deleted", "archived", "deleted"]

    def test_a_broken_one_can_be_deleted_by_its_whole_name(self, shelving, roster, three):
        (roster.shelf.root / three[0] / "manifest.json").unlink()
        with pytest.raises(AdapterError):
            shelving.delete("1")
        assert shelving.delete(three[0]).broken
        assert lies(roster, three[0]) == set()

    def test_never_what_answers(self, shelving, roster, helm, three, actions):
        helm.load("1", base=BASE)
        for change in (shelving.delete, shelving.archive):
            with pytest.raises(AdapterError, match="is active") as caught:
                change("active")
            assert "/adapters unload" in caught.value.hint
        assert lies(roster, three[0]) == {"shelf"} and actions() == [("user", "activated", three[0])]
        helm.unload(BASE)
        shelving.delete(three[0])
        assert lies(roster, three[0]) == set()

    def test_nor_what_the_setting_names(self, a_home, database, three, actions):
        shelving = Shelving(Roster(a_home, database, setting="v2"))
        for change in (shelving.delete, shelving.archive):
            with pytest.raises(AdapterError, match="by the setting `adapter`") as caught:
                change(three[1])
            assert "config set adapter active" in caught.value.hint
        assert actions() == []
        shelving.delete(three[0])

    def test_a_link_is_deleted_and_what_it_leads_to_stays(self, shelving, roster, three, tmp_path):
        elsewhere = (roster.shelf.root / three[0]).rename(tmp_path / three[0])
        (roster.shelf.root / three[0]).symlink_to(elsewhere)
        assert "is a link" in shelving.delete(three[0]).broken
        assert elsewhere.is_dir() and not roster.moves.are_left() and lies(roster, three[0]) == set()

    def test_nothing_is_written_over(self, shelving, roster, three, put, actions):
        shelving.archive("1")
        put(three[0], version=1)
        for change in (shelving.archive, shelving.archive):
            with pytest.raises(AdapterError, match="There is a .* already"):
                change("1")
        assert lies(roster, three[0]) == {"shelf", "archive"}
        assert len(actions()) == 1

    def test_what_is_where_it_should_go_already(self, shelving, three):
        with pytest.raises(AdapterError, match="not archived"):
            shelving.restore("1")
        shelving.archive("1")
        with pytest.raises(AdapterError, match="is archived"):
            shelving.archive("1")

    def test_it_stays_where_the_store_is_held(self, a_home, shelving, roster, three, actions):
        other = Database(roster.database.path)
        roster.database.connection.execute("PRAGMA busy_timeout = 50")
        with other.transaction(), pytest.raises(StoreBusy):
            shelving.delete("1")
        other.close()
        assert lies(roster, three[0]) == {"shelf"} and actions() == []

    @pytest.mark.parametrize("change", ["delete", "archive"])
    def test_it_stays_where_its_rows_can_not_be_written(self, shelving, roster, three, change, actions):
        roster.database.connection.execute(
            "CREATE TEMP TRIGGER no BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
        with pytest.raises(Exception, match="no"):
            getattr(shelving, change)("1")
        assert lies(roster, three[0]) == {"shelf"} and actions() == []
        assert [each.name for each in roster.entries()] == three

    def test_a_folder_that_no_program_hid_so_is_left_alone(self, roster, three):
        strange = roster.shelf.root / ".moving-somewhere"
        strange.mkdir()
        assert [each.name for each in roster.entries()] == three and strange.exists()


SCRIPT = """
import os, sys
from pathlib import Path
from shammah.deployment.activation import Helm
from shammah.deployment.roster import Roster
from shammah.deployment.shelving import Shelving
from shammah.home import Home
from shammah.store import Database

left = int(sys.argv[4])
def die(name):
    real = getattr(os, name)
    def stop(*arguments, **options):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), 9)
        return real(*arguments, **options)
    setattr(os, name, stop)
roster = Roster(Home(Path(sys.argv[1])), Database(Path(sys.argv[2])))
shelving, helm = Shelving(roster), Helm(roster, roster.activations, roster.audit)
for name in ("rename", "replace", "fsync", "unlink", "rmdir"):
    die(name)
connection = roster.database.connection
class Killing:
    def __getattr__(self, name):
        return getattr(connection, name)
    def execute(self, sql, *values):
        global left
        if sql in ("BEGIN IMMEDIATE", "COMMIT"):
            left -= 1
            if left < 0:
                os.kill(os.getpid(), 9)
        return connection.execute(sql, *values)
roster.database._local.connection = Killing()
exec(sys.argv[3])
"""


class TestKilledAtEachPoint:
    """A process that is killed before each step on the disk in turn: renames, syncs, commits, removals."""

    def kill(self, roster, code, point):
        command = [
            sys.executable,
            "-c",
            SCRIPT,
            str(roster.shelf.root.parent),
            str(roster.database.path),
            code,
            str(point),
        ]
        done = subprocess.run(command, timeout=60, capture_output=True, text=True, check=False)
        assert done.returncode in (0, -9), done.stderr
        return done.returncode == 0

    def again(self, roster, three):
        """Everything as it was before the first kill."""
        for name in three:
            for root in (roster.shelf.root, roster.archive.root):
                shutil.rmtree(root / name, ignore_errors=True)
            shutil.copytree(self.kept / name, roster.shelf.root / name)
            roster.notes.add(name)

    @pytest.fixture(autouse=True)
    def copies(self, roster, three, tmp_path):
        self.kept = tmp_path / "kept"
        for name in three:
            shutil.copytree(roster.shelf.root / name, self.kept / name)
        roster.notes.label(three[0], "mine")

    @pytest.mark.parametrize(
        ("code", "ends", "action"),
        [
            ("shelving.delete('1')", set(), "deleted"),
            ("shelving.archive('1')", {"archive"}, "archived"),
        ],
    )
    def test_it_happens_whole_or_not_at_all(self, roster, three, code, ends, action):
        outcomes = []
        for point in range(30):
            before = len(roster.audit.entries(None))
            finished = self.kill(roster, code, point)
            entries = {each.name: each for each in roster.entries()}  # somebody looks
            where, new = lies(roster, three[0]), len(roster.audit.entries(None)) - before
            assert where in ({"shelf"}, ends), f"{where} after point {point}"
            assert (three[0] in entries) == (where == {"shelf"}) and set(three[1:]) <= set(entries)
            assert new == (where == ends), f"{new} entries after point {point}"
            assert (roster.notes.get(three[0]) is None) == (action == "deleted" and where == ends)
            assert roster.audit.broken() is None
            for name in entries:
                verify(entries[name].folder, read_bundle(entries[name].folder))
            outcomes.append(where == ends)
            if finished:
                break
            self.again(roster, three)
        assert finished and outcomes == sorted(outcomes) and True in outcomes and False in outcomes
        assert len(outcomes) > 5

    def test_an_adapter_that_comes_back_answers_or_does_not(self, roster, three, helm, shelving):
        helm.load("2", base=BASE)
        seen = set()
        for point in range(30):
            if roster.find("1").state != "archived":
                helm.load("2", base=BASE)
                shelving.archive("1")
            finished = self.kill(roster, f"helm.load('1', base={BASE!r})", point)
            active = [each for each in roster.entries(archived=True) if each.state == "active"]
            assert len(active) == 1
            verify(active[0].folder, read_bundle(active[0].folder))
            assert roster.audit.broken() is None and len(lies(roster, three[0])) == 1
            seen.add(active[0].name)
            if finished:
                break
        assert finished and seen == {three[0], three[1]}

    def test_two_that_look_at_once_finish_it_once(self, roster, three):
        """What a killed program left on its way is found by several."""
        for point in range(30):
            self.kill(roster, "shelving.archive('1')", point)
            if lies(roster, three[0]) == {"hidden"}:
                break
            roster.entries()
            self.again(roster, three)
        script = SCRIPT.replace("exec(sys.argv[3])", "roster.entries()")
        command = [sys.executable, "-c", script, str(roster.shelf.root.parent), str(roster.database.path), "", "99"]
        lookers = [subprocess.Popen(command) for _ in range(4)]
        assert [looker.wait(60) for looker in lookers] == [0] * 4
        assert lies(roster, three[0]) == {"archive"}
        assert [each.action for each in roster.audit.entries(None)].count("archived") == 1


class TestNaming:
    def test_a_name_that_says_more(self, shelving, roster, three, actions):
        assert shelving.rename("1", "mine").label == "mine"
        assert shelving.rename("mine", None).label is None
        assert actions() == [("user", "renamed", three[0])] * 2
        assert "mine" not in str(roster.audit.entries(None)), "what the audit holds can't be forgotten"

    @pytest.mark.parametrize("label", ["7", "v7", "latest", "active", "none", "base", "", "a b", "../x", "-x"])
    def test_one_that_could_mean_another(self, shelving, three, label, actions):
        with pytest.raises(UsageError):
            shelving.rename("1", label)
        assert actions() == []

    def test_one_that_is_taken(self, shelving, three, actions):
        shelving.rename("1", "mine")
        with pytest.raises(UsageError, match=f"{three[0]} is called 'mine' already"):
            shelving.rename("2", "mine")
        assert len(actions()) == 1

    def test_that_of_one_that_is_nowhere_is_free(self, shelving, roster, three):
        shelving.rename("1", "mine")
        shelving.archive("1")
        with pytest.raises(UsageError, match="is called 'mine' already"):
            shelving.rename("2", "mine")
        shutil.rmtree(roster.archive.root / three[0])
        assert shelving.rename("2", "mine").name == roster.find("mine").name == three[1]
        assert roster.notes.get(three[0]).label is None

    def test_pinned_and_tagged(self, shelving, three, actions):
        assert shelving.pin("1").pinned and not shelving.pin("1", False).pinned
        assert shelving.tag("1", ["one", "two"]).tags == ("one", "two")
        assert shelving.tag("1", []).tags == ()
        assert [action for _, action, _ in actions()] == ["pinned", "unpinned", "tagged", "tagged"]
        for change in (shelving.rename, shelving.tag):
            with pytest.raises(AdapterError, match="no adapter 'zzz'"):
                change("zzz", "x")


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden here")
def test_a_shelf_that_can_not_be_written(shelving, roster, three, actions):
    Path(roster.shelf.root).chmod(0o500)
    with pytest.raises(Exception, match="permission denied"):
        shelving.delete("1")
    Path(roster.shelf.root).chmod(0o700)
    assert lies(roster, three[0]) == {"shelf"} and actions() == []
