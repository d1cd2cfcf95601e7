"""The inbox: examples that somebody should look at, one at a time, and what would be trained on after that."""

import math
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from shammah.app import App
from shammah.config import WeightSettings
from shammah.errors import ShammahError, UsageError
from shammah.feedback.levels import level_words, read_level
from shammah.records import Buffer, Example, Level, Source
from shammah.ui.commands import registry
from shammah.ui.feedback_words import PICTURES, buffer_words, indented
from shammah.ui.fixing import Rewriting, propose
from shammah.ui.prompt import HistorySettings, Prompt, Typed, open_prompt
from shammah.ui.render import Screen
from shammah.ui.talk import require_kept

if TYPE_CHECKING:
    from shammah.model.chat_model import ChatModel
    from shammah.store.examples import Status
    from shammah.ui.repl import Repl

MARK = "review> "
_STATUS: "dict[str, Status]" = {
    "waiting": "waiting",
    "needs-target": "needs target",
    "needs-review": "needs review",
    "ready": "ready",
    "trained": "trained",
    "trainable": "trainable",
    "disabled": "disabled",
}
_HEAVIEST = 1000


@registry.command(
    "review", group="rate", arguments="[status] [level]", help="look at examples that wait for you, one by one",
    words=(*_STATUS, *level_words()),
)  # fmt: skip
def review(repl: "Repl", argument: str) -> None:
    require_kept(repl.app, "there is nothing to review")
    if not repl.prompt.asks:
        raise _needs_terminal()
    status, level = read_filter(argument)
    inbox = Inbox(repl.app, repl.screen, repl.prompt, repl.talk.model)
    typed = inbox.go_through(status, level)
    if typed is not None:
        repl.take_next(typed)


def review_on_terminal(
    app: App, screen: Screen, *, status: "Status | None" = None, level: Level | None = None, tag: str | None = None
) -> int:
    """The same outside of a chat: no model is there that could rewrite anything."""
    prompt = open_prompt(HistorySettings(), lambda: None, settings=lambda: app.config.ui)
    if not prompt.asks:
        raise _needs_terminal()
    with prompt.listening():
        Inbox(app, screen, prompt).go_through(status or "waiting", level, tag)
    return 0


def _needs_terminal() -> UsageError:
    return UsageError(
        "The review needs a terminal", hint="`shammah examples list`, `accept` and `edit` do the same without one."
    )


def read_filter(argument: str) -> "tuple[Status, Level | None]":
    """A status and a level in either order, each of them optional."""
    status: Status = "waiting"
    level: Level | None = None
    for word in argument.lower().replace("needs ", "needs-").split():
        if word in _STATUS:
            status = _STATUS[word]
        elif read_level(word) is not None:
            level = read_level(word)
        else:
            known = ", ".join((*_STATUS, *level_words()))
            raise UsageError(f"/review does not know {word!r}", hint=f"It takes a status and a level: {known}.")
    return status, level


class Inbox:
    def __init__(
        self, app: App, screen: Screen, prompt: Prompt, model: "Callable[[], ChatModel] | None" = None
    ) -> None:
        """Without a model nothing is rewritten here."""
        self._app = app
        self._screen = screen
        self._prompt = prompt
        self._model = model
        self._typed: str | None = None

    def go_through(self, status: "Status", level: Level | None = None, tag: str | None = None) -> str | None:
        """One after the other, oldest first, until there are no more or the user leaves; then the summary.

        A message that was typed in place of an answer is given back.
        """
        examples = self._app.desk.examples
        ids = [one.id for one in examples.find(status=status, level=level, tag=tag, oldest_first=True, limit=None)]
        if not ids:
            self._screen.tell("Nothing waits for you." if status == "waiting" else "There is no such example.")
        for place, id in enumerate(ids, 1):
            if examples.has(id) and not self._look_at(id, f"{place} of {len(ids)}"):
                break
        if self._typed is None:
            self._screen.tell(summary(self._app))
        return self._typed

    def _look_at(self, id: str, place: str) -> bool:
        """Show one and do what is asked, until it is done with. False to leave the inbox."""
        desk = self._app.desk
        while True:
            example = desk.examples.get(id)
            keys = self._show(example, place)
            try:
                match self._prompt.choose(MARK, keys):
                    case None | "q":
                        return False
                    case "s" | "":
                        return True
                    case "a":
                        desk.accept(id)
                        self._screen.tell("Accepted")
                        return True
                    case "x":
                        changed = desk.enable(id, example.state == "disabled")
                        self._screen.tell("Put aside" if changed.state == "disabled" else "Back among the others")
                        return True
                    case "d" if self._prompt.choose("Delete it for good? y/N ", "yn") == "y":
                        desk.delete([id])
                        self._screen.tell("Deleted")
                        return True
                    case "w":
                        self._weigh(id)
                    case "e":
                        if self._edit(example):
                            return True
                    case "r":
                        if self._rewrite(example):
                            return self._typed is None
            except ShammahError as error:
                self._screen.error(error)

    def _show(self, example: Example, place: str) -> str:
        """Returns the keys of what can be done with it."""
        sign = self._screen.sign(PICTURES[example.level], example.level)
        why = example.hold or example.reason
        lines = [f"{sign} {place}: {example.status}, weight {example.weight:g}x"]
        lines[0] += f" ({why})" if why else ""
        lines.append(f"   Asked: {indented(example.prompt)}")
        for name, text in (("Rejected", example.rejected), ("Note", example.note), ("Better", example.target)):
            if text:
                lines.append(f"   {name}: {indented(text)}")
        actions = {
            "a": "accept" if example.target else "",
            "e": "edit",
            "w": "weight",
            "r": "rewrite" if self._model and example.rejected and example.note else "",
            "d": "delete",
            "x": "enable" if example.state == "disabled" else "disable",
            "s": "skip",
            "q": "quit",
        }
        possible = {key: words for key, words in actions.items() if words}
        lines.append(self._screen.joined(*(f"{key}: {words}" for key, words in possible.items())))
        self._screen.tell("\n".join(lines))
        return "".join(possible)

    def _weigh(self, id: str) -> None:
        match self._prompt.offer("weight> ", ""):
            case Typed(text):
                self._app.desk.examples.change(id, weight=read_weight(text))

    def _edit(self, example: Example) -> bool:
        edited = self._prompt.edit(example.target or example.rejected or "")
        if edited is None:
            self._screen.tell("Nothing changed")
            return False
        self._accept(example.id, edited, "fix")
        return True

    def _rewrite(self, example: Example) -> bool:
        """Whether the user is done with the example."""
        assert self._model is not None
        kept: list[bool] = []

        def keep(text: str, source: Source) -> None:
            self._accept(example.id, text, source)
            kept.append(True)

        rewriting = Rewriting(self._model, self._app.config.generation, self._screen, example)
        self._typed = propose(self._screen, self._prompt, rewriting, example.rejected or "", keep)
        return bool(kept) or self._typed is not None

    def _accept(self, id: str, target: str, source: Source) -> None:
        self._app.desk.accept(id, target, source=source)
        self._screen.tell("Better reply stored")


def read_weight(text: str) -> float:
    try:
        weight = float(text.strip().removesuffix("x"))
    except ValueError:
        weight = math.nan
    if not 0 < weight <= _HEAVIEST:
        raise UsageError(f"{text.strip()!r} is not a weight", hint=f"Give a number above 0, at most {_HEAVIEST:,}.")
    return weight


def summary(app: App) -> str:
    """What would be trained on now, and what not."""
    examples = app.desk.examples.find(limit=None)
    return summary_words([one for one in examples if not one.trained], app.desk.buffer(), app.config.weights)


def summary_words(untrained: list[Example], buffer: Buffer, weights: WeightSettings) -> str:
    drawn = [example for example in untrained if example.trainable]
    rewritten = sum(example.state == "needs review" for example in drawn)
    share = "half weight" if weights.unreviewed == 0.5 else f"{weights.unreviewed:.0%} of their weight"
    parts = [f"{len(drawn) - rewritten} with a reply you gave or rated"] if len(drawn) > rewritten else []
    parts += [f"{rewritten} by rewrites made then, at {share}"] if rewritten else []
    reasons = Counter(_reason(example) for example in untrained if not example.trainable)
    words = f"Would be trained on: {buffer_words(buffer)}"
    words += f": {', '.join(parts)}." if parts else "."
    left = [f"{count} {_REASONS[reason][count > 1]}" for reason, count in reasons.items()]
    return words + (f" Not: {', '.join(left)}." if left else "")


_REASONS = {
    "held": ("stands back for another", "stand back for others"),
    "disabled": ("disabled", "disabled"),
    "secrets": ("with redacted secrets to look at", "with redacted secrets to look at"),
    "target": ("needs a better reply", "need a better reply"),
    "review": ("waits for your review", "wait for your review"),
}


def _reason(example: Example) -> str:
    if example.state == "disabled":
        return "disabled"
    if example.hold:
        return "held"
    if example.secrets:
        return "secrets"
    return "target" if example.state == "needs target" else "review"
