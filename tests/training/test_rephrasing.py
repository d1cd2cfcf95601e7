"""Questions put otherwise by the model itself: what passes, what does not, and whose they are."""

from random import Random

import pytest

from shammah.records import Message
from shammah.training.planning import Lesson
from shammah.training.rephrasing import puts_the_same, rephrased

ASKED = "What is the name of our build server?"
TARGET = "Our build server is called heron."


def lesson(question=ASKED, target=TARGET, id="one"):
    return Lesson(id, (Message("user", question),), target, 1.0)


@pytest.mark.parametrize(
    "text",
    [
        "What do we call our build server?",
        "Could you tell me which name our build server has?",
        "name of the build server?",
    ],
)
def test_the_same_in_other_words_passes(text):
    assert puts_the_same(ASKED, text, target=TARGET)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "nothing"),
        (ASKED, "the question itself"),
        ("what is the name of our build server", "itself without its marks"),
        ("Our build server is called heron.", "the answer"),
        ("Is the build server's name heron?", "the answer, asked"),
        ("What is the weather like today?", "something else"),
        ("Sure! What is our build server called?", "talk around it"),
        ("Here is another way: what is the build server's name?", "talk around it"),
        ("What is the build server's name?\nAnd what is its address?", "two lines"),
        ("What is the name of the build server " + "and of the other one " * 4, "much longer"),
        ("Which server, mountain, river, garden and castle were built?", "mostly other things"),
    ],
)
def test_anything_else_does_not(text, why):
    assert not puts_the_same(ASKED, text, target=TARGET), why


@pytest.mark.parametrize("fixed", ["8080", "`make all`", "setup.py", "v1.2.3", '"blue door"'])
def test_names_and_numbers_must_stay_as_they_are(fixed):
    question = f"What does {fixed} do on the build server?"
    assert puts_the_same(question, f"On the build server, what is {fixed} for?", target="It builds.")
    assert not puts_the_same(question, "On the build server, what is it for?", target="It builds.")


def test_each_lesson_gets_what_was_said_of_it_once():
    other = lesson("When is the garden watered?", "At noon.", id="two")
    asked = []

    def say(prompts):
        asked.extend(prompts)
        return ['"What do we call our build server?"' if ASKED in prompt else "No idea." for prompt in prompts]

    assert rephrased([lesson(), other], say, Random(0)) == {"one": ("What do we call our build server?",)}
    assert len(set(asked)) == len(asked) == 6


def test_nothing_is_asked_for_nothing():
    assert rephrased([], lambda prompts: [""] * len(prompts), Random(0)) == {}


def test_of_very_many_only_some_are_asked_the_same_ones_for_the_same_seed():
    many = [lesson(f"What is the name of our server number {number}?", id=str(number)) for number in range(200)]

    def asked(seed):
        prompts = []
        rephrased(many, lambda asked: prompts.extend(asked) or [""] * len(asked), Random(seed))
        return prompts

    assert len(asked(1)) == 3 * 48 and asked(1) == asked(1) != asked(2)
    assert len({next(each.id for each in many if each.question in prompt) for prompt in asked(1)}) == 48
