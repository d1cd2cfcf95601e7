"""What is said of itself to whoever begins: the banner, and the hints that a user needs once."""

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from shammah import __version__
from shammah.errors import ShammahError
from shammah.ui.toolbar import counted

if TYPE_CHECKING:
    from shammah.app import App
    from shammah.ui.prompt import Prompt
    from shammah.ui.render import Screen

log = logging.getLogger(__name__)

_HELP = "/help shows the commands, Ctrl+D leaves."
_FIRST_REPLY = "Was that right? {good} says yes; /critical NOTE says what should change."
_FIRST_RATING = "At {examples} Shammah trains by itself and tells you. /status shows how far."
_FIRST_RATING_BY_HAND = "/train now has Shammah learn from it; /status shows what waits."


def banner(model: str) -> str:
    return f"Shammah {__version__} with {short_model(model)}.\n{_HELP}"


def short_model(model: str) -> str:
    """A model's name without the folders or the account before it."""
    name = Path(model).name if model.startswith(("/", ".", "~")) else model.rpartition("/")[2]
    return name or model


class Speaker:
    """Who answers, in as few words as will do."""

    def __init__(self, app: "App") -> None:
        self._app = app
        self._called: dict[str, str] = {}

    def words(self) -> list[str]:
        """The model; the adapter, with its strength where that is not 1."""
        adapter, strength = self._app.speaking()
        model = short_model(self._app.config.model)
        if adapter is None:
            return [model]
        if adapter not in self._called:
            self._called[adapter] = _called(self._app, adapter)
        return [model, self._called[adapter] + ("" if strength == 1 else f" at {strength:g}")]

    def standing(self) -> str:
        """A line for the beginning of a chat: the adapter that answers, and what waits to be learned or was learned
        last. Empty where there is neither."""
        from shammah.store.runs import Runs

        _, *adapter = self.words()
        buffer, last = self._app.desk.buffer(), Runs(self._app.database).last()
        parts = [f"{adapter[0]} answers"] if adapter else []
        if buffer.new:
            parts.append(f"{buffer.new} of {counted(self._app.config.examples.threshold, 'example')} wait")
        elif last is not None and last.state == "finished":
            parts.append(f"learned from {counted(len(last.example_ids), 'example')}")
        return f"{', '.join(parts)}." if parts else ""


class FirstHints:
    """How to rate, after the first reply ever; what comes of it, after the first rating ever.

    The store itself knows what was first: nothing else has to be remembered. Off a terminal, and where nothing is
    stored, there are none.
    """

    def __init__(self, app: "App", screen: "Screen", prompt: "Prompt") -> None:
        self._app = app
        self._screen = screen
        self._good = "Alt+G" if prompt.has_keys else "/good"
        self._awaits_reply = self._awaits_rating = app.keeps_turns and prompt.asks and sys.stdout.isatty()

    def after_reply(self) -> None:
        if not self._awaits_reply:
            return
        self._awaits_reply = False
        try:
            first = self._app.conversations.count() == 1
        except ShammahError:
            log.info("no hint", exc_info=True)
            return
        if first:
            self._screen.say(_FIRST_REPLY.format(good=self._good))

    def before_rating(self) -> None:
        """Whether this could be the first one."""
        self._awaits_rating = self._awaits_rating and self._examples() == 0

    def after_rating(self) -> None:
        if not (self._awaits_rating and self._examples()):
            return
        self._awaits_rating = False
        threshold = self._app.config.examples.threshold
        if not self._app.config.lora.training.auto:
            self._screen.say(_FIRST_RATING_BY_HAND)
        elif threshold > 1:
            self._screen.say(_FIRST_RATING.format(examples=counted(threshold, "example")))

    def _examples(self) -> int | None:
        try:
            return self._app.desk.examples.count()
        except ShammahError:
            log.info("no hint", exc_info=True)
            return None


def _called(app: "App", adapter: str) -> str:
    """By its number; by its name where it can't be read."""
    from shammah.adapters.bundle import version_in
    from shammah.ui.adapters_words import short_name

    version = version_in(app.home.adapters / adapter)
    return short_name(adapter) if version is None else f"v{version}"
