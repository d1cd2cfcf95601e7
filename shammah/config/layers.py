"""Settings come in layers, the first that speaks wins: flag, environment, config.toml, default.

`Resolved` remembers which.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from shammah.config.knobs import find_knob, knobs_of, nearest, nearest_key
from shammah.config.settings import Config
from shammah.errors import ConfigError, HomeError

# Variables with our prefix that are not settings.
_NOT_SETTINGS = {"SHAMMAH_HOME"}
_OFFLINE_VARIABLES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


@dataclass(frozen=True, slots=True)
class Resolved:
    config: Config
    sources: dict[str, str]

    def value(self, key: str) -> Any:
        value: Any = self.config
        for name in key.split("."):
            value = getattr(value, name)
        return value

    def changed(self, values: Mapping[str, Any], source: str) -> "Resolved":
        """The same with other values for some keys."""
        before = {key: self.value(key) for key in self.sources}
        return Resolved(_build(Config, (), {**before, **values}), self.sources | dict.fromkeys(values, source))


def resolve(
    file: Path,
    *,
    environment: Mapping[str, str] = os.environ,
    flags: Mapping[str, Any] | None = None,
    assignments: tuple[str, ...] = (),
) -> Resolved:
    """Read all layers. `flags` maps keys to parsed values.

    `assignments` are the KEY=VALUE of --set, the last one winning.
    """
    knobs = knobs_of(Config)
    values = {key: knob.default for key, knob in knobs.items()}
    sources = dict.fromkeys(knobs, "default")

    def take(layer: Mapping[str, Any], source: str) -> None:
        for key, value in layer.items():
            values[key], sources[key] = value, source

    take(read_file(file), str(file))
    for key, (variable, value) in read_environment(environment).items():
        take({key: value}, variable)
    take({key: knobs[key].validated(value) for key, value in (flags or {}).items()}, "flag")
    take(dict(read_assignment(text) for text in assignments), "--set")
    return Resolved(_build(Config, (), values), sources)


def read_file(file: Path) -> dict[str, Any]:
    """The settings in a config.toml by key; empty when there is none."""
    try:
        text = read_toml(file)
    except FileNotFoundError:
        return {}
    except OSError as error:
        reason = (error.strerror or "unreadable").lower()
        raise HomeError(f"Cannot read {file}: {reason}", hint="Set SHAMMAH_HOME to a folder you can use.") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(f"{file}, line {line}: not UTF-8", hint="Save it as UTF-8: `shammah config edit`.") from None
    import tomllib  # many a home has no file

    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError alone for a number with thousands of digits
        raise ConfigError(_broken_toml(file, text, str(error)), hint="Mend it with `shammah config edit`.") from None
    return dict(_settings_in(document, (), file, text))


def read_toml(file: Path) -> str:
    """The text of the file as it is, without the mark that some Windows editors put before it."""
    return file.read_bytes().decode("utf-8-sig")


def read_environment(environment: Mapping[str, str]) -> dict[str, tuple[str, Any]]:
    """Settings from SHAMMAH_* variables, and offline from the hub's own, each with the variable's name."""
    by_variable = {knob.variable: knob for knob in knobs_of(Config).values()}
    found: dict[str, tuple[str, Any]] = {}
    for name in _OFFLINE_VARIABLES:
        if environment.get(name, "").strip().lower() in {"1", "on", "yes", "true"}:
            found["offline"] = (name, True)
    for name, text in environment.items():
        if not name.startswith("SHAMMAH_") or name in _NOT_SETTINGS or not text:
            continue
        knob = by_variable.get(name)
        if knob is None:
            raise ConfigError(f"The variable {name} is not a setting", hint=_nearest_variable(name))
        try:
            found[knob.key] = (name, knob.read_text(text))
        except ConfigError as error:
            raise ConfigError(f"{name}: {error.message}", hint=error.hint) from None
    return found


def read_assignment(text: str) -> tuple[str, Any]:
    """KEY=VALUE of --set as key and value."""
    name, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"--set {text!r} has no '='", hint="Write --set key=value.")
    knob = find_knob(Config, name)
    return knob.key, knob.read_text(value)


def _settings_in(table: dict[str, Any], path: tuple[str, ...], file: Path, text: str) -> list[tuple[str, Any]]:
    knobs = knobs_of(Config)
    sections = {key.rpartition(".")[0] for key in knobs}
    found: list[tuple[str, Any]] = []
    for name, value in table.items():
        here = (*path, name)
        key = ".".join(here)
        if isinstance(value, dict) and key in sections:
            found += _settings_in(value, here, file, text)
            continue
        try:
            if key in sections:
                raise ConfigError(f"{key!r} is a section", hint=f"Write [{key}] and its settings below.")
            if key not in knobs:
                raise ConfigError(f"there is no setting {key!r}", hint=nearest_key(Config, key))
            found.append((key, knobs[key].validated(value)))
        except ConfigError as error:
            raise ConfigError(f"{file}, line {_line_of(text, here)}: {error.message}", hint=error.hint) from None
    return found


def _nearest_variable(name: str) -> str:
    variables = {"home": "SHAMMAH_HOME"}
    for knob in knobs_of(Config).values():
        variables |= dict.fromkeys((knob.path[-1], "_".join(knob.path)), knob.variable)
    return nearest(name.removeprefix("SHAMMAH_"), variables)


def _statements(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """For each statement the line on which it begins, and what the file holds up to its end.

    tomllib gives no positions. But a file cut off behind a whole statement is valid, and within one it is not.
    """
    import tomllib

    lines = text.split("\n")
    start = 1
    for end in range(1, len(lines) + 1):
        try:
            document = tomllib.loads("\n".join(lines[:end]) + "\n")
        except (ValueError, RecursionError):
            continue
        yield start, document
        start = end + 1
    yield start, {}


def _line_of(text: str, path: tuple[str, ...]) -> int:
    """Where a key is set: by the first statement with which the file holds it."""
    return next(line for line, document in _statements(text) if _holds(document, path))


def _holds(document: Any, path: tuple[str, ...]) -> bool:
    for name in path:
        if not isinstance(document, dict) or name not in document:
            return False
        document = document[name]
    return True


def _broken_toml(file: Path, text: str, complaint: str) -> str:
    at = re.search(r"\s*\(at (line (?P<line>\d+), column \d+|end of document)\)", complaint)
    # The end of the document says little: the trouble began with the statement that comes to no good end.
    line = int(at["line"]) if at and at["line"] else max(start for start, _ in _statements(text))
    reason = complaint[: at.start()] if at else complaint
    return f"{file}, line {line}: not valid TOML: {reason[:1].lower()}{reason[1:]}"


def _build(kind: type[Any], path: tuple[str, ...], values: Mapping[str, Any]) -> Any:
    parts = {}
    for item in fields(kind):
        here = (*path, item.name)
        section = item.default_factory
        if isinstance(section, type) and is_dataclass(section):
            parts[item.name] = _build(section, here, values)
        else:
            parts[item.name] = values[".".join(here)]
    return kind(**parts)
