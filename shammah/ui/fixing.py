"""The better reply: the offer after a rating, rewrites by the model, and storing what was chosen."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from shammah.config import GenerationSettings
from shammah.events import Progress
from shammah.records import Example, Source, Turn
from shammah.ui.feedback_words import fix_lines, rule_lines
from shammah.ui.interrupts import CtrlC
from shammah.ui.prompt import Pressed, Prompt, Typed
from shammah.ui.render import Screen
from shammah.ui.talk import StillLoading

if TYPE_CHECKING:
    from shammah.feedback.rewriting import Rewrite
    from shammah.model.chat_model import ChatModel
    from shammah.ui.repl import Repl

MARK = "fix> "
_SKIPPED = "Skipped; /review or /fix can do it later"
# So many replies are tried before the user is asked again, and so often.
_TRIES, _ROUNDS = 4, 4

_Offered = tuple[Sequence[str], str]
# What is offered, and its keys: at first, under a rewrite, under one that no other followed, where none passed.
_FIRST: _Offered = ("Fix it? Enter: let the model rewrite it", "e: edit", "s: skip"), "ers"
_REWRITTEN: _Offered = ("Enter: keep it", "e: edit", "r: another", "s: skip"), "ers"
_NOT_AGAIN: _Offered = ("Enter: keep the one before", "e: edit it", "s: skip"), "es"
_NOT_AT_ALL: _Offered = ("e: edit the reply", "s: skip"), "es"

Keep = Callable[[str, Source], None]


class Stopped(Exception):
    """The user turned the offer down, stopped the rewriting, or did not want to wait for the model."""


class Rewriting:
    """Rewrites of one rejected reply, as they are asked for."""

    def __init__(
        self, model: Callable[[], "ChatModel"], settings: GenerationSettings, screen: Screen, example: Example
    ) -> None:
        self._model = model
        self._settings = settings
        self._screen = screen
        self._example = example
        self._stop: Callable[[], bool] = lambda: False
        self._made: Iterator[Rewrite] | None = None

    def next(self) -> str | None:
        """The next that passes the checks. None, and why, when several in a row did not. Raises Stopped."""
        failed: list[tuple[str, ...]] = []
        try:
            made = self._made = self._made or self._begin()
        except (StillLoading, KeyboardInterrupt):  # the interrupt may come before anybody waits for it
            raise Stopped from None
        with CtrlC() as self._stop:
            self._screen.progress.show(Progress("Rewriting"))
            for rewrite in islice(made, _TRIES):
                if not rewrite.failed:
                    self._screen.progress.clear()
                    return rewrite.text
                failed.append(rewrite.failed)
                self._screen.progress.show(Progress(f"Rewriting, {len(failed)} tried"))
            self._screen.progress.clear()
            if self._stop():
                raise Stopped
        self._screen.tell(_failure_words(failed))
        return None

    def _begin(self) -> Iterator["Rewrite"]:
        from shammah.feedback.rewriting import rewrites  # not needed before the prompt is painted

        example = self._example
        return rewrites(
            self._model(),
            example.messages,
            example.rejected or "",
            example.note or "",
            self._settings,
            tries=_TRIES * _ROUNDS,
            cancelled=lambda: self._stop(),
        )


def _failure_words(failed: Sequence[tuple[str, ...]]) -> str:
    if not failed:
        return "The model has no other rewrite."
    reasons = Counter(reason for checks in failed for reason in checks)
    told = ", ".join(f"{reason} ({times}x)" if times > 1 else reason for reason, times in reasons.most_common())
    tried = "None of 1 rewrite" if len(failed) == 1 else f"None of {len(failed)} rewrites"
    return f"{tried} passes the checks: {told}."


def offer_fix(repl: "Repl", turn: Turn, example: Example) -> None:
    """After a rating that says the reply was not right: a better one now, if somebody is there to look at it."""
    if not repl.prompt.asks:
        return

    def keep(text: str, source: Source) -> None:
        store_fix(repl, turn, text, source)

    if example.note is None:
        if repl.prompt.typed_ahead():
            return  # what was typed before it was asked is no answer to it
        repl.screen.tell("What should it have said? (Enter skips)")
        given = ask_for_reply(repl.prompt, keep)
    else:
        rewriting = Rewriting(repl.talk.model, repl.app.config.generation, repl.screen, example)
        given = propose(repl.screen, repl.prompt, rewriting, turn.response, keep)
    if given is not None:
        repl.take_next(given)


def ask_for_reply(prompt: Prompt, keep: Keep) -> str | None:
    """Take what is typed for the better reply; a command is given back instead."""
    match prompt.offer(MARK, ""):
        case Typed(text) if text.startswith("/") or text.strip().lower() in ("exit", "quit"):
            return text
        case Typed(text):
            keep(text, "fix")
    return None


def propose(
    screen: Screen, prompt: Prompt, rewriting: Rewriting, original: str, keep: Keep, *, shown: str | None = None
) -> str | None:
    """Let the user choose among rewrites, an edit, and neither. A message that is typed instead is given back.

    `shown` is a rewrite that stands on the screen already.
    """
    parts, keys = _REWRITTEN if shown else _FIRST
    try:
        while True:
            screen.tell(screen.joined(*parts))
            match _answer(prompt, keys):
                case Typed(text):
                    return text
                case Pressed("e"):
                    edited = prompt.edit(shown or original)
                    if edited is not None:
                        keep(edited, "fix")
                        return None
                    screen.tell("Nothing changed")
                case Pressed("") if shown is not None:
                    keep(shown, "rewrite")
                    return None
                case Pressed("" | "r") if "r" in keys:
                    rewrite = rewriting.next()
                    if rewrite is not None:
                        screen.tell_reply(rewrite)
                    parts, keys = _REWRITTEN if rewrite else _NOT_AGAIN if shown else _NOT_AT_ALL
                    shown = rewrite or shown
                case _:
                    raise Stopped
    except Stopped:
        screen.tell(_SKIPPED)
        return None


def _answer(prompt: Prompt, keys: str) -> Pressed | Typed | None:
    """An interrupt may come after the answer and before anybody waits for it: nothing is being stored then."""
    try:
        return prompt.offer(MARK, keys)
    except KeyboardInterrupt:
        raise Stopped from None


def store_fix(repl: "Repl", turn: Turn, better: str, source: Source = "fix") -> None:
    app = repl.app
    known = {rule.text for rule in app.desk.rules.all()}
    outcome = app.desk.fix(turn.id, better, source=source)
    lines = fix_lines(outcome, threshold=app.config.examples.threshold, auto=app.config.lora.training.auto)
    if outcome.rule is not None and outcome.rule.text not in known:
        lines += rule_lines(outcome, rules_given=app.config.rules.active)
    repl.screen.tell("\n".join(lines))
