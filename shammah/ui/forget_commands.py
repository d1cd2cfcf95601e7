"""/forget: take what was said off the disk, for good."""

from typing import TYPE_CHECKING

from shammah.errors import UsageError
from shammah.excerpt import excerpt
from shammah.ui.adapters_words import learned_lines
from shammah.ui.commands import registry
from shammah.ui.feedback_words import read_reply_number, unquoted
from shammah.ui.talk import require_kept

if TYPE_CHECKING:
    from shammah.forgetting import Forgotten
    from shammah.ui.repl import Repl


@registry.command(
    "forget", group="rate", arguments="[n|TEXT]", private=True,
    help="delete the last turn, another one, or all that holds a text, off the disk",
)  # fmt: skip
def forget(repl: "Repl", argument: str) -> None:
    from shammah.forgetting import Stores, forget_text, forget_turn

    app, screen = repl.app, repl.screen
    require_kept(app, "there is nothing to forget")
    stores = Stores(app.database, app.desk.examples, app.desk.rules, app.home)
    number, text = read_reply_number(argument)
    if number is not None and text:
        raise UsageError("Forget a turn or a text?", hint='/forget 2 takes a turn; /forget "#2 ..." takes a text.')
    repl.talk.store()
    if text:
        wanted, what = unquoted(text), "all that holds this text"
        found = forget_text(stores, wanted, preview=True)
    else:
        turn = repl.talk.turn(number)
        wanted, what = turn.id, f"the turn {excerpt(turn.query)!r}"
        found = forget_turn(stores, wanted, preview=True)
    if not found:
        screen.tell("Nothing that is stored holds this text.")
        _tell_elsewhere(repl, found)
        return
    screen.tell(f"This deletes {what}: {found.words()}.")
    if repl.prompt.choose("Forget it for good? y/N ", "yn") != "y":
        screen.tell("Nothing was forgotten.")
        return
    gone = forget_text(stores, wanted) if text else forget_turn(stores, wanted)
    repl.talk.lose(gone.turn_ids)
    repl.prompt.reload_history()
    screen.tell(f"Forgotten: {gone.words()}.")
    if gone.lingers:
        screen.tell("Another program uses the database and keeps traces in it: end it, then /forget once more.")
    _tell_elsewhere(repl, gone)
    _tell_of_adapters(repl, gone)


def _tell_of_adapters(repl: "Repl", found: "Forgotten") -> None:
    """Which of them learned what is forgotten: what is trained from now on does not."""
    entries = repl.app.roster.entries(archived=True)
    for line in learned_lines(entries, found.example_ids | found.archived_ids, "/adapters"):
        repl.screen.tell(line)


def _tell_elsewhere(repl: "Repl", found: "Forgotten") -> None:
    for file in found.elsewhere:
        repl.screen.tell(f"It is also in {file}, which is not Shammah's to change.")
