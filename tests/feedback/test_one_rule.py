"""Whatever is done in whatever order: no reply rated medium or critical is a target, and the books are right."""

import tempfile
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support.talking import Talker

from shammah.config import Config, GenerationSettings
from shammah.errors import RowError, UsageError
from shammah.feedback.desk import Desk, Outcome, prompt_of
from shammah.feedback.formats import read_row, write_row
from shammah.feedback.levels import weight_of
from shammah.records import Example, Level, Turn
from shammah.session import Memory, Session
from shammah.store import Conversations, Database
from shammah.store.examples import Examples
from shammah.store.identity import prompt_hash, same_reply
from shammah.store.rules import Rules

GREEDY = GenerationSettings(temperature=0.0)
# Few of each, so that the same things meet again and again.
QUESTIONS = st.sampled_from(["What port?", "what  port?", "Who is on call?"])
REPLIES = st.sampled_from(["8080", "8443", "Alex", ""])
NOTES = st.sampled_from(["", "Staging uses port 8443", "wrong", "Always say the port"])
LEVELS: st.SearchStrategy[Level] = st.sampled_from(["good", "medium", "critical"])
NUMBERS = st.integers(0, 20)


class Home:
    """The store of one home, as the program opens it."""

    def __init__(self, folder: Path) -> None:
        self.database = Database(folder / "shammah.db")
        self.conversations = Conversations(self.database)
        self.examples = Examples(self.database, limit=10_000)
        self.desk = Desk(self.database, self.conversations, self.examples, Rules(self.database), Config())

    def all(self) -> list[Example]:
        return self.examples.find(limit=None, oldest_first=True)


class Feedback(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.home = Home(Path(self.folder.name))
        self.session: Session | None = None

    def teardown(self) -> None:
        if hasattr(self, "home"):
            self.home.database.close()
            self.folder.cleanup()

    def talk(self, reply: str) -> Session:
        history = self.session.turns if self.session else ()
        memory = Memory(self.home.conversations, self.home.desk)
        self.session = Session(Talker([reply]), memory, history=history)  # type: ignore[arg-type]
        return self.session

    def turn(self, number: int) -> Turn:
        turns = self.home.conversations.search(limit=None)
        return turns[number % len(turns)]

    def has_turns(self) -> bool:
        return hasattr(self, "home") and self.home.conversations.count() > 0

    def confirmed(self, outcome: Outcome, level: Level) -> None:
        assert outcome.example.level == level
        assert outcome.example.weight == weight_of(level, Config().weights)
        assert outcome.example == self.home.examples.get(outcome.example.id)
        assert outcome.buffer == self.home.desk.buffer()

    # What a user can do

    @rule(question=QUESTIONS, reply=REPLIES)
    def ask(self, question: str, reply: str) -> None:
        list(self.talk(reply).ask(question, GREEDY))

    @precondition(lambda self: self.session and self.session.turns)
    @rule(reply=REPLIES)
    def retry(self, reply: str) -> None:
        list(self.talk(reply).retry(GREEDY))

    @precondition(lambda self: self.session and self.session.turns)
    @rule(count=st.integers(1, 3))
    def undo(self, count: int) -> None:
        self.talk("").undo(count)

    @rule()
    def begin_anew(self) -> None:
        self.session = None

    @precondition(has_turns)
    @rule(number=NUMBERS, level=LEVELS, note=NOTES)
    def rate(self, number: int, level: Level, note: str) -> None:
        turn = self.turn(number)
        try:
            outcome = self.home.desk.rate(turn.id, level, note)
        except UsageError:
            assert not turn.response
        else:
            self.confirmed(outcome, level)
            assert self.home.conversations.turn(turn.id).feedback == level

    @precondition(has_turns)
    @rule(number=NUMBERS, better=REPLIES)
    def fix(self, number: int, better: str) -> None:
        turn = self.turn(number)
        try:
            outcome = self.home.desk.fix(turn.id, better)
        except UsageError:
            assert not better or same_reply(better, turn.response)
        else:
            self.confirmed(outcome, turn.feedback if turn.feedback == "critical" else "medium")
            assert outcome.example.target == better

    @precondition(has_turns)
    @rule(number=NUMBERS)
    def unrate(self, number: int) -> None:
        turn = self.turn(number)
        with suppress(UsageError):
            self.home.desk.unrate(turn.id)
        assert self.home.examples.of_turn(turn.id) is None
        assert self.home.conversations.turn(turn.id).feedback is None

    @rule(question=QUESTIONS, reply=REPLIES)
    def teach(self, question: str, reply: str) -> None:
        with suppress(UsageError):
            self.confirmed(self.home.desk.teach(question, reply), "critical")

    @rule(
        question=QUESTIONS,
        reply=REPLIES,
        better=REPLIES,
        level=LEVELS,
        note=NOTES,
        state=st.sampled_from(["", "ready"]),
    )
    def import_a_row(self, **given: Any) -> None:
        row = {"prompt": given["question"], "rating": given["level"]}
        row |= {key: given[key] for key in ("reply", "better", "note", "state") if given[key]}
        with suppress(RowError):
            draft = read_row("shammah", row, rating="good")
            known = self.home.examples.count()
            _, new = self.home.desk.take(draft)
            assert self.home.examples.count() == known + new
            assert not self.home.desk.take(draft)[1], "importing it again adds nothing"

    @precondition(lambda self: hasattr(self, "home") and self.home.examples.count())
    @rule(number=NUMBERS, what=st.sampled_from(["delete", "disable", "enable", "accept", "trained"]), text=REPLIES)
    def review(self, number: int, what: str, text: str) -> None:
        desk, examples = self.home.desk, self.home.all()
        example = examples[number % len(examples)]
        if what == "delete":
            desk.delete([example.id])
        elif what == "trained":
            self.home.examples.mark_trained([example.id], f"adapter {number}")
        elif what == "accept":
            with suppress(UsageError):
                desk.accept(example.id, text or None)
        else:
            desk.enable(example.id, what == "enable")

    @rule()
    def restart(self) -> None:
        self.home.database.close()
        self.home = Home(Path(self.folder.name))

    # What must hold after each of it

    @invariant()
    def no_rejected_reply_is_a_target(self) -> None:
        if not hasattr(self, "home"):
            return
        bad = [
            (prompt_hash(prompt_of(turn, self.home.conversations.lineage(turn))), turn.response)
            for turn in self.home.conversations.search(limit=None)
            if turn.feedback in ("medium", "critical")
        ]
        bad += [
            (prompt_hash(example.messages), example.rejected)
            for example in self.home.all()
            if example.rejected and example.level != "good"
        ]
        drawn = {example.id for example in self.home.examples.live()}
        for example in self.home.all():
            if example.trainable or example.id in drawn:
                prompt = prompt_hash(example.messages)
                assert not any(prompt == other and same_reply(example.target, reply) for other, reply in bad if reply)

    @invariant()
    def one_prompt_has_one_target(self) -> None:
        if not hasattr(self, "home"):
            return
        ready = [prompt_hash(example.messages) for example in self.home.examples.live() if example.target is not None]
        assert len(ready) == len(set(ready))

    @invariant()
    def the_books_are_right(self) -> None:
        if not hasattr(self, "home"):
            return
        waiting = [example for example in self.home.all() if example.trainable and not example.trained]
        buffer = self.home.desk.buffer()
        assert (buffer.examples, buffer.weighted) == (len(waiting), sum(example.weight for example in waiting))
        there = [example for example in self.home.all() if not example.hold]
        assert buffer.needs_target == sum(example.state == "needs target" for example in there)
        assert buffer.needs_review == sum(example.state == "needs review" for example in there)

    @precondition(lambda self: hasattr(self, "home") and self.home.examples.count())
    @rule()
    def an_export_gives_the_same_examples_in_an_empty_home(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            other = Home(Path(folder))
            with closing(other.database):
                for example in self.home.all():
                    row = write_row("shammah", example)
                    assert row is not None
                    assert other.desk.take(read_row("shammah", row, rating="good"))[1]
                same = [replace(example, trained=0) for example in self.home.all()]  # its adapters are not there
                for there, here in zip(other.all(), same, strict=True):
                    different = [name for name in Example.__slots__ if getattr(there, name) != getattr(here, name)]
                    assert not different, (different, there, here)


TestFeedback = Feedback.TestCase
TestFeedback.settings = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
)
