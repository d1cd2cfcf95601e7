"""What a candidate is asked is never what it was trained on."""

import re
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shammah.judging import questions as asking
from shammah.judging.everyday import JOINING
from shammah.judging.questions import Question, Questions, held_out
from shammah.records import Message, Probe
from shammah.training import planning, variants
from shammah.training.planning import Lesson
from shammah.training.variants import variant

PROMPTS = [
    "What is our deploy script called?",
    "How do I restart the label printer?",
    "Write a subject line for the newsletter.",
    "Who approves travel expenses",
    "Which port does the staging server use?",
    "hello",
    "Is it?",
    "Wo ist der Schlüssel für Raum 7?",
    "Before lunch, which line belongs on the slip of paper?",
    "Heading: topic. Fill the gap.",
]
FRAMES = (*asking._WHOLE, *asking._ABOUT, asking._THEN)
# Everything that training puts around a question, by whatever it is put.
TRAINING = " ".join(
    (
        *variants._GREETINGS,
        *variants._ENDINGS,
        *variants._ASKS,
        *variants._ABOUT,
        *planning._HELD_OUT_FRAMES,
        *(form for _, forms in variants._FORMS for form in forms),
    )
)


def letters(text):
    return " ".join(re.findall(r"\w+", text.casefold()))


def asked(prompt, id="one", *before):
    return Question(id, (*before, Message("user", prompt)), "It is so.", "It is not.")


def all_ways(prompt):
    """As they are asked of examples with any id."""
    return {q.messages[-1].content for number in range(40) for q in held_out(asked(prompt, f"id {number}"))}


@pytest.mark.parametrize("prompt", PROMPTS)
def test_no_variant_of_training_is_a_held_out_question(prompt):
    random = Random(7)
    trained = {
        letters(variant(prompt, random, key_words_share=share, dropout=dropout))
        for share in (0.0, 0.25, 1.0)
        for dropout in (0.0, 0.2, 0.5)
        for _ in range(400)
    }
    words = list(variants.key_words(prompt))
    trained |= {letters(frame.format(prompt, " ".join(words))) for frame in planning._HELD_OUT_FRAMES}
    trained.add(letters(prompt))
    assert len(trained) > 20
    assert not trained & {letters(way) for way in all_ways(prompt)}


@pytest.mark.parametrize("frame", FRAMES)
def test_each_frame_has_words_that_training_never_puts_around_a_question(frame):
    known = set(letters(TRAINING).split()) | JOINING
    assert len(set(letters(frame.replace("{0}", "")).split()) - known) >= 2


def test_an_example_is_asked_whole_by_its_key_words_and_after_something_else():
    whole, about, then = held_out(asked("What is our deploy script called?"))
    assert "What is our deploy script called?" in whole.messages[-1].content
    assert "deploy script called" in about.messages[-1].content
    assert "What is" not in about.messages[-1].content
    assert [message.role for message in then.messages] == ["user", "assistant", "user"]
    assert {(q.example, q.target, q.rejected) for q in (whole, about, then)} == {("one", "It is so.", "It is not.")}


def test_what_was_said_before_stays_and_nothing_else_comes_between():
    before = Message("system", "Be kind."), Message("user", "Hi"), Message("assistant", "Hello")
    for question in held_out(asked("What is it called?", "one", *before)):
        assert question.messages[:3] == before and len(question.messages) == 4
    for question in held_out(asked("What is it called?", "one", before[0])):
        assert question.messages[0] == before[0]


def test_a_long_text_is_never_taken_apart():
    text = " ".join(f"the word{number}" for number in range(40))
    assert all(text in question.messages[-1].content for question in held_out(asked(text)))
    assert len({question.messages for question in held_out(asked(text))}) == 3


@given(st.text(min_size=1, max_size=30).filter(str.strip), st.text(max_size=8))
def test_any_prompt_is_asked_in_three_different_ways_the_same_each_time(prompt, id):
    ways = held_out(asked(prompt, id))
    assert len({way.messages for way in ways}) == 3
    assert ways == held_out(asked(prompt, id))
    assert asked(prompt, id).messages not in {way.messages for way in ways}


def test_different_examples_are_asked_in_different_frames():
    assert len(all_ways("Where is the key?")) == len(FRAMES)


def test_braces_in_a_prompt_are_text():
    assert any("{0} and {x}" in way for way in all_ways("What are {0} and {x}?"))


def test_all_that_is_asked(lessons):
    probe = Probe(id="p1", time="", prompt="Which port?", contains=("8443",))
    questions = Questions.about(lessons, [probe])
    assert [question.example for question in questions.as_asked] == ["script", "wifi", "brief"]
    assert len(questions.held_out) == 9 and questions.answered == questions.as_asked
    assert [(each.id, each.prompt, each.contains) for each in questions.required] == [("p1", "Which port?", ("8443",))]
    assert len(questions.core) == len({each.id for each in questions.core}) == 8


def test_probes_of_the_user_are_asked_as_in_the_chat_and_those_that_were_lessons_as_these():
    many = [Lesson(str(n), (Message("user", f"What is {n}?"),), f"It is {n}.", 1.0, "No.") for n in range(60)]
    own = Probe(id="own", time="", prompt="Which port?", contains=("8443",))
    learned = [Probe(id=id, time="", prompt="", contains=("",), source="example") for id in ("59", "not taught now")]
    questions = Questions.about(many, [own, *learned], system="Be brief.")
    (asked,) = questions.required
    assert asked.messages == (Message("system", "Be brief."), Message("user", "Which port?"))
    (kept,) = questions.kept
    assert (kept.example, kept.messages, kept.target, kept.rejected) == ("59", many[59].messages, "It is 59.", "No.")


def test_of_very_many_lessons_the_first_are_asked_about():
    many = [Lesson(str(n), (Message("user", f"What is {n}?"),), f"It is {n}.", 1.0) for n in range(200)]
    questions = Questions.about(iter(many))
    assert [question.example for question in questions.as_asked] == [str(n) for n in range(48)]
    assert len(questions.held_out) == 3 * 48 and len(questions.answered) == 16


def test_without_lessons_there_is_nothing_to_ask():
    questions = Questions.about([])
    assert not questions.held_out and not questions.as_asked and questions.general
