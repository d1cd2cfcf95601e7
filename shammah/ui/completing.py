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
_FILE = re.compile(r"(?:^|\s)@(\S*)$")

log = logging.getLogger(__name__)


class CommandCompleter(Completer):
    def __init__(self, registry: Registry, names_of: NamesOf) -> None:
        self._registry = registry
        self._names_of = names_of

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        before = document.text_before_cursor
        if before.startswith("/"):
            if "\n" not in before:
                yield from self._of_command(before[1:])
        elif file := _FILE.search(before):
            for name in self._names("file", file[1]):
                yield Completion(name, start_position=-len(file[1]))

    def _of_command(self, line: str) -> Iterator[Completion]:
        name, blank, rest = line.partition(" ")
        if not blank:
            yield from self._commands(name)
            return
        command = self._registry.find(name)
        if command is None:
            return
        *typed, begun = rest.split(" ")
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
        first = typed[0].lower() if typed else ""
        kind = command.takes.get(first if first in command.words else "")
        if kind is not None:
            yield from self._names(kind, begun)

    def _names(self, kind: Named, begun: str) -> Iterable[str]:
        try:
            return list(self._names_of(kind, begun))
        except (ShammahError, OSError):
            log.info("no names to complete", exc_info=True)
            return []
