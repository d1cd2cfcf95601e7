"""A rule leaves the prompt when the adapter does by itself what it says."""

from dataclasses import replace

import pytest

from shammah.judging.figures import Figures, Said
from shammah.judging.graduation import graduated, says
from shammah.records import Rule

TARGET = "fix: handle empty input in the parser"


@pytest.fixture
def rule():
    return Rule(id="rule", time="", text="Use lower-case commit messages", turn_id="turn")


@pytest.fixture
def example(an_example):
    return an_example("Write a commit message.", TARGET, id="one", turn_id="turn", rejected="Fixed a bug.")


def answered(text, margin=1.0):
    return Figures(answers={"one": Said(text, True, 9)}, margins={"one": margin})


BASE = answered("Fixed a bug.")


def test_a_rule_that_is_obeyed_without_being_told_graduates(rule, example):
    assert graduated([rule], [example], answered(TARGET), BASE) == ("rule",)
    assert graduated([rule], [example], answered("Fix: handle the empty input in the parser."), BASE) == ("rule",)


def test_it_stays_where_the_adapter_does_not_obey_or_the_base_does_so_already(rule, example):
    assert graduated([rule], [example], answered("Fixed the parser."), BASE) == ()
    assert graduated([rule], [example], answered(TARGET), answered(TARGET)) == ()


def test_in_other_words_too_it_has_to_be_likelier_than_what_was_rejected(rule, example):
    assert graduated([rule], [example], answered(TARGET, -0.1), BASE) == ()
    assert graduated([rule], [example], replace(answered(TARGET), margins={}), BASE) == ("rule",)


def test_a_rule_without_an_example_that_was_asked_stays(rule, example):
    assert graduated([replace(rule, turn_id="another")], [example], answered(TARGET), BASE) == ()
    assert graduated([replace(rule, turn_id=None)], [replace(example, turn_id=None)], answered(TARGET), BASE) == ()
    assert graduated([rule], [replace(example, id="two")], answered(TARGET), BASE) == ()
    assert graduated([rule], [replace(example, target=None)], answered(TARGET), BASE) == ()


def test_all_examples_of_its_turn_have_to_obey(rule, example):
    other = replace(example, id="two")
    candidate = replace(answered(TARGET), answers={"one": Said(TARGET, True, 9), "two": Said("No.", True, 2)})
    base = replace(BASE, answers={"one": Said("No.", True, 2), "two": Said("No.", True, 2)})
    assert graduated([rule], [example, other], candidate, base) == ()


def test_a_fact_stays_unless_it_may_go_too(rule, example):
    fact = replace(rule, text="Our deploy script is called launchpad.sh")
    told = replace(example, target="Our deploy script is called launchpad.sh.")
    candidate = answered("The deploy script is called launchpad.sh.")
    assert graduated([fact], [told], candidate, BASE) == ()
    assert graduated([fact], [told], candidate, BASE, facts=True) == ("rule",)


@pytest.mark.parametrize(
    ("reply", "target", "same"),
    [
        ("Our deploy script is called launchpad.sh.", "Our deploy script is called launchpad.sh.", True),
        ("It is called launchpad.sh, our deploy script.", "Our deploy script is called launchpad.sh.", True),
        ("Our deploy script is called release.sh.", "Our deploy script is called launchpad.sh.", False),
        ("launchpad.sh", "Our deploy script is called launchpad.sh. Run it from the root of the repository.", False),
        ("We keep temperature logs for seven years.", "Temperature logs are kept for seven years.", True),
        ("We keep temperature logs for one year.", "Temperature logs are kept for seven years.", False),
        ("Yes", "Yes.", True),
        ("No", "Yes.", False),
        ("", "It is.", False),
        ("猫です", "猫です。", True),
        ("Yes, we ship to Norway.", "No, we do not ship to Norway.", False),
        ("We don't ship to Norway.", "No, we do not ship to Norway.", True),
        ("We meet on Friday, not on Monday.", "We meet on Monday, not on Friday.", False),
        ("We meet on Monday and not on Friday.", "We meet on Monday, not on Friday.", True),
        ("The lid goes on with oil.", "The lid goes on without oil.", False),
        ("The backup runs on the small server.", "The backup never runs on the small server.", False),
        ("Marta reports to Quirin.", "Quirin reports to Marta.", False),
        ("Flush the cache, then restart the server.", "Restart the server, then flush the cache.", False),
        ("The blue door is locked and the red one open.", "The red door is locked and the blue one open.", False),
    ],
)
def test_saying_the_same(reply, target, same):
    assert says(reply, target) == same
