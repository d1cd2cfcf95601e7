import json
import os
import random
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from shammah.adapters.bundle import (
    CONFIG,
    MANIFEST,
    README,
    WEIGHTS,
    judged,
    read_bundle,
    sweep,
    verify,
    write_bundle,
)
from shammah.adapters.manifest import Manifest
from shammah.adapters.shelf import Shelf
from shammah.errors import AdapterDamaged

NAME = "lora_adapter_20260131_090500"
VERDICT = {"accepted": True, "improvement": 0.25}


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def unfinished(root):
    return list(root.glob(".*"))


class TestWriting:
    def test_everything_is_there(self, root, files, a_manifest):
        folder = write_bundle(root, NAME, files, a_manifest("another"))
        assert folder == root / NAME
        assert {path.name: path.read_bytes() for path in folder.iterdir() if path.name != MANIFEST} == files
        manifest = read_bundle(folder)
        assert manifest == replace(a_manifest(NAME), files=manifest.files)
        assert set(manifest.files) == {WEIGHTS, CONFIG, README}
        verify(folder, manifest)
        assert list(root.iterdir()) == [folder]

    def test_only_the_owner_may_look(self, put, root, open_umask):
        folder = put()
        assert [mode(root), mode(folder)] == [0o700, 0o700]
        assert {mode(path) for path in folder.iterdir()} == {0o600}

    def test_a_name_that_is_taken_gets_a_number(self, put, root):
        folders = [put(version=version) for version in (1, 2, 3)]
        assert [folder.name for folder in folders] == [NAME, f"{NAME}_2", f"{NAME}_3"]
        assert [read_bundle(folder).name for folder in folders] == [folder.name for folder in folders]
        assert [read_bundle(folder).version for folder in folders] == [1, 2, 3]
        assert unfinished(root) == []

    @pytest.mark.parametrize("kind", ["empty folder", "file", "link that leads nowhere"])
    def test_nothing_is_overwritten(self, put, root, kind):
        root.mkdir()
        there = root / NAME
        if kind == "empty folder":
            there.mkdir()
        elif kind == "file":
            there.write_text("mine")
        else:
            there.symlink_to(root / "nowhere")
        before = os.lstat(there)
        assert put().name == f"{NAME}_2"
        assert os.lstat(there) == before

    def test_writers_at_the_same_moment_all_get_their_own(self, put, root):
        with ThreadPoolExecutor(8) as pool:
            folders = list(pool.map(lambda version: put(version=version), range(1, 9)))
        assert sorted(folder.name for folder in folders) == [NAME, *(f"{NAME}_{number}" for number in range(2, 9))]
        assert [read_bundle(folder).version for folder in folders] == list(range(1, 9))
        for folder in folders:
            verify(folder, read_bundle(folder))
        assert unfinished(root) == []

    def test_no_room_leaves_nothing_behind(self, root, a_manifest):
        script = (
            "import resource, sys; from pathlib import Path\n"
            "from shammah.adapters.bundle import write_bundle; from shammah.adapters.manifest import Manifest\n"
            "from shammah.errors import DiskFull\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
            "files = {'adapter_config.json': b'{}', 'adapter_model.safetensors': bytes(2000)}\n"
            "try: write_bundle(Path(sys.argv[1]), 'lora', files, Manifest.from_json(sys.argv[2]))\n"
            "except DiskFull as error: print(error.one_line())\n"
        )
        command = [sys.executable, "-c", script, str(root), a_manifest().to_json()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        assert done.stdout == f"No room left to write {root / 'lora'}. Free some space and try again.\n"
        assert list(root.iterdir()) == []

    def test_a_failure_leaves_nothing_behind(self, root, files, a_manifest):
        with pytest.raises(TypeError):
            write_bundle(root, NAME, files, a_manifest(metrics={"loss": object()}))
        assert list(root.iterdir()) == []

    def test_a_file_cannot_be_written_elsewhere(self, root, files, a_manifest):
        for name in ("../elsewhere", MANIFEST):
            with pytest.raises(AssertionError):
                write_bundle(root, NAME, files | {name: b""}, a_manifest())
        assert not root.exists()


class TestKills:
    SCRIPT = """
import itertools, sys
from pathlib import Path
from shammah.adapters.bundle import write_bundle
from shammah.adapters.manifest import Manifest
manifest, weights = Manifest.from_json(sys.argv[2]), sys.stdin.buffer.read()
config = b'{"peft_type": "LORA"}'
files = {"adapter_model.safetensors": weights, "adapter_config.json": config, "README.md": b"# Mine"}
print("begun", flush=True)
for number in itertools.count():
    write_bundle(Path(sys.argv[1]), f"lora_adapter_20260131_{number // 2:06}", files, manifest)
"""

    def test_at_random_moments_only_whole_adapters_are_listed(self, root, a_manifest, safetensors):
        chance, shelf, swept = random.Random(11), Shelf(root), 0
        command = [sys.executable, "-c", self.SCRIPT, str(root), a_manifest().to_json()]
        for _ in range(24):
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
                child.stdin.write(safetensors(20_000))
                child.stdin.close()
                assert child.stdout.readline() == b"begun\n"
                time.sleep(chance.uniform(0, 0.1))
                child.kill()
            assert len(shelf.all()) == len([*root.glob("lora_*")])
            left = len(unfinished(root)) if root.exists() else 0
            assert sweep(root, everything=True) == left
            swept += left
        found = shelf.all()
        assert swept > 3, "the kills did not hit the writing"
        assert len(found) > 3, "no adapter was finished"
        assert sorted(path.name for path in root.iterdir()) == sorted(manifest.name for manifest in found)
        for manifest in found:
            verify(root / manifest.name, manifest)


class TestReading:
    def test_a_folder_without_a_manifest_was_not_finished(self, put):
        folder = put()
        (folder / MANIFEST).unlink()
        with pytest.raises(AdapterDamaged, match=f"{NAME} is damaged: it has no manifest") as caught:
            read_bundle(folder)
        assert caught.value.hint

    def test_the_adapter_and_the_reason_are_named(self, put):
        folder = put()
        (folder / MANIFEST).write_bytes(b"\xff\xfe{")
        with pytest.raises(AdapterDamaged, match=f"{NAME} is damaged: the manifest is damaged: it is not JSON"):
            read_bundle(folder)

    def test_the_other_files_are_not_looked_at(self, put):
        folder = put()
        (folder / WEIGHTS).unlink()
        assert read_bundle(folder).name == NAME


def missing(folder):
    (folder / CONFIG).unlink()


def changed(folder):
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (folder / WEIGHTS).write_bytes(data)


def cut_off(folder):
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-1])


def is_a_folder(folder):
    (folder / CONFIG).unlink()
    (folder / CONFIG).mkdir()


def leads_out(folder):
    (folder / CONFIG).rename(folder.parent / "elsewhere")
    (folder / CONFIG).symlink_to(folder.parent / "elsewhere")


def manifest_leads_out(folder):
    (folder / MANIFEST).rename(folder.parent / "elsewhere")
    (folder / MANIFEST).symlink_to(folder.parent / "elsewhere")


def pickled(folder):
    (folder / "adapter_model.BIN").write_bytes(b"")


def pickled_below(folder):
    (folder / "checkpoint").mkdir()
    (folder / "checkpoint" / "optimizer.pt").write_bytes(b"")


def a_link_below_leads_out(folder):
    (folder / "more").mkdir()
    (folder / "more" / "notes").symlink_to(folder.parent)


def a_link_in_a_circle(folder):
    (folder / CONFIG).unlink()
    (folder / CONFIG).symlink_to(folder / CONFIG)


def too_many(folder):
    for number in range(1001):
        (folder / f"{number}.txt").touch()


def a_pipe(folder):
    (folder / WEIGHTS).unlink()
    os.mkfifo(folder / WEIGHTS)


class TestVerifying:
    @pytest.mark.parametrize(
        ("damage", "why"),
        [
            (missing, f"{CONFIG} is missing"),
            (changed, f"{WEIGHTS} is not what was saved"),
            (cut_off, f"{WEIGHTS} is not what was saved"),
            (is_a_folder, f"{CONFIG} is not a file"),
            (leads_out, f"{CONFIG} leads out of the folder"),
            (manifest_leads_out, f"{MANIFEST} leads out of the folder"),
            (pickled, "adapter_model.BIN could run code"),
            (pickled_below, "optimizer.pt could run code"),
            (a_link_below_leads_out, "notes leads out of the folder"),
            (a_link_in_a_circle, CONFIG),
            (too_many, "more than 1,000 files"),
            (a_pipe, f"{WEIGHTS} is not a file"),
        ],
    )
    def test_what_is_wrong_is_named(self, put, damage, why):
        folder = put()
        manifest = read_bundle(folder)
        verify(folder, manifest)
        damage(folder)
        with pytest.raises(AdapterDamaged, match=why) as caught:
            verify(folder, manifest)
        assert NAME in caught.value.message and caught.value.hint

    def test_a_folder_of_another_name_is_another(self, put, root):
        folder = put()
        manifest = read_bundle(folder)
        moved = folder.rename(root / "other")
        with pytest.raises(AdapterDamaged, match=f"other is damaged: its manifest is that of {NAME}"):
            verify(moved, manifest)

    def test_a_link_to_the_folder_is_not_the_folder(self, put, root, tmp_path):
        folder = put()
        manifest = read_bundle(folder)
        folder.rename(tmp_path / NAME)
        folder.symlink_to(tmp_path / NAME)
        with pytest.raises(AdapterDamaged, match="is a link"):
            verify(folder, manifest)

    @pytest.mark.parametrize(
        ("config", "why"),
        [
            (b"", "not JSON"),
            (b"[]", "not JSON"),
            (b"{}", "not LoRA"),
            (b'{"peft_type": "LORA", "bias": "all"}', "biases"),
        ],
    )
    def test_the_config_is_one_of_plain_lora(self, root, files, a_manifest, config, why):
        folder = write_bundle(root, NAME, files | {CONFIG: config}, a_manifest())
        with pytest.raises(AdapterDamaged, match=why):
            verify(folder, read_bundle(folder))

    def test_a_manifest_of_any_size_is_not_read(self, put):
        folder = put()
        with (folder / MANIFEST).open("r+b") as file:
            file.truncate(1 << 40)
        with pytest.raises(AdapterDamaged, match="larger than 16,777,216 bytes"):
            read_bundle(folder)

    @pytest.mark.parametrize("needed", [WEIGHTS, CONFIG])
    def test_weights_and_config_belong_to_it(self, put, needed):
        folder = put()
        manifest = read_bundle(folder)
        rest = {name: hash for name, hash in manifest.files.items() if name != needed}
        with pytest.raises(AdapterDamaged, match=f"does not name {needed}"):
            verify(folder, replace(manifest, files=rest))

    @pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "..", "sub/file", "C:\\file"])
    def test_no_path_climbs_out(self, put, root, name):
        folder = put()
        (root / "secret").write_text("x")
        manifest = read_bundle(folder)
        with pytest.raises(AdapterDamaged, match="not a file of its own"):
            verify(folder, replace(manifest, files=manifest.files | {name: "0" * 64}))

    def test_a_link_to_another_file_of_the_adapter_is_no_harm(self, put):
        folder = put()
        (folder / README).rename(folder / "CARD.md")
        (folder / README).symlink_to("CARD.md")
        verify(folder, read_bundle(folder))

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"\x80\x04K\x01.",
            bytes(8),
            b"\xff" * 8 + b"{}",
            (2).to_bytes(8, "little") + b"{]",
            pytest.param("short", id="a tensor longer than the file"),
            pytest.param("long", id="a file longer than its tensors"),
            pytest.param("shape", id="a shape that is not its size"),
        ],
    )
    def test_weights_must_be_safetensors(self, root, files, a_manifest, data):
        whole = files[WEIGHTS]
        made = {"short": whole[:-4], "long": whole + bytes(4), "shape": whole.replace(b"[4]", b"[5]")}
        folder = write_bundle(root, NAME, files | {WEIGHTS: made.get(data, data)}, a_manifest())
        with pytest.raises(AdapterDamaged, match=f"{WEIGHTS} (is not safetensors|cannot be read|has a header of)"):
            verify(folder, read_bundle(folder))

    @pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="nothing is forbidden here")
    def test_what_may_not_be_read_is_named(self, put):
        folder = put()
        (folder / CONFIG).chmod(0)
        with pytest.raises(AdapterDamaged, match=f"{CONFIG} cannot be read: permission denied"):
            verify(folder, read_bundle(folder))


class TestFlippedBytes:
    def test_none_goes_unseen(self, root, files, safetensors, a_manifest):
        """Each byte of each small file once, and 500 of the weights."""
        folder = write_bundle(root, NAME, files | {WEIGHTS: safetensors(2000)}, a_manifest())
        chance, tried = random.Random(5), 0
        for path in sorted(folder.iterdir()):
            data = path.read_bytes()
            places = chance.sample(range(len(data)), 500) if len(data) > 4000 else range(len(data))
            for place in places:
                path.write_bytes(data[:place] + bytes([data[place] ^ 1 << chance.randrange(8)]) + data[place + 1 :])
                with pytest.raises(AdapterDamaged):
                    verify(folder, read_bundle(folder))
                tried += 1
            path.write_bytes(data)
        assert tried > 1000
        verify(folder, read_bundle(folder))


class TestJudging:
    def test_figures_and_verdict_come_into_the_manifest(self, put):
        folder = put(metrics={"steps": 60})
        made = judged(folder, {"drift": 0.05}, VERDICT)
        assert made == read_bundle(folder)
        assert (made.metrics, made.verdict) == ({"steps": 60, "drift": 0.05}, VERDICT)
        verify(folder, made)
        assert mode(folder / MANIFEST) == 0o600
        again = judged(folder, {"drift": 0.06}, {"accepted": False})
        assert (again.metrics["drift"], again.verdict) == (0.06, {"accepted": False})
        assert len(list(folder.iterdir())) == 4

    def test_a_damaged_one_is_not_mended_by_it(self, put):
        folder = put()
        (folder / MANIFEST).write_text((folder / MANIFEST).read_text().replace("some/model", "other/model"))
        with pytest.raises(AdapterDamaged, match="not what was written"):
            judged(folder, {}, VERDICT)

    SCRIPT = """
import os, sys
from pathlib import Path
from shammah.adapters import bundle
left = int(sys.argv[2])
for name in ("fsync", "rename", "replace"):
    def stop(*arguments, real=getattr(os, name)):
        global left
        left -= 1
        if left < 0:
            os._exit(9)
        return real(*arguments)
    setattr(os, name, stop)
bundle.judged(Path(sys.argv[1]), {"drift": 0.05}, {"accepted": True})
"""

    def test_killed_at_any_point_it_is_the_old_or_the_new(self, put):
        folder, seen = put(), []
        for point in range(9):
            command = [sys.executable, "-c", self.SCRIPT, str(folder), str(point)]
            done = subprocess.run(command, timeout=60, check=False)
            manifest = read_bundle(folder)
            verify(folder, manifest)
            seen.append((done.returncode, manifest.verdict))
        assert seen[0] == (9, None) and seen[-1] == (0, {"accepted": True})
        assert len([code for code, _ in seen if code == 9]) >= 3
        assert len(list(folder.iterdir())) == 4, "what kills left is still there"


class TestSweeping:
    @pytest.fixture
    def leftover(self, put, root):
        put()
        folder = root / ".unfinished-lora_adapter_20260131_100000-abcd"
        folder.mkdir()
        (folder / WEIGHTS).write_bytes(b"half")
        return folder

    def test_what_may_still_be_written_stays(self, root, leftover):
        begun = leftover.stat().st_mtime
        assert sweep(root, clock=lambda: begun + 3599) == 0
        assert leftover.exists()
        assert sweep(root, clock=lambda: begun + 3601) == 1
        assert [path.name for path in root.iterdir()] == [NAME]

    def test_everything_goes_when_nobody_writes(self, root, leftover):
        assert sweep(root, everything=True) == 1
        assert sweep(root, everything=True) == 0
        assert [path.name for path in root.iterdir()] == [NAME]

    def test_it_follows_no_link(self, root, put, tmp_path):
        put()
        mine = tmp_path / "mine"
        mine.mkdir()
        (root / ".unfinished-link").symlink_to(mine)
        assert sweep(root, everything=True) == 0
        assert mine.exists()

    def test_a_home_without_adapters_has_none(self, root):
        assert sweep(root, everything=True) == 0


def test_the_manifest_is_json_that_anyone_can_read(put):
    text = (put() / MANIFEST).read_text("ascii")
    assert json.loads(text)["name"] == NAME
    assert Manifest.from_json(text).files == json.loads(text)["files"]
