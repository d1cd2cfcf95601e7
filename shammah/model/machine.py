"""What this machine has, and which models fit it. `survey` looks; `fit` is pure and can be asked about any Machine.

The rule, in bytes:

    needed   = 2 per parameter (bf16) + a quarter of that (key-value cache, activations) + 500 MB (torch, the program)
    training = half of the weights + 500 MB on top (LoRA, its optimizer, gradients; the weights themselves are shared)
    usable   = 90% of a GPU's memory; 75% of memory that GPU and system share (Apple); 80% of the RAM otherwise

    fits     needed + training is usable     tight    only needed is, or it is but other programs hold the memory now
    too big  not even needed is

The GPU is asked first; what is too big for it may still fit the RAM and run on the CPU.
"""

import os
import platform
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import psutil

from shammah.model.catalog import Entry

Level = Literal["fits", "tight", "too big"]

_PROGRAM = 500_000_000
_RANK: dict[Level, int] = {"fits": 0, "tight": 1, "too big": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """All in bytes. `gpu` is empty where there is none; `unified` says that GPU and system share the RAM."""

    ram: int
    ram_available: int
    gpu: str = ""
    gpu_memory: int = 0
    gpu_available: int = 0
    unified: bool = False
    disk_free: int


@dataclass(frozen=True, slots=True)
class Fit:
    level: Level
    needed_bytes: int
    why: str


def beside(machine: Machine, held: int) -> Machine:
    """The machine for a model that comes while another one holds so many bytes: what is free says that already."""
    return replace(machine, ram=max(0, machine.ram - held), gpu_memory=max(0, machine.gpu_memory - held))


def needed_bytes(parameters: int) -> int:
    weights = 2 * parameters
    return weights + weights // 4 + _PROGRAM


def training_bytes(parameters: int) -> int:
    return parameters + _PROGRAM


def fit(entry: Entry, machine: Machine) -> Fit:
    return fit_of(entry.parameters, machine)


def fit_of(parameters: int, machine: Machine) -> Fit:
    places = [_place("memory", parameters, machine.ram, machine.ram_available, 0.75 if machine.unified else 0.8)]
    if machine.gpu and not machine.unified:
        places.insert(0, _place(f"{machine.gpu} memory", parameters, machine.gpu_memory, machine.gpu_available, 0.9))
    best = min(places, key=lambda place: _RANK[place.level])
    # Nothing is large enough: speak of what comes nearest.
    return places[-1] if best.level == "too big" and machine.ram > machine.gpu_memory else best


def _place(name: str, parameters: int, total: int, available: int, share: float) -> Fit:
    needed, training = needed_bytes(parameters), training_bytes(parameters)
    usable = int(total * share)
    of = f"{_gb(needed)} of {_gb(total)} {name}"
    if needed > usable:
        return Fit("too big", needed, f"needs {_gb(needed)}, but only {_gb(usable)} of {_gb(total)} {name} can be used")
    if needed + training > usable:
        return Fit("tight", needed, f"needs {of}; training needs {_gb(training)} more, which is not there")
    if needed > available:
        return Fit("tight", needed, f"needs {of}, but only {_gb(available)} is free now: close other programs")
    return Fit("fits", needed, f"needs {of}, with {_gb(training)} more for training")


def _gb(number: int) -> str:
    return f"{number / 1e9:.1f} GB"


def survey(disk: Path) -> Machine:
    """Look at this machine; `disk` is where models are to be kept."""
    memory = psutil.virtual_memory()
    limit = cgroup_memory() if platform.system() == "Linux" else None
    ram, available = int(memory.total), int(memory.available)
    if limit:
        ram, available = min(ram, limit[0]), min(available, limit[1])
    standing = next(path for path in (disk, *disk.absolute().parents) if path.exists())
    disk_free = shutil.disk_usage(standing).free
    if platform.system() == "Darwin" and platform.machine() == "arm64":
        return Machine(
            ram=ram,
            ram_available=available,
            gpu="Apple GPU",
            gpu_memory=ram,
            gpu_available=available,
            unified=True,
            disk_free=disk_free,
        )
    name, total, free = nvidia_gpu() or ("", 0, 0)
    return Machine(
        ram=ram,
        ram_available=available,
        gpu=name,
        gpu_memory=total,
        gpu_available=free,
        disk_free=disk_free,
    )


def nvidia_gpu(
    environment: Mapping[str, str] = os.environ, program: str = "nvidia-smi", seconds: float = 3
) -> tuple[str, int, int] | None:
    """Name, memory and free memory of the largest GPU, or None. Asks the driver's program: torch takes seconds."""
    if environment.get("CUDA_VISIBLE_DEVICES", "all").strip() in ("", "-1"):
        return None
    command = [program, "--query-gpu=name,memory.total,memory.free", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, timeout=seconds, check=True, errors="replace"
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    found = []
    for line in answer.splitlines():
        name, *sizes = [part.strip() for part in line.rsplit(",", 2)]
        if len(sizes) == 2 and all(size.isdigit() for size in sizes):
            found.append((name, int(sizes[0]) << 20, int(sizes[1]) << 20))
    return max(found, key=lambda gpu: gpu[1], default=None)


def cgroup_memory(
    root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")
) -> tuple[int, int] | None:
    """The memory limit that a container or service manager set for this process, and what is left of it."""
    limits = []
    for folder, names in _cgroup_folders(root, membership):
        limit, current, cached = (_number(folder / names[0]), _number(folder / names[1]), _cached(folder, names[2]))
        # Without a limit, version 1 reports a number near 2**63.
        if limit is not None and limit < 1 << 60:
            limits.append((limit, max(0, limit - max(0, (current or 0) - cached))))
    return (min(limit for limit, _ in limits), min(left for _, left in limits)) if limits else None


def _cgroup_folders(root: Path, membership: Path) -> list[tuple[Path, tuple[str, str, str]]]:
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, inside = (*line.split(":", 2), "", "")[:3]
        if controllers == "":
            top, names = root, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            top, names = root / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        here = top / inside.strip("/")
        # In a container the path may be the host's; its own limit then lies at the top.
        found += [(folder, names) for folder in (here, *here.parents) if folder == top or top in folder.parents]
    return found


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


def _cached(folder: Path, key: str) -> int:
    """File contents that the kernel drops as soon as memory is wanted."""
    try:
        lines = (folder / "memory.stat").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{key} ")), 0)
