"""`shammah doctor`: what the program found here, whether it is sound, and what to do about what is not."""

import platform
import sqlite3
from importlib import metadata
from pathlib import Path
from typing import Any

import click

from shammah import __version__
from shammah.app import App
from shammah.cli.options import common, json_option, model_options, opened, to_json
from shammah.errors import ShammahError
from shammah.model.cache import ModelCache
from shammah.model.catalog import GgufSource, entry_named, locate
from shammah.model.machine import Machine, fit, survey

_PACKAGES = ("torch", "transformers", "peft", "tokenizers", "safetensors", "prompt_toolkit")
_MARKS = {"ok": "ok  ", "advice": "note", "problem": "BAD "}
Check = dict[str, str]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@model_options
@json_option
@common
def doctor(as_json: bool, assignments: tuple[str, ...], **options: Any) -> int:
    """Examine machine, model, home and versions. Ends with 1 when something must be mended."""
    with opened(options, assignments, no_log=True) as (app, screen):
        report = examine(app)
    if as_json:
        screen.line(to_json(report))
    else:
        for line in _lines(report):
            screen.line(line)
    return 1 if any(check["level"] == "problem" for check in report["checks"]) else 0


def examine(app: App) -> dict[str, Any]:
    from shammah.model.device import available, choose

    checks: list[Check] = []
    cache: ModelCache = app.model_cache
    machine = survey(cache.root)
    config = app.config
    device: dict[str, Any] = {"name": None, "available": available(), "dtype": None, "why": None, "milliseconds": {}}
    threads = 0
    try:
        compute = choose(config.device, config.dtype, config.threads, cache_folder=cache.root.parent)
        threads = compute.threads
        device |= {
            "name": compute.device,
            "dtype": compute.dtype,
            "why": compute.why,
            "milliseconds": compute.milliseconds,
        }
        checks.append(_device_check(compute.device))
    except ShammahError as error:
        checks.append(_failed("device", error))
    model = _model(app, checks, machine)
    return {
        "version": __version__,
        "model": model | {"dtype": device["dtype"]},
        "device": device,
        "threads": threads,
        "memory": {
            "ram": machine.ram,
            "ram_available": machine.ram_available,
            "gpu": machine.gpu or None,
            "gpu_memory": machine.gpu_memory,
            "disk_free": machine.disk_free,
        },
        "home": _home(app, checks),
        "offline": config.offline,
        "versions": _versions(),
        "checks": checks,
    }


def _model(app: App, checks: list[Check], machine: Machine) -> dict[str, Any]:
    """What the configured model is and whether it could be loaded now, without fetching or loading it."""
    from shammah.model.fetching import ensure
    from shammah.model.weights import parameters_in

    found: dict[str, Any] = {"name": app.config.model, "path": None, "parameters": None}
    entry = entry_named(app.config.model)
    if entry:
        found["parameters"] = entry.parameters
        place = fit(entry, machine)
        level = "problem" if place.level == "too big" else "advice" if place.level == "tight" else "ok"
        checks.append({"name": "memory", "level": level, "text": place.why, "hint": ""})
    try:
        source = locate(app.config.model)
        if isinstance(source, GgufSource) and not app.model_cache.is_finished(app.model_cache.folder_for(source)):
            checks.append(_advice("model", "not converted yet", "The first chat converts it."))
            return found
        folder = ensure(source, app.model_cache, offline=True, publish=lambda event: None)
        found |= {"path": str(folder), "parameters": sum(map(parameters_in, folder.glob("*.safetensors")))}
        checks.append({"name": "model", "level": "ok", "text": f"{app.config.model} is here and whole", "hint": ""})
    except ShammahError as error:
        checks.append(_model_failed(error))
    return found


def _model_failed(error: ShammahError) -> Check:
    from shammah.errors import Offline

    if isinstance(error, Offline):
        return _advice("model", "not fetched yet", "The first chat fetches it.")
    return _failed("model", error)


def _device_check(device: str) -> Check:
    hint = "Small models answer well on it; larger ones want a GPU." if device == "cpu" else ""
    return {"name": "device", "level": "ok", "text": f"runs on {device}", "hint": hint}


def _home(app: App, checks: list[Check]) -> dict[str, Any]:
    home = app.home
    turns = None
    try:
        turns = app.conversations.count()
        checks.append({"name": "database", "level": "ok", "text": f"{turns:,} turns stored", "hint": ""})
    except ShammahError as error:
        checks.append(_failed("database", error))
    open_to_others = [path for path in (home.root, home.database, home.config_file) if _is_open(path)]
    for path in open_to_others:
        hint = f"Close it: chmod go-rwx {path}"
        checks.append(_advice("privacy", f"others can read {path}", hint))
    return {"path": str(home.root), "exists": home.root.is_dir(), "turns": turns, "private": not open_to_others}


def _is_open(path: Path) -> bool:
    try:
        return platform.system() != "Windows" and bool(path.stat().st_mode & 0o077)
    except OSError:
        return False


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {"shammah": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found | {"sqlite": sqlite3.sqlite_version, "system": f"{platform.system()} {platform.machine()}"}


def _advice(name: str, text: str, hint: str) -> Check:
    return {"name": name, "level": "advice", "text": text, "hint": hint}


def _failed(name: str, error: ShammahError) -> Check:
    return {"name": name, "level": "problem", "text": error.message, "hint": error.hint}


def _lines(report: dict[str, Any]) -> list[str]:
    model, device, memory = report["model"], report["device"], report["memory"]
    parameters = f"{model['parameters'] / 1e6:,.0f}M parameters" if model["parameters"] else "size unknown"
    times = ", ".join(f"{name} {value:g} ms" for name, value in device["milliseconds"].items())
    lines = [
        f"shammah   {report['version']}",
        f"model     {model['name']}  {parameters}  {model['path'] or 'not here'}",
        f"device    {device['name']} in {device['dtype']} ({device['why']}{': ' + times if times else ''})",
        f"threads   {report['threads']}",
        f"memory    {memory['ram'] / 1e9:.1f} GB, {memory['ram_available'] / 1e9:.1f} GB free"
        + (f"; {memory['gpu']} with {memory['gpu_memory'] / 1e9:.1f} GB" if memory["gpu"] else ""),
        f"disk      {memory['disk_free'] / 1e9:.1f} GB free for models",
        f"home      {report['home']['path']}",
        f"offline   {'yes' if report['offline'] else 'no'}",
        "versions  " + ", ".join(f"{name} {version or 'missing'}" for name, version in report["versions"].items()),
        "",
    ]
    for check in report["checks"]:
        hint = f"  {check['hint']}" if check["hint"] else ""
        lines.append(f"{_MARKS[check['level']]}  {check['name']}: {check['text']}.{hint}")
    return lines
