"""Tab: on a line that begins with a slash the commands, the words that may follow one, the names that it takes; in a
message the files behind an @."""

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from shammah.errors import ShammahError
from shammah.ui.commands import GROUPS, Command, Named, Registry

# The names of one kind that may be meant by what was begun to type.
NamesOf = Callable[[Named, str], Iterable[str]]
# The end of a line where a file is being named: in quotes, or with a backslash before each blank.
_BEGUN_FILE = r"""(?P<name>"[^"\n]*|'[^'\n]*|(?:\\.|[^\s"'\\])*\\?)\Z"""
_MENTIONED = re.compile(rf"(?:^|(?<=[\s(\[{{<,;:]))@{_BEGUN_FILE}")
_FIRST_FILE = re.compile(_BEGUN_FILE)

log = logging.getLogger(__name__)


class CommandCompleter(Completer):
    def __init__(self, registry: Registry, names_of: NamesOf) -> None:
        self._registry = registry
        self._names_of = names_of

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        before = document.text_before_cursor
        if mentioned := _MENTIONED.search(before):
            yield from self._as_given("file", mentioned["name"])
        elif before.startswith("/") and "\n" not in before:
            yield from self._of_command(before[1:])

    def _of_command(self, line: str) -> Iterator[Completion]:
        name, blank, rest = line.partition(" ")
        if not blank:
            yield from self._commands(name)
            return
        command = self._registry.find(name)
        if command is None:
            return
        *typed, begun = rest.split(" ")
        kind = self._kind(command, typed)
        if kind == "session":
            yield from self._as_given(kind, _behind_word(command, rest))
        elif kind == "file" and (first := _FIRST_FILE.match(_behind_word(command, rest))):
            yield from self._as_given(kind, first["name"])  # what follows a whole name is a question
        for word in dict.fromkeys(self._following(command, [word for word in typed if word], begun)):
            if word.lower().startswith(begun.lower()):
                yield Completion(word, start_position=-len(begun))

    def _commands(self, begun: str) -> Iterator[Completion]:
        """Each with its help. Other names of a command only where its own is not meant."""
        begun_small = begun.lower()
        commands = sorted(self._registry.all(), key=lambda command: list(GROUPS).index(command.group))
        found = {command.name: (command, command.help) for command in commands if command.name.startswith(begun_small)}
        for command in commands:
            if begun and command.name not in found:
                also = (alias for alias in command.aliases if alias.startswith(begun_small))
                found |= dict.fromkeys(also, (command, f"the same as /{command.name}"))
        for name, (command, help) in found.items():
            # What can be gone on with is gone on with at once.
            end = " " if len(found) == 1 and command.arguments else ""
            yield Completion(name + end, start_position=-len(begun), display=f"/{name}", display_meta=help)

    def _following(self, command: Command, typed: Sequence[str], begun: str) -> Iterator[str]:
        """What may stand next after these words."""
        if not typed:
            yield from command.words
        kind, named = self._kind(command, typed), [word for word in typed if word.lower() not in command.words]
        if kind == "setting" and named:
            yield from self._names("value", f"{named[0]}={begun}")
        elif kind not in (None, "file", "session"):
            yield from self._names(kind, begun)

    def _kind(self, command: Command, typed: Sequence[str]) -> Named | None:
        """What is named behind these words."""
        first = next((word.lower() for word in typed if word), "")
        return command.takes.get(first if first in command.words else "")

    def _as_given(self, kind: Named, begun: str) -> Iterator[Completion]:
        """Names that may hold blanks, as they would be typed."""
        for name in self._names(kind, begun):
            yield Completion(name, start_position=-len(begun))

    def _names(self, kind: Named, begun: str) -> Iterable[str]:
        try:
            return list(self._names_of(kind, begun))
        except (ShammahError, OSError):
            log.info("no names to complete", exc_info=True)
            return []


def _behind_word(command: Command, rest: str) -> str:
    """What follows a command, and the word of it that may stand first."""
    word, blank, behind = rest.lstrip().partition(" ")
    return behind.lstrip() if blank and word.lower() in command.words else rest.lstrip()
