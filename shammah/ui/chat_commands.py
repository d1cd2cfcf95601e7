"""The commands about the conversation itself, and those that explain or leave the chat."""

from typing import TYPE_CHECKING

from shammah.errors import UsageError
from shammah.ui.commands import read_count, registry
from shammah.ui.help_words import of_command, overview, two_columns, wrapped
from shammah.ui.standing_words import chat_facts
from shammah.ui.toolbar import counted
from shammah.ui.training_words import fact_lines

if TYPE_CHECKING:
    from shammah.ui.repl import Repl

_VARIANTS = "/retry asks again; /retry prev, /retry next and /retry 2 choose among the replies there are."
KEYS = (
    ("Enter", "send; in a menu: take what is marked"),
    ("Alt+Enter, ^J", "new line"),
    ("Up, Down", "earlier lines that begin as this one does"),
    ("Ctrl+R", "search earlier lines, again for the next; Enter takes it"),
    ("Tab", "complete a command, its words and names; again: the next"),
    ("Right, Ctrl+E", "take the grey suggestion; Alt+F: a word of it"),
    ("Alt+G, M, C", "on an empty line: rate the last reply good, medium, critical"),
    ("Ctrl+C", "stop the reply; clear the line"),
    ("Ctrl+L", "clear the screen"),
    ("Ctrl+X Ctrl+E", "open the line in your editor"),
    ("Ctrl+Z", "suspend; fg comes back"),
    ("Ctrl+D", "leave (on an empty line)"),
)
_ESC = (
    "With `ui.keys` vi, Esc begins its commands (i, a, dd, cw, u, / searches).",
    "Without it, Esc and then a key is the same as Alt and that key, but rates nothing.",
)
PLAIN_KEYS = (
    ("Enter", "send"),
    ("Ctrl+C", "stop the reply; clear the line"),
    ("Ctrl+D", "leave (on an empty line)"),
)


@registry.command(
    "help", "h", "?", group="machine", arguments="[command|keys]", help="show the commands, one of them, or the keys",
    words={"keys": ("", "what the keys do")}, takes={"": "command"},
)  # fmt: skip
def show_help(repl: "Repl", argument: str) -> None:
    word = argument.strip().lstrip("/")
    if word == "keys":
        repl.screen.tell("\n".join(_key_lines(repl)))
    elif word:
        command = registry.find(word)
        if command is None:
            repl.unknown(word)
            return
        repl.screen.tell(of_command(command, repl.screen.columns))
    else:
        repl.screen.tell(overview(registry.all(), repl.screen.columns))


def _key_lines(repl: "Repl") -> list[str]:
    columns = repl.screen.columns
    if not repl.prompt.has_keys:
        return ["This chat takes plain lines.", *two_columns(PLAIN_KEYS, columns, "")]
    return [*two_columns(KEYS, columns, ""), *(line for text in _ESC for line in wrapped(text, columns))]


@registry.command(
    "clear", "reset", "new", help="forget this conversation and begin a new one; the old one stays stored"
)
def clear(repl: "Repl", argument: str) -> None:
    repl.talk.clear()
    repl.screen.tell("A new conversation.")


@registry.command(
    "retry", "regen", arguments="[prev|next|n]", words=("prev", "next"),
    help="ask the last question again (/good then prefers the new reply), or go on from another of its replies",
)  # fmt: skip
def retry(repl: "Repl", argument: str) -> None:
    word = argument.lower()
    if word:
        _choose_variant(repl, word)
        return
    repl.talk.retry()
    ids = [turn.id for turn in repl.talk.variants()]
    if len(ids) > 1:
        at = ids.index(repl.talk.turns[-1].id) + 1
        repl.screen.say(f"(reply {at} of {len(ids)}; /retry prev goes back to the one before)")


def _choose_variant(repl: "Repl", word: str) -> None:
    variants = repl.talk.variants()
    if not variants:
        raise UsageError("There is no reply to try again", hint="Ask something first.")
    at = [turn.id for turn in variants].index(repl.talk.turns[-1].id)
    place = {"prev": at - 1, "next": at + 1}.get(word)
    if place is None:
        place = read_count(word, _VARIANTS, otherwise=1) - 1
    if not 0 <= place < len(variants):
        place, there = (at + 1, "This is") if word in ("prev", "next") else (place + 1, "There is no")
        raise UsageError(f"{there} reply {place} of {len(variants)}", hint="/retry asks again.")
    repl.screen.say(f"Reply {place + 1} of {len(variants)}")
    repl.talk.choose(variants[place])


@registry.command("continue", help="have a reply that was stopped go on where it was")
def go_on(repl: "Repl", argument: str) -> None:
    before = repl.talk.turns[-1:]
    turn = repl.talk.go_on()
    if before and turn.response == before[0].response and turn.stop_reason == "end":
        repl.screen.say("(that was all: the reply was at its end)")


@registry.command("undo", arguments="[n]", help="take the last turn, or the last n, out of the conversation")
def undo(repl: "Repl", argument: str) -> None:
    count = read_count(argument, "/undo takes back one turn, /undo 3 three.", otherwise=1)
    undone = repl.talk.undo(count)
    if not undone:
        raise UsageError("There is nothing to take back", hint="Ask something first.")
    repl.screen.tell(f"Took back {counted(len(undone), 'turn')}, {len(repl.talk.turns)} left.")


@registry.command(
    "status", group="machine", help="show model, adapter, rules, what waits for training, the last verdict, memory"
)
def status(repl: "Repl", argument: str) -> None:
    repl.screen.tell("\n".join(fact_lines(chat_facts(repl), repl.screen.columns)))


@registry.command("exit", "quit", "q", "bye", group="machine", help="leave; so do exit, quit and Ctrl+D")
def leave(repl: "Repl", argument: str) -> None:
    repl.leave()
