"""`shammah completion SHELL`: the script that makes the shell complete our commands, options and names."""

import click
from click.shell_completion import get_completion_class

from shammah.cli.options import common
from shammah.errors import UsageError

_WHERE = {
    "bash": 'bash, in ~/.bashrc:  eval "$(shammah completion bash)"',
    "zsh": 'zsh, in ~/.zshrc:  eval "$(shammah completion zsh)"',
    "fish": "fish, in ~/.config/fish/config.fish:  shammah completion fish | source",
}


@click.command(epilog="\n".join(("\b", "Put it to use:", *_WHERE.values())))
@click.argument("shell", type=click.Choice(list(_WHERE)))
@common
def completion(shell: str, **options: object) -> None:
    """Print the completion script for a shell."""
    from shammah.cli.main import shammah

    kind = get_completion_class(shell)
    if kind is None:
        raise UsageError(f"No completion for {shell}", hint=f"There is one for {', '.join(_WHERE)}.")
    click.echo(kind(shammah, {}, "shammah", "_SHAMMAH_COMPLETE").source())
