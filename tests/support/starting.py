"""Programs of the tests, begun where torch and transformers are imported already: importing them takes seconds, and
each test that runs the program would pay for it again.

A server imports them once and forks for every start. What begins is a process as any other: its own standard streams,
folder, environment, signals, terminal and exit code; only the interpreter and the libraries are there before it. What
is no Python program, or needs other libraries than the server has, is executed as usual.
"""

import atexit
import gc
import importlib
import json
import os
import pty
import random
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from pexpect.fdpexpect import fdspawn

# Elsewhere a fork of a process with these libraries may fail.
CAN_FORK = sys.platform == "linux"
LIBRARIES = (
    "torch", "torch.nn.utils.parametrize", "transformers", "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto", "transformers.models.llama.modeling_llama",
    "transformers.generation.utils", "tokenizers", "safetensors.torch", "peft", "psutil", "prompt_toolkit", "tomlkit",
)  # fmt: skip
# What the interpreter or the libraries read once, as they begin.
READ_ONCE = ("PYTHON", "LC_", "LANG", "OMP_", "MKL_", "HF_", "TRANSFORMERS_", "TORCH_", "XDG_", "CUDA_", "LD_")
_NUMBER = struct.Struct("i")


class Started:
    """A program that was begun: its id, and how it ended once it has."""

    def __init__(
        self,
        command: Sequence[str],
        streams: Sequence[int],
        *,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
        has_terminal: bool = False,
    ) -> None:
        """`streams` are its stdin, stdout and stderr; `has_terminal` makes the first one its terminal."""
        umask = os.umask(0)
        os.umask(umask)
        order = {
            "command": list(command),
            "folder": str(folder or Path.cwd()),
            "environment": dict(os.environ if environment is None else environment),
            "has_terminal": has_terminal,
            "umask": umask,
        }
        self._told, theirs = socket.socketpair()
        message = json.dumps(order).encode() + b"\n"
        sent = socket.send_fds(_server(), [message], [*streams, theirs.fileno()])
        _server().sendall(message[sent:])
        theirs.close()
        self.pid = self._number()
        self.returncode: int | None = None

    def _number(self) -> int:
        data = self._told.recv(_NUMBER.size)
        if not data:
            raise RuntimeError("the server that begins programs is gone")
        return int(_NUMBER.unpack(data)[0])

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self._told], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, or the signal that ended it as a negative number."""
        if self.returncode is None:
            self._told.settimeout(timeout)
            self.returncode = os.waitstatus_to_exitcode(self._number())
            self._told.close()
        return self.returncode

    def kill(self, number: int = signal.SIGKILL) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


def run(
    command: Sequence[str], given: bytes = b"", *, stderr: int | None = None, timeout: float = 120, **how: Any
) -> "subprocess.CompletedProcess[bytes]":
    """As `subprocess.run` with pipes at all three streams, or another stderr, which is closed."""
    (stdin, feed), (out, stdout), (err, told) = os.pipe(), os.pipe(), os.pipe()
    theirs = (stdin, stdout, told if stderr is None else stderr)
    program = Started(command, theirs, **how)
    for stream in {*theirs, told}:
        os.close(stream)
    with ThreadPoolExecutor(3) as pool:
        heard = [pool.submit(_read, stream) for stream in (out, err)]
        pool.submit(_write, feed, given)
        try:
            program.wait(timeout)
        finally:
            program.kill()
    return subprocess.CompletedProcess(list(command), program.wait(), *(each.result() for each in heard))


def _read(stream: int) -> bytes:
    with open(stream, "rb") as file:
        return file.read()


def _write(stream: int, data: bytes) -> None:
    with suppress(BrokenPipeError), open(stream, "wb") as file:
        file.write(data)


class InTerminal(fdspawn):
    """A program in a pseudo-terminal of its own, as pexpect's `spawn` has it."""

    def __init__(self, command: Sequence[str], size: tuple[int, int], environment: Mapping[str, str]) -> None:
        ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, size)
        self._program = Started(command, (theirs,) * 3, environment=environment, has_terminal=True)
        os.close(theirs)
        super().__init__(ours, timeout=60)
        self.pid = self._program.pid

    def setwinsize(self, rows: int, columns: int) -> None:
        termios.tcsetwinsize(self.child_fd, (rows, columns))

    def isalive(self) -> bool:
        return self._program.poll() is None

    def kill(self, number: int) -> None:
        self._program.kill(number)

    def end(self) -> int:
        """Its exit code, after the end of what it wrote."""
        code = self._program.wait(60)
        self.close()
        return code

    def close(self, force: bool = False) -> None:
        if self.child_fd != -1:
            super().close()
        if force:
            self._program.kill()
            self._program.wait(60)


@cache
def _server() -> socket.socket:
    ours, theirs = socket.socketpair()
    process = subprocess.Popen(
        [sys.executable, __file__, str(theirs.fileno())], stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()]
    )
    theirs.close()

    def stop() -> None:
        ours.close()
        process.wait()

    atexit.register(stop)
    return ours


def _serve(control: socket.socket) -> None:
    """Begin what is ordered until nobody can order any more. Returns in the programs that were begun, too."""
    if CAN_FORK:
        for name in LIBRARIES:
            importlib.import_module(name)
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # each start has a process that waits for the program
    outer = dict(os.environ)
    while True:
        message, descriptors, *_ = socket.recv_fds(control, 65536, 4)
        if not message:
            return
        while not message.endswith(b"\n"):
            message += control.recv(65536)
        if not os.fork():
            control.close()
            _begin(json.loads(message), descriptors, outer)
            return
        for descriptor in descriptors:
            os.close(descriptor)


def _begin(order: dict[str, Any], descriptors: list[int], outer: dict[str, str]) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    program = os.fork()
    if not program:
        _become(order, descriptors, outer)
        return
    *streams, reply = descriptors
    for stream in streams:
        os.close(stream)
    os.write(reply, _NUMBER.pack(program))
    _, status = os.waitpid(program, 0)
    with suppress(BrokenPipeError):
        os.write(reply, _NUMBER.pack(status))
    os._exit(0)


def _become(order: dict[str, Any], descriptors: list[int], outer: dict[str, str]) -> None:
    for number, descriptor in enumerate(descriptors[:3]):
        os.dup2(descriptor, number)
    os.closerange(3, 256)
    if order["has_terminal"]:
        os.setsid()
        os.close(os.open(os.ttyname(0), os.O_RDWR))  # the first terminal that a session opens is its own
    os.chdir(order["folder"])
    os.umask(order["umask"])
    os.environ.clear()
    os.environ.update(order["environment"])
    time.tzset()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    program, *arguments = order["command"]
    if CAN_FORK and program == sys.executable and _read_once(os.environ) == _read_once(outer):
        _run_here(*arguments)
    else:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.execvp(program, order["command"])


def _read_once(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(READ_ONCE)}


def _run_here(what: str, *arguments: str) -> None:
    """As the interpreter does with these arguments."""
    sys.stdin = open(0, encoding=sys.stdin.encoding, errors=sys.stdin.errors)  # noqa: SIM115  # stay open to the end
    sys.stdout = open(1, "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, encoding=sys.stderr.encoding, errors=sys.stderr.errors)  # noqa: SIM115
    random.seed()
    sys.path[0] = str(Path(what).parent) if what.endswith(".py") else os.getcwd()
    if what == "-m":
        sys.argv = list(arguments)
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    elif what == "-c":
        sys.argv = ["-c", *arguments[1:]]
        exec(compile(arguments[0], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv = [what, *arguments]
        runpy.run_path(what, run_name="__main__")


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
