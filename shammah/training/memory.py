"""How much memory training may take where it computes, what it took, and how it is given back.

A GPU's own memory says nothing about the machine's, nor the other way round.
"""

import gc
import time
from collections.abc import Callable

import torch

from shammah.training.resources import free_memory, release_memory, resident_memory


def free_memory_of(device: torch.device) -> int:
    """The bytes that may still be taken there, with those that torch keeps for the next time."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))
    if device.type == "mps":
        # The chips that have it share one memory, of which the system gives the GPU a part.
        left = torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
        return max(0, min(left, free_memory()))
    return free_memory()


def give_back_memory(device: torch.device) -> None:
    """What a run leaves behind, to whom it came from. Models, hooks and optimizers hold on to each other: Python finds
    out by itself too, but after the next run has taken as much again."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
    release_memory()


class Taken:
    """What is taken from now on, at the highest moment. Off CUDA these are the moments at which somebody looks."""

    def __init__(self, device: torch.device, clock: Callable[[], float] = time.thread_time) -> None:
        """The clock is that of the thread which computes: what others take of the processor is not its own slowness."""
        self._device, self._clock = device, clock
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        self._before = self._most = self._held()
        self._looked = clock()
        self._spans: list[float] = []

    def look(self) -> None:
        """From the midst of a step, between any two parts of it."""
        if self._device.type != "cuda":
            self._most = max(self._most, self._held())
        now = self._clock()
        self._spans.append(now - self._looked)
        self._looked = now

    def bytes(self) -> int:
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) - self._before
        return max(self._most, self._held()) - self._before

    def seconds_at_once(self) -> float:
        """How long the longest kind of part took, between two looks. Each kind is there many times, so that one part
        which was held up by chance does not count. On a GPU, which computes by itself, it says nothing: 0."""
        if self._device.type != "cpu" or not self._spans:
            return 0.0
        return sorted(self._spans)[int(len(self._spans) * _LONGEST_KIND)]

    def _held(self) -> int:
        if self._device.type == "cuda":
            return torch.cuda.memory_allocated(self._device)
        return int(torch.mps.driver_allocated_memory()) if self._device.type == "mps" else resident_memory()


# A layer has six parts forwards and backwards, so one kind is a sixth of all: this is in its midst.
_LONGEST_KIND = 11 / 12
