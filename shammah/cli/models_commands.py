"""`shammah models`: which models there are, which fit this machine, which are here; fetch one; make one the default."""

from typing import Any

import click

from shammah.app import App
from shammah.cli.options import common, complete_model, json_option, model_options, opened, to_json
from shammah.config.writing import set_value
from shammah.model import hub
from shammah.model.cache import CachedModel, ModelCache
from shammah.model.catalog import CATALOG, Entry, entry_named, locate
from shammah.model.machine import Machine, fit, fit_of, survey


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
        cache: ModelCache = app.model_cache
        machine = survey(cache.root)
        rows = model_rows(app, cache.models(), machine)
    if as_json:
        for row in rows:
            screen.line(to_json(row))
        return 0
    screen.say(machine_words(machine))
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        mark = "*" if row["in_use"] else " "
        here = "here" if row["here"] else "    "
        size = f"{row['bytes'] / 1e9:5.1f} GB" if row["bytes"] else " " * 8
        screen.line(f"{mark} {row['name']:<{width}}  {size}  {here}  {row['fit']:<7}  {row['why'] or row['note']}")
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


def model_rows(app: App, cached: list[CachedModel], machine: Machine) -> list[dict[str, Any]]:
    """One row per known or present model, those of the catalog first."""
    by_name = {model.source.get("name", model.name): model for model in cached}
    rows = [_entry_row(app, entry, by_name.pop(entry.name, None), machine) for entry in CATALOG]
    return rows + [_cached_row(app, model, machine) for model in by_name.values()]


def machine_words(machine: Machine) -> str:
    gpu = f", {machine.gpu} with {machine.gpu_memory / 1e9:.0f} GB" if machine.gpu else ", no GPU"
    return f"This machine: {machine.ram / 1e9:.0f} GB of memory{gpu}, {machine.disk_free / 1e9:.0f} GB free on disk."


def _entry_row(app: App, entry: Entry, here: CachedModel | None, machine: Machine) -> dict[str, Any]:
    found = fit(entry, machine)
    return {
        "name": entry.name,
        "id": entry.hub_id,
        "parameters": entry.parameters,
        "bytes": entry.bytes,
        "context": entry.context,
        "licence": entry.licence,
        "here": here is not None or hub.has(entry.hub_id),
        "in_use": entry_named(app.config.model) == entry,
        "fit": found.level,
        "needed_bytes": found.needed_bytes,
        "why": found.why,
        "note": entry.note,
        "path": str(here.folder) if here else None,
    }


def _cached_row(app: App, model: CachedModel, machine: Machine) -> dict[str, Any]:
    """A model made from the user's own .gguf file."""
    found = fit_of(model.parameters, machine)
    path = model.source.get("path", model.name)
    return {
        "name": model.name,
        "id": path,
        "parameters": model.parameters,
        "bytes": model.bytes,
        "context": None,
        "licence": None,
        "here": True,
        "in_use": app.config.model == path,
        "fit": found.level,
        "needed_bytes": found.needed_bytes,
        "why": found.why,
        "note": f"made from {path}",
        "path": str(model.folder),
    }
