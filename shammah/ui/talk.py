"""The conversation of the chat, while its model is still being loaded and after that."""

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from shammah.app import App
from shammah.config import GenerationSettings
from shammah.errors import UsageError
from shammah.records import Conversation, Piece, Turn
from shammah.session import Session
from shammah.ui.background_load import BackgroundLoad
from shammah.ui.interrupts import CtrlC
from shammah.ui.render import Answer, Screen, ending_words
from shammah.ui.reply_figures import tell_figures
from shammah.ui.swap_words import change_words, model_answers_words, stays_error
from shammah.unfinished import require_unfinished

if TYPE_CHECKING:
    from shammah.model.chat_model import ChatModel
    from shammah.model.speaking import Voice


# Where a setting comes from that was changed within this chat.
TYPED = "/set"


class StillLoading(Exception):
    """The user did not want to wait for the model."""


class Talk:
    def __init__(
        self, app: App, screen: Screen, history: Sequence[Turn], on_loaded: Callable[[BaseException | None], None]
    ) -> None:
        self._app = app
        self._screen = screen
        self._history = tuple(history)
        self._conversation = history[0].conversation_id if history else None
        self._load = BackgroundLoad(app, on_loaded)
        self._other: BackgroundLoad | None = None  # of a model that is to take this one's place
        self._session: Session | None = None
        self.system = app.config.system or (self._history[-1].system if self._history else "")
        self._given_system = app.config.system, app.settings.sources["system"]
        self.waiting = False

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The conversation as it stands."""
        return self._session.turns if self._session else self._history

    @property
    def conversation_id(self) -> str | None:
        """That of the conversation, which need not be stored yet; None where nothing was said."""
        return self._session.conversation_id if self._session else self._conversation

    @property
    def load_error(self) -> BaseException | None:
        return self._load.error

    @property
    def loaded(self) -> bool:
        """Whether the model is there, and stays."""
        return self._other is None and self._load.ready(0) and self._load.error is None

    def context_used(self) -> float | None:
        """The share of the model's window that the conversation takes; None before that can be known."""
        if not (self.turns and self.loaded):
            return None
        last = self.turns[-1]
        return (last.input_tokens + last.output_tokens) / self._load.model().window

    def start_loading(self) -> None:
        self._load.start()

    @property
    def loading(self) -> str:
        """The model that is being loaded to take the place of the one that answers; empty for none."""
        return self._other.app.config.model if self._other else ""

    def load_other(self, name: str, on_loaded: Callable[[BaseException | None], None]) -> None:
        """Load another model in the background. What is asked from now on waits for it; until then, and where it can't
        be loaded, the one that is there stays."""
        other = self._app.with_model(name)
        _ = other.source  # a name that means nothing is met here
        self._other = BackgroundLoad(other, on_loaded)
        self._other.start()

    def stay(self) -> None:
        """Have the model that is there go on, whatever is being loaded."""
        self._other = None

    def take_other(self) -> bool | None:
        """Have the other model answer from now on, if it was loaded meanwhile. Whether it does; None where there is
        nothing to tell."""
        other = self._other
        if other is None or not (self._load.ready(0) and other.ready(0)):
            return None
        self._other = None
        if other.error is not None:
            self._screen.error(stays_error(other.error, self._app.config.model))
            return False
        self._app.take_over(other.app)
        self._load = other
        self.renew()
        self._screen.say(model_answers_words(self._app.config.model, len(self.turns)))
        return True

    def renew(self) -> None:
        """Go on with the same conversation, by what the settings say now and with the model that is there now."""
        if self._session is not None:
            self._session.work_as(self._app.session(self._load.model(), system=self.system))

    def ask(self, text: str, *, voice: "Voice | None" = None) -> None:
        """One turn, this once with another voice where one is given. Raises StillLoading if the user stops waiting for
        the model."""
        session = self._followed()
        settings = self._app.config.generation
        self._show(lambda cancelled: session.ask(text, settings, voice=voice, cancelled=cancelled))

    def ask_beside(
        self, text: str, settings: GenerationSettings, *, before: Sequence[Turn], voice: "Voice", shown: bool = True
    ) -> Turn:
        """A reply as if these turns had gone before it, of which nothing is kept but what is returned."""
        beside = self._app.session(self.model(), before, stored=False, system=self.system)
        if not shown:
            with CtrlC() as cancelled:
                return self._screen.hold(beside.ask(text, settings, voice=voice, cancelled=cancelled))
        return self._show(lambda cancelled: beside.ask(text, settings, voice=voice, cancelled=cancelled), kept=False)

    def retry(self) -> None:
        session = self._followed()
        self._show(lambda cancelled: session.retry(self._app.config.generation, cancelled=cancelled))

    def go_on(self) -> Turn:
        """Have the last reply gone on with, where it was stopped."""
        require_unfinished(self.turns)  # before anything is waited for
        session = self._followed()
        shown = self.turns[-1].response
        return self._show(
            lambda cancelled: session.go_on(self._app.config.generation, cancelled=cancelled), shown=shown
        )

    def variants(self) -> list[Turn]:
        """The replies to the last question, oldest first. No model is needed for that."""
        if self._session is not None:
            return self._session.variants()
        return self._app.conversations.variants(self._history[-1]) if self._history else []

    def choose(self, turn: Turn) -> None:
        """Go on from this one of them, and show it."""
        if self._session is not None:
            self._session.choose(turn)
        else:
            if self._app.keeps_turns:
                self._app.conversations.set_head(turn.conversation_id, turn.id)
            self._history = (*self._history[:-1], turn)
        self._screen.show(_again(turn))

    def undo(self, count: int) -> list[Turn]:
        """Take the last turns out of the conversation. No model is needed for that either."""
        if self._session is not None:
            return self._session.undo(count)
        kept, undone = self._history[:-count], list(self._history[-count:])
        if undone and self._app.keeps_turns:
            self._app.conversations.set_head(undone[0].conversation_id, kept[-1].id if kept else None)
        self._history = kept
        return undone

    def resume(self, conversation: Conversation) -> None:
        """Go on with a stored conversation in place of this one, whose turns stay stored."""
        self.store()
        self._history = tuple(self._app.conversations.context(conversation.id))
        self._conversation = conversation.id
        self._session = None
        if self._app.settings.sources["system"] == TYPED:  # for the conversation before; it would be stored of this one
            text, source = self._given_system
            self._app.change(self._app.settings.changed({"system": text}, source))
        self.system = self._app.config.system or conversation.system

    def clear(self) -> None:
        self._history, self._conversation = (), None
        self.system = self._app.config.system  # that of an earlier conversation goes with it
        if self._session is not None:
            self._session.clear(self.system)

    def store(self) -> None:
        """Store what could not be stored before."""
        if self._session is not None:
            self._session.store()

    def lose(self, turn_ids: Collection[str]) -> None:
        """Turns were taken off the disk: go on with what is left of the conversation."""
        turns = self.turns
        if any(turn.id in turn_ids for turn in turns):
            self._history = tuple(self._app.conversations.context(turns[0].conversation_id))
            self._session = None

    def rateable(self, number: int | None) -> Turn:
        """The reply at this place of the conversation, or the last one, as it is stored."""
        require_kept(self._app, "there is nothing to rate")
        turn = self.turn(number)
        self.store()
        return self._app.conversations.turn(turn.id)

    def turn(self, number: int | None) -> Turn:
        if not self.turns:
            raise UsageError("There is no reply yet", hint="Ask something first.")
        if number is None:
            return self.turns[-1]
        if not 1 <= number <= len(self.turns):
            raise UsageError(f"There is no reply {number} in this conversation", hint="/replies lists them.")
        return self.turns[number - 1]

    def model(self) -> "ChatModel":
        self.session()
        return self._load.model()

    def session(self) -> Session:
        """The session, once the model is there."""
        if self._session is None or self._other is not None:
            self._wait()
            self.take_other()
        if self._session is None:
            self._session = self._app.session(self._load.model(), self._history, system=self.system)
            if self._conversation is not None:
                self._session.conversation_id = self._conversation  # also where all of its turns were taken back
        return self._session

    def _followed(self) -> Session:
        """The session before a turn: what another process has taken into use meanwhile answers."""
        session = self.session()
        self.waiting = True
        try:
            change = self._app.follow()
        finally:
            self.waiting = False
        if change is not None:
            self._screen.say(change_words(change))
        return session

    def _wait(self) -> None:
        with CtrlC() as cancelled:  # before anything says that it waits
            self.waiting = True
            try:
                while not (self._load.ready(0.05) and (self._other is None or self._other.ready(0.05))):
                    if cancelled():
                        raise StillLoading
            finally:
                self.waiting = False

    def _show(self, answer: Callable[[Callable[[], bool]], Answer], *, kept: bool = True, shown: str = "") -> Turn:
        with CtrlC() as cancelled:
            turn = self._screen.show(answer(cancelled), shown=shown)
        if ending_words(turn) and (kept or turn.stop_reason != "cancelled"):
            self._screen.say(ending_words(turn))
        if kept:
            tell_figures(self._screen, self._app, turn)
        return turn


def _again(turn: Turn) -> Answer:
    """A reply that was given before, as if it came now."""
    yield Piece("reply", turn.response)
    yield turn


def require_kept(app: App, so: str) -> None:
    """UsageError in a chat that stores nothing, with what follows from that."""
    if not app.keeps_turns:
        raise UsageError(
            f"Nothing is stored in this chat (--no-log), so {so}", hint="Start one that is stored: `shammah`."
        )
