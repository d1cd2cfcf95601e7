"""What is free on each kind of device, and what was taken. Of GPUs torch tells, which here says what a test wants."""

import mmap
from contextlib import closing

import torch

from shammah.training import memory
from shammah.training.memory import Taken, free_memory_of
from shammah.training.resources import free_memory

CPU, CUDA, MPS = (torch.device(name) for name in ("cpu", "cuda", "mps"))
MB = 1_000_000


def test_on_a_cpu_it_is_the_machines():
    assert abs(free_memory_of(CPU) - free_memory()) < 500 * MB


def test_on_a_cpu_what_this_process_holds_more():
    taken, size = Taken(CPU), 60 * MB
    with closing(mmap.mmap(-1, size)) as kept:  # fresh from the system, not what something else has left
        kept.write(b"x" * size)
        assert 0.8 * size < taken.bytes() < 3 * size


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
