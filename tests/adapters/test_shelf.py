import json
import shutil
import subprocess
import sys
import time

import pytest

from shammah.adapters.bundle import MANIFEST, WEIGHTS
from shammah.adapters.shelf import Shelf
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
        assert (shelf.all(), shelf.broken(), shelf.next_version()) == ([], [], 1)
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
        ("latest", FIRST),
    ],
)
def test_names_that_mean_one(shelf, three, wanted, name):
    assert shelf.find(wanted).name == name


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
    assert shelf.find("latest").name == THIRD
    assert shelf.broken() == [
        (root / "copy", f"The manifest in copy is that of {THIRD}"),
        (root / FIRST, f"The adapter {FIRST} is damaged: it has no manifest"),
        (root / SECOND, f"The adapter {SECOND} is damaged: the manifest is damaged: it has no 'name'"),
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
        (folder / MANIFEST).write_text(json.dumps(text | changes))
        (folder / WEIGHTS).write_bytes(b"not what the manifest says")
    before = time.perf_counter()
    found = shelf.all()
    seconds = time.perf_counter() - before
    assert [manifest.version for manifest in found] == list(range(1, 101))
    assert seconds < 0.5


def test_looking_does_not_import_what_computes():
    code = (
        "import sys, shammah.adapters.shelf, shammah.adapters.bundle, shammah.adapters.card\n"
        "print([name for name in ('torch', 'transformers', 'peft', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"
