"""Ctrl+C while the program works: the first asks it to stop and keep what it has, the second stops it at once.

A terminal that is closed, and a request to end, leave the time to write down where things stand.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import FrameType, TracebackType


class CtrlC:
    """Within this block Ctrl+C sets a flag instead of raising. Call the object to read the flag.

    `tell` is called with the flag, for work that can't look at it.
    """

    def __init__(self, tell: Callable[[], None] = lambda: None) -> None:
        self._asked = False
        self._tell = tell
        self._before: object = None

    def __call__(self) -> bool:
        return self._asked

    def __enter__(self) -> "CtrlC":
        # Only the main thread may set handlers; elsewhere Ctrl+C is somebody else's to handle.
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)  # type: ignore[arg-type]  # what signal() gave back
            self._before = None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
        self._tell()


@contextmanager
def ending_tidily(
    tidy: Callable[[], object], away: Callable[[], AbstractContextManager[None]] = nullcontext
) -> Iterator[None]:
    """Within this block `tidy` is called before the program ends because its terminal was closed or it was told to.
    Within `away` the terminal is as it was before, for who comes next."""

    def end(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)  # a second one does not wait
        try:
            tidy()
            with away():
                os.kill(os.getpid(), number)
        finally:
            os.kill(os.getpid(), number)

    numbers = [getattr(signal, name) for name in ("SIGHUP", "SIGTERM") if hasattr(signal, name)]
    # What somebody asked to be ignored, as nohup does, stays so.
    before = {number: signal.getsignal(number) for number in numbers}
    taken = [number for number, handler in before.items() if handler == signal.SIG_DFL]
    for number in taken:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)
