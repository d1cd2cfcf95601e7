"""What training may take of this machine: processor time that nobody else wants, memory that is free, and nothing while
the battery is low or the processor hot."""

import ctypes
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

import psutil

from shammah.model.machine import cgroup_memory

OnBattery = Literal["pause", "train"]

_NICE = 10
_DEGREES_LEFT = 5
# How the sensors of processors are called on Linux. Disks, networks and graphics have theirs too.
_PROCESSORS = ("coretemp", "k10temp", "zenpower", "cpu_thermal", "cpu-thermal", "soc_thermal", "x86_pkg_temp")
# Firmware that knows no limit reports one all the same.
_PLAUSIBLE_LIMITS = (50, 150)


class Battery(Protocol):
    @property
    def percent(self) -> float: ...
    @property
    def power_plugged(self) -> bool | None: ...


class Temperature(Protocol):
    @property
    def current(self) -> float: ...
    @property
    def high(self) -> float | None: ...
    @property
    def critical(self) -> float | None: ...


def lower_priority() -> None:
    """Make the thread that calls this yield to all others, with the threads it starts from now on.

    Linux alone has a priority for each thread that anybody may lower; elsewhere right of way has to do.
    """
    if sys.platform != "linux":
        return
    thread = threading.get_native_id()
    try:
        os.setpriority(os.PRIO_PROCESS, thread, max(_NICE, os.getpriority(os.PRIO_PROCESS, thread)))
    except OSError:  # a sandbox may forbid it, and training works all the same
        pass


def read_battery() -> Battery | None:
    battery: Battery | None = _read("sensors_battery", None)
    return battery


def read_temperatures() -> Mapping[str, Sequence[Temperature]]:
    temperatures: Mapping[str, Sequence[Temperature]] = _read("sensors_temperatures", {})
    return temperatures


def hold_reason(
    *,
    on_battery: OnBattery,
    battery_floor: float = 100,
    battery: Callable[[], Battery | None] = read_battery,
    temperatures: Callable[[], Mapping[str, Sequence[Temperature]]] = read_temperatures,
) -> str:
    """Why training should wait just now; empty where it need not, or where the machine does not say.

    With `on_battery` pause it waits while the machine runs on its battery and that is below `battery_floor` percent.
    """
    charge = battery() if on_battery == "pause" else None
    # Whether the cable is in may be unknown, which is None.
    if charge is not None and charge.power_plugged is False and charge.percent < battery_floor:
        return f"on battery ({charge.percent:.0f} %)"
    hot = [
        core.current for name, cores in temperatures().items() if name in _PROCESSORS for core in cores if _hot(core)
    ]
    return f"the processor is hot ({max(hot):.0f} °C)" if hot else ""


def free_memory(
    *,
    available: Callable[[], int] = lambda: int(psutil.virtual_memory().available),
    cgroup: Callable[[], tuple[int, int] | None] = cgroup_memory,
) -> int:
    """The bytes that this process may still take: of the machine, of its container, of its own limit."""
    inside = cgroup()
    left = [available(), *([inside[1]] if inside else [])]
    if sys.platform != "win32":
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit != resource.RLIM_INFINITY:
            left.append(limit - psutil.Process().memory_info().vms)
    return max(0, min(left))


def resident_memory() -> int:
    """The bytes of memory that this process holds."""
    return int(psutil.Process().memory_info().rss)


def release_memory() -> None:
    """Give back what was freed: the C library of Linux keeps hundreds of megabytes for itself after a run."""
    if sys.platform == "linux":
        try:
            ctypes.CDLL("libc.so.6").malloc_trim(0)
        except (OSError, AttributeError):  # another C library
            pass


def _hot(core: Temperature) -> bool:
    limit, (least, most) = core.critical or core.high, _PLAUSIBLE_LIMITS
    return limit is not None and least <= limit <= most and core.current >= limit - _DEGREES_LEFT


def _read(sensor: str, unknown: Any) -> Any:
    """Not every system has every sensor, and those it has may fail in ways of their own."""
    try:
        return getattr(psutil, sensor)()
    except (AttributeError, OSError, ValueError, RuntimeError, psutil.Error):
        return unknown
