"""One declaration per setting: `knob(default, help, ...)` in a frozen dataclass. Everything else is derived from it.

A Knob knows its key ("generation.temperature"), its environment variable, its flags, how to read text, and how to
say what is wrong with a value. It knows nothing of files, of the environment or of the command line.
"""

import dataclasses
import difflib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from shammah.errors import ConfigError

Check = Callable[[Any], str | None]
_YES, _NO = {"true", "yes", "on", "1"}, {"false", "no", "off", "0"}


def knob(
    default: Any,
    help: str,
    *,
    check: Check | None = None,
    flags: tuple[str, ...] = (),
    metavar: str = "",
    at_start: bool = False,
) -> Any:
    """A dataclass field with its help, its validation and, where it has one, its flag.

    One that is read only `at_start` can't be changed in a chat that runs.
    """
    about = {"help": help, "check": check, "flags": flags, "metavar": metavar, "at_start": at_start}
    return field(default=default, metadata=about)


def between(low: float, high: float) -> Check:
    return lambda value: None if low <= value <= high else f"must be from {_plain(low)} to {_plain(high)}"


def at_least(low: float) -> Check:
    return lambda value: None if value >= low else f"must be {_plain(low)} or more"


def recipe_or(low: float, high: float) -> Check:
    """-1 leaves it to the recipe."""
    words = f"must be from {_plain(low)} to {_plain(high)}, or -1"
    return lambda value: None if value == -1 or low <= value <= high else words


def zero_or(low: float, high: float) -> Check:
    """0 switches it off."""
    words = f"must be from {_plain(low)} to {_plain(high)}, or 0"
    return lambda value: None if value == 0 or low <= value <= high else words


def _plain(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:g}"


@dataclass(frozen=True, slots=True)
class OneOf:
    choices: tuple[str, ...]

    def __call__(self, value: str) -> str | None:
        return None if value in self.choices else f"must be one of {', '.join(self.choices)}"


def one_of(*choices: str) -> Check:
    return OneOf(choices)


def not_empty(value: str) -> str | None:
    return None if value.strip() else "must not be empty"


def none_empty(values: tuple[str, ...]) -> str | None:
    return None if all(values) else "must not hold an empty text"


@dataclass(frozen=True, slots=True)
class Knob:
    path: tuple[str, ...]
    kind: type
    default: Any
    help: str
    check: Check | None
    flags: tuple[str, ...]
    metavar: str
    at_start: bool = False

    @property
    def key(self) -> str:
        return ".".join(self.path)

    @property
    def variable(self) -> str:
        return "SHAMMAH_" + "_".join(self.path).upper()

    @property
    def choices(self) -> tuple[str, ...]:
        """The words that it may be, where these can be counted."""
        if self.kind is bool:
            return ("on", "off")
        return self.check.choices if isinstance(self.check, OneOf) else ()

    def read_text(self, text: str) -> Any:
        """The value that a variable, a flag or `config set` spells."""
        try:
            if self.kind is bool:
                word = text.strip().lower()
                if word not in _YES | _NO:
                    raise ValueError
                value: Any = word in _YES
            elif self.kind is tuple:
                value = json.loads(text) if text.startswith("[") else text
            else:
                value = self.kind(text)
        except ValueError:
            raise self.refusal(text, f"must be {_KIND_WORDS[self.kind]}") from None
        return self.validated(value)

    def validated(self, value: Any) -> Any:
        """The value as its own type, or a ConfigError that names key and value."""
        if self.kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if self.kind is tuple and isinstance(value, str):
            value = [value] if value else []
        if self.kind is tuple and isinstance(value, list) and all(isinstance(part, str) for part in value):
            value = tuple(value)
        if not isinstance(value, self.kind) or (isinstance(value, bool) and self.kind is not bool):
            raise self.refusal(value, f"must be {_KIND_WORDS[self.kind]}")
        complaint = _not_text(value) or (self.check(value) if self.check else None)
        if complaint:
            raise self.refusal(value, complaint)
        return value

    def refusal(self, value: Any, complaint: str) -> ConfigError:
        close = nearest(value, {word: word for word in self.choices}, "") if isinstance(value, str) else ""
        return ConfigError(f"{self.key} = {value!r} is not valid: it {complaint}", hint=close or f"It is: {self.help}")


_KIND_WORDS: dict[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    tuple: 'a text, or a list of texts like ["one", "two"]',
}


def _not_text(value: Any) -> str | None:
    """Bytes of the command line that are not UTF-8 reach us as characters that no file can hold."""
    text = "".join(value if isinstance(value, str | tuple) else ())
    if "\0" in text:
        return "must not hold a NUL character"
    return "must be UTF-8" if any("\ud800" <= character <= "\udfff" for character in text) else None


@cache
def knobs_of(config: type) -> dict[str, Knob]:
    """Every setting of a config class and of its sections, by key, in the order of declaration."""
    return {knob.key: knob for knob in _walk(config, ())}


def _walk(config: type, path: tuple[str, ...]) -> list[Knob]:
    found: list[Knob] = []
    for item in dataclasses.fields(config):
        here = (*path, item.name)
        if "help" in item.metadata:
            found.append(Knob(here, type(item.default), item.default, **item.metadata))
        else:
            assert isinstance(item.default_factory, type), f"{item.name} is neither a knob nor a section"
            found += _walk(item.default_factory, here)
    return found


def find_knob(config: type, name: str) -> Knob:
    """The knob by its key, or by its last word where that is unambiguous; else an error with the nearest name."""
    knobs = knobs_of(config)
    wanted = name.strip().replace("-", "_")
    if wanted in knobs:
        return knobs[wanted]
    matches = [knob for knob in knobs.values() if knob.path[-1] == wanted]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise ConfigError(f"Setting {name!r} is ambiguous", hint=f"Say {' or '.join(k.key for k in matches)}.")
    raise ConfigError(f"There is no setting {name!r}", hint=nearest_key(config, wanted))


def nearest_key(config: type, key: str) -> str:
    """A hint at the setting whose last word is most like the key's, so that one in the wrong section is found too."""
    keys = {knob.path[0]: knob.path[0] for knob in knobs_of(config).values()}
    keys |= {knob.path[-1]: knob.key for knob in knobs_of(config).values()}
    return nearest(key.rpartition(".")[2], keys)


def nearest(word: str, meant: Mapping[str, str], otherwise: str = "See `shammah config get` for all of them.") -> str:
    """A hint at what was probably meant. `meant` maps what may be written to what is to be suggested."""
    close = difflib.get_close_matches(word.lower(), meant, n=1, cutoff=0.6)
    return f"Did you mean {meant[close[0]]!r}?" if close else otherwise
