"""`shammah config`: what each setting is and where its value comes from; change one; edit the file."""

from typing import Any

import click

from shammah.cli.options import build_screen, common, given_flags, json_option, to_json
from shammah.config import Config, Knob, Resolved, knobs_of, resolve
from shammah.config.knobs import find_knob
from shammah.config.writing import set_value, toml_value
from shammah.home import Home
from shammah.ui.editing import edit_config


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def config() -> None:
    """Show and change settings."""


@config.command("get")
@click.argument("key", required=False)
@json_option
@common
def get(key: str | None, as_json: bool, assignments: tuple[str, ...], **options: Any) -> int:
    """Show one setting or all of them, each with where its value is from.

    That is --set or a flag, an environment variable, config.toml, or the default; the first of these wins.
    """
    home = Home.find()
    settings = resolve(home.config_file, flags=given_flags(options), assignments=assignments)
    screen = build_screen(options)
    knobs = [find_knob(Config, key)] if key else list(knobs_of(Config).values())
    for knob in knobs:
        row = _row(settings, knob)
        if as_json:
            screen.line(to_json(row))
        elif key:
            screen.line(f"{toml_value(row['value'])}  ({row['source']})")
        else:
            screen.line(f"{knob.key} = {toml_value(row['value'])}  ({row['source']})")
    return 0


@config.command("set", context_settings={"ignore_unknown_options": True})  # so that -1 is a value
@click.argument("key")
@click.argument("value")
@json_option
@common
def set_(key: str, value: str, as_json: bool, **options: Any) -> int:
    """Write a setting to config.toml; comments and order stay."""
    file = Home.find().config_file
    knob, written = set_value(file, key, value)
    screen = build_screen(options)
    if as_json:
        screen.line(to_json({"key": knob.key, "value": written, "path": str(file)}))
    else:
        screen.say(f"{knob.key} = {toml_value(written)}, in {file}")
    return 0


@config.command("path")
@json_option
@common
def path(as_json: bool, **options: Any) -> int:
    """Print where config.toml is, or would be."""
    file = Home.find().config_file
    build_screen(options).line(to_json({"path": str(file), "exists": file.exists()}) if as_json else str(file))
    return 0


@config.command("edit")
@common
def edit(**options: Any) -> int:
    """Open config.toml in an editor ($VISUAL, else $EDITOR).

    A new file begins as a list of all settings, commented out.
    """
    edit_config(Home.find().config_file)
    return 0


def _row(settings: Resolved, knob: Knob) -> dict[str, Any]:
    value = settings.value(knob.key)
    return {
        "key": knob.key,
        "value": list(value) if isinstance(value, tuple) else value,
        "source": settings.sources[knob.key],
        "default": list(knob.default) if isinstance(knob.default, tuple) else knob.default,
        "variable": knob.variable,
        "help": knob.help,
    }
