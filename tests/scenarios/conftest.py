"""Scenes: the program in a real terminal, as people use it through a day.

Most of the tests of a module share one chat, because a start costs more than a scene. Each begins at an empty prompt,
looks only at what came since, and can fail alone.
"""

import json
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from ui.conftest import CTRL_C, ENTER, TALKER, Terminal

from shammah.store import Conversations, Database

SIZES = [(80, 24), (40, 12), (200, 50)]
_CODES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07]*\x07|[()][0-9A-B]|[=>78])")


class Chat(Terminal):
    """A chat whose model says what it is told, in a home that is known."""

    def __init__(self, home: Path, answers: dict[str, str | list[str]], *arguments: str, **options: object) -> None:
        self.home = home
        self.seen, self.patience = 0, 5.0
        super().__init__(
            command=[sys.executable, str(TALKER), *arguments],
            TALKER=json.dumps(answers),
            SHAMMAH_HOME=str(home),
            **options,  # type: ignore[arg-type]
        )
        self.wait_for_prompt()

    def begin(self) -> "Chat":
        """A new scene: an empty prompt, and nothing that came before counts."""
        if self.line() != ">":
            self.send(CTRL_C)
        patience, self.patience = self.patience, 0.5  # of a chat that was lost once nobody waits long again
        self.wait(lambda t: t.line() == ">", patience)
        self.patience = patience
        self.seen = len(self.raw)
        return self

    def said(self) -> str:
        """What the program wrote since the scene began, without the terminal's codes."""
        return _CODES.sub("", self.raw[self.seen :].decode("utf-8", "replace"))

    def until(self, *texts: str, prompt: str = ">") -> str:
        """Until all of this was written in the scene and the prompt stands; line ends and blanks do not matter."""
        wanted = [packed(text) for text in texts]
        self.wait(lambda t: all(text in packed(t.said()) for text in wanted) and t.line() == prompt, 15)
        return self.said()

    def enter(self, line: str, *texts: str, prompt: str = ">") -> str:
        self.send(line + ENTER)
        return self.until(*texts, prompt=prompt)

    def turns(self) -> list[object]:
        """What is stored, oldest first."""
        with closing(Database(self.home / "shammah.db")) as database:
            return list(reversed(Conversations(database).search(limit=None)))


@pytest.fixture
def program(home: Path) -> Iterator[Callable[..., Terminal]]:
    """Start the program itself, which need not get as far as a prompt."""
    running: list[Terminal] = []

    def start(*arguments: str, **options: object) -> Terminal:
        running.append(Terminal(*arguments, **options))  # type: ignore[arg-type]
        return running[-1]

    yield start
    for one in running:
        one.process.close(force=True)


def packed(text: str) -> str:
    """Without blanks and line ends: lines break at other places on each terminal."""
    return re.sub(r"\s", "", text)


@pytest.fixture(scope="module")
def chats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Chat]]:
    """Start chats that live as long as the module, each in a home of its own unless one is given."""
    running: list[Chat] = []

    def start(answers: dict[str, str | list[str]], *arguments: str, **options: object) -> Chat:
        home = options.pop("home", None) or tmp_path_factory.mktemp("scene") / "home"
        running.append(Chat(home, answers, *arguments, **options))  # type: ignore[arg-type]
        return running[-1]

    told = ("NO_COLOR", "COLUMNS", "AI_AGENT")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("SHAMMAH_") or name in told]:
            patch.delenv(name)
        yield start
    for chat in running:
        if chat.process.isalive():
            chat.process.kill(signal.SIGKILL)
        chat.process.close(force=True)
