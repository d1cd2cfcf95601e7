"""The context window: what is kept, what leaves, and when a prompt is refused."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shammah.errors import PromptTooLong
from shammah.model.window import Fitted, fit, room_for_reply
from shammah.records import Message

SYSTEM = Message("system", "Be brief.")


def encode(messages: Sequence[Message]) -> list[int]:
    """One token a letter, and two for what a template writes around a message."""
    return [token for message in messages for token in (-1, *map(ord, message.content), -2)]


def conversation(*lengths: int) -> list[tuple[Message, Message]]:
    """Turns whose question and answer together take so many tokens."""
    return [
        (Message("user", chr(97 + number % 26) * (length - 4)), Message("assistant", ""))
        for number, length in enumerate(lengths)
    ]


def fitted(turns: list[tuple[Message, Message]], **changes: object) -> Fitted:
    arguments: dict = {"encode": encode, "window": 140, "reserve": 40} | changes
    system, last = arguments.pop("system", None), arguments.pop("last", Message("user", "x" * 8))
    return fit(system, turns, last, **arguments)


def test_what_fits_is_kept_whole() -> None:
    turns = conversation(40, 50)  # and 10 for the last message: exactly the 100 that are left
    assert fitted(turns).dropped == 0
    assert fitted(turns).messages == (*turns[0], *turns[1], Message("user", "x" * 8))
    assert fitted(turns).ids == encode(fitted(turns).messages)


def test_one_token_more_makes_the_oldest_turn_leave_whole() -> None:
    turns = conversation(41, 50)
    assert fitted(turns).dropped == 1
    assert fitted(turns).messages == (*turns[1], Message("user", "x" * 8))


def test_room_is_made_for_several_turns_at_once() -> None:
    turns = conversation(*[10] * 10)
    kept = fitted(turns)
    # 90 tokens are left to the turns beside the last message; those kept take up to three quarters of them.
    assert (len(turns) - kept.dropped) * 10 <= 0.75 * 90 < (len(turns) - kept.dropped + 1) * 10
    # So the next turns fit without another one leaving.
    assert fitted([*turns, *conversation(10, 10)], already_dropped=kept.dropped).dropped == kept.dropped


def test_a_long_question_takes_no_more_turns_with_it_than_it_must() -> None:
    turns = conversation(*[4] * 20)
    kept = fitted(turns, last=Message("user", "x" * 78))
    assert len(kept.messages) - 1 > 0 and len(kept.ids) <= 100
    assert kept.dropped < len(turns)


def test_turns_that_left_stay_away_even_if_they_would_fit_again() -> None:
    turns = conversation(10, 10, 10)
    assert fitted(turns, already_dropped=2).dropped == 2
    assert fitted(turns, already_dropped=2).messages[:2] == turns[2]


def test_the_system_prompt_stays() -> None:
    kept = fitted(conversation(*[10] * 20), system=SYSTEM)
    assert kept.messages[0] == SYSTEM and kept.dropped > 0


def test_a_prompt_over_the_window_is_refused_with_numbers() -> None:
    with pytest.raises(PromptTooLong) as caught:
        fitted(conversation(10), last=Message("user", "x" * 9_000), window=4_096, reserve=1_024)
    # Its own 9,002 tokens: the turns before it are not to blame, they would all have left.
    assert caught.value.message == "The prompt has 9,002 tokens; the model's window of 4,096 leaves room for 3,072"
    assert caught.value.exit_code == 2 and caught.value.hint


def test_the_system_prompt_counts_in_what_is_refused() -> None:
    assert fitted([], last=Message("user", "x" * 98)).dropped == 0
    with pytest.raises(PromptTooLong, match="has 101 tokens"):
        fitted([], last=Message("user", "x" * 99))
    with pytest.raises(PromptTooLong, match="has 111 tokens"):
        fitted([], last=Message("user", "x" * 98), system=SYSTEM)


def test_a_long_conversation_is_encoded_a_few_times_only() -> None:
    calls = 0

    def counting(messages: Sequence[Message]) -> list[int]:
        nonlocal calls
        calls += 1
        return encode(messages)

    kept = fitted(conversation(*[10] * 1_000), encode=counting)
    assert kept.dropped == 994
    assert calls < 16


@given(
    lengths=st.lists(st.integers(4, 60), max_size=20),
    last=st.integers(0, 120),
    system=st.none() | st.just(SYSTEM),
    window=st.integers(40, 400),
    reserve=st.integers(1, 30),
    already=st.integers(0, 25),
)
def test_whatever_is_said(
    lengths: list[int], last: int, system: Message | None, window: int, reserve: int, already: int
) -> None:
    turns, question, limit = conversation(*lengths), Message("user", "?" * last), window - reserve
    alone = encode([*([system] if system else []), question])
    try:
        kept = fit(system, turns, question, encode=encode, window=window, reserve=reserve, already_dropped=already)
    except PromptTooLong:
        assert len(alone) > limit
        return
    assert len(alone) <= limit
    assert len(kept.ids) <= limit and kept.ids == encode(kept.messages)
    # The system prompt, then the newest turns whole and in order, then the question.
    newest = [message for turn in turns[kept.dropped :] for message in turn]
    assert list(kept.messages) == [*([system] if system else []), *newest, question]
    assert min(already, len(turns)) <= kept.dropped <= len(turns)
    # Nothing leaves without need.
    if kept.dropped > min(already, len(turns)):
        kept_before = [message for turn in turns[min(already, len(turns)) :] for message in turn]
        assert len(encode([*([system] if system else []), *kept_before, question])) > limit


@given(st.lists(st.integers(4, 60), min_size=1, max_size=40), st.integers(100, 300))
def test_a_growing_conversation_never_takes_a_turn_back(lengths: list[int], window: int) -> None:
    dropped = 0
    for count in range(len(lengths)):
        turns = conversation(*lengths[:count])
        kept = fit(None, turns, Message("user", "?"), encode=encode, window=window, reserve=20, already_dropped=dropped)
        assert kept.dropped >= dropped
        dropped = kept.dropped


@pytest.mark.parametrize(
    ("window", "max_tokens", "room"), [(8192, 1024, 1024), (2048, 1024, 512), (2048, 10, 10), (2, 5, 1)]
)
def test_room_for_the_reply_is_what_it_may_take_but_a_quarter_at_most(window: int, max_tokens: int, room: int) -> None:
    assert room_for_reply(window, max_tokens) == room
