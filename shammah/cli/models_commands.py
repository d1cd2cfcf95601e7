"""`shammah models`: which models there are, which fit this machine, which are here; fetch one; make one the default."""

from typing import Any

import click

from shammah.cli.options import common, complete_model, json_option, model_options, opened, to_json
from shammah.config.writing import set_value
from shammah.model.catalog import entry_named, locate
from shammah.model.machine import fit, survey
from shammah.ui.model_words import machine_words, model_lines, model_rows


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def models() -> None:
    """See which models fit this machine, fetch one, choose one."""


@models.command("list")
@model_options
@json_option
@common
def list_(as_json: bool, assignments: tuple[str, ...], **options: Any) -> int:
    """List the models we know and those that are here, and which fit."""
    with opened(options, assignments, no_log=True) as (app, screen):
        machine = survey(app.model_cache.root)
        rows = model_rows(app, app.model_cache.models(), machine)
    if as_json:
        for row in rows:
            screen.line(to_json(row))
        return 0
    screen.say(machine_words(machine))
    for line in model_lines(rows):
        screen.line(line)
    return 0


@models.command("pull")
@click.argument("name", shell_complete=complete_model)
@json_option
@common
def pull_(name: str, as_json: bool, assignments: tuple[str, ...], **options: Any) -> int:
    """Fetch a model now; one that is damaged is fetched again."""
    from shammah.model.fetching import pull

    with opened(options, assignments, no_log=True) as (app, screen):
        folder = pull(locate(name), app.model_cache, offline=app.config.offline, publish=screen.handle)
    screen.progress.clear()
    if as_json:
        screen.line(to_json({"name": name, "path": str(folder)}))
    else:
        screen.say(f"{name} is ready: {folder}")
    return 0


@models.command("use")
@click.argument("name", shell_complete=complete_model)
@json_option
@common
def use(name: str, as_json: bool, assignments: tuple[str, ...], **options: Any) -> int:
    """Make a model the one that `shammah` starts with."""
    with opened(options, assignments, no_log=True) as (app, screen):
        source = locate(name)
        entry = entry_named(name)
        chosen = entry.name if entry else str(source)
        set_value(app.home.config_file, "model", chosen)
        if as_json:
            screen.line(to_json({"model": chosen, "path": str(app.home.config_file)}))
        else:
            screen.say(f"The model is {chosen} from the next start on.")
            if entry:
                found = fit(entry, survey(app.model_cache.root))
                screen.say(f"{found.level.capitalize()}: it {found.why}.")
    return 0
