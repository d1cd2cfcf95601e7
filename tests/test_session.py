"""One conversation: what the model is given, what is stored and when, however a turn ends."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from support import talking
from support.remembering import memory

from shammah.config import GenerationSettings
from shammah.errors import DeviceError, PromptTooLong, StoreBusy, UsageError
from shammah.events import Notice
from shammah.model.chat_model import ChatModel
from shammah.model.device import Compute
from shammah.model.loading import load
from shammah.records import Piece, Reply, Turn
from shammah.session import Guidance, Session
from shammah.store import Conversations, Database

GREEDY = GenerationSettings(temperature=0.0, max_tokens=12)


@dataclass
class Talker(talking.Talker):
    """One that can also fail, after so many letters."""

    window: int = 1_000
    fails_after: int | None = None
    error: BaseException = field(default_factory=KeyboardInterrupt)

    def pieces(self, line: str) -> Iterator[str]:
        for place, letter in enumerate(line):
            if place == self.fails_after:
                raise self.error
            yield letter


@pytest.fixture
def talker() -> Talker:
    return Talker()


MakeSession = Callable[..., Session]


@pytest.fixture
def session(talker: Talker, database: Database) -> Session:
    return Session(talker, memory(database), now=lambda: "2026-01-02T03:04:05Z")  # type: ignore[arg-type]


def say(session: Session, text: str, **changes: Any) -> Turn:
    """One whole turn."""
    *_, turn = session.ask(text, replace(GREEDY, **changes))
    assert isinstance(turn, Turn)
    return turn


# What is stored


def test_pieces_come_first_and_at_last_the_turn_as_stored(session: Session, conversations: Conversations) -> None:
    *pieces, turn = session.ask("Hi", GREEDY)
    assert [piece.text for piece in pieces if isinstance(piece, Piece)] == list("Well.")
    assert isinstance(turn, Turn)
    assert conversations.turns(session.conversation_id) == [turn]
    assert (turn.query, turn.response, turn.model, turn.stop_reason) == ("Hi", "Well.", "talker", "end")
    assert (turn.number, turn.time, turn.conversation_id) == (1, "2026-01-02T03:04:05Z", session.conversation_id)
    assert (turn.input_tokens, turn.cached_tokens, turn.output_tokens) == (len("u:Hi|"), 3, 5)
    assert (turn.first_token_ms, turn.latency_ms) == (5.0, 50.0)
    assert turn.options["temperature"] == 0.0 and turn.options["max_tokens"] == 12


def test_each_turn_is_stored_before_the_next_begins(session: Session, conversations: Conversations) -> None:
    for number in range(1, 4):
        say(session, f"Question {number}")
        assert [turn.number for turn in conversations.turns(session.conversation_id)] == list(range(1, number + 1))
    assert [turn.query for turn in session.turns] == ["Question 1", "Question 2", "Question 3"]


def test_the_first_question_is_the_title(session: Session, conversations: Conversations) -> None:
    say(session, "What is\n  a lichen?")
    say(session, "And a moss?")
    assert conversations.conversation(session.conversation_id).title == "What is a lichen?"


def test_without_a_store_nothing_is_kept_but_the_conversation_goes_on(talker: Talker) -> None:
    session = Session(talker, None)  # type: ignore[arg-type]
    say(session, "One")
    say(session, "Two")
    assert talker.prompts[1] == "u:One|a:Well.|u:Two|"
    session.store()  # there is nothing to catch up on


# What the model is given


def test_what_was_said_goes_into_the_next_prompt(session: Session, talker: Talker) -> None:
    talker.says = ["First.", "Second."]
    for text in ("One", "Two", "Three"):
        say(session, text)
    assert talker.prompts == [
        "u:One|",
        "u:One|a:First.|u:Two|",
        "u:One|a:First.|u:Two|a:Second.|u:Three|",
    ]


def test_the_system_prompt_stands_first_and_is_stored(talker: Talker, database: Database) -> None:
    session = Session(talker, memory(database), system="Be brief.")  # type: ignore[arg-type]
    say(session, "One")
    assert say(session, "Two").system == "Be brief."
    assert talker.prompts == ["s:Be brief.|u:One|", "s:Be brief.|u:One|a:Well.|u:Two|"]


def test_reasoning_is_stored_and_not_given_again(session: Session, talker: Talker) -> None:
    talker.reasons = "Let me see."
    assert say(session, "One").reasoning == "Let me see."
    say(session, "Two")
    assert talker.prompts[1] == "u:One|a:Well.|u:Two|"


def test_a_turn_without_a_reply_is_not_given_again(session: Session, talker: Talker) -> None:
    talker.says = ["", "Yes."]
    assert say(session, "One").response == ""
    say(session, "Two")
    assert talker.prompts[1] == "u:Two|"


def test_hashes_tell_contexts_and_exchanges_apart(session: Session) -> None:
    first, second = say(session, "Same"), say(session, "Same")
    assert first.dedupe_hash == second.dedupe_hash  # the same question and reply
    assert first.context_hash != second.context_hash  # after another history


def test_clear_begins_another_conversation_and_keeps_the_old_one(
    session: Session, talker: Talker, conversations: Conversations
) -> None:
    say(session, "One")
    old = session.conversation_id
    session.clear()
    turn = say(session, "Two")
    assert turn.number == 1 and turn.conversation_id == session.conversation_id != old
    assert talker.prompts[1] == "u:Two|"
    assert [turn.query for turn in conversations.turns(old)] == ["One"]
    assert conversations.conversation(session.conversation_id).title == "Two"


def test_a_conversation_is_resumed_where_it_was(
    session: Session, talker: Talker, conversations: Conversations, database: Database
) -> None:
    say(session, "One")
    history = conversations.turns(session.conversation_id)
    again = Session(talker, memory(database), history=history)  # type: ignore[arg-type]
    turn = say(again, "Two")
    assert talker.prompts[1] == "u:One|a:Well.|u:Two|"
    assert (turn.number, turn.conversation_id) == (2, session.conversation_id)
    assert conversations.conversation(turn.conversation_id).title == "One"


# The window


def test_the_user_is_told_when_turns_leave_and_only_then(session: Session, talker: Talker) -> None:
    talker.window = 80
    notices = []
    for number in range(12):
        items = list(session.ask(f"Question {number}", GREEDY))
        notices += [item for item in items if isinstance(item, Notice)]
        assert len(talker.prompts[-1]) <= 80 - 12
        assert talker.prompts[-1].endswith(f"u:Question {number}|")
    assert 1 < len(notices) < 12
    assert "context window of 80 tokens is full: the oldest" in notices[0].text
    assert len({notice.text for notice in notices}) == len(notices)  # more turns each time


def test_a_notice_comes_before_the_reply(session: Session, talker: Talker) -> None:
    say(session, "A first question")
    talker.window = 40
    first, *_ = session.ask("Another question", GREEDY)
    assert isinstance(first, Notice) and "the oldest turn has left it" in first.text


def test_clear_lets_nothing_be_left_out_any_more(session: Session, talker: Talker) -> None:
    say(session, "A first question")
    talker.window = 40
    say(session, "Another question")
    session.clear()
    talker.window = 1_000
    say(session, "One")
    say(session, "Two")
    assert talker.prompts[-1] == "u:One|a:Well.|u:Two|"


def test_a_larger_window_of_another_model_takes_in_again_what_had_left(talker: Talker, database: Database) -> None:
    session = Session(talker, memory(database))  # type: ignore[arg-type]
    say(session, "One")
    talker.window = 40
    assert say(session, "A rather long question").dropped == 1
    other = Talker()
    session.work_as(Session(other, memory(database)))  # type: ignore[arg-type]
    assert say(session, "Three").dropped == 0 and other.prompts[0].startswith("u:One|a:Well.|u:A rather")


def test_a_prompt_over_the_window_is_refused_and_nothing_is_stored(
    session: Session, talker: Talker, conversations: Conversations
) -> None:
    with pytest.raises(PromptTooLong, match="1,000"):
        list(session.ask("x" * 1_000, GREEDY))
    assert conversations.count() == 0 and talker.prompts == []
    say(session, "Shorter")
    assert talker.prompts == ["u:Shorter|"]


@pytest.mark.parametrize("text", ["", " ", "\n\t\n"])
def test_an_empty_prompt_is_refused(session: Session, conversations: Conversations, text: str) -> None:
    with pytest.raises(UsageError, match="prompt is empty"):
        list(session.ask(text, GREEDY))
    assert conversations.count() == 0


# Turns that don't end by themselves


def test_a_cancelled_turn_is_stored_with_what_was_said(session: Session, talker: Talker) -> None:
    talker.says = ["A long reply"]
    said: list[str] = []
    for item in session.ask("Hi", GREEDY, cancelled=lambda: len(said) == 6):
        if isinstance(item, Piece):
            said.append(item.text)
    assert isinstance(item, Turn)
    assert (item.response, item.stop_reason, item.output_tokens) == ("A long", "cancelled", 6)
    say(session, "Go on")
    assert talker.prompts[1] == "u:Hi|a:A long|u:Go on|"


def test_a_reader_that_goes_away_leaves_the_turn_stored_with_right_counts(
    session: Session, talker: Talker, conversations: Conversations
) -> None:
    talker.says = ["A long reply"]
    items = session.ask("Hi", GREEDY)
    assert len(list(islice(items, 6))) == 6
    items.close()
    (turn,) = conversations.turns(session.conversation_id)
    assert (turn.response, turn.stop_reason, turn.output_tokens) == ("A long", "cancelled", 6)
    assert (turn.input_tokens, turn.cached_tokens) == (5, 3)
    assert session.turns == (turn,)
    say(session, "Go on")


def test_a_reader_that_goes_away_at_the_end_leaves_one_turn(session: Session, conversations: Conversations) -> None:
    items = session.ask("Hi", GREEDY)
    for item in items:
        if isinstance(item, Turn):
            items.close()
    assert conversations.count() == 1


def test_a_reader_that_never_begins_asks_nothing(session: Session, talker: Talker) -> None:
    session.ask("Hi", GREEDY).close()
    assert talker.prompts == []


def test_an_interrupt_in_a_step_stores_what_was_said(
    session: Session, talker: Talker, conversations: Conversations
) -> None:
    talker.says, talker.fails_after, talker.reasons = ["A long reply"], 6, "Hm."
    with pytest.raises(KeyboardInterrupt):
        list(session.ask("Hi", GREEDY))
    (turn,) = conversations.turns(session.conversation_id)
    assert (turn.response, turn.reasoning, turn.stop_reason) == ("A long", "Hm.", "cancelled")
    assert (turn.input_tokens, turn.output_tokens) == (5, 2 * len("Hm.A long"))
    assert turn.latency_ms > 0
    talker.fails_after = None
    say(session, "Go on")
    assert talker.prompts[1] == "u:Hi|a:A long|u:Go on|"


def test_an_interrupt_after_the_reader_went_away_stores_it_too(
    database: Database, conversations: Conversations
) -> None:
    """The pipe closes, and Ctrl+C comes while the last step is being finished."""

    class Stubborn(Talker):
        def stream(self, input_tokens: int, cancelled: Callable[[], bool]) -> Iterator[Piece | Reply]:
            yield Piece("reply", "So ")
            yield Piece("reply", "far")
            raise KeyboardInterrupt

    session = Session(Stubborn(), memory(database))  # type: ignore[arg-type]
    items = session.ask("Hi", GREEDY)
    list(islice(items, 2))
    with pytest.raises(KeyboardInterrupt):
        items.close()
    (turn,) = conversations.turns(session.conversation_id)
    assert (turn.response, turn.stop_reason) == ("So far", "cancelled")


@pytest.mark.parametrize("stored", [False, True], ids=["before it is", "after it was"])
def test_an_interrupt_while_the_turn_is_stored_neither_loses_nor_doubles_it(
    talker: Talker, database: Database, stored: bool
) -> None:
    """A second Ctrl+C that comes when the first has just ended the reply."""

    class Interrupted(Conversations):
        interrupts = 1

        def add(self, turn: Turn, *, title: str) -> Turn:
            self.interrupts -= 1
            if self.interrupts == 0:
                if stored:
                    super().add(turn, title=title)
                raise KeyboardInterrupt
            return super().add(turn, title=title)

    store = Interrupted(database)
    session = Session(talker, memory(database, store))  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        list(session.ask("Hi", GREEDY))
    assert [turn.response for turn in session.turns] == ["Well."]
    assert [(turn.number, turn.response) for turn in store.turns(session.conversation_id)] == [(1, "Well.")]
    assert say(session, "On").number == 2


@pytest.mark.parametrize("error", [DeviceError("Not enough memory"), RuntimeError("broken")], ids=repr)
def test_a_turn_that_failed_is_not_stored_and_the_next_one_is(
    session: Session, talker: Talker, conversations: Conversations, error: Exception
) -> None:
    talker.fails_after, talker.error = 3, error
    with pytest.raises(type(error)):
        list(session.ask("Hi", GREEDY))
    assert conversations.count() == 0 and session.turns == ()
    talker.fails_after = None
    say(session, "Again")
    assert talker.prompts[-1] == "u:Again|"
    assert conversations.count() == 1


def test_a_store_that_is_held_costs_neither_reply_nor_turn(talker: Talker, database: Database) -> None:
    class Held(Conversations):
        busy = True

        def add(self, turn: Turn, *, title: str) -> Turn:
            if self.busy:
                raise StoreBusy("The database is held")
            return super().add(turn, title=title)

    store = Held(database)
    session = Session(talker, memory(database, store))  # type: ignore[arg-type]
    items = []
    with pytest.raises(StoreBusy) as held:
        for item in session.ask("One", GREEDY):
            items.append(item)
    assert isinstance(items[-1], Turn) and store.count() == 0
    store.busy = False
    # The error, with the frames it holds, is still there: the model must not be kept by them.
    assert held.value is not None
    say(session, "Two")
    assert [turn.query for turn in store.turns(session.conversation_id)] == ["One", "Two"]
    assert talker.prompts[1] == "u:One|a:Well.|u:Two|"


# Once more, and not at all


def test_a_second_try_takes_the_place_of_the_first(
    session: Session, talker: Talker, conversations: Conversations
) -> None:
    talker.says = ["One.", "Bad.", "Good.", "Three."]
    say(session, "First")
    bad = say(session, "Second")
    *_, good = session.retry(GREEDY)
    assert isinstance(good, Turn)
    assert (good.query, good.response, good.retry_of, good.parent) == ("Second", "Good.", bad.id, bad.parent)
    say(session, "Third")
    assert talker.prompts[2:] == ["u:First|a:One.|u:Second|", "u:First|a:One.|u:Second|a:Good.|u:Third|"]
    assert [turn.response for turn in conversations.context(session.conversation_id)] == ["One.", "Good.", "Three."]
    assert conversations.count() == 4, "the first try stays stored"
    assert conversations.turn(bad.id).quality_parts["retry"] == 0.0


def test_a_second_try_is_drawn_anew(session: Session) -> None:
    say(session, "Hi")
    *_, greedy = session.retry(GREEDY)
    assert isinstance(greedy, Turn) and greedy.options["temperature"] > 0
    *_, seeded = session.retry(replace(GREEDY, temperature=0.5, seed=7))
    assert isinstance(seeded, Turn) and seeded.options["seed"] != 7 and seeded.options["temperature"] == 0.5


def test_a_second_try_that_fails_leaves_the_first(session: Session, talker: Talker) -> None:
    first = say(session, "Hi")
    talker.fails_after, talker.error = 1, DeviceError("Not enough memory")
    with pytest.raises(DeviceError):
        list(session.retry(GREEDY))
    assert session.turns == (first,)


def test_nothing_to_try_again(session: Session) -> None:
    with pytest.raises(UsageError):
        list(session.retry(GREEDY))


def test_what_is_undone_is_not_given_again_and_stays_stored(
    session: Session, talker: Talker, conversations: Conversations, database: Database
) -> None:
    for text in ("One", "Two", "Three"):
        say(session, text)
    assert [turn.query for turn in session.undo(2)] == ["Two", "Three"]
    again = Session(talker, memory(database), history=conversations.context(session.conversation_id))  # type: ignore[arg-type]
    turn = say(again, "Four")
    assert talker.prompts[-1] == "u:One|a:Well.|u:Four|"
    assert conversations.lineage(turn) == [again.turns[0]]
    assert conversations.count() == 4
    assert len(again.undo(9)) == 2 and again.undo() == []


# Rules


def test_rules_stand_before_the_question_and_are_not_given_twice(talker: Talker, database: Database) -> None:
    rules = ["Answer in French."]
    session = Session(talker, memory(database), guidance=Guidance(lambda adapter, strength: rules))  # type: ignore[arg-type]
    first = say(session, "One")
    assert first.rules == ("Answer in French.",) and first.query == "One"
    rules.append("Be brief.")
    say(session, "Two")
    rules.clear()
    assert say(session, "Three").rules == ()
    assert talker.prompts == [
        "u:Answer in French.\n\nOne|",
        "u:One|a:Well.|u:Answer in French.\nBe brief.\n\nTwo|",
        "u:One|a:Well.|u:Two|a:Well.|u:Three|",
    ]


def test_rules_can_stand_in_the_system_prompt(talker: Talker, database: Database) -> None:
    guidance = Guidance(lambda adapter, strength: ["Answer in French."], "system")
    session = Session(talker, memory(database), system="You are a cook.", guidance=guidance)  # type: ignore[arg-type]
    say(session, "One")
    assert talker.prompts[0].startswith("s:You are a cook.") and "Answer in French." in talker.prompts[0]
    assert talker.prompts[0].endswith("|u:One|")


def test_rules_count_for_the_window(talker: Talker, database: Database) -> None:
    talker.window = 60
    session = Session(talker, memory(database), guidance=Guidance(lambda adapter, strength: ["x" * 60]))  # type: ignore[arg-type]
    with pytest.raises(PromptTooLong):
        say(session, "One")


# Secrets

KEY = "sk-ant-api03-Zk3vQ9xT7mLp2RwY8sBd4FhJ6nKc1VgE"


def test_a_secret_is_not_stored_but_stays_in_the_conversation(
    session: Session, talker: Talker, conversations: Conversations, database: Database
) -> None:
    items = list(session.ask(f"My key is {KEY}", GREEDY))
    assert any(isinstance(item, Notice) and "API key" in item.text for item in items)
    assert isinstance(items[-1], Turn)
    say(session, "And now?")
    assert KEY in talker.prompts[1]
    stored = conversations.turns(session.conversation_id)
    assert "[redacted API key]" in stored[0].query
    database.close()
    for file in Path(database.path).parent.iterdir():
        assert KEY.encode() not in file.read_bytes()


def test_redaction_can_be_turned_off(talker: Talker, database: Database, conversations: Conversations) -> None:
    session = Session(talker, memory(database, redact=False))  # type: ignore[arg-type]
    say(session, f"My key is {KEY}")
    assert conversations.search(limit=None)[0].query == f"My key is {KEY}"


# With a real model


@pytest.fixture(scope="module")
def tiny(tiny_model: Path, one_thread: None) -> ChatModel:
    return ChatModel("tiny", load(tiny_model, Compute("cpu", "float32", 1, "", {})))


def test_a_follow_up_pays_only_for_what_is_new(tiny: ChatModel, database: Database) -> None:
    session = Session(tiny, memory(database))
    first, second = say(session, "Tell me something."), say(session, "And more.")
    assert first.cached_tokens == 0
    assert second.cached_tokens >= first.input_tokens
    assert second.input_tokens > first.input_tokens + first.output_tokens


def test_a_real_stream_that_is_left_behind_frees_the_model(
    tiny: ChatModel, database: Database, conversations: Conversations
) -> None:
    session = Session(tiny, memory(database))
    whole = say(session, "Tell me something.", max_tokens=30)
    session.clear()
    items = session.ask("Tell me something.", replace(GREEDY, max_tokens=30))
    pieces = [item.text for item in islice(items, 3) if isinstance(item, Piece)]
    items.close()
    (turn,) = conversations.turns(session.conversation_id)
    assert turn.stop_reason == "cancelled" and turn.response.startswith("".join(pieces))
    assert 3 <= turn.output_tokens < whole.output_tokens
    session.clear()
    assert say(session, "Tell me something.", max_tokens=30).response == whole.response
