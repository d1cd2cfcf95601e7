"""Tab: on a line that begins with a slash the commands, the words that may follow one, the names that it takes; in a
message the files behind an @."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from shammah.ui.commands import Command, Named, Registry

# The names of one kind that may be meant by what was begun to type.
NamesOf = Callable[[Named, str], Iterable[str]]
# The end of a line where a file is being named: in quotes, or with a backslash before each blank.
_BEGUN_FILE = r"""(?P<name>"[^"\n]*|'[^'\n]*|(?:\\.|[^\s"'\\])*\\?)$"""
_MENTIONED = re.compile(rf"(?:^|(?<=[\s(\[{{<,;:]))@{_BEGUN_FILE}")
_LAST_FILE = re.compile(rf"(?:^|(?<=\s)){_BEGUN_FILE}")


class CommandCompleter(Completer):
    def __init__(self, registry: Registry, names_of: NamesOf) -> None:
        self._registry = registry
        self._names_of = names_of

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        line = document.text_before_cursor
        if mentioned := _MENTIONED.search(line):
            yield from self._files(mentioned["name"])
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
            if command is not None and self._kind(command, typed) == "file":
                last = _LAST_FILE.search(rest)
                yield from self._files(last["name"] if last else "")
        for word in words:
            if word.lower().startswith(begun.lower()):
                yield Completion(word, start_position=-len(begun))

    def _following(self, command: Command, typed: Sequence[str], begun: str) -> Iterator[str]:
        """What may stand next after these words."""
        if not typed:
            yield from command.words
        kind, named = self._kind(command, typed), [word for word in typed if word.lower() not in command.words]
        if kind == "setting" and named:
            yield from self._names_of("value", f"{named[0]}={begun}")
        elif kind is not None and kind != "file":
            yield from self._names_of(kind, begun)

    def _kind(self, command: Command, typed: Sequence[str]) -> Named | None:
        """What is named behind these words."""
        first = next((word.lower() for word in typed if word), "")
        return command.takes.get(first if first in command.words else "")

    def _files(self, begun: str) -> Iterator[Completion]:
        for name in self._names_of("file", begun):
            yield Completion(name, start_position=-len(begun))
