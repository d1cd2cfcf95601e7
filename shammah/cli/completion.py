"""`shammah completion SHELL`: the script that makes the shell complete our commands, options and names."""

import click
from click.shell_completion import get_completion_class

from shammah.cli.options import common
from shammah.errors import UsageError

_WHERE = {
    "bash": 'eval "$(shammah completion bash)"   in ~/.bashrc',
    "zsh": 'eval "$(shammah completion zsh)"   in ~/.zshrc',
    "fish": "shammah completion fish | source   in ~/.config/fish/config.fish",
}


@click.command(epilog="Put it to use:  " + ";  ".join(_WHERE.values()))
@click.argument("shell", type=click.Choice(list(_WHERE)))
@common
def completion(shell: str, **options: object) -> None:
    """Print the completion script for a shell."""
    from shammah.cli.main import shammah

    kind = get_completion_class(shell)
    if kind is None:
        raise UsageError(f"No completion for {shell}", hint=f"There is one for {', '.join(_WHERE)}.")
    click.echo(kind(shammah, {}, "shammah", "_SHAMMAH_COMPLETE").source())
