"""Quality: a number that only what is known goes into, the user's word before all else."""

from itertools import pairwise
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shammah.feedback.quality import WEIGHTS, Quality, explain, score, weighted
from shammah.records import Level, StopReason, Turn

LEVELS = st.sampled_from([*get_args(Level), None])
ENDINGS = st.sampled_from(get_args(StopReason))
TEXTS = st.one_of(
    st.text(max_size=300), st.lists(st.sampled_from(["it is", "so\n", "be. ", "word "]), max_size=90).map("".join)
)
PARTS = st.dictionaries(st.sampled_from(sorted(WEIGHTS)), st.floats(0, 1), min_size=1)


@st.composite
def knowledge(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "retried": draw(st.booleans()),
        "edited": draw(st.booleans()),
        "scored": draw(st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True))),
    }


def turn_of(feedback: Level | None = None, stop_reason: StopReason = "end", **changes: Any) -> Turn:
    fields: dict[str, Any] = {
        "id": "1",
        "conversation_id": "talk",
        "number": 1,
        "time": "2026-01-02T03:04:05Z",
        "query": "What is it?",
        "response": "It is this.",
        "model": "small",
        "latency_ms": 12.5,
        "first_token_ms": 3.25,
        "input_tokens": 7,
        "output_tokens": 5,
        "context_hash": "c",
        "dedupe_hash": "d",
    }
    return Turn(feedback=feedback, stop_reason=stop_reason, **(fields | changes))


@given(LEVELS, ENDINGS, TEXTS, TEXTS, knowledge())
def test_value_and_parts_lie_between_0_and_1(
    feedback: Level | None, ending: StopReason, query: str, response: str, known: dict[str, Any]
) -> None:
    turn = turn_of(feedback, ending, query=query, response=response)
    quality = score(turn, **known)
    assert 0 <= quality.value <= 1
    assert all(0 <= part <= 1 for part in quality.parts.values())
    assert score(turn, **known) == quality
    assert explain(quality).startswith(f"{quality.value:.2f}: ")


@given(ENDINGS, TEXTS, TEXTS, knowledge())
def test_the_rating_outweighs_all_else_together(
    ending: StopReason, query: str, response: str, known: dict[str, Any]
) -> None:
    values = {
        level: score(turn_of(level, ending, query=query, response=response), **known).value for level in get_args(Level)
    }
    assert values["critical"] < 0.25 < values["medium"] < 0.75 < values["good"]


@given(PARTS, st.data())
def test_a_better_part_never_makes_a_worse_value(parts: dict[str, float], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(parts)))
    better = {**parts, name: data.draw(st.floats(parts[name], 1))}
    assert weighted(better) >= weighted(parts) - 1e-12
    assert weighted({**parts, name: 1.0}) >= weighted({**parts, name: 0.0}) + 0.01


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_higher_score_of_the_user_s_function_counts(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert score(turn_of(), scored=low).value <= score(turn_of(), scored=high).value


def test_only_what_is_known_is_a_part() -> None:
    assert set(score(turn_of()).parts) == {"ending", "length", "repetition"}
    assert set(score(turn_of("medium"), retried=True, edited=True, scored=0.5).parts) == set(WEIGHTS)
    assert "scorer" not in score(turn_of(), scored=float("nan")).parts
    assert score(turn_of(), scored=7.0).parts["scorer"] == 1 and score(turn_of(), scored=-7.0).parts["scorer"] == 0


def test_what_was_said_of_the_reply_is_worth_this() -> None:
    worth = {level: score(turn_of(level)).parts["rating"] for level in get_args(Level)}
    assert worth == {"good": 1, "medium": 0.35, "critical": 0}
    known = score(turn_of(), retried=True, edited=True).parts
    assert (known["retry"], known["edit"]) == (0, 0.2)


def test_a_reply_that_was_cut_is_worth_less_than_one_that_ended_and_a_loop_nothing() -> None:
    worth = [score(turn_of(stop_reason=reason)).parts["ending"] for reason in get_args(StopReason)]
    assert dict(zip(get_args(StopReason), worth, strict=True)) == {
        "end": 1,
        "stop": 1,
        "length": 0.6,
        "window": 0.5,
        "cancelled": 0.4,
        "loop": 0,
    }


def test_asking_again_and_writing_it_oneself_cost() -> None:
    plain = score(turn_of()).value
    assert plain == 1
    assert score(turn_of(), retried=True).value < score(turn_of(), edited=True).value < plain


def length(query: str, response: str) -> float:
    return score(turn_of(query=query, response=response)).parts["length"]


def test_a_word_answers_a_short_question_but_not_a_long_one() -> None:
    long_question = "Please compare the two and say which one suits us better. " * 4
    assert length("What is the capital of France?", "Paris") == 1
    assert length(long_question, "Yes") < 0.3
    assert length(long_question, "The second one, since it needs no server and we have none.") == 1
    assert length("Hi", "  \n") == 0
    assert length("x " * 50_000, "A sentence is enough, however long the text that was asked about.") == 1


def test_the_longer_a_reply_to_a_long_question_the_better_until_it_is_long_enough() -> None:
    worth = [length("word " * 100, "a" * size) for size in range(80)]
    assert all(one <= other for one, other in pairwise(worth)) and worth[0] == 0 and worth[-1] == 1


def repetition(response: str) -> float:
    return score(turn_of(response=response)).parts["repetition"]


def test_a_reply_that_repeats_itself_is_worth_less_the_more_it_does() -> None:
    fresh = "Put the eggs into cold water, bring it to the boil and wait for seven minutes."
    assert repetition(fresh) == 1
    again = [repetition("\n".join([fresh] * times)) for times in range(1, 6)]
    assert all(one > other for one, other in pairwise(again)) and again[-1] < 0.25
    assert repetition("and so on " * 30) < 0.1
    assert repetition("if a:\n}\nif b:\n}\nif c:\n}") == 1
    assert "repetition" not in score(turn_of(response=" ")).parts


def test_it_is_explained_in_one_line() -> None:
    turn = turn_of("medium", response="So it is. So it is. And that.")
    quality = score(turn, scored=0.5)
    assert explain(quality) == (
        f"{quality.value:.2f}: rated medium 0.35, your scorer 0.50, ended well 1.00, long enough 1.00, "
        f"repeats itself {quality.parts['repetition']:.2f}"
    )
    assert explain(score(turn_of(stop_reason="loop", response=""), retried=True, edited=True)) == (
        "0.07: asked again 0.00, rewritten by the user 0.20, went round in circles 0.00, empty 0.00"
    )


def test_what_is_stored_of_a_turn_is_enough_to_explain_it() -> None:
    quality = score(turn_of("good", stop_reason="length"))
    stored = turn_of(quality=quality.value, quality_parts=quality.parts)
    assert stored.quality is not None
    assert explain(Quality(stored.quality, stored.quality_parts)) == explain(quality)


@pytest.mark.parametrize("reason", get_args(StopReason))
def test_every_ending_has_its_words(reason: StopReason) -> None:
    assert "ended 1" not in explain(score(turn_of(stop_reason=reason)))
    assert "ending" not in explain(score(turn_of(stop_reason=reason)))
