"""Changing config.toml: one key at a time, with the user's comments and order kept.

And the template a new file starts from.
"""

import json
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.container import Container
from tomlkit.items import Table

from shammah.config.knobs import Knob, find_knob, knobs_of
from shammah.config.layers import read_file, read_toml
from shammah.config.settings import Config
from shammah.durable import make_folder, write_file


def set_value(file: Path, name: str, text: str) -> tuple[Knob, Any]:
    """Write one setting. The file is checked first: a broken one is reported, never overwritten."""
    knob = find_knob(Config, name)
    value = knob.read_text(text)
    read_file(file)
    document = tomlkit.parse(read_toml(file)) if file.exists() else tomlkit.document()
    table: Container | Table = document
    for part in knob.path[:-1]:
        if part not in table:
            table[part] = tomlkit.table()
        table = table[part]
    table[knob.path[-1]] = list(value) if isinstance(value, tuple) else value
    make_folder(file.parent)
    write_file(file, tomlkit.dumps(document).encode())
    return knob, value


def template() -> str:
    """A config.toml that changes nothing: every setting, commented out, with its help and default."""
    lines = ["# Shammah's settings. A line without its leading # takes effect; `shammah config get` shows all.", ""]
    section = ""
    for knob in knobs_of(Config).values():
        table = ".".join(knob.path[:-1])
        if table != section:
            section = table
            lines += [f"[{table}]", ""]
        lines += [f"# {knob.help}", f"# {knob.path[-1]} = {toml_value(knob.default)}", ""]
    return "\n".join(lines)


def settings_table() -> str:
    """The README's table: every setting, what it is called everywhere, and what it does."""
    rows = [
        (f"`{knob.key}`", f"`{toml_value(knob.default)}`", f"`{knob.variable}`", _flags(knob), knob.help)
        for knob in knobs_of(Config).values()
    ]
    table = [("key", "default", "variable", "flag", "meaning"), ("---",) * 5, *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in table)


def _flags(knob: Knob) -> str:
    option = (f"-o {knob.path[-1]}",) if knob.path[0] == "generation" else ()
    return ", ".join(f"`{flag}`" for flag in (*knob.flags, *option))


def toml_value(value: Any) -> str:
    """A setting's value as TOML spells it."""
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
