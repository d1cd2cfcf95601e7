"""What the commands of `shammah adapters` have in common: the names they take, and the words of their errors."""

from collections.abc import Callable
from typing import Any

import click
from click.shell_completion import CompletionItem

from shammah.cli.options import F, build_app
from shammah.errors import ShammahError
from shammah.ui.shelf_commands import adapter_names


class AdaptersGroup(click.Group):
    """Whose errors name the commands of this program, where the chat's have the same words behind a slash."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ShammahError as error:
            error.hint = error.hint.replace("`/adapters", "`shammah adapters")
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
