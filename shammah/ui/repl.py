"""The chat: read a line, do the command or ask the model, show the reply, again.

The model loads while the first line is typed.
"""

import logging
from pathlib import Path
from queue import SimpleQueue

from shammah import __version__
from shammah.app import App, BackgroundLoad
from shammah.errors import ShammahError
from shammah.events import Event, Notice, Progress
from shammah.session import Session, title_of
from shammah.ui.chat_commands import registry
from shammah.ui.interrupts import CtrlC
from shammah.ui.prompt import open_prompt
from shammah.ui.render import Screen, ending_words, progress_words

log = logging.getLogger(__name__)
_LEAVING_WORDS = {"exit", "quit"}


class Repl:
    def __init__(self, app: App, screen: Screen, *, latest: bool = False, resume: str | None = None) -> None:
        self._app = app
        self.screen = screen
        self._history = app.history(latest=latest, resume=resume)
        self._load = BackgroundLoad(app, self._on_loaded)
        self._session: Session | None = None
        self._waiting = False
        self._leaving = False
        self._unsent = ""
        self._notices: SimpleQueue[Notice] = SimpleQueue()
        keeps_lines = app.keeps_turns and not app.config.no_history
        self._prompt = open_prompt(app.home.history if keeps_lines else None, self._load.start)

    def run(self) -> int:
        """Until the user leaves; the exit code. What can't be mended here (no model) is raised."""
        self._app.require_store()
        _ = self._app.source
        self._greet()
        unsubscribe = self._app.events.subscribe(self._on_event)
        try:
            with self._prompt.listening():
                while not self._leaving:
                    try:
                        self._once()
                    except KeyboardInterrupt:
                        pass  # between two states there is nothing that it could stop
        finally:
            unsubscribe()
        if self._session is not None:
            self._session.store()
        return 0

    def start_over(self) -> None:
        self._history = ()
        if self._session is not None:
            self._session.clear()
        self.screen.say("A new conversation.")

    def leave(self) -> None:
        self._leaving = True

    def unknown(self, word: str) -> None:
        near = registry.nearest(word)
        hint = f"did you mean /{near}?" if near else "see /help"
        self.screen.say(f"There is no command /{word}; {hint} (Begin with a space to send it as text.)")

    def _greet(self) -> None:
        self.screen.say(f"Shammah {__version__} with {_short(self._app.config.model)}. /help shows the commands.")
        if self._history:
            count = len(self._history)
            self.screen.say(
                f"Going on with {count} {'turn' if count == 1 else 'turns'}: {title_of(self._history[0].query)}"
            )

    def _on_event(self, event: Event) -> None:
        if self._waiting:
            self.screen.handle(event)
        elif isinstance(event, Progress):
            self._prompt.status(progress_words(event, bar=True))
        else:
            self._notices.put(event)

    def _on_loaded(self, error: BaseException | None) -> None:
        self._prompt.status("")
        if error is not None:
            self._prompt.fail(error)

    def _once(self) -> None:
        text = self._prompt.read(self._unsent)
        self._unsent = ""
        if text is None:
            self.leave()
        else:
            self._take(text)

    def _take(self, text: str) -> None:
        while not self._notices.empty():
            self.screen.notice(self._notices.get())
        if not text.strip():
            return
        if text.strip().lower() in _LEAVING_WORDS:
            self.leave()
        elif text.startswith("/"):
            word, argument = (*text[1:].split(maxsplit=1), "", "")[:2]
            command = registry.find(word or "help")
            if command is None:
                self.unknown(word)
            else:
                command.run(self, argument.strip())
        else:
            self._answer(text)

    def _answer(self, text: str) -> None:
        """One turn. Whatever goes wrong is said and logged, and the chat goes on."""
        before = self._turns()
        try:
            session = self._wait_for_session(text)
            if session is not None:
                self._stream(session, text)
        except ShammahError as error:
            log.info("turn failed", exc_info=True)
            if self._load.error is error:
                raise
            self.screen.error(error)
            self._unsent = "" if self._turns() > before else text
        except KeyboardInterrupt:
            self.screen.say("(stopped)")
        except BrokenPipeError:
            raise  # nobody reads the answers any more
        except Exception as error:
            log.exception("turn failed")
            self.screen.say(f"Something went wrong: {error} (details: {self._app.home.log_file})")
            self._unsent = "" if self._turns() > before else text

    def _turns(self) -> int:
        """How many there are. Where a reply came before the failure, its text need not be sent again."""
        return len(self._session.turns) if self._session else 0

    def _wait_for_session(self, text: str) -> Session | None:
        if self._session is not None:
            return self._session
        self._waiting = True
        try:
            with CtrlC() as cancelled:
                while not self._load.ready(0.05):
                    if cancelled():
                        self.screen.say("Still loading; your message is kept, Enter sends it.")
                        self._unsent = text
                        return None
        finally:
            self._waiting = False
        self._session = self._app.session(self._load.model(), self._history)
        return self._session

    def _stream(self, session: Session, text: str) -> None:
        with CtrlC() as cancelled:
            turn = self.screen.show(session.ask(text, self._app.config.generation, cancelled=cancelled))
        if ending_words(turn):
            self.screen.say(ending_words(turn))


def _short(model: str) -> str:
    """A model's name without the folders before it."""
    return Path(model).name if model.startswith(("/", ".", "~")) else model
