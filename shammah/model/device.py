"""Where the model runs, in which number format, on how many threads. The format is measured once a machine, not
guessed.

Some CPUs multiply bf16 several times faster than fp32, on others it is slower; the same holds for fp16 on GPUs.
"""

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from shammah.durable import make_folder, write_file
from shammah.errors import DeviceError, DiskFull, HomeError

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
# A typical reply: a prompt computed at once, then tokens one by one.
_PROMPT_ROWS, _REPLY_STEPS = 128, 64
_WIDTH = 2048
_ROUNDS = 7
# A median this much above the best round means that something else was running.
_CALM = 1.5


# A device in; milliseconds by format out, and whether they can be believed another time.
Measure = Callable[[str], tuple[dict[str, float], bool]]


@dataclass(frozen=True, slots=True)
class Compute:
    device: str
    dtype: str
    threads: int
    why: str
    milliseconds: dict[str, float]


def choose(device: str, dtype: str, threads: int, *, cache_folder: Path) -> Compute:
    """What to run on, by the settings; "auto" takes the best that is here."""
    where = choose_device(device, available())
    count = set_threads(threads)
    if dtype != "auto":
        return Compute(where, dtype, count, "as set", {})
    times = measured(where, count, cache_folder)
    best = min(times, key=lambda name: times[name])
    return Compute(where, best, count, "measured fastest here", times)


def available() -> list[str]:
    """The devices of this machine, the preferred one first."""
    found = ["cuda"] if torch.cuda.is_available() else []
    found += ["mps"] if torch.backends.mps.is_available() else []
    return [*found, "cpu"]


def choose_device(setting: str, here: Sequence[str]) -> str:
    """The device of that name among those that are here, the first of them for "auto"."""
    if setting == "auto":
        return here[0]
    if setting not in here:
        raise DeviceError(
            f"There is no {setting} device here", hint=f"Use --device {' or '.join(here)}, or leave it out."
        )
    return setting


def is_out_of_memory(error: BaseException) -> bool:
    """Full memory has a class of its own only where torch's allocator for CUDA says so. Elsewhere it is a plain
    RuntimeError, worded by operating system, device and library."""
    words = ("not enough memory", "can't allocate memory", "out of memory", "ALLOC_FAILED")
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(word in str(error) for word in words)


def set_threads(setting: int) -> int:
    """Threads for torch: as told, else OMP_NUM_THREADS, else one per physical core that we may use."""
    if setting:
        torch.set_num_threads(setting)
    elif not os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(usable_cores())
    return torch.get_num_threads()


def usable_cores() -> int:
    """Physical cores, fewer where affinity or a container's quota allows fewer.

    Hyper-threads only get in each other's way.
    """
    counts = [psutil.cpu_count(logical=False) or os.cpu_count() or 1]
    if hasattr(os, "sched_getaffinity"):
        counts.append(len(os.sched_getaffinity(0)))
    quota = _cgroup_quota()
    return max(1, min([*counts, quota] if quota else counts))


def _cgroup_quota(root: Path = Path("/sys/fs/cgroup")) -> int | None:
    try:
        quota, period = (root / "cpu.max").read_text().split()
        return None if quota == "max" else max(1, int(quota) // int(period))
    except (OSError, ValueError):
        return None


@torch.inference_mode()
def measure(device: str) -> tuple[dict[str, float], bool]:
    """Milliseconds by format, and whether the machine was calm enough to believe them another time.

    Formats take turns and the best round counts, since other programs can only make a round slower.
    """
    trials = {name: _Trial(device, DTYPES[name]) for name in _candidates(device)}
    rounds: dict[str, list[float]] = {name: [] for name in trials}
    for _ in range(_ROUNDS):
        for name, trial in trials.items():
            rounds[name].append(trial.run())
    calm = all(statistics.median(times) < _CALM * min(times) for times in rounds.values())
    return {name: round(min(times), 2) for name, times in rounds.items()}, calm


def measured(device: str, threads: int, cache_folder: Path, *, measure: Measure = measure) -> dict[str, float]:
    """Milliseconds of a typical reply's products by format; from the cache when this machine was measured before."""
    file = cache_folder / "formats.json"
    key = f"{_machine(device)}, {threads} threads, torch {torch.__version__}"
    known = _read(file)
    # A file of another version, or one that was edited, may name formats that are no choice here.
    if known.get(key, {}).keys() == set(_candidates(device)):
        return known[key]
    times, calm = measure(device)
    if calm:
        known[key] = times
        try:
            make_folder(cache_folder)
            write_file(file, json.dumps(known, indent=1).encode())
        except (DiskFull, HomeError):
            pass  # measured again next time: half a second lost, nothing else
    return times


def _candidates(device: str) -> list[str]:
    if device == "cpu":
        return ["bfloat16", "float32"]
    if device == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return ["float16"]
    return ["bfloat16", "float16"]


class _Trial:
    """One layer's part of a typical reply, with enough weights that they are read from memory as in real decoding."""

    def __init__(self, device: str, dtype: torch.dtype) -> None:
        self._device = device
        self._layers = [torch.randn(_WIDTH, _WIDTH, device=device).to(dtype) for _ in range(8)]
        self._row = torch.randn(1, _WIDTH, device=device).to(dtype)
        self._prompt = torch.randn(_PROMPT_ROWS, _WIDTH, device=device).to(dtype)
        self.run()  # the first round pays for the libraries' own preparations

    def run(self) -> float:
        return self._milliseconds(self._prompt) + _REPLY_STEPS * self._milliseconds(self._row)

    def _milliseconds(self, x: torch.Tensor) -> float:
        _wait(self._device)
        start = time.perf_counter()
        for weight in self._layers:
            torch.nn.functional.linear(x, weight)
        _wait(self._device)
        return 1000 * (time.perf_counter() - start) / len(self._layers)


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
    elif device == "mps":
        torch.mps.synchronize()


def _machine(device: str) -> str:
    if device == "cuda":
        return torch.cuda.get_device_name()
    return f"{device} {platform.machine()} {platform.processor() or _cpu_name()}"


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    fields: Mapping[str, str] = dict(line.split(":", 1) for line in reversed(lines) if ":" in line)
    return " ".join(value.strip() for name, value in fields.items() if name.strip() in ("model name", "stepping"))


def _read(file: Path) -> dict[str, dict[str, float]]:
    try:
        content = json.loads(file.read_text())
        return {str(key): {str(k): float(v) for k, v in times.items()} for key, times in content.items() if times}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}
