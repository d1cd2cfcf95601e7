"""The commands about the conversation itself, and those that explain or leave the chat."""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from shammah.errors import UsageError
from shammah.ui.commands import GROUPS, read_count, registry
from shammah.ui.feedback_words import buffer_words
from shammah.ui.render import is_plain
from shammah.ui.toolbar import counted
from shammah.ui.train_commands import learning_facts

if TYPE_CHECKING:
    from shammah.app import App
    from shammah.ui.repl import Repl

KEYS = """\
Enter            send; in a menu: take what is marked
Alt+Enter, ^J    new line
Up, Down         earlier lines that begin as this one does
Ctrl+R           search earlier lines, again for the next; Enter takes it
Tab              complete a command, its words and names; again: the next
Right, Ctrl+E    take the grey suggestion; Alt+F: a word of it
Alt+G, M, C      on an empty line: rate the last reply good, medium, critical
Ctrl+C           stop the reply; clear the line
Ctrl+L           clear the screen
Ctrl+X Ctrl+E    open the line in your editor
Ctrl+Z           suspend; fg comes back
Ctrl+D           leave (on an empty line)
With `ui.keys` vi, Esc begins its commands (i, a, dd, cw, u, / searches).
Without it, Esc and then a key is the same as Alt and that key."""
PLAIN_KEYS = """\
This terminal takes plain lines.
Enter            send
Ctrl+C           stop the reply; clear the line
Ctrl+D           leave (on an empty line)"""


@registry.command(
    "help", "h", "?", group="machine", arguments="[command|keys]", help="show the commands, one of them, or the keys",
    words=("keys",), takes={"": "command"},
)  # fmt: skip
def show_help(repl: "Repl", argument: str) -> None:
    word = argument.strip().lstrip("/")
    if word == "keys":
        repl.screen.tell(PLAIN_KEYS if is_plain(sys.stdin) or is_plain(sys.stdout) else KEYS)
    elif word:
        command = registry.find(word)
        if command is None:
            repl.unknown(word)
            return
        also = f"  (also {', '.join('/' + alias for alias in command.aliases)})" if command.aliases else ""
        repl.screen.tell(f"{command.usage}  {command.help}{also}")
    else:
        width = max(len(command.usage) for command in registry.all())
        for group, title in GROUPS.items():
            repl.screen.tell(title)
            for command in registry.all():
                if command.group == group:
                    repl.screen.tell(f"  {command.usage:<{width}}  {command.help}")


@registry.command(
    "clear", "reset", "new", help="forget this conversation and begin a new one; the old one stays stored"
)
def clear(repl: "Repl", argument: str) -> None:
    repl.talk.clear()
    repl.screen.tell("A new conversation.")


@registry.command("retry", "regen", help="ask the last question again; /good then prefers the new reply to the old")
def retry(repl: "Repl", argument: str) -> None:
    repl.talk.retry()


@registry.command("undo", arguments="[n]", help="take the last turn, or the last n, out of the conversation")
def undo(repl: "Repl", argument: str) -> None:
    count = read_count(argument, "/undo takes back one turn, /undo 3 three.", otherwise=1)
    undone = repl.talk.session().undo(count)
    if not undone:
        raise UsageError("There is nothing to take back", hint="Ask something first.")
    repl.screen.tell(f"Took back {counted(len(undone), 'turn')}, {len(repl.talk.turns)} left.")


@registry.command(
    "status", group="machine", help="show model, adapter, rules, what waits for training, and what is stored"
)
def status(repl: "Repl", argument: str) -> None:
    facts = standing_facts(repl.app, learning_facts(repl) if repl.app.keeps_turns else None)
    for name, text in facts.items():
        repl.screen.tell(f"{name:<8} {text}")


def standing_facts(app: "App", learning: Mapping[str, str] | None) -> dict[str, str]:
    """Where things stand, as facts with their names; None for `learning` where nothing is stored."""
    facts = {
        "Model": app.config.model,
        "Adapter": app.answering() or "none",
        "Rules": f"{len(app.rules())} given to the model",
    }
    if not app.config.rules.active:
        facts["Rules"] += " (rules.active is false)"
    if learning is None:
        return {**facts, "Stored": "nothing (--no-log)"}
    buffer = app.desk.buffer()
    waiting = buffer.needs_target + buffer.needs_review
    stored = f"{counted(app.conversations.count(), 'turn')} and {counted(app.desk.examples.count(), 'example')}"
    return {
        **facts,
        "Buffer": buffer_words(buffer) + (f"; {waiting} in /review" if waiting else ""),
        **learning,
        "Stored": f"{stored} in {app.home.database}",
    }


@registry.command("exit", "quit", "q", "bye", group="machine", help="leave; so do exit, quit and Ctrl+D")
def leave(repl: "Repl", argument: str) -> None:
    repl.leave()
