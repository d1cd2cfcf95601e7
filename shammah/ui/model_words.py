"""What is said about models: which there are, which fit this machine, and the one that is loaded."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from shammah.excerpt import excerpt
from shammah.model import hub
from shammah.model.cache import CachedModel
from shammah.model.catalog import CATALOG, Entry, entry_named
from shammah.model.machine import Machine, fit, fit_of
from shammah.ui.render import size_words

if TYPE_CHECKING:
    from shammah.app import App
    from shammah.model.chat_model import ChatModel

# What is said of a model is left out where there is less room for it.
_LEAST_NOTE = 12


def model_lines(rows: Sequence[Mapping[str, Any]], columns: int | None = None) -> list[str]:
    """One a row, the one in use marked. Without columns as wide as it is."""
    width = max(len(row["name"]) for row in rows)
    lines = []
    for row in rows:
        mark = "*" if row["in_use"] else " "
        here = "here" if row["here"] else "    "
        size = f"{row['bytes'] / 1e9:5.1f} GB" if row["bytes"] else " " * 8
        begun = f"{mark} {row['name']:<{width}}  {size}  {here}  {row['fit']:<7}"
        room = None if columns is None else columns - len(begun) - 2
        if room is None or room >= _LEAST_NOTE:
            note = row["why"] or row["note"]
            begun += f"  {note if room is None else excerpt(note, room)}"
        lines.append(begun.rstrip())
    return lines


def loaded_facts(model: "ChatModel") -> dict[str, str]:
    """A model that answers: its size, and how it is computed."""
    compute = model.loaded.compute
    return {
        "Model": model.name,
        "Size": f"{parameter_words(model.parameters)} parameters, {size_words(model.bytes)} of memory",
        "Window": f"{model.window:,} tokens",
        "Device": f"{compute.device}, {compute.threads} threads" if compute.device == "cpu" else compute.device,
        "Format": f"{compute.dtype} ({compute.why})",
        "Prompt": "its own chat template" if model.has_template else "a plain User/Assistant one; it has none",
        "Folder": str(model.loaded.folder),
    }


def parameter_words(count: int) -> str:
    if count >= 1e9:
        return f"{count / 1e9:.1f} billion"
    return f"{count / 1e6:.0f} million" if count >= 1e6 else f"{count:,}"


def known_facts(name: str) -> dict[str, str]:
    """A model that is not loaded yet."""
    entry = entry_named(name)
    if entry is None:
        return {"Model": name}
    size = f"{parameter_words(entry.parameters)} parameters, {size_words(entry.bytes)} on disk"
    return {"Model": name, "Size": size, "Window": f"{entry.context:,} tokens", "Licence": entry.licence}


def model_rows(app: "App", cached: list[CachedModel], machine: Machine) -> list[dict[str, Any]]:
    """One row per known or present model, those of the catalog first."""
    by_name = {model.source.get("name", model.name): model for model in cached}
    rows = [_entry_row(app, entry, by_name.pop(entry.name, None), machine) for entry in CATALOG]
    return rows + [_cached_row(app, model, machine) for model in by_name.values()]


def machine_words(machine: Machine) -> str:
    gpu = f", {machine.gpu} with {machine.gpu_memory / 1e9:.0f} GB" if machine.gpu else ", no GPU"
    return f"This machine: {machine.ram / 1e9:.0f} GB of memory{gpu}, {machine.disk_free / 1e9:.0f} GB free on disk."


def _entry_row(app: "App", entry: Entry, here: CachedModel | None, machine: Machine) -> dict[str, Any]:
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


def _cached_row(app: "App", model: CachedModel, machine: Machine) -> dict[str, Any]:
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
