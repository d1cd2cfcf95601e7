"""A program in a pseudo-terminal, and the moment at which a text appeared on it. Shared by several benchmarks."""

import os
import re
import signal
import time

import pexpect


class Program:
    size = (24, 80)  # rows and columns

    def __init__(self, command: list[str], **environment: str) -> None:
        self.started = time.perf_counter()
        self._child: pexpect.spawn[bytes] = pexpect.spawn(
            command[0],
            command[1:],
            dimensions=self.size,
            env={**os.environ, "TERM": "xterm-256color", **environment},
            timeout=120,
        )
        self._child.delaybeforesend = None
        self.shown = b""

    @property
    def pid(self) -> int:
        assert self._child.pid is not None
        return self._child.pid

    def wait(self, pattern: bytes, timeout: float = 120) -> float:
        """Seconds from the start until the pattern is on the screen. Answers the terminal's questions on the way."""
        end = time.perf_counter() + timeout
        while not re.search(pattern, self.shown):
            if not self.read(0.002) or time.perf_counter() > end:
                raise RuntimeError(f"{pattern!r} never came: {self.shown[-500:]!r}")
        return time.perf_counter() - self.started

    def read(self, timeout: float) -> bool:
        """Take what was written meanwhile; False at the program's end."""
        try:
            data = self._child.read_nonblocking(65536, timeout=timeout)
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        self.take(data)
        for _ in range(data.count(b"\x1b[6n")):
            row, column = self.cursor()
            self._child.send(f"\x1b[{row};{column}R")
        return True

    def take(self, data: bytes) -> None:
        """What it wrote just now."""
        self.shown += data

    def cursor(self) -> tuple[int, int]:
        """Row and column of the cursor, as a terminal would tell; these benchmarks need not know."""
        return 1, 1

    def send(self, text: str) -> None:
        self._child.send(text)

    def kill(self) -> None:
        self._child.kill(signal.SIGKILL)
        self._child.wait()  # the system takes a moment to let go of all its memory
        self._child.close(force=True)
