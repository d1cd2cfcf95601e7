"""What an adapter answers rightly of what the user corrected, is asked of those after it."""

from dataclasses import replace

import pytest

from shammah.judging.figures import Figures, Said
from shammah.judging.keeping import worth_keeping
from shammah.training.planning import Lesson

TARGET = "Our deploy script is called launchpad.sh."


@pytest.fixture
def example(an_example):
    return an_example("Which script?", TARGET, id="one", level="critical", rejected="It is deploy.sh.")


def answered(text=TARGET, margin=1.0):
    return Figures(answers={"one": Said(text, True, 9)}, margins={"one": margin})


def kept(example, candidate, *, target=TARGET):
    return worth_keeping([example], [Lesson("one", example.messages, target, 1.0, example.rejected)], candidate)


@pytest.mark.parametrize("level", ["critical", "medium"])
def test_what_was_corrected_and_is_answered_rightly_is_kept(example, level):
    example = replace(example, level=level)
    assert (
        kept(example, answered())
        == kept(example, answered("It is called launchpad.sh, our deploy script."))
        == [example]
    )


@pytest.mark.parametrize(
    "changes",
    [{"level": "good"}, {"rejected": None}, {"target": None, "state": "needs review"}, {"target": "It is lift.sh."}],
    ids=["it was good", "nothing was rejected", "a rewrite of this run", "edited since"],
)
def test_what_was_not_is_not(example, changes):
    assert kept(replace(example, **changes), answered()) == []


@pytest.mark.parametrize(
    "candidate",
    [
        answered("It is deploy.sh."),
        answered(margin=-0.1),
        replace(answered(), answers={}),
        replace(answered(), margins={}),
    ],
    ids=["answered wrongly", "not in other words", "not asked", "no lead that was measured"],
)
def test_nor_is_what_the_candidate_does_not_know_for_sure(example, candidate):
    assert kept(example, candidate) == []
