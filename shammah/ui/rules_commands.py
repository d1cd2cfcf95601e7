"""/rules: the standing instructions that the model is given with every message."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from shammah.errors import UsageError
from shammah.records import Rule
from shammah.ui.commands import by_word, first_word, registry
from shammah.ui.feedback_words import beaten_lines
from shammah.ui.talk import require_kept
from shammah.ui.toolbar import counted

if TYPE_CHECKING:
    from shammah.ui.repl import Repl

_USAGE = "/rules, /rules add TEXT, /rules edit N TEXT, /rules mute N, /rules unmute N or /rules delete N."


def _add(repl: "Repl", text: str) -> None:
    if not text:
        raise UsageError("Which rule?", hint="/rules add Answer in French")
    rule, muted = repl.app.desk.add_rule(text)
    repl.screen.tell("\n".join([f"A rule: {rule.text}", *beaten_lines(muted)]))


def _edit(repl: "Repl", argument: str) -> None:
    rule, text = _named(repl, argument)
    if not text and not repl.prompt.asks:
        raise UsageError("The editor needs a terminal", hint="/rules edit N TEXT does without it.")
    changed = text or repl.prompt.edit(rule.text)
    if changed is None or changed == rule.text:
        repl.screen.tell("Nothing changed")
        return
    edited, muted = repl.app.desk.edit_rule(rule.id, changed)
    repl.screen.tell("\n".join([f"The rule is now: {edited.text}", *beaten_lines(muted)]))


def _mute(repl: "Repl", argument: str) -> None:
    rule, _ = _named(repl, argument)
    repl.screen.tell(f"Muted: {repl.app.desk.rules.mute(rule.id).text}")


def _unmute(repl: "Repl", argument: str) -> None:
    rule, _ = _named(repl, argument)
    given, muted = repl.app.desk.unmute_rule(rule.id)
    repl.screen.tell("\n".join([f"Given again: {given.text}", *beaten_lines(muted)]))


def _delete(repl: "Repl", argument: str) -> None:
    rule, _ = _named(repl, argument)
    repl.app.desk.rules.delete(rule.id)
    repl.screen.tell(f"Deleted: {rule.text}")


def _list(repl: "Repl", argument: str) -> None:
    known = repl.app.desk.rules.all()
    if not known:
        raise UsageError("There is no rule yet", hint="/rules add TEXT makes one, and so does a note that is one.")
    for number, rule in enumerate(known, 1):
        repl.screen.tell(f"{number:>2}  {rule.text}{'  (muted)' if rule.muted else ''}")


def _given(repl: "Repl") -> str:
    if not repl.app.config.rules.active:
        return "The model is given none of them: rules.active is false."
    count = len(repl.app.rules())
    return f"From the next message on the model is given {counted(count, 'rule') if count else 'no rule'}."


_ACTS: dict[str, Callable[["Repl", str], None]] = {
    "": _list,
    "add": _add,
    "edit": _edit,
    "mute": _mute,
    "unmute": _unmute,
    "delete": _delete,
}
_WORDS = {
    "add": ("TEXT", "give the model one more"),
    "edit": ("N [TEXT]", "change one, here or in your editor"),
    "mute": ("N", "keep one, but do not give it to the model"),
    "unmute": ("N", "give it again"),
    "delete": ("N", "remove one"),
}


@registry.command(
    "rules", group="rate", arguments="[add|edit|mute|unmute|delete ...]",
    help="the rules that the model is given with every message", words=_WORDS,
)  # fmt: skip
def rules(repl: "Repl", argument: str) -> None:
    require_kept(repl.app, "no rule can be changed")
    act, rest = by_word("rules", _ACTS, argument, usage=_USAGE)
    act(repl, rest)
    repl.screen.tell(_given(repl))


def _named(repl: "Repl", argument: str) -> tuple[Rule, str]:
    number, rest = first_word(argument)
    if not number:
        raise UsageError("Which rule?", hint=_USAGE)
    return repl.app.desk.rules.get(number.lstrip("#")), rest
