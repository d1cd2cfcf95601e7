"""How much memory training may take where it computes, and what it took.

A GPU's own memory says nothing about the machine's, nor the other way round.
"""

import torch

from shammah.training.resources import free_memory, resident_memory


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


class Taken:
    """What is taken from now on. On a GPU at the highest moment, elsewhere by what the process then holds."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        self._before = self._held()

    def bytes(self) -> int:
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) - self._before
        return self._held() - self._before

    def _held(self) -> int:
        if self._device.type == "cuda":
            return torch.cuda.memory_allocated(self._device)
        return int(torch.mps.driver_allocated_memory()) if self._device.type == "mps" else resident_memory()
