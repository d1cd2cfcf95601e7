import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from shammah.adapters.bundle import MANIFEST, WEIGHTS, judged, read_bundle
from shammah.adapters.manifest import signed
from shammah.adapters.shelf import Shelf
from shammah.adapters.shelf_index import FILE, ShelfIndex
from shammah.errors import AdapterDamaged, AdapterError, HomeError

FIRST, SECOND, THIRD = "lora_adapter_20260130_080000", "lora_adapter_20260131_090500", "lora_adapter_20260131_100000"


@pytest.fixture
def shelf(root):
    return Shelf(root)


@pytest.fixture
def three(put):
    """Put there in another order than that of their names."""
    for version, name in ((3, FIRST), (1, SECOND), (2, THIRD)):
        put(name, version=version)


def names(found):
    return [manifest.name for manifest in found]


def test_an_empty_shelf(shelf, root):
    for _ in range(2):
        assert (shelf.all(), shelf.listed(), shelf.next_version()) == ([], ([], []), 1)
        for name in ("latest", "2026", ""):
            with pytest.raises(AdapterError, match="no adapter") as caught:
                shelf.find(name)
            assert "shammah train" in caught.value.hint
        root.mkdir(exist_ok=True)


def test_the_oldest_is_first(shelf, three):
    assert names(shelf.all()) == [SECOND, THIRD, FIRST]
    assert shelf.next_version() == 4


@pytest.mark.parametrize(
    ("wanted", "name"),
    [
        (SECOND, SECOND),
        (f" {THIRD}\n", THIRD),
        ("lora_adapter_20260130", FIRST),
        ("20260130", FIRST),
        ("20260131_09", SECOND),
        ("20260131_100000", THIRD),
        ("3", FIRST),
        ("v1", SECOND),
        ("V2", THIRD),
        ("mine", THIRD),
        ("mi", THIRD),
    ],
)
def test_names_that_mean_one(shelf, three, wanted, name):
    assert shelf.find(wanted, {"mine": THIRD}).name == name


def test_the_latest_is_the_newest_that_was_accepted_or_imported(shelf, put, three):
    with pytest.raises(AdapterError, match="No adapter was accepted yet") as caught:
        shelf.find("latest")
    assert "/adapters list" in caught.value.hint
    put("refused", version=9, verdict={"accepted": False})
    for name, version, how in (
        ("accepted", 7, {"verdict": {"accepted": True}}),
        ("older", 6, {"verdict": {"accepted": True}}),
        ("imported", 8, {"trigger": "import"}),
    ):
        put(name, version=version, **how)
        assert shelf.find("latest").name == ("imported" if name == "imported" else "accepted")


def test_a_version_goes_before_the_beginning_of_a_name(shelf, put):
    put("2", version=1)
    put("20260101", version=20)
    put("20260102", version=2)
    assert [shelf.find(wanted).version for wanted in ("20", "2", "v2", "1")] == [20, 1, 2, 1]
    put("again", version=20)
    with pytest.raises(AdapterError, match="2 adapters have the version v20") as caught:
        shelf.find("v20")
    assert "again" in caught.value.hint and "20260101" in caught.value.hint


def test_a_label_whose_adapter_is_gone_means_none(shelf, three):
    for wanted in ("mine", "mi"):
        with pytest.raises(AdapterError, match="no adapter 'mi"):
            shelf.find(wanted, {"mine": "lora_adapter_gone"})
    with pytest.raises(AdapterError, match="2 adapters have a name that starts with 'my'"):
        shelf.find("my", {"my-one": FIRST, "my-other": SECOND})


def test_a_link_to_a_folder_is_none_of_the_shelf(shelf, put, root, tmp_path):
    put(FIRST).rename(tmp_path / FIRST)
    (root / FIRST).symlink_to(tmp_path / FIRST)
    assert shelf.all() == []
    assert shelf.listed()[1] == [(root / FIRST, f"The adapter {FIRST} is a link, not a folder")]


def test_a_whole_name_that_others_start_with(shelf, put):
    put(SECOND)
    put(SECOND)
    assert shelf.find(SECOND).name == shelf.find("20260131_090500").name == SECOND
    assert shelf.find(f"{SECOND}_").name == f"{SECOND}_2"


def test_a_name_that_means_several(shelf, three):
    with pytest.raises(AdapterError, match="2 adapters have a name that starts with '20260131'") as caught:
        shelf.find("20260131")
    assert THIRD in caught.value.hint and SECOND in caught.value.hint
    with pytest.raises(AdapterError, match="3 adapters"):
        shelf.find("lora")


def test_a_name_that_means_none(shelf, three):
    with pytest.raises(AdapterError, match="no adapter '20260131_090501'") as caught:
        shelf.find("20260131_090501")
    assert caught.value.hint == "There are 3, 20260131_090500 the nearest."
    for wanted in ("", " ", "../home", "zzz"):
        with pytest.raises(AdapterError, match="no adapter"):
            shelf.find(wanted)


def test_the_only_one_is_named(shelf, put):
    put(FIRST)
    with pytest.raises(AdapterError) as caught:
        shelf.find("zzz")
    assert caught.value.hint == f"The only one is {FIRST}."


def test_what_is_broken_is_told_apart(shelf, three, root):
    (root / FIRST / MANIFEST).unlink()
    (root / SECOND / MANIFEST).write_text("{}")
    shutil.copytree(root / THIRD, root / "copy")
    (root / "note.txt").write_text("no folder")
    (root / ".unfinished-x").mkdir()
    assert names(shelf.all()) == [THIRD]
    assert shelf.listed()[1] == [
        (root / "copy", f"The manifest in copy is that of {THIRD}"),
        (root / FIRST, f"The adapter {FIRST} is damaged: it has no manifest"),
        (root / SECOND, f"The adapter {SECOND} is damaged: the manifest is damaged: it has no digest"),
    ]
    for wanted in (FIRST, FIRST.removeprefix("lora_adapter_")):
        with pytest.raises(AdapterDamaged, match="no manifest") as caught:
            shelf.find(wanted)
        assert caught.value.hint


def test_a_file_instead_of_the_folder_is_an_error(shelf, root):
    root.write_text("")
    with pytest.raises(HomeError, match="adapters"):
        shelf.all()


def test_a_hundred_are_listed_in_no_time(shelf, put, root):
    """Each with a thousand example ids, and with weights that nobody looks at."""
    text = json.loads((put(FIRST) / MANIFEST).read_text())
    shutil.rmtree(root / FIRST)
    for number in range(100):
        folder = root / f"lora_adapter_20260131_{number:06}"
        folder.mkdir()
        ids = [f"{place:026}" for place in range(1000)]
        changes = {"name": folder.name, "version": number + 1, "example_ids": ids}
        (folder / MANIFEST).write_text(signed(text | changes))
        (folder / WEIGHTS).write_bytes(b"not what the manifest says")
    before = time.perf_counter()
    found = shelf.all()
    seconds = time.perf_counter() - before
    assert [manifest.version for manifest in found] == list(range(1, 101))
    assert seconds < 0.5


def as_told(shelf):
    return [
        (each.name, each.version, each.parent, each.created, each.base, len(each.example_ids), each.verdict)
        for each in shelf.all()
    ]


def as_listed(shelf):
    return [
        (each.name, each.version, each.parent, each.created, each.base, each.examples, each.verdict)
        for each in shelf.listed()[0]
    ]


class TestLargeShelf:
    @pytest.fixture
    def sixty(self, root, put):
        """Written without waiting for the disk."""
        names = [f"a{number}" for number in range(60)]
        first = read_bundle(put("a0", verdict={"accepted": False}))
        for number, name in enumerate(names):
            if number:
                shutil.copytree(root / "a0", root / name)
            made = replace(first, name=name, version=number, verdict={"accepted": number > 9})
            (root / name / MANIFEST).write_text(made.to_json())
        long_ago = time.time_ns() - 10**10
        for name in names:
            for path in (root / name / MANIFEST, root / name):
                os.utime(path, ns=(long_ago, long_ago))
        return names

    def index(self, root):
        return (root / FILE).stat().st_ino if (root / FILE).exists() else None

    def test_it_has_an_index_that_says_the_same(self, root, put, sixty):
        first = Shelf(root).listed()
        assert self.index(root) and stat.S_IMODE((root / FILE).stat().st_mode) == 0o600
        assert Shelf(root).listed() == first
        assert as_listed(Shelf(root)) == as_told(Shelf(root))
        assert first[0][0].size == sum(path.stat().st_size for path in (root / "a0").iterdir())
        assert len(ShelfIndex(root).read()) == 60

    def test_a_small_one_has_none(self, root, put, three, shelf):
        assert as_listed(shelf) == as_told(shelf) and not self.index(root)

    def test_what_was_written_just_now_is_looked_at_again(self, root, put, sixty):
        put("new", version=99)
        Shelf(root).listed()
        assert len(ShelfIndex(root).read()) == 60

    def test_what_changed_comes_and_goes_shows(self, root, put, sixty):
        shelf = Shelf(root)
        shelf.listed()
        index = self.index(root)
        judged(root / "a1", {}, {"accepted": True})
        put("new", version=99)
        shutil.rmtree(root / "a2")
        (root / "a3" / WEIGHTS).unlink()
        (root / "a4" / MANIFEST).unlink()
        (root / "a5").rename(root / "other")
        found, broken = shelf.listed()
        assert as_listed(shelf) == as_told(shelf)
        listed = {each.name: each for each in found}
        assert listed["a1"].verdict == {"accepted": True} and "new" in listed and listed["a3"].lacks == WEIGHTS
        assert listed.keys().isdisjoint({"a2", "a4", "a5", "other"})
        assert [folder.name for folder, _ in broken] == ["a4", "other"]
        assert self.index(root) == index, "a few are no reason to write it anew"

    def test_it_forgets_those_that_are_gone(self, root, put, sixty):
        Shelf(root).listed()
        for name in sixty[:55]:
            shutil.rmtree(root / name)
        assert len(Shelf(root).listed()[0]) == 5 and len(ShelfIndex(root).read()) == 5

    @pytest.mark.parametrize("at", [0, 30, 64, 65, 200, -1])
    def test_a_damaged_one_is_written_anew(self, root, put, sixty, at):
        shelf = Shelf(root)
        expected = shelf.listed()
        data = bytearray((root / FILE).read_bytes())
        data[at] ^= 1
        (root / FILE).write_bytes(data)
        assert ShelfIndex(root).read() == {}
        assert shelf.listed() == expected and len(ShelfIndex(root).read()) == 60

    @pytest.mark.parametrize("text", [b"", b"\n", b"{}", b"0" * 64 + b"\n{}"])
    def test_what_is_none(self, root, put, sixty, text):
        (root / FILE).write_bytes(text)
        assert len(Shelf(root).listed()[0]) == 60

    def test_one_of_a_later_form_is_left_aside(self, root, put, sixty):
        body = b'{"form": 99, "adapters": "?"}'
        (root / FILE).write_bytes(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
        assert len(Shelf(root).listed()[0]) == 60

    def test_where_it_can_not_be_written(self, root, put, sixty):
        (root / FILE).mkdir()
        assert len(Shelf(root).listed()[0]) == 60


def test_looking_does_not_import_what_computes():
    code = (
        "import sys, shammah.adapters.shelf, shammah.adapters.bundle, shammah.adapters.card\n"
        "print([name for name in ('torch', 'transformers', 'peft', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"
