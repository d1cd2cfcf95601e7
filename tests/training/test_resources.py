import mmap
import os
import subprocess
import sys
import threading
from types import SimpleNamespace

import psutil
import pytest

from shammah.training import resources
from shammah.training.resources import (
    free_memory,
    hold_reason,
    lower_priority,
    read_battery,
    read_temperatures,
    resident_memory,
)

linux = pytest.mark.skipif(sys.platform != "linux", reason="priorities of threads are Linux's")


def battery(percent, plugged):
    return SimpleNamespace(percent=percent, power_plugged=plugged)


def heat(current, high=None, critical=None):
    return SimpleNamespace(current=current, high=high, critical=critical)


def reason(charge=None, sensors=(), **settings):
    """Why a machine with this battery and these sensors should wait."""
    return hold_reason(
        **{"on_battery": "pause", **settings}, battery=lambda: charge, temperatures=lambda: dict(sensors)
    )


class TestPriority:
    def niceness(self, work):
        """Of a thread that has done some work, and of the one it started then."""
        found = []

        def look():
            found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

        def run():
            work()
            look()
            child = threading.Thread(target=look)
            child.start()
            child.join()

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        return found

    @linux
    def test_the_thread_that_asks_yields_and_no_other(self):
        before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        lowered = max(10, before)
        assert self.niceness(lower_priority) == [lowered, lowered]
        assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before
        assert self.niceness(lambda: None) == [before, before]

    @linux
    def test_it_never_goes_up(self):
        def twice():
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 15)
            lower_priority()

        assert self.niceness(twice) == [15, 15]

    def test_a_system_without_it_trains_all_the_same(self, monkeypatch):
        monkeypatch.setattr(resources.sys, "platform", "darwin")
        lower_priority()


class TestHold:
    @pytest.mark.parametrize(
        ("charge", "floor", "why"),
        [
            (battery(34.4, False), 100, "on battery (34 %)"),
            (battery(34, False), 50, "on battery (34 %)"),
            (battery(50, False), 50, ""),
            (battery(80, False), 50, ""),
            (battery(5, True), 50, ""),
            (battery(5, None), 50, ""),
            (None, 100, ""),
        ],
    )
    def test_a_low_battery_is_spared(self, charge, floor, why):
        assert reason(charge, battery_floor=floor) == why

    def test_unless_the_user_says_train(self):
        assert reason(battery(5, False), on_battery="train") == ""

    @pytest.mark.parametrize(
        ("sensors", "why"),
        [
            ({}, ""),
            ({"coretemp": []}, ""),
            ({"coretemp": [heat(60, 80, 100), heat(97.2, 80, 100)]}, "the processor is hot (97 °C)"),
            ({"coretemp": [heat(94.9, 80, 100)]}, ""),
            ({"coretemp": [heat(95, 80, 100)]}, "the processor is hot (95 °C)"),
            ({"k10temp": [heat(91, 95, None)]}, "the processor is hot (91 °C)"),
            ({"k10temp": [heat(99, None, None)]}, ""),
            ({"coretemp": [heat(60, 0, 0)]}, ""),
            ({"coretemp": [heat(60, None, -273.1)]}, ""),
            ({"cpu_thermal": [heat(90, None, 65261.8)]}, ""),
            ({"nvme": [heat(84, 82, 85)], "coretemp": [heat(60, 80, 100)]}, ""),
        ],
    )
    def test_a_hot_processor_is_spared(self, sensors, why):
        assert reason(sensors=sensors) == why
        assert reason(sensors=sensors, on_battery="train") == why

    @pytest.mark.parametrize("error", [OSError, ValueError, RuntimeError, psutil.AccessDenied, AttributeError])
    def test_sensors_that_fail_are_as_good_as_none(self, monkeypatch, error):
        def fail():
            raise error

        for sensor in ("sensors_battery", "sensors_temperatures"):
            monkeypatch.setattr(psutil, sensor, fail, raising=False)
        assert hold_reason(on_battery="pause") == ""

    def test_systems_without_sensors(self, monkeypatch):
        for sensor in ("sensors_battery", "sensors_temperatures"):
            monkeypatch.delattr(psutil, sensor, raising=False)
        assert read_battery() is None
        assert read_temperatures() == {}

    def test_this_machine_can_be_asked(self):
        assert isinstance(hold_reason(on_battery="pause"), str)


class TestMemory:
    def test_the_least_of_machine_and_container(self):
        assert free_memory(available=lambda: 900, cgroup=lambda: None) == 900
        assert free_memory(available=lambda: 900, cgroup=lambda: (5000, 700)) == 700
        assert free_memory(available=lambda: 900, cgroup=lambda: (5000, 2000)) == 900
        assert free_memory(available=lambda: 900, cgroup=lambda: (5000, 0)) == 0

    def test_this_machine_has_some(self):
        assert 0 < free_memory() <= psutil.virtual_memory().total

    def test_what_this_process_takes_is_seen(self):
        before, size = resident_memory(), 50_000_000
        with mmap.mmap(-1, size) as taken:  # from the system: what was freed before would be used again
            taken.write(b"x" * size)
            assert resident_memory() - before > 0.8 * size

    @linux
    def test_the_limit_of_the_process_counts(self):
        script = """
import resource, sys
from shammah.training.resources import free_memory
import psutil
limit = psutil.Process().memory_info().vms + int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
print(free_memory(available=lambda: 1 << 50, cgroup=lambda: None))
"""
        room = 200_000_000
        left = int(subprocess.run([sys.executable, "-c", script, str(room)], capture_output=True, check=True).stdout)
        assert room - 20_000_000 < left <= room + 20_000_000
