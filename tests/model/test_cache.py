"""The folder of finished models: what counts as whole, what is swept, and who waits for whom."""

import errno
import hashlib
import json
import os
import shutil
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from shammah.errors import DiskFull, HomeError, ModelDamaged
from shammah.events import Event, Notice
from shammah.model import cache as cache_module
from shammah.model.cache import MANIFEST, ModelCache
from shammah.model.catalog import SMOLLM2_WHEEL, GgufSource

SOURCE = {"kind": "gguf", "name": "tiny"}


def weights(numbers: int = 8) -> bytes:
    header = json.dumps({"w": {"dtype": "F32", "shape": [numbers], "data_offsets": [0, 4 * numbers]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(4 * numbers)


def fill(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "model.safetensors").write_bytes(weights())
    os.chmod(folder / "model.safetensors", 0o600)


@pytest.fixture
def model(cache: ModelCache) -> Path:
    return cache.install("tiny-1", fill, SOURCE)


def unfinished(cache: ModelCache) -> list[str]:
    return [path.name for path in (cache.root / ".work").iterdir() if path.name != "sweeping"]


def test_the_place_is_the_user_cache_or_the_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if sys.platform == "linux":
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert ModelCache.default().root == tmp_path / "shammah" / "models"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert ModelCache.default("~/big disk").root == tmp_path / "big disk"


def test_the_manifest_records_every_file(cache: ModelCache, model: Path) -> None:
    manifest = json.loads((model / MANIFEST).read_text())
    data = (model / "model.safetensors").read_bytes()
    assert set(manifest["files"]) == {"config.json", "model.safetensors"}
    assert manifest["files"]["model.safetensors"] == {
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "mtime_ns": (model / "model.safetensors").stat().st_mtime_ns,
    }
    assert manifest["source"] == SOURCE
    assert manifest["versions"]["torch"]
    assert unfinished(cache) == []
    if os.name != "nt":
        assert (model / "model.safetensors").stat().st_mode & 0o777 == 0o644


def test_models_lists_the_complete_ones_only(cache: ModelCache, model: Path) -> None:
    cache.install("another-2", fill, {"kind": "gguf", "name": "another"})
    shutil.copytree(model, cache.root / "half")
    (cache.root / "half" / MANIFEST).unlink()
    (cache.root / "stray.txt").touch()
    found = cache.models()
    assert [one.name for one in found] == ["another", "tiny"]
    assert found[1].folder == model
    assert found[1].bytes == sum((model / name).stat().st_size for name in ("config.json", "model.safetensors"))
    assert found[1].parameters == 8
    assert found[1].source == SOURCE
    assert found[1].converted.endswith("+00:00")


def test_no_folder_no_models(tmp_path: Path) -> None:
    assert ModelCache(tmp_path / "missing").models() == []


def test_a_whole_model_passes_and_is_not_touched(cache: ModelCache, model: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in model.iterdir()}
    cache.check(model)
    assert {path: path.stat().st_mtime_ns for path in model.iterdir()} == before


def test_contents_are_read_only_where_a_time_moved(
    cache: ModelCache, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def counting(path: Path) -> str:
        read.append(path.name)
        return hashlib.sha256(path.read_bytes()).hexdigest()

    monkeypatch.setattr(cache_module, "sha256_of", counting)
    cache.check(model)
    assert read == []
    os.utime(model / "model.safetensors", ns=(1, 1))
    cache.check(model)
    assert read == ["model.safetensors"]


def flip_last_byte(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    os.utime(path, ns=(1, 1))


def lie_in_header(folder: Path) -> None:
    """The recorded size and time, but a header that speaks of more than there is."""
    path = folder / "model.safetensors"
    before = path.stat()
    path.write_bytes(path.read_bytes().replace(b"[0, 32]", b"[0, 99]"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda folder: (folder / MANIFEST).unlink(), "shammah-model.json is missing"),
        (lambda folder: (folder / MANIFEST).write_text("{"), "shammah-model.json cannot be read"),
        (lambda folder: (folder / MANIFEST).write_text("[]"), "shammah-model.json cannot be read"),
        (lambda folder: (folder / "config.json").unlink(), "config.json is missing"),
        (lambda folder: os.truncate(folder / "model.safetensors", 40), "model.safetensors has 40 bytes instead of"),
        (lie_in_header, "its header says"),
        (flip_last_byte, "model.safetensors was changed"),
    ],
)
def test_damage_is_found_and_named(damage: Callable[[Path], None], told: str, cache: ModelCache, model: Path) -> None:
    damage(model)
    with pytest.raises(ModelDamaged, match=told) as caught:
        cache.check(model, "Do this.")
    assert caught.value.hint == "Do this."


def test_a_model_of_an_older_conversion_is_not_finished(cache: ModelCache, model: Path) -> None:
    assert cache.is_finished(model)
    manifest = json.loads((model / MANIFEST).read_text())
    (model / MANIFEST).write_text(json.dumps({**manifest, "format": 0}))
    assert not cache.is_finished(model)
    (model / MANIFEST).unlink()
    assert not cache.is_finished(model)


def test_what_had_the_name_before_is_replaced(cache: ModelCache, model: Path) -> None:
    (model / "old").touch()
    (model / "config.json").unlink()
    cache.install("tiny-1", fill, SOURCE)
    cache.check(model)
    assert not (model / "old").exists()
    assert unfinished(cache) == []


def test_a_failing_fill_leaves_nothing_and_keeps_what_was(cache: ModelCache, model: Path) -> None:
    def fail(folder: Path) -> None:
        fill(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.install("tiny-1", fail, SOURCE)
    with pytest.raises(KeyboardInterrupt):
        cache.install("tiny-2", fail, SOURCE)
    cache.check(model)
    assert not (cache.root / "tiny-2").exists()
    assert unfinished(cache) == []


def test_a_full_disk_is_told_and_leaves_nothing(cache: ModelCache) -> None:
    def fail(folder: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(DiskFull, match="No room left in") as caught:
        cache.install("tiny-1", fail, SOURCE)
    assert "models_dir" in caught.value.hint
    assert unfinished(cache) == []


@pytest.mark.parametrize(
    "error",
    [BrokenPipeError(errno.EPIPE, "Broken pipe"), FileNotFoundError(errno.ENOENT, "No such file", "/else/where")],
)
def test_troubles_elsewhere_are_not_blamed_on_the_folder(error: OSError, cache: ModelCache) -> None:
    def fail(folder: Path) -> None:
        raise error

    with pytest.raises(type(error)):
        cache.install("tiny-1", fail, SOURCE)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HomeError, match="Cannot use the models folder") as caught:
        ModelCache(tmp_path / "file" / "models").install("tiny-1", fill, SOURCE)
    assert "models_dir" in caught.value.hint


def test_too_little_room_is_told_in_numbers(tmp_path: Path) -> None:
    asked: list[Path] = []

    def probe(path: Path) -> int:
        asked.append(path)
        return 5_000_000

    cache = ModelCache(tmp_path / "models", free_bytes=probe)
    cache.require_room(5_000_000)
    with pytest.raises(DiskFull, match="270 MB needed, 5 MB free"):
        cache.require_room(270_000_000)
    assert asked == [tmp_path, tmp_path]


def test_another_content_has_another_folder(cache: ModelCache, tmp_path: Path) -> None:
    file = tmp_path / "a.gguf"
    file.write_bytes(b"1")
    os.utime(file, ns=(1, 1))
    first = cache.folder_for(GgufSource(file))
    assert first.name.startswith("a-") and first == cache.folder_for(GgufSource(file))
    os.utime(file, ns=(2, 2))
    second = cache.folder_for(GgufSource(file))
    file.write_bytes(b"22")
    os.utime(file, ns=(2, 2))
    assert len({first, second, cache.folder_for(GgufSource(file))}) == 3
    assert cache.folder_for(SMOLLM2_WHEEL).name == "smollm2-135m-bcc81830"


HOLDER = """
import sys, time
from pathlib import Path
from shammah.model.cache import ModelCache
cache = ModelCache(Path(sys.argv[1]))
with cache.workspace() as folder, cache.lock(cache.root / "tiny-1", lambda event: None):
    (folder / "half").write_text("x")
    print(folder.name, flush=True)
    sys.stdin.read()
"""


def holder(cache: ModelCache) -> tuple["subprocess.Popen[str]", str]:
    """Another process that holds a workspace and the lock of tiny-1 until its stdin closes."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(cache.root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def test_the_folder_of_a_living_process_stays_that_of_a_killed_one_goes(cache: ModelCache) -> None:
    process, name = holder(cache)
    with cache.workspace():
        assert (cache.root / ".work" / name / "half").exists()
    process.kill()
    process.communicate()
    assert (cache.root / ".work" / name / "half").exists()
    with cache.workspace() as mine:
        assert sorted(unfinished(cache)) == [mine.name, f"{mine.name}.lock"]


def test_who_has_to_wait_is_told_once_and_gets_its_turn(cache: ModelCache) -> None:
    process, _ = holder(cache)
    events: list[Event] = []
    turn = threading.Event()

    def wait() -> None:
        with cache.lock(cache.root / "tiny-1", events.append):
            turn.set()

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.7)
    assert not turn.is_set()
    assert events == [Notice("Another Shammah is fetching tiny-1; waiting for it")]
    process.kill()
    process.communicate()
    thread.join(5)
    assert turn.is_set()
    assert len(events) == 1


def test_two_models_do_not_wait_for_each_other(cache: ModelCache) -> None:
    events: list[Event] = []
    with cache.lock(cache.root / "tiny-1", events.append), cache.lock(cache.root / "tiny-2", events.append):
        assert events == []
