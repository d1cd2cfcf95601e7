"""A real terminal around the program: pexpect runs it, pyte shows what a user would see."""

import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pyte
import pytest
from support.starting import InTerminal

from shammah.app import App
from shammah.feedback.desk import Desk

ENTER, CTRL_C, CTRL_D, CTRL_J, ALT_ENTER, UP = "\r", "\x03", "\x04", "\n", "\x1b\r", "\x1b[A"


class Terminal:
    def __init__(
        self,
        *arguments: str,
        columns: int = 80,
        rows: int = 24,
        command: list[str] | None = None,
        fresh: bool = False,
        **env: str,
    ):
        """`fresh`: with an interpreter of its own, which has to import everything."""
        self.raw = b""
        self.screen = pyte.HistoryScreen(columns, rows, history=1000)
        self._stream = pyte.ByteStream(self.screen)
        command = command or [sys.executable, "-m", "shammah", *arguments]
        environment = {**os.environ, "TERM": "xterm-256color", **env}
        self.process = InTerminal([*(["env"] if fresh else []), *command], (rows, columns), environment)
        self.process.delaybeforesend = None

    def send(self, text: str) -> None:
        self.process.send(text)

    def interrupt(self) -> None:
        """Ctrl+C as a shell's user gives it: through the terminal."""
        self.process.send(CTRL_C)

    def kill(self) -> None:
        self.process.kill(signal.SIGKILL)

    def resize(self, columns: int, rows: int) -> None:
        self.screen.resize(rows, columns)
        self.process.setwinsize(rows, columns)

    def text(self) -> str:
        """All that was ever shown, scrolled off or not."""
        above = ["".join(line[x].data for x in range(self.screen.columns)) for line in self.screen.history.top]
        return "\n".join(line.rstrip() for line in [*above, *self.screen.display]).rstrip()

    def line(self) -> str:
        """The line the cursor is on."""
        return self.screen.display[self.screen.cursor.y].rstrip()

    def wait(self, condition: "str | Callable[[Terminal], bool]", timeout: float = 60) -> str:
        """Until a text is shown or a condition holds; then all that is shown."""
        test = (lambda terminal: condition in terminal.text()) if isinstance(condition, str) else condition
        end = time.monotonic() + timeout
        while not test(self):
            if time.monotonic() > end or not self._read():
                raise AssertionError(f"never came: {condition!r}\n{self.text()}")
        return self.text()

    def wait_for_prompt(self, prompts: int = 1) -> str:
        """Until so many prompts were painted in all and the cursor stands on the last."""
        return self.wait(lambda t: len(re.findall(r"^>", t.text(), re.M)) >= prompts and t.line().startswith(">"))

    def say(self, text: str, expected: str, prompt: str = ">") -> str:
        """Type a line; until it brought one more of the expected, and the next prompt stands."""
        before = self.text().count(expected) + text.count(expected)
        self.send(text + ENTER)
        return self.wait(lambda t: t.text().count(expected) > before and t.line() == prompt, 30)

    def press(self, keys: str, expected: str, prompt: str = ">") -> str:
        """Press keys without Enter; until they brought one more of the expected, and the next prompt stands."""
        before = self.text().count(expected)
        self.send(keys)
        return self.wait(lambda t: t.text().count(expected) > before and t.line() == prompt, 30)

    def leave(self) -> None:
        self.wait(lambda t: t.line().startswith(">"))  # before the editor is there the terminal itself takes Ctrl+D
        self.send(CTRL_D)
        assert self.end() == 0

    def end(self, timeout: float = 120) -> int:
        """Read to the end of the program; its exit code."""
        end = time.monotonic() + timeout
        while self._read():
            assert time.monotonic() < end, f"it never ended\n{self.text()}"
        return self.process.end()

    def _read(self) -> bool:
        try:
            data = self.process.read_nonblocking(65536, timeout=0.1)
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        self.raw += data
        self._stream.feed(data)
        for _ in range(data.count(b"\x1b[6n")):  # the terminal's answer to "where is the cursor?"
            self.process.send(f"\x1b[{self.screen.cursor.y + 1};{self.screen.cursor.x + 1}R")
        return True


TALKER = Path(__file__).with_name("talker.py")


@pytest.fixture
def talker(terminal: Callable[..., Terminal]) -> Callable[..., Terminal]:
    """Start the chat with a model that says what it is told to: talker({"capital": "Paris."}), first match first."""

    def start(answers: dict[str, str | list[str]] | None = None, *arguments: str, **options: object) -> Terminal:
        told = json.dumps(answers or {})
        options.setdefault("columns", 100)
        return terminal(command=[sys.executable, str(TALKER), *arguments], TALKER=told, **options)

    return start


@pytest.fixture
def editor(tmp_path: Path) -> Callable[[str], str]:
    """Make an editor that writes this text in place of what it is given, which it keeps in `seen`."""

    def make(text: str) -> str:
        (tmp_path / "written").write_text(text)
        program = tmp_path / "editor"
        program.write_text(
            f'#!/bin/sh\ncat "$1" > {tmp_path}/seen\nstty -a > {tmp_path}/stty\ncat {tmp_path}/written > "$1"\n'
        )
        program.chmod(0o755)
        return str(program)

    return make


@pytest.fixture
def kept(home: Path) -> Iterator[Callable[[], Desk]]:
    """What a chat has stored so far, as the program reads it."""
    apps: list[App] = []

    def read() -> Desk:
        apps.append(App.build())
        return apps[-1].desk

    yield read
    for app in apps:
        app.close()


@pytest.fixture
def terminal(home: Path, tiny_model: Path) -> Iterator[Callable[..., Terminal]]:
    """Start the chat with the tiny model and few tokens a reply; what is given comes on top."""
    started: list[Terminal] = []

    def few(tokens: int) -> tuple[str, ...]:
        return ("-m", str(tiny_model), "-o", "max_tokens", str(tokens), "-o", "seed", "3", "-o", "temperature", "2")

    def start(*arguments: str, tokens: int = 8, **options: object) -> Terminal:
        started.append(Terminal(*few(tokens), *arguments, **options))  # type: ignore[arg-type]
        return started[-1]

    start.arguments = few  # type: ignore[attr-defined]  # for a test that has a program of its own

    yield start
    for one in started:
        one.process.close(force=True)
