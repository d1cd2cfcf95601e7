"""What training does before every layer: see whether it was told to stop or to pause, and let the chat go first.

And what it leaves to all others at any time: a core where there are many, and the first place on a GPU.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import cache
from typing import Any

import torch

from shammah.model.device import usable_cores
from shammah.model.right_of_way import RightOfWay
from shammah.model.thread_team import dismiss_team
from shammah.training.control import Control

# So many parts may be under way on a GPU, the parts of two layers: without a bound all of a step is queued before the
# chat can be let go first.
_AHEAD = 6
# From so many cores on one is left to everything else. On fewer that would cost training too much, and the chat goes
# first there all the same.
_MANY_CORES = 4


class Courtesy:
    def __init__(self, right_of_way: RightOfWay, control: Control, device: torch.device) -> None:
        self._right_of_way, self._control = right_of_way, control
        self._marks: list[Any] | None = [] if device.type == "cuda" else None

    def __call__(self) -> None:
        self._control.check()
        if self._marks is not None:
            self._wait_for_the_device(self._marks)
        self._control.stand_aside(self._give_way, "a reply or a model that loads goes first")

    def working_time(self) -> float:
        """A clock that stands still while training waits."""
        return self._control.working_time()

    def _give_way(self, check: Callable[[], None]) -> float:
        return self._right_of_way.give_way(check, dismiss_team)

    @staticmethod
    def _wait_for_the_device(marks: list[Any]) -> None:
        mark = torch.cuda.Event()  # type: ignore[no-untyped-call]
        mark.record()
        marks.append(mark)
        if len(marks) > _AHEAD:
            marks.pop(0).synchronize()


def low_priority_stream(device: torch.device) -> Any:
    """A context for all that training computes: on CUDA a stream behind the one of the chat, elsewhere nothing."""
    if device.type != "cuda":
        return nullcontext()
    stream = _stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))  # on which the weights were loaded
    return torch.cuda.stream(stream)


@cache
def _stream(device: torch.device) -> Any:
    """The same for all runs: what torch keeps of a stream's memory is for that stream alone."""
    return torch.cuda.Stream(device, priority=0)  # type: ignore[no-untyped-call]  # 0 is the lowest there is


def threads_for(setting: int, *, chat: int, cores: int) -> int:
    """How many threads training computes on: as set, or by the machine, but never on more than the chat may."""
    return setting or min(chat, cores - 1 if cores >= _MANY_CORES else cores)


def take_threads(setting: int) -> int:
    """Compute on so many threads from now on in the thread that calls this, and in no other; how many they are.

    torch keeps the number for each thread. One that computes for the first time takes the number that was set last,
    wherever that was: so the chat's is set once more, by a thread that ends with it.
    """
    with ThreadPoolExecutor(1) as elsewhere:
        chat = elsewhere.submit(torch.get_num_threads).result()
        count = threads_for(setting, chat=chat, cores=usable_cores())
        torch.get_num_threads()  # a thread's first look undoes what was set before it
        torch.set_num_threads(count)
        elsewhere.submit(torch.set_num_threads, chat).result()
    return count
