"""Tab on a line that begins with a slash: the commands, the words that may follow one, the adapters that it takes."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from shammah.ui.commands import Command, Registry


class CommandCompleter(Completer):
    def __init__(self, registry: Registry, adapters: Callable[[str], Iterable[str]]) -> None:
        """`adapters` gives the names of adapters that may be meant by what was begun."""
        self._registry = registry
        self._adapters = adapters

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
        if (first if first in command.words else "") in command.adapters_after:
            yield from self._adapters(begun)
