import pytest
from support.talking import Talker, words

from shammah.config import GenerationSettings
from shammah.training.targets import lessons, rewrite_by


@pytest.fixture
def noted(an_example):
    return lambda **changes: an_example(
        "How late?",
        "Late.",
        state="needs review",
        note="say the hour",
        rejected="Whenever.",
        level="critical",
        weight=10.0,
        **changes,
    )


def never(example):
    raise AssertionError("nothing is to be rewritten")


def test_what_is_ready_is_taught_as_it_is(an_example):
    example = an_example("A?", "a", weight=3.0, rejected="b", level="medium")
    (lesson,), without = lessons([example], never, unreviewed=0.5)
    assert (lesson.id, lesson.target, lesson.weight, lesson.rejected) == (example.id, "a", 3.0, "b")
    assert lesson.messages == example.messages and without == []


def test_what_nobody_looked_at_is_rewritten_and_counts_less(noted):
    example = noted()
    (lesson,), without = lessons([example], lambda one: "At nine.", unreviewed=0.25)
    assert (lesson.target, lesson.weight, lesson.id) == ("At nine.", 2.5, example.id) and without == []


def test_where_no_rewrite_will_do_it_waits(noted, an_example):
    waits, ready = noted(), an_example("A?", "a")
    made, without = lessons([waits, ready], lambda one: None, unreviewed=0.5)
    assert [lesson.id for lesson in made] == [ready.id] and without == [waits.id]


def test_where_it_counts_nothing_none_is_made(noted):
    assert lessons([noted()], never, unreviewed=0.0)[0] == []


class Author(Talker):
    """A word a piece; the note makes every rewrite of it likelier."""

    def pieces(self, line):
        return words(line)

    def log_probability(self, messages, reply):
        return 0.0 if any("nine" in message.content for message in messages) else -1.0


@pytest.fixture
def opening(an_example):
    return an_example(
        "When does the shop open?",
        None,
        state="needs review",
        rejected="The shop opens whenever it likes to.",
        note="The shop opens at nine.",
    )


def test_the_model_rewrites_by_the_note(opening):
    author = Author(says=["The shop opens at nine in the morning."])
    rewrite = rewrite_by(author, GenerationSettings(max_tokens=5000))
    assert rewrite(opening) == "The shop opens at nine in the morning."
    assert {settings.max_tokens <= 200 for settings in author.settings} == {True}
    assert all("nine" in prompt for prompt in author.prompts)


def test_a_rewrite_that_fails_the_checks_is_none(opening):
    said_again = Author(says=["The shop opens whenever it likes to."])
    assert rewrite_by(said_again, GenerationSettings())(opening) is None
