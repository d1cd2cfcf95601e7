"""What training does before every layer: see whether it was told to stop or to pause, and let the chat go first."""

from contextlib import nullcontext
from typing import Any

import torch

from shammah.model.right_of_way import RightOfWay
from shammah.training.control import Control

# So many layers may be under way on a GPU: without a bound all of a step is queued before the chat can be let go first.
_AHEAD = 2


class Courtesy:
    def __init__(self, right_of_way: RightOfWay, control: Control, device: torch.device) -> None:
        self._right_of_way, self._control = right_of_way, control
        self._marks: list[Any] | None = [] if device.type == "cuda" else None

    def __call__(self) -> None:
        self._control.check()
        if self._marks is not None:
            self._wait_for_the_device(self._marks)
        self._right_of_way.give_way(self._control.raise_if_over)

    @staticmethod
    def _wait_for_the_device(marks: list[Any]) -> None:
        mark = torch.cuda.Event()  # type: ignore[no-untyped-call]
        mark.record()
        marks.append(mark)
        if len(marks) > _AHEAD:
            marks.pop(0).synchronize()


def low_priority_stream(device: torch.device) -> Any:
    """A context for all that training computes: on CUDA a stream that yields to the chat's, elsewhere nothing."""
    if device.type != "cuda":
        return nullcontext()
    # 0 is the lowest there is; the chat's own stream goes before it by waiting for nothing.
    return torch.cuda.stream(torch.cuda.Stream(device, priority=0))  # type: ignore[no-untyped-call]
