"""Writing in the user's own editor: $VISUAL, then $EDITOR, then what there is."""

import os
from contextlib import AbstractContextManager
from pathlib import Path

import click

from shammah.config.layers import read_file
from shammah.durable import make_folder, write_file
from shammah.errors import ShammahError
from shammah.ui.interrupts import CtrlC

_HINT = "Set VISUAL or EDITOR to an editor that works here."


def edit(text: str, terminal: AbstractContextManager[None]) -> str | None:
    """What the user made of it; None where that is nothing, or nothing else. `terminal` is its state meanwhile."""
    writable = text.encode("utf-8", "replace").decode()
    try:
        # Ctrl+C is the editor's; the first one must not end the chat around it.
        with terminal, CtrlC():
            written = click.edit(writable, extension=".md")
    except click.ClickException as error:
        raise ShammahError(error.format_message(), hint=_HINT) from None
    except UnicodeDecodeError:
        raise ShammahError("What the editor wrote is not UTF-8 text", hint="Save it as UTF-8.") from None
    if written is None or not written.strip() or written.strip() == writable.strip():
        return None
    return written.strip("\n").rstrip()


def edit_config(file: Path) -> None:
    """Have the user change config.toml. A new file begins as a list of all settings, commented out."""
    if not file.exists():
        from shammah.config.writing import template

        make_folder(file.parent)
        write_file(file, template().encode())
    with CtrlC():
        _open_editor(file)
    read_file(file)  # said now what would be refused at the next start


def _open_editor(file: Path) -> None:
    import shlex
    import subprocess

    named = (os.environ.get(name, "").strip() for name in ("VISUAL", "EDITOR"))
    editor = next(filter(None, named), "notepad" if os.name == "nt" else "vi")
    try:
        command = [*shlex.split(editor), str(file)]
    except ValueError as error:
        raise ShammahError(f"Cannot read EDITOR {editor!r}: {error}", hint="Set EDITOR to an editor.") from None
    try:
        code = subprocess.run(command, check=False).returncode
    except OSError as error:
        raise ShammahError(f"Cannot start {command[0]}: {error.strerror}", hint="Set EDITOR to an editor.") from None
    if code:
        raise ShammahError(f"{command[0]} ended with exit code {code}", hint=f"The file is {file}.")
