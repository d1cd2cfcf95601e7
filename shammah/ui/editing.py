"""Writing in the user's own editor: $VISUAL, then $EDITOR, then what there is."""

from contextlib import AbstractContextManager

import click

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
