"""Tab on a line that begins with a slash: the commands, the words that may follow one, the names that it takes."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from shammah.ui.commands import Command, Named, Registry

# The names of one kind that may be meant by what was begun to type.
NamesOf = Callable[[Named, str], Iterable[str]]


class CommandCompleter(Completer):
    def __init__(self, registry: Registry, names_of: NamesOf) -> None:
        self._registry = registry
        self._names_of = names_of

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        line = document.text_before_cursor
        if not line.startswith("/") or "\n" in line:
            return
        name, blank, rest = line[1:].partition(" ")
        if not blank:
            words: Iterable[str] = (command.name for command in self._registry.all())
            begun = name
        else:
            *typed, begun = rest.split(" ")
            command = self._registry.find(name)
            words = self._following(command, [word for word in typed if word], begun) if command else ()
        for word in words:
            if word.lower().startswith(begun.lower()):
                yield Completion(word, start_position=-len(begun))

    def _following(self, command: Command, typed: Sequence[str], begun: str) -> Iterator[str]:
        """What may stand next after these words."""
        if not typed:
            yield from command.words
        first = typed[0].lower() if typed else ""
        kind = command.takes.get(first if first in command.words else "")
        if kind is not None:
            yield from self._names_of(kind, begun)
