"""Settings come in layers, the first that speaks wins: flag, environment, config.toml, default.

`Resolved` remembers which.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from shammah.config.knobs import Knob, find_knob, knobs_of, nearest
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
        text = file.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return {}
    except OSError as error:
        reason = (error.strerror or "unreadable").lower()
        raise HomeError(f"Cannot read {file}: {reason}", hint="Set SHAMMAH_HOME to a folder you can use.") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(f"{file}, line {line}: not UTF-8", hint="Save it as UTF-8: `shammah config edit`.") from None
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(_broken_toml(file, text, str(error)), hint="Mend it with `shammah config edit`.") from None
    try:
        return dict(_settings_in(document, (), file, text))
    except ConfigError:
        raise
    except RecursionError:
        raise ConfigError(f"{file}: nested too deeply", hint="Mend it with `shammah config edit`.") from None


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
            raise ConfigError(f"The variable {name} is not a setting", hint=nearest(name, list(by_variable)))
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
        knob = knobs.get(key)
        where = f"{file}, line {_line_of(text, here)}"
        if knob is None:
            raise ConfigError(f"{where}: there is no setting {key!r}", hint=nearest(key, _near(knobs, name)))
        try:
            found.append((key, knob.validated(value)))
        except ConfigError as error:
            raise ConfigError(f"{where}: {error.message}", hint=error.hint) from None
    return found


def _near(knobs: dict[str, Knob], name: str) -> list[str]:
    """Keys to compare with: those that end alike first, so that a misplaced key finds its section."""
    return [*(key for key in knobs if key.rpartition(".")[2] == name), *knobs]


def _line_of(text: str, path: tuple[str, ...]) -> int:
    """Where a key is set; tomllib gives no positions, so look for `name =` below its table's heading."""
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        heading = re.match(r"\s*\[+\s*([\w.\"'-]+)\s*\]+", line)
        if heading:
            table = heading[1].replace('"', "").replace("'", "")
            if table == ".".join(path):
                return number
        key = re.match(r"\s*([\w.\"'-]+)\s*=", line)
        if key and ".".join(part for part in (table, key[1].strip("\"'")) if part) == ".".join(path):
            return number
    return 1


def _broken_toml(file: Path, text: str, complaint: str) -> str:
    at = re.search(r"\(at line (\d+), column (\d+)\)|\(at end of document\)", complaint)
    line = int(at[1]) if at and at[1] else max(1, len(text.splitlines()))
    reason = complaint[: at.start()].strip() if at else complaint
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
