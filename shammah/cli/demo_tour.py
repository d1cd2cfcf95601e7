"""The demo itself: a chat with the usual commands, in which what a user would do is done, and what came of it.

Nothing is made up: each reply is the model's, each line goes through the chat as if it had been typed.
"""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TextIO

from shammah.app import App
from shammah.cli import demo_words as words
from shammah.cli.demo_guide import Guide
from shammah.cli.demo_lessons import BACK, LESSONS, REWORDED, Lesson
from shammah.config import UiSettings
from shammah.errors import Interrupted, ShammahError, TrainingError
from shammah.events import Event, Progress, ReceiptReady, TrainingEnded, TrainingMoved
from shammah.records import Receipt, Run, Turn
from shammah.ui.completing import NamesOf
from shammah.ui.prompt import HistorySettings, Prompt
from shammah.ui.render import Screen, columns
from shammah.ui.repl import Repl

# How often it is looked whether a wait is over, and how long a run that was cancelled may take to end.
_LOOK_SECONDS, _END_SECONDS = 0.05, 5.0

Lines = Generator[str, None, None]


@dataclass(frozen=True, slots=True)
class Step:
    """How long a part of the demo took, and how much of the processors' time."""

    name: str
    seconds: float
    cpu_seconds: float


@dataclass(slots=True)
class Asked:
    """A question with the replies to it: without what was learned, with it, and without it again."""

    lesson: Lesson
    reworded: bool = False
    before: str = ""
    after: str | None = None
    back: str | None = None


@dataclass(slots=True)
class Found:
    """What the demo came to."""

    model: str
    steps: list[Step] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    run: Run | None = None
    receipt: Receipt | None = None

    @property
    def deployed(self) -> bool:
        return self.receipt is not None and bool(self.receipt.body["deployed"])

    @property
    def right_before(self) -> int:
        return sum(asked.lesson.passed_by(asked.before) for asked in self.asked)

    @property
    def right_after(self) -> int:
        return sum(asked.lesson.passed_by(asked.after or "") for asked in self.asked)

    @property
    def better(self) -> bool:
        return self.deployed and self.right_after > self.right_before


class Tour:
    """Told on the `stream`. `stopped` says whether Ctrl+C was pressed."""

    def __init__(self, app: App, stream: TextIO, stopped: Callable[[], bool]) -> None:
        self._app = app
        self._stream = stream
        self._screen = Screen(stream, stream, ui=lambda: app.config.ui)
        self._stopped = stopped
        self._latest: Progress | TrainingMoved | None = None
        self._guide: Guide | None = None
        self.found = Found(app.config.model)
        self._repl = Repl(app, self._screen, opens=self._open)

    def run(self) -> Found:
        """The whole demo. Raises Interrupted, and what keeps it from going on."""
        self._tell(words.OPENING)
        unsubscribe = self._app.events.subscribe(self._hear)
        try:
            self._repl.run()
        finally:
            unsubscribe()
        return self.found

    def _open(
        self,
        history: HistorySettings,
        on_painted: Callable[[], None],
        names_of: NamesOf,
        settings: Callable[[], UiSettings],
    ) -> Prompt:
        self._guide = Guide(on_painted, self._lines())
        return self._guide

    def _hear(self, event: Event) -> None:
        """On the thread of whoever tells it."""
        match event:
            case Progress() | TrainingMoved():
                self._latest = event
            case ReceiptReady():
                self.found.receipt = event.receipt
            case TrainingEnded():
                self.found.run = event.run

    # The parts of it, in their order

    def _lines(self) -> Lines:
        """All that is typed, until Ctrl+C; pressed twice it is an error, which the chat alone would pass over."""
        try:
            yield from self._all_lines()
        except KeyboardInterrupt:
            self._stop()

    def _all_lines(self) -> Lines:
        with self._step("load", words.load_words(self.found.model)):
            self._load()
        with self._step("ask and correct", words.ASK):
            for lesson in LESSONS:
                yield from self._teach(lesson)
        with self._step("train", words.TRAIN):
            yield from self._train()
        if not self.found.deployed:
            return
        with self._step("ask again", words.AGAIN):
            for asked in self.found.asked:
                asked.after = (yield from self._ask(asked.lesson)).response
        with self._step("go back", words.BACK):
            yield from self._go_back()

    def _load(self) -> None:
        talk = self._repl.talk
        self._wait(lambda: talk.loaded or talk.load_error is not None)
        if talk.load_error is not None:
            raise talk.load_error

    def _teach(self, lesson: Lesson) -> Lines:
        """Ask, and rate the reply as somebody who knows better."""
        turn = yield from self._ask(lesson)
        self.found.asked.append(Asked(lesson, before=turn.response))
        if lesson.passed_by(turn.response):
            yield from self._type("/good")
        else:
            yield from self._type(f"/fix {lesson.answer}")

    def _train(self) -> Lines:
        """Train, and ask something meanwhile; until it was judged, and swapped in if it is better."""
        worker = self._repl.trainer()
        if not (worker.queue() or worker.current or self.found.run):  # asked in the order in which a run passes them
            raise TrainingError("Training did not begin", hint="Without --set it begins by itself: `shammah demo`.")
        self._tell(words.MEANWHILE)
        begun = time.perf_counter()
        turn = yield from self._ask(REWORDED)
        busy = worker.current is not None
        self.found.asked.append(Asked(REWORDED, reworded=True, before=turn.response))
        if busy:
            self._tell(words.meanwhile_words(time.perf_counter() - begun))
        self._wait(lambda: self.found.run is not None or not (worker.queue() or worker.current))

    def _go_back(self) -> Lines:
        yield from self._type("/adapters rollback")
        asked = next(asked for asked in self.found.asked if asked.lesson is BACK)
        asked.back = (yield from self._ask(BACK)).response

    # How it is done

    @contextmanager
    def _step(self, name: str, told: str) -> Iterator[None]:
        self._tell("")
        self._tell(words.heading(len(self.found.steps) + 1, told), strong=True)
        begun = time.perf_counter(), time.process_time()
        yield
        self.found.steps.append(Step(name, time.perf_counter() - begun[0], time.process_time() - begun[1]))

    def _tell(self, text: str, *, strong: bool = False) -> None:
        """Beside what the chat says; a heading stands out where the terminal can do that."""
        text = words.told(text, columns(self._stream))
        self._screen.line(self._screen.theme(self._stream).paint(text, "title") if strong else text)

    def _type(self, line: str) -> Lines:
        """Have the chat do a line, which stands on the screen as if it had been typed."""
        self._stop_if_asked()
        self._screen.line(f"> {line}")
        yield line
        self._stop_if_asked()

    def _ask(self, lesson: Lesson) -> Generator[str, None, Turn]:
        """The reply, in a conversation of its own: none leans on the one before it."""
        talk = self._repl.talk
        talk.clear()
        yield from self._type(lesson.question)
        if not talk.turns:
            raise ShammahError("The demo can't go on without a reply", hint="`shammah doctor` looks at this machine.")
        if talk.turns[-1].stop_reason == "cancelled":
            self._stop()
        return talk.turns[-1]

    def _wait(self, is_over: Callable[[], bool]) -> None:
        """Show how far it has come, and say what there is to say, until it is over."""
        assert self._guide is not None
        while not is_over():
            self._stop_if_asked()
            self._guide.speak()
            match self._latest:
                case Progress() as progress:
                    self._screen.progress.show(progress)
                case TrainingMoved() as moved:
                    self._screen.progress.moved(moved)
            time.sleep(_LOOK_SECONDS)
        self._screen.progress.clear()
        self._guide.speak()

    def _stop_if_asked(self) -> None:
        if self._stopped():
            self._stop()

    def _stop(self) -> None:
        """Leave no run behind: nobody could go on with it."""
        self._screen.progress.clear()
        if self._app.training.started:
            worker, end = self._app.training.worker, time.monotonic() + _END_SECONDS
            worker.cancel()
            with suppress(KeyboardInterrupt):  # pressed again, it is not waited for
                while worker.current is not None and time.monotonic() < end:
                    time.sleep(_LOOK_SECONDS)
        raise Interrupted("The demo was stopped", hint=words.GONE)
