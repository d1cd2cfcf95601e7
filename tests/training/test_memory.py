"""What is free on each kind of device, and what was taken. Of GPUs torch tells, which here says what a test wants."""

import mmap
import time
import weakref
from contextlib import closing
from itertools import accumulate

import pytest
import torch

from shammah.training import memory
from shammah.training.memory import Taken, free_memory_of, give_back_memory

CPU, CUDA, MPS = (torch.device(name) for name in ("cpu", "cuda", "mps"))
MB = 1_000_000


def test_on_a_cpu_it_is_the_machines(monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda: 40)
    assert free_memory_of(CPU) == 40


def test_on_a_cpu_what_this_process_holds_more():
    taken, size = Taken(CPU), 60 * MB
    with closing(mmap.mmap(-1, size)) as kept:  # fresh from the system, not what something else has left
        kept.write(b"x" * size)
        assert 0.8 * size < taken.bytes() < 3 * size


def test_on_a_cpu_at_the_highest_moment_that_was_looked_at():
    taken, size = Taken(CPU), 60 * MB
    with closing(mmap.mmap(-1, size)) as kept:
        kept.write(b"x" * size)
        taken.look()
    assert 0.8 * size < taken.bytes() < 3 * size


class TestTheTimeOfParts:
    def looked(self, spans, device=CPU):
        moments = accumulate(spans, initial=0.0)
        taken = Taken(device, clock=lambda: next(moments))
        for _ in spans:
            taken.look()
        return taken.seconds_at_once()

    def test_it_is_that_of_the_longest_kind(self):
        layer = [0.001, 0.02, 0.03, 0.001, 0.05, 0.06]
        assert self.looked(layer * 30) == pytest.approx(0.06)

    def test_what_was_held_up_once_does_not_count(self):
        assert self.looked([0.01, 0.02] * 30 + [9.0]) == pytest.approx(0.02)

    def test_a_thread_that_is_kept_waiting_is_not_slow(self):
        taken = Taken(CPU)
        for _ in range(3):
            time.sleep(0.05)
            taken.look()
        assert taken.seconds_at_once() < 0.03

    def test_without_a_look_and_on_gpus_it_is_nothing(self, monkeypatch):
        Gpu(monkeypatch, "cuda")
        assert self.looked([]) == 0 == self.looked([1.0] * 9, CUDA)


@pytest.mark.parametrize(("device", "library"), [(CUDA, torch.cuda), (MPS, torch.mps), (CPU, None)], ids=str)
def test_what_the_library_keeps_of_a_gpu_is_given_back_after_what_keeps_it(monkeypatch, device, library):
    """Two that hold on to each other keep their memory until Python looks for such."""
    given_back = []

    class Kept:
        pass

    one, other = Kept(), Kept()
    one.other, other.other = other, one
    gone = weakref.ref(one)
    for each in (torch.cuda, torch.mps):
        monkeypatch.setattr(each, "empty_cache", lambda each=each: given_back.append((each, gone())))
    del one, other
    give_back_memory(device)
    assert gone() is None and given_back == ([(library, None)] if library else [])


class Gpu:
    """A GPU as torch tells of it."""

    def __init__(self, monkeypatch, kind):
        self.free, self.reserved, self.allocated, self.peak = 1000, 300, 200, 900
        if kind == "cuda":
            monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (self.free, 9000))
            monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: self.reserved)
            monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: self.allocated)
            monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: self.peak)
            monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", self.reset)
        else:
            monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 5000)
            monkeypatch.setattr(torch.mps, "driver_allocated_memory", lambda: self.allocated)

    def reset(self, device):
        self.peak = self.allocated


def test_on_cuda_it_is_the_gpus_with_what_torch_keeps_for_later(monkeypatch):
    Gpu(monkeypatch, "cuda")
    assert free_memory_of(CUDA) == 1000 + 300 - 200


def test_on_cuda_what_was_taken_at_the_highest_moment(monkeypatch):
    gpu = Gpu(monkeypatch, "cuda")
    taken = Taken(CUDA)
    assert taken.bytes() == 0  # of what was there before it counts nothing
    gpu.peak, gpu.allocated = 750, 210
    assert taken.bytes() == 550


def test_on_apples_chips_it_is_what_the_system_gives_the_gpu(monkeypatch):
    gpu = Gpu(monkeypatch, "mps")
    assert free_memory_of(MPS) == 4800
    taken = Taken(MPS)
    gpu.allocated = 700
    assert taken.bytes() == 500


def test_on_apples_chips_never_more_than_the_machine_has(monkeypatch):
    gpu = Gpu(monkeypatch, "mps")
    monkeypatch.setattr(memory, "free_memory", lambda: 40)
    assert free_memory_of(MPS) == 40
    gpu.allocated = 6000
    assert free_memory_of(MPS) == 0
