"""What the commands of `shammah adapters` have in common: the names they take, and the words of their errors."""

from collections.abc import Callable
from typing import Any

import click
from click.shell_completion import CompletionItem

from shammah.cli.options import F, build_app
from shammah.errors import ShammahError
from shammah.ui.shelf_commands import adapter_names

# What a hint calls the commands of the chat, and those that do the same here.
_IN_THE_SHELL = {
    "`/adapters": "`shammah adapters",
    "`/train status`": "`shammah status`",
    "`/train now`": "`shammah train --now`",
}


class AdaptersGroup(click.Group):
    """Whose errors name the commands of this program, where the chat's have the same words behind a slash."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ShammahError as error:
            for there, here in _IN_THE_SHELL.items():
                error.hint = error.hint.replace(there, here)
            raise


def complete_adapter(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    try:
        app = build_app({})
        names = adapter_names(app, incomplete)
        app.close()
    except ShammahError:
        return []
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def name_argument(name: str = "name", **more: Any) -> Callable[[F], F]:
    return click.argument(name, shell_complete=complete_adapter, **more)
