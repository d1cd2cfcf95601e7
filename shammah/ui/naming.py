"""What there is of each kind of name that a command takes, for completion. What can't be read completes nothing."""

from collections.abc import Iterable

from shammah.app import App
from shammah.ui.commands import Named, registry
from shammah.ui.session_commands import session_names
from shammah.ui.shelf_commands import adapter_names


def names_of(app: App, kind: Named, begun: str) -> Iterable[str]:
    match kind:
        case "adapter":
            return adapter_names(app, begun)
        case "command":
            return [command.name for command in registry.all()]
        case "session":
            return session_names(app, begun)
        case _:
            return []
