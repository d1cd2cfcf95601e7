"""The chat: read a line, do the command or ask the model, show the reply, again.

The model loads while the first line is typed.
"""

import logging
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from shammah.app import App
from shammah.errors import ShammahError
from shammah.events import AdapterSwapped, Event, Progress, ReceiptReady, TrainingEnded, TrainingMoved
from shammah.file_parts import title_of
from shammah.records import Buffer, Receipt, Run
from shammah.store.receipts import Receipts
from shammah.ui import (
    chat_commands,
    comparing,
    copy_commands,
    feedback_commands,
    file_commands,
    forget_commands,
    model_commands,
    probe_commands,
    report_commands,
    reviewing,
    rules_commands,
    session_commands,
    settings_commands,
    shelf_commands,
    stats_commands,
    tokens_commands,
    train_commands,
    why_commands,
)
from shammah.ui.commands import Command, read_command, registry
from shammah.ui.greeting import FirstHints, Speaker, banner
from shammah.ui.naming import names_of
from shammah.ui.prompt import HistorySettings, OpenPrompt, open_prompt
from shammah.ui.render import Screen, can_write, progress_words
from shammah.ui.swap_words import probation_words
from shammah.ui.talk import StillLoading, Talk
from shammah.ui.toolbar import counted, toolbar_forms, training_parts
from shammah.ui.training_words import ended_words, loss_curve

if TYPE_CHECKING:
    from shammah.training.jobs import Job
    from shammah.training.worker import Worker
    from shammah.ui.toolbar import Bar

log = logging.getLogger(__name__)
LEAVING_WORDS = {"exit", "quit"}
_SPARKS = 8
# Imported for the commands that they declare.
COMMAND_MODULES = (
    chat_commands,
    file_commands,
    copy_commands,
    tokens_commands,
    session_commands,
    feedback_commands,
    rules_commands,
    reviewing,
    train_commands,
    shelf_commands,
    comparing,
    why_commands,
    probe_commands,
    report_commands,
    forget_commands,
    model_commands,
    stats_commands,
    settings_commands,
)


class Repl:
    """`app`, `screen`, `prompt` and `talk` are what the commands work with. `opens` makes the prompt."""

    def __init__(
        self,
        app: App,
        screen: Screen,
        *,
        latest: bool = False,
        resume: str | None = None,
        opens: OpenPrompt = open_prompt,
    ) -> None:
        self.app = app
        self.screen = screen
        self.talk = Talk(app, screen, app.history(latest=latest, resume=resume), self._on_loaded)
        self.listed: Sequence[str] = ()  # the conversations of the list that was shown last: a number means one of them
        self._leaving = False
        self._unsent = ""
        self._next: str | None = None
        self._at_prompt = False
        self._trainer: Worker | None = None
        self._begun_for: object = None
        self._told: set[str] = set()  # the runs whose receipts were shown
        keeps_lines = app.keeps_turns and not app.config.no_history
        history = HistorySettings(app.home.history if keeps_lines else None, registry.keeps, app.config.redact)
        self._painted = False
        self._speaker = Speaker(app)
        self.prompt = opens(history, self._on_painted, partial(names_of, app), lambda: app.config.ui)
        screen.open_row = self.prompt.open_row
        self._hints = FirstHints(app, screen, self.prompt)

    def run(self) -> int:
        """Until the user leaves; the exit code. What can't be mended here (no model) is raised."""
        self.app.require_store()
        _ = self.app.source
        unsubscribe = self.app.events.subscribe(self._on_event)
        try:
            with self.prompt.listening():
                self._greet()
                while not self._leaving:
                    try:
                        self._once()
                    except KeyboardInterrupt:
                        pass  # between two states there is nothing that it could stop
        finally:
            unsubscribe()
            self._say_that_training_stops()
        self.talk.store()
        return 0

    def leave(self) -> None:
        self._leaving = True

    def take_next(self, text: str) -> None:
        """A message or command that was typed where something else was asked: it comes next."""
        self._next = text

    def unknown(self, word: str) -> None:
        near = registry.nearest(word)
        hint = f"did you mean /{near}?" if near else "see /help"
        self.screen.tell(f"There is no command /{word}; {hint} (Begin with a space to send it as text.)")

    def _greet(self) -> None:
        self.screen.say(banner(self.app.config.model))
        if self.talk.turns:
            count = len(self.talk.turns)
            self.screen.say(
                f"Going on with {count} {'turn' if count == 1 else 'turns'}: {title_of(self.talk.turns[0].query)}"
            )

    def trainer(self) -> "Worker":
        """The thread that trains. From now on the toolbar shows what it does."""
        if self._trainer is None:
            self._trainer = self.app.training.worker
            self.prompt.watch(partial(_trainer_forms, self._trainer))
        return self._trainer

    def _on_event(self, event: Event) -> None:
        """On the thread of whoever tells it."""
        if isinstance(event, (TrainingMoved, AdapterSwapped)):
            pass  # the toolbar looks by itself, and the receipt of a run says who answers
        elif isinstance(event, TrainingEnded):
            self.prompt.above(partial(self._tell_end_of_training, event.run))
        elif isinstance(event, ReceiptReady):
            self.prompt.above(partial(self._tell_receipt, event.receipt))
        elif self.talk.waiting:
            self.screen.handle(event)
        elif isinstance(event, Progress):
            self.prompt.status(progress_words(event, bar=True))
        else:
            self.prompt.above(partial(self.screen.notice, event))

    def _on_painted(self) -> None:
        """The first prompt stands there: only now what takes time."""
        self._painted = True
        self.show_counts()  # a few milliseconds; beside the loading it would be many
        self.talk.start_loading()
        self.prompt.above(self._tell_standing)
        self.prompt.above(self._tell_missed)

    def _on_loaded(self, error: BaseException | None) -> None:
        self.prompt.status("")
        if error is not None:
            self.prompt.fail(error)
            return
        if self.talk.loading:  # it may have been there first
            self.prompt.above(partial(model_commands.take_other, self))
        self.prompt.soon(self._begin_training)

    def _once(self) -> None:
        text, self._next = self._next, None
        if text is None:
            if self._painted:
                self.show_counts()
            text = self._read()
            self._unsent = ""
        if text is None:
            self.leave()
        else:
            self._take(text)

    def _read(self) -> str | None:
        self._at_prompt = True
        try:
            if self._painted:
                self._tell_missed()
            self._begin_training()
            return self.prompt.read(self._unsent)
        finally:
            self._at_prompt = False

    def show_counts(self) -> None:
        """Read once for each prompt, never while a line is typed."""
        try:
            kept = self.app.keeps_turns
            speaker, buffer = self._speaker.words(), self.app.desk.buffer() if kept else None
            rules, threshold = len(self.app.rules()), self.app.config.examples.threshold
        except Exception:
            log.warning("no counts for the toolbar", exc_info=True)
            return  # the toolbar shows what it showed before
        rateable = kept and bool(self.talk.turns)
        self.prompt.toolbar(
            toolbar_forms(speaker, self.talk.context_used(), buffer, threshold, rules, rateable=rateable)
        )

    def _begin_training(self) -> None:
        """Where enough came together, or a run was cut off; never before the model is there, nor within a command."""
        app = self.app
        if not (self._at_prompt and self.talk.loaded and app.keeps_turns and app.config.lora.training.auto):
            return
        if self._trainer is not None and (self._trainer.queue() or self._trainer.current):
            return  # what waits is told already
        try:
            buffer = app.desk.buffer()
            found = buffer, app.training.runs.last()
            # Where no run came of it at all, the same is not tried again at each prompt.
            words = "" if found == self._begun_for else app.training.start_if_due(buffer)
        except Exception:
            log.warning("no training", exc_info=True)
            return  # the prompt is what matters
        if words:
            self._begun_for = found
            job = next(iter(self.trainer().queue()), self.trainer().current)
            self.prompt.above(partial(self.screen.say, _starting_words(words, job, buffer)))

    def _tell_end_of_training(self, run: Run) -> None:
        words = ended_words(run)
        if words and run.id not in self._told:
            self.screen.say(words)
        self.show_counts()

    def _tell_receipt(self, receipt: Receipt) -> None:
        if receipt.run_id in self._told:
            return  # it was found in the store before its event was heard
        self._say_receipts([receipt], holds=True)
        try:
            Receipts(self.app.database).tell([receipt.run_id])
        except ShammahError:
            log.info("the next chat tells it once more", exc_info=True)

    def _tell_standing(self) -> None:
        try:
            words = self._speaker.standing() if self.app.keeps_turns else ""
        except ShammahError:
            log.info("nothing to greet with", exc_info=True)
            return
        if words:
            self.screen.say(words)

    def _tell_missed(self) -> None:
        """What runs came to of which this chat heard nothing. Where that can't be read, the prompt is what matters."""
        try:
            missed = report_commands.missed(self.app) if self.app.keeps_turns else []
            holds = bool(missed) and report_commands.still_holds(missed[0], self.app.activations)
        except ShammahError:
            log.info("no receipts to tell", exc_info=True)
            return
        if missed:
            self._say_receipts(missed, holds=holds)

    def _say_receipts(self, newest_first: Sequence[Receipt], *, holds: bool) -> None:
        self._told.update(receipt.run_id for receipt in newest_first)
        self.screen.say("\n".join(report_commands.notice_lines(newest_first, self.app, holds=holds)))

    def _say_that_training_stops(self) -> None:
        trainer = self._trainer
        if trainer is None or trainer.current is None:
            return
        if trainer.last_moved is not None and trainer.last_moved.phase in ("saving", "recording"):
            self.screen.say("Saving what was learned.")
        elif self.app.config.lora.training.auto:
            self.screen.say("Training stops here and goes on at the next start.")
        else:
            self.screen.say("Training stops here; `/train now` goes on with it.")

    def _take(self, text: str) -> None:
        if not text.strip():
            return
        if text.strip().lower() in LEAVING_WORDS:
            self.leave()
        elif text.startswith("/"):
            word, argument = read_command(text)
            command = registry.find(word or "help")
            if command is None:
                self.unknown(word)
            else:
                self._do(command, argument, text)
        else:
            before = len(self.talk.turns)
            if not self._safely(lambda: file_commands.ask(self, text), text) and len(self.talk.turns) <= before:
                self._unsent = text
            if len(self.talk.turns) > before:
                self._hints.after_reply()

    def _do(self, command: Command, argument: str, text: str) -> None:
        rates = command.group == "rate"
        if rates:
            self._hints.before_rating()
        self._safely(lambda: command.run(self, argument), text)
        if rates:
            self._safely(self.end_probation, text)
            self._hints.after_rating()

    def end_probation(self) -> None:
        """Go back from a new adapter whose replies are found worse than those before it."""
        made = self.app.after_rating()
        if made is not None:
            change = self.app.follow()
            self.screen.tell(probation_words(made, change.previous if change else None))

    def _safely(self, act: Callable[[], None], text: str) -> bool:
        """Do it. Whatever goes wrong is said and logged, and the chat goes on; False where it was not done."""
        try:
            act()
        except StillLoading:
            self.screen.tell("Still loading; your message is kept, Enter sends it.")
            self._unsent = text
        except ShammahError as error:
            log.info("failed", exc_info=True)
            if self.talk.load_error is error:
                raise
            self.screen.error(error)
            return False
        except KeyboardInterrupt:
            self.screen.say("(stopped)")
            return False
        except BrokenPipeError:
            raise  # nobody reads the answers any more
        except Exception as error:
            log.exception("failed")
            self.screen.tell(f"Something went wrong: {error} (details: {self.app.home.log_file})")
            return False
        return True


def _starting_words(words: str, job: "Job | None", buffer: Buffer) -> str:
    """What the worker said, with the reason where a run starts at once."""
    if job is None or words != "Training starts.":
        return words
    why = job.why if job.trigger == "resume" else counted(buffer.new, "new example")
    return f"Training starts: {why}. You can go on chatting."


def _trainer_forms(trainer: "Worker") -> "Bar":
    """What the toolbar says of a run under way, in full and in short; nothing while there is none."""
    moved = trainer.last_moved
    if moved is not None:
        curve = loss_curve(moved.losses, ascii=not can_write("█", sys.stdout.encoding), most=_SPARKS)
        return [training_parts(moved, trainer.paused, curve), training_parts(moved, trainer.paused)]
    if trainer.paused:
        return [["training paused"]] if trainer.current or trainer.queue() else []
    return [["training starts"]] if trainer.current else []
