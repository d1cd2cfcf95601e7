"""The commands about the conversation itself, and those that explain or leave the chat."""

from typing import TYPE_CHECKING

from shammah.ui.commands import Registry

if TYPE_CHECKING:
    from shammah.ui.repl import Repl

registry = Registry()
KEYS = """\
Enter            send
Alt+Enter, ^J    new line
Up, Down         earlier lines
Ctrl+R           search them
Ctrl+C           stop the reply; clear the line
Ctrl+L           clear the screen
Ctrl+X Ctrl+E    open the line in your editor
Ctrl+D           leave (on an empty line)"""


@registry.command("help", "h", "?", arguments="[command|keys]", help="show the commands, one of them, or the keys")
def show_help(repl: "Repl", argument: str) -> None:
    word = argument.strip().lstrip("/")
    if word == "keys":
        repl.screen.say(KEYS)
    elif word:
        command = registry.find(word)
        if command is None:
            repl.unknown(word)
            return
        also = f"  (also {', '.join('/' + alias for alias in command.aliases)})" if command.aliases else ""
        repl.screen.say(f"{command.usage}  {command.help}{also}")
    else:
        width = max(len(command.usage) for command in registry.all())
        for command in registry.all():
            repl.screen.say(f"{command.usage:<{width}}  {command.help}")


@registry.command(
    "clear", "reset", "new", help="forget this conversation and begin a new one; the old one stays stored"
)
def clear(repl: "Repl", argument: str) -> None:
    repl.start_over()


@registry.command("exit", "quit", "q", "bye", help="leave; so do exit, quit and Ctrl+D")
def leave(repl: "Repl", argument: str) -> None:
    repl.leave()
