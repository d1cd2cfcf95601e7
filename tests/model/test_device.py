"""Where to compute and how: the choice, the threads, and a measurement made once and believed only when calm."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import torch

from shammah.errors import DeviceError
from shammah.model import device as device_module
from shammah.model.device import (
    Compute,
    available,
    choose,
    choose_device,
    is_out_of_memory,
    measure,
    measured,
    set_threads,
    usable_cores,
)

FAST = {"bfloat16": 5.0, "float32": 9.0}


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """Threads are a setting of the whole process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


class Measurements:
    """Measures nothing: gives these times, and counts how often it was asked."""

    def __init__(self, times: dict[str, float], *, calm: bool = True) -> None:
        self._times, self._calm = times, calm
        self.calls = 0

    def __call__(self, device: str) -> tuple[dict[str, float], bool]:
        self.calls += 1
        return self._times, self._calm


# Devices


@pytest.mark.parametrize(
    ("setting", "here", "chosen"),
    [
        ("auto", ["cpu"], "cpu"),
        ("auto", ["cuda", "cpu"], "cuda"),
        ("auto", ["mps", "cpu"], "mps"),
        ("auto", ["cuda", "mps", "cpu"], "cuda"),
        ("cpu", ["cuda", "mps", "cpu"], "cpu"),
        ("mps", ["mps", "cpu"], "mps"),
    ],
)
def test_the_preferred_device_or_the_one_asked_for(setting: str, here: list[str], chosen: str) -> None:
    assert choose_device(setting, here) == chosen


@pytest.mark.parametrize("setting", ["cuda", "mps", "tpu"])
def test_a_device_that_is_not_there(setting: str) -> None:
    with pytest.raises(DeviceError) as caught:
        choose_device(setting, ["cpu"])
    assert caught.value.one_line() == f"There is no {setting} device here. Use --device cpu, or leave it out."
    with pytest.raises(DeviceError, match="no tpu device") as caught:
        choose_device("tpu", ["cuda", "cpu"])
    assert "cuda or cpu" in caught.value.hint


def test_the_cpu_is_always_there_and_last() -> None:
    assert available()[-1] == "cpu"
    assert ("cuda" in available()) == torch.cuda.is_available()


def test_a_format_that_is_set_is_not_measured(tmp_path: Path) -> None:
    compute = choose("cpu", "float32", 1, cache_folder=tmp_path / "cache")
    assert compute == Compute("cpu", "float32", 1, "as set", {})
    assert not (tmp_path / "cache").exists()


def test_the_fastest_format_is_chosen_and_why_is_said(tmp_path: Path) -> None:
    measured("cpu", 1, tmp_path, measure=Measurements({"bfloat16": 5.0, "float32": 2.0}))
    compute = choose("cpu", "auto", 1, cache_folder=tmp_path)
    assert compute == Compute("cpu", "float32", 1, "measured fastest here", {"bfloat16": 5.0, "float32": 2.0})


# The measurement


def test_a_measurement_is_made_once_a_machine(tmp_path: Path) -> None:
    counting = Measurements(FAST)
    assert measured("cpu", 2, tmp_path / "new" / "cache", measure=counting) == FAST
    assert measured("cpu", 2, tmp_path / "new" / "cache", measure=counting) == FAST
    assert counting.calls == 1
    measured("cpu", 3, tmp_path / "new" / "cache", measure=counting)  # other threads are another machine
    measured("cpu", 2, tmp_path / "new" / "cache", measure=counting)  # and do not push the first one out
    assert counting.calls == 2
    (key,) = [
        key for key in json.loads((tmp_path / "new" / "cache" / "formats.json").read_text()) if "2 threads" in key
    ]
    assert torch.__version__ in key and "cpu" in key


def test_a_noisy_measurement_is_used_but_not_stored(tmp_path: Path) -> None:
    noisy = Measurements(FAST, calm=False)
    assert measured("cpu", 2, tmp_path, measure=noisy) == FAST
    assert measured("cpu", 2, tmp_path, measure=noisy) == FAST
    assert noisy.calls == 2
    assert list(tmp_path.glob("formats*")) == []


DAMAGED: dict[str, Callable[[str], str]] = {
    "cut off": lambda text: text[: len(text) // 2],
    "empty": lambda text: "",
    "a list": lambda text: "[1, 2]",
    "no numbers": lambda text: text.replace("5.0", '"fast"'),
    "no times": lambda text: text.replace("5.0", "null"),
    "other formats": lambda text: text.replace("bfloat16", "int3"),
    "one format": lambda text: json.dumps({key: {"float32": 1.0} for key in json.loads(text)}),
    "none": lambda text: json.dumps({key: {} for key in json.loads(text)}),
    "a text": lambda text: json.dumps(dict.fromkeys(json.loads(text), "fast")),
}


@pytest.mark.parametrize("damage", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_is_measured_anew_and_mended(tmp_path: Path, damage: Callable[[str], str]) -> None:
    file, counting = tmp_path / "formats.json", Measurements(FAST)
    measured("cpu", 2, tmp_path, measure=counting)
    whole = json.loads(file.read_text())
    file.write_text(damage(file.read_text()))
    assert measured("cpu", 2, tmp_path, measure=counting) == FAST
    assert counting.calls == 2
    assert json.loads(file.read_text()).items() >= whole.items()


def test_bytes_that_are_no_text_are_measured_anew(tmp_path: Path) -> None:
    (tmp_path / "formats.json").write_bytes(b"\xff\xfe\x00")
    assert measured("cpu", 2, tmp_path, measure=Measurements(FAST)) == FAST


def test_a_cache_that_cannot_be_written_is_no_reason_to_stop(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert measured("cpu", 2, tmp_path / "file", measure=Measurements(FAST)) == FAST


def test_the_real_measurement() -> None:
    torch.set_num_threads(1)
    times, calm = measure("cpu")
    assert set(times) == {"bfloat16", "float32"} and all(value > 0 for value in times.values())
    assert isinstance(calm, bool)


# Threads


def test_threads_as_told() -> None:
    assert set_threads(1) == 1 == torch.get_num_threads()
    assert set_threads(3) == 3 == torch.get_num_threads()


def threads_of_a_process(**environment: str) -> int:
    script = "from shammah.model.device import set_threads; print(set_threads(0))"
    outer = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, text=True, env={**outer, **environment}
    )
    return int(done.stdout)


def test_omp_num_threads_is_honoured() -> None:
    # Fewer than the cores, for more than those MKL does not take.
    assert threads_of_a_process(OMP_NUM_THREADS="1") == 1


def test_without_a_word_it_is_the_cores_we_may_use() -> None:
    assert threads_of_a_process() == threads_of_a_process(OMP_NUM_THREADS="") == usable_cores()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_a_process_held_to_one_core_takes_one_thread() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert usable_cores() == 1
        assert threads_of_a_process() == 1
    finally:
        os.sched_setaffinity(0, before)


def test_cores_are_physical_ones() -> None:
    assert 1 <= usable_cores() <= (psutil.cpu_count(logical=False) or 1)


@pytest.mark.parametrize(
    ("content", "cores"),
    [
        ("max 100000\n", None),
        ("200000 100000\n", 2),
        ("150000 100000\n", 1),
        ("50000 100000\n", 1),
        ("1000000 50000\n", 20),
        ("nonsense\n", None),
        ("", None),
        ("1 2 3\n", None),
    ],
)
def test_the_quota_of_a_container(tmp_path: Path, content: str, cores: int | None) -> None:
    (tmp_path / "cpu.max").write_text(content)
    assert device_module._cgroup_quota(tmp_path) == cores


def test_no_container_no_quota(tmp_path: Path) -> None:
    assert device_module._cgroup_quota(tmp_path) is None


# Memory


def test_full_memory_is_known_by_its_many_words() -> None:
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"))
    assert is_out_of_memory(MemoryError())
    for words in (
        "MPS backend out of memory (MPS allocated: 8.94 GiB, other allocations: 128.00 KiB, max allowed: 9.07 GiB)",
        "CUDA error: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    ):
        assert is_out_of_memory(RuntimeError(words))
    with pytest.raises(RuntimeError) as caught:
        torch.empty(10**16)
    assert is_out_of_memory(caught.value)
    assert not is_out_of_memory(RuntimeError("shapes cannot be multiplied"))
