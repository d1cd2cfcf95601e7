"""Chat commands.

Declared by decorator beside their handler, found by name or alias, help printed from the same place.
"""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shammah.ui.repl import Repl

Handler = Callable[["Repl", str], None]


@dataclass(frozen=True, slots=True)
class Command:
    name: str
    aliases: tuple[str, ...]
    arguments: str
    help: str
    run: Handler

    @property
    def usage(self) -> str:
        return f"/{self.name} {self.arguments}".rstrip()


class Registry:
    def __init__(self) -> None:
        self._commands: dict[str, Command] = {}
        self._names: dict[str, Command] = {}

    def command(self, name: str, *aliases: str, arguments: str = "", help: str) -> Callable[[Handler], Handler]:
        def register(run: Handler) -> Handler:
            command = Command(name, aliases, arguments, help, run)
            for word in (name, *aliases):
                assert word not in self._names, f"/{word} is declared twice"
                self._names[word] = command
            self._commands[name] = command
            return run

        return register

    def all(self) -> list[Command]:
        return list(self._commands.values())

    def find(self, word: str) -> Command | None:
        return self._names.get(word.lower())

    def nearest(self, word: str) -> str:
        """The command that was probably meant; empty when nothing is near."""
        close = difflib.get_close_matches(word.lower(), self._names, n=1, cutoff=0.6)
        return close[0] if close else ""
