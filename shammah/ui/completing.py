"""Tab on a line that begins with a slash: the commands, then the words that may follow one."""

from collections.abc import Iterator

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from shammah.ui.commands import Registry


class CommandCompleter(Completer):
    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        line = document.text_before_cursor
        if not line.startswith("/") or "\n" in line:
            return
        name, blank, begun = line[1:].partition(" ")
        command = self._registry.find(name)
        if not blank:
            words = [command.name for command in self._registry.all()]
            begun = name
        else:
            words = list(command.words) if command else []
        for word in words:
            if word.startswith(begun.lower()):
                yield Completion(word, start_position=-len(begun))
