"""What fits which machine, and how the machine is looked at."""

import os
import sys
import time
from pathlib import Path

import psutil
import pytest

from shammah.model.catalog import CATALOG, entry_named
from shammah.model.machine import Machine, cgroup_memory, fit, needed_bytes, nvidia_gpu, survey, training_bytes

GB = 10**9


def machine(ram: float, **more: object) -> Machine:
    settings = {"ram": int(ram * GB), "ram_available": int(ram * GB), "disk_free": 100 * GB, **more}
    return Machine(**settings)  # type: ignore[arg-type]  # sizes by name


def levels(there: Machine) -> dict[str, str]:
    return {entry.name: fit(entry, there).level for entry in CATALOG}


def test_the_rule_in_numbers() -> None:
    assert needed_bytes(1_000_000_000) == 3_000_000_000
    assert training_bytes(1_000_000_000) == 1_500_000_000


def test_a_small_laptop() -> None:
    assert levels(machine(8)) == {
        "smollm2-135m": "fits",
        "qwen3-0.6b": "fits",
        "qwen2.5-1.5b": "tight",
        "qwen3-4b": "too big",
        "qwen2.5-7b": "too big",
    }


def test_a_usual_laptop() -> None:
    found = levels(machine(16))
    assert found["qwen3-4b"] == "tight"
    assert found["qwen2.5-7b"] == "too big"


def test_a_graphics_card_carries_what_the_memory_cannot() -> None:
    card = machine(16, gpu="RTX 4090", gpu_memory=int(25.7 * GB), gpu_available=25 * GB)
    assert levels(card)["qwen3-4b"] == "fits"
    assert levels(card)["qwen2.5-7b"] == "tight"
    assert "RTX 4090" in fit(CATALOG[3], card).why


def test_the_memory_carries_what_the_graphics_card_cannot() -> None:
    card = machine(64, gpu="GTX 1050", gpu_memory=4 * GB, gpu_available=4 * GB)
    found = fit(CATALOG[4], card)
    assert found.level == "fits"
    assert "GTX" not in found.why


def test_shared_memory_is_counted_once_and_less_of_it() -> None:
    entry = entry_named("qwen3-4b")
    assert entry is not None
    shared = machine(14, gpu="Apple GPU", gpu_memory=14 * GB, gpu_available=14 * GB, unified=True)
    assert fit(entry, machine(14)).level == "tight"
    assert fit(entry, shared).level == "too big"


def test_tight_says_what_is_missing() -> None:
    no_training = fit(CATALOG[4], machine(25))
    assert no_training.level == "tight"
    assert no_training.why == "needs 19.5 GB of 25.0 GB memory; training needs 8.1 GB more, which is not there"
    full = fit(CATALOG[0], machine(16, ram_available=GB // 2))
    assert full.level == "tight"
    assert "only 0.5 GB is free now: close other programs" in full.why


def test_too_big_says_how_much() -> None:
    found = fit(CATALOG[4], machine(8))
    assert found.why == "needs 19.5 GB, but only 6.4 GB of 8.0 GB memory can be used"
    assert found.needed_bytes == needed_bytes(CATALOG[4].parameters)


def test_too_big_speaks_of_the_larger_memory() -> None:
    card = machine(8, gpu="GTX 1050", gpu_memory=4 * GB, gpu_available=4 * GB)
    assert fit(CATALOG[4], card).why == fit(CATALOG[4], machine(8)).why
    assert "A40" in fit(CATALOG[4], machine(8, gpu="A40", gpu_memory=16 * GB, gpu_available=16 * GB)).why


@pytest.mark.parametrize(("ram", "level"), [(0.95 * 1e9, "too big"), (1.2e9, "tight"), (2e9, "fits")])
def test_the_borders_of_the_default(ram: float, level: str) -> None:
    assert fit(CATALOG[0], machine(ram / GB)).level == level


def test_this_machine(tmp_path: Path) -> None:
    found = survey(tmp_path / "not" / "made" / "yet")
    assert 0 < found.ram_available <= found.ram <= psutil.virtual_memory().total
    assert found.disk_free > 0
    assert bool(found.gpu) == bool(found.gpu_memory)


def cgroup(tmp_path: Path, files: dict[str, str], membership: str) -> tuple[int, int] | None:
    root = tmp_path / "cgroup"
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (tmp_path / "self").write_text(membership)
    return cgroup_memory(root, tmp_path / "self")


def test_a_container_s_limit_counts(tmp_path: Path) -> None:
    files = {"memory.max": "2000\n", "memory.current": "900\n", "memory.stat": "anon 500\ninactive_file 300\n"}
    assert cgroup(tmp_path, files, "0::/\n") == (2000, 1400)


def test_the_tightest_limit_on_the_way_up_counts(tmp_path: Path) -> None:
    files = {"a/memory.max": "5000", "a/memory.current": "4500", "a/b/memory.max": "max", "a/b/memory.current": "10"}
    assert cgroup(tmp_path, files, "0::/a/b\n") == (5000, 500)


def test_a_container_that_shows_the_host_s_path(tmp_path: Path) -> None:
    assert cgroup(tmp_path, {"memory.max": "7000", "memory.current": "0"}, "0::/docker/abc\n") == (7000, 7000)


def test_the_old_layout(tmp_path: Path) -> None:
    files = {
        "memory/x/memory.limit_in_bytes": "3000",
        "memory/x/memory.usage_in_bytes": "1000",
        "memory/memory.limit_in_bytes": str(2**63 - 4096),
        "memory/memory.usage_in_bytes": "999999",
    }
    assert cgroup(tmp_path, files, "5:cpu,cpuacct:/y\n4:memory:/x\n") == (3000, 2000)


def test_no_limit_at_all(tmp_path: Path) -> None:
    assert cgroup(tmp_path, {"memory.max": "max\n"}, "0::/\n") is None
    assert cgroup_memory(tmp_path, tmp_path / "missing") is None


@pytest.mark.skipif(os.name == "nt", reason="stands in for nvidia-smi with a script")
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("echo 'NVIDIA H200, 143771, 143000'", ("NVIDIA H200", 143771 << 20, 143000 << 20)),
        ("printf 'Small, 4096, 4000\\nLarge, 24564, 20000\\n'", ("Large", 24564 << 20, 20000 << 20)),
        ("echo 'NVIDIA GB10, [N/A], [N/A]'", None),
        ("exit 9", None),
        ("exec sleep 30", None),
    ],
)
def test_the_driver_is_asked(answer: str, expected: tuple[str, int, int] | None, tmp_path: Path) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{answer}\n")
    program.chmod(0o755)
    began = time.monotonic()
    assert nvidia_gpu({}, str(program), seconds=0.5) == expected
    assert time.monotonic() - began < 5
    assert nvidia_gpu({"CUDA_VISIBLE_DEVICES": "-1"}, str(program)) is None
    assert nvidia_gpu({"CUDA_VISIBLE_DEVICES": ""}, str(program)) is None


def test_no_driver() -> None:
    assert nvidia_gpu({}, "no-such-program-here") is None


@pytest.mark.skipif(sys.platform != "linux", reason="reads the real control group")
def test_the_real_control_group_is_readable() -> None:
    found = cgroup_memory()
    assert found is None or 0 <= found[1] <= found[0]
