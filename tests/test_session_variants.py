"""Replies that take each other's place: tried again, gone on with, chosen among; and one conversation in two chats."""

from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from support.remembering import memory
from support.talking import Talker

from shammah.config import GenerationSettings
from shammah.errors import DeviceError, PromptTooLong, UsageError
from shammah.feedback.desk import Desk
from shammah.home import Home
from shammah.model.chat_model import ChatModel
from shammah.model.device import Compute
from shammah.model.loading import load
from shammah.records import Piece, Turn
from shammah.session import Session
from shammah.store import Conversations, Database, Examples, Rules

GREEDY = GenerationSettings(temperature=0.0, max_tokens=12)
KEY = "sk-ant-api03-Zk3vQ9xT7mLp2RwY8sBd4FhJ6nKc1VgE"


@pytest.fixture
def talker() -> Talker:
    return Talker()


@pytest.fixture
def begin(talker: Talker, database: Database) -> Callable[..., Session]:
    """Another chat of the same home."""

    def begin(**given: Any) -> Session:
        return Session(talker, memory(database), **given)  # type: ignore[arg-type]

    return begin


@pytest.fixture
def session(begin: Callable[..., Session]) -> Session:
    return begin()


@pytest.fixture
def desk(database: Database) -> Desk:
    return memory(database).desk


def last(items: Any) -> Turn:
    *_, turn = items
    assert isinstance(turn, Turn)
    return turn


def say(session: Session, text: str) -> Turn:
    return last(session.ask(text, GREEDY))


def texts(turns: Any) -> list[str]:
    return [turn.response for turn in turns]


class TestChoosing:
    @pytest.fixture
    def three(self, session: Session, talker: Talker) -> list[Turn]:
        """A question before, and three replies to the last one."""
        talker.says = ["Zero.", "One.", "Two.", "Three.", "On."]
        say(session, "Before")
        return [say(session, "Ask"), last(session.retry(GREEDY)), last(session.retry(GREEDY))]

    def test_the_replies_stand_in_the_order_they_came(self, session: Session, three: list[Turn]) -> None:
        assert session.variants() == three
        assert session.turns[-1] == three[-1]

    @pytest.mark.parametrize("kept", [True, False])
    def test_with_a_fixed_seed_no_try_is_drawn_as_an_earlier_one(self, talker: Talker, begin: Any, kept: bool) -> None:
        session = begin() if kept else Session(talker, None)  # type: ignore[arg-type]
        talker.says = ["One.", "Two.", "Three.", "Four."]
        seeded = replace(GREEDY, seed=3)
        first = last(session.ask("Ask", seeded))
        second = last(session.retry(seeded))
        session.choose(first)
        tries = [first, second, last(session.retry(seeded)), last(session.retry(seeded))]
        assert [turn.options["seed"] for turn in tries] == [3, 4, 5, 6]

    def test_the_conversation_goes_on_from_the_one_chosen(
        self, session: Session, talker: Talker, three: list[Turn], conversations: Conversations
    ) -> None:
        session.choose(three[0])
        assert texts(conversations.context(session.conversation_id)) == ["Zero.", "One."]
        turn = say(session, "Next")
        assert talker.prompts[-1] == "u:Before|a:Zero.|u:Ask|a:One.|u:Next|"
        assert turn.parent == three[0].id
        assert texts(conversations.context(session.conversation_id)) == ["Zero.", "One.", "On."]
        assert session.variants() == [turn]

    def test_a_resumed_conversation_has_them_too(
        self, session: Session, begin: Callable[..., Session], three: list[Turn], conversations: Conversations
    ) -> None:
        session.choose(three[1])
        again = begin(history=conversations.context(session.conversation_id))
        assert again.turns[-1].id == three[1].id and texts(again.variants()) == ["One.", "Two.", "Three."]
        again.choose(again.variants()[2])
        assert texts(conversations.context(session.conversation_id)) == ["Zero.", "Three."]

    def test_ratings_stay_with_their_turns_and_good_pairs_with_the_one_before(
        self, session: Session, three: list[Turn], desk: Desk, conversations: Conversations
    ) -> None:
        desk.rate(three[1].id, "critical", "No")
        session.choose(three[0])
        assert [turn.feedback for turn in conversations.variants(three[0])] == [None, "critical", None]
        first, third = (desk.rate(turn.id, "good").example for turn in (three[0], three[2]))
        assert (first.source, first.target, first.rejected) == ("rating", "One.", None)
        assert (third.source, third.target, third.rejected) == ("retry", "Three.", "Two.")

    def test_one_more_try_is_one_more_of_the_chosen(self, session: Session, three: list[Turn]) -> None:
        session.choose(three[0])
        fourth = last(session.retry(GREEDY))
        assert fourth.retry_of == three[0].id and texts(session.variants()) == ["One.", "Two.", "Three.", "On."]

    def test_undone_turns_leave_those_of_the_question_before(self, session: Session, three: list[Turn]) -> None:
        session.choose(three[0])
        say(session, "Next")
        session.undo()
        assert session.turns[-1] == three[0] and session.variants() == three
        session.undo()
        assert texts(session.variants()) == ["Zero."]
        session.undo()
        assert session.variants() == []

    def test_without_a_store_too(self, talker: Talker) -> None:
        session = Session(talker, None)  # type: ignore[arg-type]
        talker.says = ["One.", "Two.", "Three."]
        first, second = say(session, "Ask"), last(session.retry(GREEDY))
        assert session.variants() == [first, second]
        session.choose(first)
        say(session, "Next")
        assert talker.prompts[-1] == "u:Ask|a:One.|u:Next|"
        session.clear()
        assert session.variants() == []

    def test_a_secret_that_only_this_conversation_knows_stays_in_it(self, session: Session, talker: Talker) -> None:
        talker.says = [f"It is {KEY}", "Well.", "On."]
        say(session, "Ask")
        last(session.retry(GREEDY))
        session.choose(session.variants()[0])
        say(session, "Next")
        assert talker.prompts[-1] == f"u:Ask|a:It is {KEY}|u:Next|"


class TestGoingOn:
    @pytest.fixture
    def stopped(self, session: Session, talker: Talker) -> Turn:
        talker.says, talker.stops = ["Zero.", "One,", " two,", " three."], ["end", "length", "length", "end"]
        say(session, "Before")
        return say(session, "Ask")

    def test_the_whole_takes_the_place_of_the_part(
        self, session: Session, talker: Talker, stopped: Turn, conversations: Conversations
    ) -> None:
        *pieces, turn = session.go_on(GREEDY)
        assert "".join(piece.text for piece in pieces if isinstance(piece, Piece)) == " two,"
        assert isinstance(turn, Turn)
        assert (turn.query, turn.response, turn.stop_reason) == ("Ask", "One, two,", "length")
        assert (turn.parent, turn.continues, turn.retry_of) == (stopped.parent, stopped.id, None)
        assert talker.prompts[-1] == "u:Before|a:Zero.|u:Ask|One,"
        assert last(session.go_on(GREEDY)).response == "One, two, three."
        assert texts(conversations.context(session.conversation_id)) == ["Zero.", "One, two, three."]
        assert texts(session.variants()) == ["One, two, three."], "its parts are no replies of their own"
        assert conversations.count() == 4, "but they stay stored"
        say(session, "Next")
        assert talker.prompts[-1] == "u:Before|a:Zero.|u:Ask|a:One, two, three.|u:Next|"

    def test_it_is_no_pair_and_a_rating_stays_where_it_was_given(
        self, session: Session, stopped: Turn, desk: Desk, conversations: Conversations
    ) -> None:
        desk.rate(stopped.id, "critical", "Use figures")
        whole = last(session.go_on(GREEDY))
        assert (whole.feedback, conversations.turn(stopped.id).feedback) == (None, "critical")
        assert "retry" not in {
            part for part, value in conversations.turn(stopped.id).quality_parts.items() if not value
        }
        example = desk.rate(whole.id, "good").example
        assert (example.source, example.target, example.rejected) == ("rating", "One, two,", None)

    def test_of_a_second_try_it_is_still_one(
        self, session: Session, talker: Talker, desk: Desk, conversations: Conversations
    ) -> None:
        talker.says, talker.stops = ["Bad.", "Go", "od."], ["end", "length"]
        bad = say(session, "Ask")
        last(session.retry(GREEDY))
        good = last(session.go_on(GREEDY))
        assert texts(session.variants()) == ["Bad.", "Good."]
        example = desk.rate(good.id, "good").example
        assert (example.target, example.rejected, good.retry_of) == ("Good.", "Bad.", bad.id)
        session.choose(bad)
        assert texts(conversations.context(session.conversation_id)) == ["Bad."]

    def test_what_was_begun_can_be_tried_again_and_undone(
        self, session: Session, talker: Talker, stopped: Turn, conversations: Conversations
    ) -> None:
        whole = last(session.go_on(GREEDY))
        again = last(session.retry(GREEDY))
        assert again.retry_of == whole.id and texts(session.variants()) == ["One, two,", " three."]
        assert [turn.query for turn in session.undo()] == ["Ask"]
        assert texts(conversations.context(session.conversation_id)) == ["Zero."]

    def test_after_a_resume(
        self, session: Session, begin: Callable[..., Session], stopped: Turn, conversations: Conversations
    ) -> None:
        again = begin(history=conversations.context(session.conversation_id))
        assert last(again.go_on(GREEDY)).response == "One, two,"
        assert texts(conversations.context(session.conversation_id)) == ["Zero.", "One, two,"]

    def test_stopped_by_the_user_and_by_a_reader_that_went_away(self, session: Session, talker: Talker) -> None:
        talker.says = ["A long reply", " indeed."]
        items = session.ask("Ask", GREEDY)
        assert len(list(islice(items, 6))) == 6
        items.close()
        assert session.turns[-1].response == "A long"
        rest = session.go_on(GREEDY)
        assert len(list(islice(rest, 4))) == 4
        rest.close()
        assert texts(session.turns) == ["A long ind"]
        assert session.turns[-1].stop_reason == "cancelled"

    def test_an_interrupt_in_a_step_keeps_all_that_was_said(
        self, session: Session, talker: Talker, stopped: Turn, conversations: Conversations
    ) -> None:
        def torn(line: str) -> Any:
            yield line[:3]
            raise KeyboardInterrupt

        talker.pieces = torn  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            list(session.go_on(GREEDY))
        assert texts(conversations.context(session.conversation_id)) == ["Zero.", "One, tw"]

    def test_a_failure_leaves_what_was_there(self, session: Session, talker: Talker, stopped: Turn) -> None:
        def failing(line: str) -> Any:
            yield line[:3]
            raise DeviceError("Not enough memory")

        talker.pieces = failing  # type: ignore[method-assign]
        with pytest.raises(DeviceError):
            list(session.go_on(GREEDY))
        assert session.turns[-1] == stopped

    def test_the_thought_before_it_stays_with_it_and_is_not_thought_again(
        self, session: Session, talker: Talker
    ) -> None:
        talker.says, talker.stops, talker.reasons = ["One,", " two."], ["length"], "Hm."
        say(session, "Ask")
        talker.reasons = ""
        whole = last(session.go_on(GREEDY))
        assert (whole.reasoning, whole.response) == ("Hm.", "One, two.")

    @pytest.mark.parametrize(
        ("says", "reasons", "stop", "words"),
        [
            ("One.", "", "end", "came to its own end"),
            ("One.", "", "stop", "ended with a text of generation.stop"),
            ("One.", "", "loop", "went round in circles"),
            ("", "Hm.", "length", "Only reasoning came"),
            ("", "", "cancelled", "had not begun"),
        ],
    )
    def test_what_cannot_go_on(
        self, session: Session, talker: Talker, says: str, reasons: str, stop: Any, words: str
    ) -> None:
        talker.says, talker.reasons, talker.stops = [says], reasons, [stop]
        say(session, "Ask")
        with pytest.raises(UsageError, match=words) as caught:
            list(session.go_on(GREEDY))
        assert "/retry" in caught.value.hint and len(talker.prompts) == 1

    def test_nothing_was_said(self, session: Session) -> None:
        with pytest.raises(UsageError, match="no reply to go on with"):
            list(session.go_on(GREEDY))

    def test_a_window_that_it_fills(self, session: Session, talker: Talker, stopped: Turn) -> None:
        talker.window = 12
        with pytest.raises(PromptTooLong, match="The reply so far fills the context window of 12 tokens"):
            list(session.go_on(GREEDY))
        assert session.turns[-1] == stopped

    def test_older_turns_make_room_for_it(self, session: Session, talker: Talker, stopped: Turn) -> None:
        talker.window = 26
        assert last(session.go_on(GREEDY)).dropped == 1
        assert talker.prompts[-1] == "u:Ask|One,"

    def test_to_forget_it_is_to_forget_its_parts(
        self, session: Session, stopped: Turn, database: Database, conversations: Conversations, tmp_path: Path
    ) -> None:
        from shammah.forgetting import Stores, forget_turn

        whole = last(session.go_on(GREEDY))
        home = Home(tmp_path / "home")
        home.prepare()
        stores = Stores(database, Examples(database), Rules(database), home)
        assert forget_turn(stores, whole.id, preview=True).turn_ids == {whole.id, stopped.id}
        forget_turn(stores, whole.id)
        assert texts(conversations.turns(session.conversation_id)) == ["Zero."]
        assert texts(conversations.context(session.conversation_id)) == ["Zero."]

    def test_with_a_real_model_it_pays_only_for_what_is_new(self, tiny_model: Path, database: Database) -> None:
        tiny = ChatModel("tiny", load(tiny_model, Compute("cpu", "float32", 1, "", {})))
        session = Session(tiny, memory(database))
        part = last(session.ask("Tell me.", replace(GREEDY, max_tokens=6)))
        whole = last(session.go_on(replace(GREEDY, max_tokens=6)))
        assert whole.response.startswith(part.response) and len(whole.response) > len(part.response)
        assert whole.cached_tokens >= part.input_tokens


class TestTwoChats:
    def test_each_goes_on_with_what_it_knows_and_nothing_is_lost(
        self, session: Session, begin: Callable[..., Session], talker: Talker, conversations: Conversations
    ) -> None:
        talker.says = ["0.", "a1.", "b1.", "a2.", "b2."]
        say(session, "Before")
        id = session.conversation_id
        other = begin(history=conversations.context(id))
        say(session, "A")
        say(other, "B")
        say(session, "A again")
        assert texts(conversations.context(id)) == ["0.", "a1.", "a2."], "that of who spoke last"
        say(other, "B again")
        assert texts(conversations.context(id)) == ["0.", "b1.", "b2."]
        assert talker.prompts[-1] == "u:Before|a:0.|u:B|a:b1.|u:B again|"
        assert texts(conversations.turns(id)) == ["0.", "a1.", "b1.", "a2.", "b2."]
        assert [turn.number for turn in conversations.turns(id)] == [1, 2, 3, 4, 5]
        assert texts(conversations.lineage(session.turns[-1])) == ["0.", "a1."]

    def test_what_one_undoes_or_chooses_the_other_keeps(
        self, session: Session, begin: Callable[..., Session], talker: Talker, conversations: Conversations
    ) -> None:
        talker.says = ["1.", "2.", "3.", "4."]
        first = say(session, "Ask")
        id = session.conversation_id
        other = begin(history=conversations.context(id))
        last(session.retry(GREEDY))
        session.undo()
        assert conversations.context(id) == []
        assert other.turns == (first,) and texts(other.variants()) == ["1.", "2."]
        say(other, "Next")
        assert texts(conversations.context(id)) == ["1.", "3."]
        assert say(session, "Anew").parent is None
        assert texts(conversations.turns(id)) == ["1.", "2.", "3.", "4."]

    def test_both_ask_the_same_at_the_same_place(
        self, session: Session, begin: Callable[..., Session], talker: Talker, conversations: Conversations
    ) -> None:
        talker.says = ["0.", "a.", "b.", "c."]
        say(session, "Before")
        other = begin(history=conversations.context(session.conversation_id))
        mine, theirs = say(session, "Ask"), say(other, "Ask")
        assert session.variants() == other.variants() == [mine, theirs]
        session.choose(theirs)
        assert say(session, "Next").parent == theirs.id
