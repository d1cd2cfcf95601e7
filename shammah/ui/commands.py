"""Chat commands.

Declared by decorator beside their handler, found by name or alias, help and completion made from the same place. The
modules that hold them register into the one `registry` when they are imported.
"""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from shammah.errors import UsageError

if TYPE_CHECKING:
    from shammah.ui.repl import Repl

Handler = Callable[["Repl", str], None]
Group = Literal["talk", "rate", "learn", "machine"]
# What may be named behind a command; the chat knows what there is of each.
Named = Literal["adapter", "model", "session", "setting", "value", "command", "file"]
# What follows a word of a command, and what the word does.
Word = tuple[str, str]
GROUPS: dict[Group, str] = {
    "talk": "Talk",
    "rate": "Say what you think of a reply",
    "learn": "Learn",
    "machine": "Machine",
}


@dataclass(frozen=True, slots=True)
class Command:
    """`words` are those that may follow the name, with what /help says of each. `takes` says what is named behind which
    of them, "" for the command itself. What is typed after a `private` one is not kept in the history."""

    name: str
    aliases: tuple[str, ...]
    group: Group
    arguments: str
    help: str
    words: Mapping[str, Word]
    private: bool
    run: Handler
    takes: Mapping[str, Named] = field(default_factory=dict)

    @property
    def usage(self) -> str:
        return f"/{self.name} {self.arguments}".rstrip()


class Registry:
    def __init__(self) -> None:
        self._commands: dict[str, Command] = {}
        self._names: dict[str, Command] = {}

    def command(
        self,
        name: str,
        *aliases: str,
        help: str,
        group: Group = "talk",
        arguments: str = "",
        words: Mapping[str, Word] | tuple[str, ...] = (),
        private: bool = False,
        takes: Mapping[str, Named] | None = None,
    ) -> Callable[[Handler], Handler]:
        def register(run: Handler) -> Handler:
            told = words if isinstance(words, Mapping) else dict.fromkeys(words, ("", ""))
            command = Command(name, aliases, group, arguments, help, told, private, run, takes or {})
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

    def keeps(self, line: str) -> bool:
        """Whether a line may be kept in the history: not if it is, or nearly is, a private command."""
        if not line.startswith("/"):
            return True
        word = read_command(line)[0]
        command = self.find(word) or self.find(self.nearest(word))
        return command is None or not command.private


registry = Registry()


def read_command(line: str) -> tuple[str, str]:
    """The word and the argument of a line that begins with a slash."""
    word, argument = (*line[1:].split(maxsplit=1), "", "")[:2]
    return word, argument.strip()


def first_word(argument: str) -> tuple[str, str]:
    """The first word of an argument, in small letters, and the rest."""
    word, rest = (*argument.split(maxsplit=1), "", "")[:2]
    return word.lower(), rest.strip()


def by_word(command: str, acts: Mapping[str, Handler], argument: str, *, usage: str) -> tuple[Handler, str]:
    """What the first word of an argument asks for, and what is left for it; under "" what the command does alone."""
    word, rest = first_word(argument)
    act = acts.get(word)
    if act is None:
        raise UsageError(f"/{command} does not know {word!r}", hint=usage)
    return act, rest


def read_count(text: str, usage: str, *, otherwise: int) -> int:
    """A number from 1 on."""
    if not text:
        return otherwise
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text)):
        raise UsageError(f"{text!r} is not a number from 1 on", hint=usage)
    return int(text)
