"""/read: a file before a message. What names files by @file in a message itself goes the same way."""

from typing import TYPE_CHECKING

from shammah.ui.attaching import WithFiles, read_first, read_message
from shammah.ui.commands import registry

if TYPE_CHECKING:
    from shammah.ui.repl import Repl

_USAGE = "/read FILE [question]; a name with blanks goes in quotes. Or write @FILE in a message."


@registry.command(
    "read", arguments="FILE [question]", help="put a file before a question; @FILE in a message does the same",
    takes={"": "file"},
)  # fmt: skip
def read(repl: "Repl", argument: str) -> None:
    send(repl, read_first(argument, limit=repl.app.config.files.max_bytes, usage=_USAGE))


def ask(repl: "Repl", typed: str) -> None:
    """Send a message, with the files that it names."""
    send(repl, read_message(typed, limit=repl.app.config.files.max_bytes))


def send(repl: "Repl", message: WithFiles) -> None:
    if message.files:
        model = repl.talk.model()
        for file in message.files:
            repl.screen.say(
                f"{file.name}: {len(file.part):,} characters, {model.count(file.part):,} tokens attached", "dim"
            )
    repl.talk.ask(message.text)
