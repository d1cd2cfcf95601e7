"""What there is of each kind of name that a command takes, for completion. What can't be read completes nothing."""

from collections.abc import Iterable

from shammah.app import App
from shammah.config import Config, knobs_of
from shammah.ui.commands import Named, registry
from shammah.ui.file_names import file_names
from shammah.ui.session_commands import session_names
from shammah.ui.shelf_commands import adapter_names


def names_of(app: App, kind: Named, begun: str) -> Iterable[str]:
    match kind:
        case "adapter":
            return adapter_names(app, begun)
        case "command":
            return [command.name for command in registry.all()]
        case "setting":
            return setting_names(begun)
        case "value":
            return setting_values(begun)
        case "model":
            return model_names(begun)
        case "file":
            return file_names(begun)
        case "session":
            return session_names(app, begun)
        case _:
            return []


def setting_names(begun: str) -> list[str]:
    """By their keys, or by the last word of one where that was begun and means no other; the values behind KEY=."""
    if "=" in begun:
        return [f"{begun.partition('=')[0]}={value}" for value in setting_values(begun)]
    knobs = list(knobs_of(Config).values())
    keys = [knob.key for knob in knobs]
    last = [knob.path[-1] for knob in knobs]
    return [*keys, *(word for word in last if begun and word not in keys and last.count(word) == 1)]


def setting_values(begun: str) -> list[str]:
    """What the setting before the = may be, where that can be counted."""
    name = begun.partition("=")[0].lower()
    meant = [knob for knob in knobs_of(Config).values() if name in (knob.key, knob.path[-1])]
    return [*meant[0].choices] if meant else []


def model_names(begun: str) -> Iterable[str]:
    """Those of the catalog, and files where a path was begun."""
    from shammah.model.catalog import CATALOG

    return file_names(begun) if begun.startswith((".", "/", "~")) else [entry.name for entry in CATALOG]
