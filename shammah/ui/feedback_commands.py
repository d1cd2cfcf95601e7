"""The commands that say what a reply was worth, or what it should have been."""

from typing import TYPE_CHECKING

from shammah.errors import UsageError
from shammah.excerpt import excerpt
from shammah.feedback.levels import level_words, read_level
from shammah.records import Level
from shammah.ui.commands import first_word, registry
from shammah.ui.feedback_words import (
    PICTURES,
    buffer_words,
    lesson_lines,
    rating_lines,
    read_lesson,
    read_reply_number,
)
from shammah.ui.fixing import offer_fix, store_fix
from shammah.ui.talk import require_kept

if TYPE_CHECKING:
    from shammah.ui.repl import Repl

_TEACH_USAGE = 'Write /teach "when asked X, say Y", or /teach X => Y.'
_SHOWN = 50


@registry.command("good", group="rate", arguments="[#n] [note]", help="the reply was right: learn it as it is")
def good(repl: "Repl", argument: str) -> None:
    rate(repl, "good", argument)


@registry.command("medium", group="rate", arguments="[#n] [note]", help="not quite: a note or a better reply says how")
def medium(repl: "Repl", argument: str) -> None:
    rate(repl, "medium", argument)


@registry.command(
    "critical", group="rate", arguments="[#n] [note]", help="wrong: never learn it; a note or a better reply says how"
)
def critical(repl: "Repl", argument: str) -> None:
    rate(repl, "critical", argument)


@registry.command(
    "feedback", group="rate", arguments="LEVEL [#n] [note]", help=f"rate a reply: {', '.join(level_words())}",
    words=tuple(level_words()),
)  # fmt: skip
def feedback(repl: "Repl", argument: str) -> None:
    word, rest = first_word(argument)
    level = read_level(word)
    if level is None:
        wrong = f"{word!r} is not a level" if word else "Which level?"
        raise UsageError(wrong, hint=f"/feedback takes one of {', '.join(level_words())}, then a note.")
    rate(repl, level, rest)


def rate(repl: "Repl", level: Level, argument: str) -> None:
    number, note = read_reply_number(argument)
    app = repl.app
    turn = repl.talk.rateable(number)
    outcome = app.desk.rate(turn.id, level, note)
    lines = rating_lines(
        outcome,
        repl.screen.sign(PICTURES[level], level),
        changed=turn.feedback is not None,
        threshold=app.config.examples.threshold,
        auto=app.config.lora.training.auto,
        rules_given=app.config.rules.active,
    )
    repl.screen.tell("\n".join(lines))
    if level != "good" and outcome.example.target is None:
        repl.show_counts()
        offer_fix(repl, turn, outcome.example)


@registry.command("unrate", group="rate", arguments="[n]", help="take a rating back, with all that came of it")
def unrate(repl: "Repl", argument: str) -> None:
    number, rest = read_reply_number(argument)
    if rest:
        raise UsageError(f"{rest!r} is not the number of a reply", hint="/replies lists them.")
    turn = repl.talk.rateable(number)
    buffer = repl.app.desk.unrate(turn.id)
    repl.screen.tell(f"Rating taken back\n   Training buffer: {buffer_words(buffer)}")


@registry.command("replies", group="rate", help="list the replies of this conversation with their numbers and ratings")
def replies(repl: "Repl", argument: str) -> None:
    turns = repl.talk.turns
    if not turns:
        raise UsageError("There is no reply yet", hint="Ask something first.")
    kept = repl.app.keeps_turns
    if kept:
        repl.talk.store()
    for number, turn in enumerate(turns, 1):
        stored = repl.app.conversations.turn(turn.id) if kept else turn
        rating = f"[{stored.feedback}] " if stored.feedback else ""
        asked, said = excerpt(turn.query, _SHOWN), excerpt(turn.response, _SHOWN)
        repl.screen.tell(f"{number:>2}  {rating}{asked}  ->  {said}")


@registry.command("fix", group="rate", arguments="[#n] [better reply]", help="say what a reply should have been")
def fix(repl: "Repl", argument: str) -> None:
    number, better = read_reply_number(argument, bare=False)
    turn = repl.talk.rateable(number)
    if better:
        store_fix(repl, turn, better)
        return
    if not repl.prompt.asks:
        raise UsageError("The editor needs a terminal", hint="/fix BETTER REPLY does without it.")
    example = repl.app.desk.examples.of_turn(turn.id)
    edited = repl.prompt.edit((example and example.target) or turn.response)
    if edited is None:
        repl.screen.tell("Nothing changed")
    else:
        store_fix(repl, turn, edited)


@registry.command(
    "teach", group="rate", arguments='"when asked X, say Y"', help="give it a lesson that no reply has to show first"
)
def teach(repl: "Repl", argument: str) -> None:
    require_kept(repl.app, "there is nowhere to put a lesson")
    lesson = read_lesson(argument)
    if lesson is None:
        raise UsageError("A lesson needs a question and a reply", hint=_TEACH_USAGE)
    outcome = repl.app.desk.teach(*lesson, system=repl.talk.system)
    config = repl.app.config
    lines = lesson_lines(outcome, threshold=config.examples.threshold, auto=config.lora.training.auto)
    repl.screen.tell("\n".join(lines))
