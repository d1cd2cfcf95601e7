"""The commands about the conversation itself, and those that explain or leave the chat."""

from typing import TYPE_CHECKING

from shammah.errors import UsageError
from shammah.ui.commands import GROUPS, read_count, registry
from shammah.ui.feedback_words import buffer_words, threshold_words
from shammah.ui.toolbar import counted

if TYPE_CHECKING:
    from shammah.ui.repl import Repl

KEYS = """\
Enter            send
Alt+Enter, ^J    new line
Up, Down         earlier lines
Tab              complete a command
Alt+G, M, C      on an empty line: rate the last reply good, medium, critical
Ctrl+R           search earlier lines
Ctrl+C           stop the reply; clear the line
Ctrl+L           clear the screen
Ctrl+X Ctrl+E    open the line in your editor
Ctrl+D           leave (on an empty line)"""


@registry.command(
    "help", "h", "?", group="machine", arguments="[command|keys]", help="show the commands, one of them, or the keys",
    words=("keys",),
)  # fmt: skip
def show_help(repl: "Repl", argument: str) -> None:
    word = argument.strip().lstrip("/")
    if word == "keys":
        repl.screen.tell(KEYS)
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


@registry.command("status", group="machine", help="show model, rules, what waits for training, and what is stored")
def status(repl: "Repl", argument: str) -> None:
    app = repl.app
    kept = app.config.rules
    lines = {"Model": app.config.model, "Adapter": "none", "Rules": f"{len(app.rules())} given to the model"}
    if not kept.active:
        lines["Rules"] += " (rules.active is false)"
    if app.keeps_turns:
        buffer, threshold = app.desk.buffer(), app.config.examples.threshold
        waiting = buffer.needs_target + buffer.needs_review
        lines["Buffer"] = buffer_words(buffer) + (f"; {waiting} in /review" if waiting else "")
        lines["Next"] = threshold_words(buffer, threshold)
        lines["Stored"] = (
            f"{counted(app.conversations.count(), 'turn')} and {counted(app.desk.examples.count(), 'example')} "
            f"in {app.home.database}"
        )
    else:
        lines["Stored"] = "nothing (--no-log)"
    for name, text in lines.items():
        repl.screen.tell(f"{name:<8} {text}")


@registry.command("exit", "quit", "q", "bye", group="machine", help="leave; so do exit, quit and Ctrl+D")
def leave(repl: "Repl", argument: str) -> None:
    repl.leave()
