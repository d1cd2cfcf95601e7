"""Ctrl+C while the program works: the first asks it to stop and keep what it has, the second stops it at once."""

import signal
import threading
from collections.abc import Callable
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
