"""A text that is to be forgotten, as it is found in others: however it is cased, spaced, redacted or spelled."""

import json
from typing import Any

from shammah.feedback.secrets import find, redact
from shammah.store.identity import folded
from shammah.store.rows import storable

# Of a text with a secret this much must be left beside it: a mark alone stands in for every secret of its kind.
_SHORTEST_REST = 3


class Wanted:
    """A text as it is looked for in others: case, white space and the forms of a letter do not matter."""

    def __init__(self, text: str) -> None:
        text = storable(text.strip())
        forms = {text, *_redacted(text)}
        self._exact = {form.casefold() for form in forms}
        self._folded = {folded(form) for form in forms}
        self._spelled = {spelled.casefold() for form in forms for spelled in _spellings(form)}
        self._spaced = any(" " in form for form in self._folded)

    def __call__(self, value: str) -> bool:
        """Whether a text holds it."""
        lower = value.casefold()
        if any(form in lower for form in self._exact | self._folded):
            return True
        if value.isascii() and not self._spaced:
            return False  # folding it would only join its white space
        value = folded(value)
        return any(form in value for form in self._folded)

    def in_any(self, value: Any) -> bool:
        """Whether a text somewhere in parsed JSON holds it, the keys included."""
        if isinstance(value, str):
            return self(value)
        if isinstance(value, dict):
            return any(map(self.in_any, (*value, *value.values())))
        return isinstance(value, list | tuple) and any(map(self.in_any, value))

    def lines_of(self, text: str) -> set[int]:
        """The lines, from 0 on, that hold it or a part of it, be it spelled as JSON or Python spell it."""
        lines = {number for number, line in enumerate(text.split("\n")) if self(line)}
        lower = text.casefold()
        for form in self._exact | self._spelled:
            at = lower.find(form)
            while at >= 0:
                first = lower.count("\n", 0, at)
                lines.update(range(first, first + form.count("\n") + 1))
                at = lower.find(form, at + 1)
        return lines


def _redacted(text: str) -> list[str]:
    """The text as it was stored, if that took secrets out of it."""
    secrets = find(text)
    rest = len(text) - sum(secret.end - secret.start for secret in secrets)
    return [redact(text).text] if secrets and rest >= _SHORTEST_REST else []


def _spellings(text: str) -> list[str]:
    quoted = (json.dumps(text), json.dumps(text, ensure_ascii=False), repr(text))
    return [spelling[1:-1] for spelling in quoted]
