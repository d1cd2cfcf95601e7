from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shammah.records import Example, Message
from shammah.store.identity import same_reply
from shammah.store.settling import settle

REPLIES = [None, "yes", "no", " no\n", "No", "maybe"]


def examples_of_one_prompt():
    fields = st.fixed_dictionaries(
        {
            "level": st.sampled_from(["good", "medium", "critical"]),
            "target": st.sampled_from(REPLIES),
            "rejected": st.sampled_from(REPLIES),
            "state": st.sampled_from(["ready", "needs target", "needs review", "disabled"]),
            "secrets": st.sampled_from([(), ("e-mail",)]),
        }
    )
    return st.lists(fields, max_size=7).map(
        lambda group: [
            Example(id=f"id-{number}", time="", source="rating", weight=1.0, messages=(Message("user", "q"),), **values)
            for number, values in enumerate(group)
            if values["target"] or values["state"] != "ready"
        ]
    )


def counting(examples):
    holds = settle(examples)
    return [example for example in examples if not holds[example.id]]


@pytest.fixture
def a(an_example):
    def make(id, target=None, **changes):
        return an_example(target=target, id=id, **changes)

    return make


def test_nothing_to_settle(a):
    assert settle([]) == {}
    assert settle([a("one", "yes")]) == {"one": ""}


def test_the_newest_target_counts(a):
    assert settle([a("0123456789abc", "yes"), a("second", "no"), a("third-is-newest", "maybe")]) == {
        "0123456789abc": "a newer example of the same prompt has another target (third-is-n)",
        "second": "a newer example of the same prompt has another target (third-is-n)",
        "third-is-newest": "",
    }


@pytest.mark.parametrize("level", ["medium", "critical"])
@pytest.mark.parametrize("newer", [True, False])
def test_a_reply_rated_badly_is_no_target_whichever_is_newer(a, level, newer):
    good, bad = a("good", "It is\n this. "), a("bad", rejected="It is this.", level=level)
    assert settle([good, bad] if newer else [bad, good]) == {
        "good": f"its reply was rated {level} elsewhere",
        "bad": "",
    }


def test_the_worst_rating_is_the_one_that_is_told(a):
    bad = [a(level, rejected="no", level=level) for level in ("medium", "critical")]
    for group in (bad, bad[::-1]):
        assert settle([*group, a("good", "no")])["good"] == "its reply was rated critical elsewhere"


def test_what_was_only_the_first_try_of_a_good_one_may_be_a_target(a):
    assert settle([a("first", "no"), a("second", rejected="no", level="good")]) == {"first": "", "second": ""}


def test_a_reply_in_another_case_is_another_reply(a):
    assert settle([a("good", "Paris"), a("bad", rejected="paris", level="critical")])["good"] == ""


def test_a_disabled_example_still_says_what_was_bad(a):
    bad = a("bad", rejected="no", level="critical", state="disabled")
    assert settle([bad, a("good", "no")]) == {"bad": "", "good": "its reply was rated critical elsewhere"}


def test_its_own_rejected_reply_is_no_target_either(a):
    assert settle([a("odd", "no", rejected="no", level="medium")])["odd"] == "its reply was rated medium elsewhere"


@pytest.mark.parametrize("changes", [{"state": "disabled"}, {"secrets": ("e-mail",)}, {"state": "needs review"}])
def test_only_a_ready_example_makes_others_stand_back(a, changes):
    older, newer = a("older", "yes"), replace(a("newer", "no"), **changes)
    assert settle([older, newer]) == {"older": "", "newer": ""}
    assert settle([newer, older]) == {"newer": "", "older": ""}


def test_one_that_stands_back_makes_no_other_stand_back(a):
    bad = a("bad", rejected="no", level="medium", state="disabled")
    assert settle([bad, a("older", "yes"), a("newer", "no")])["older"] == ""


@pytest.mark.parametrize("state", ["needs target", "needs review"])
def test_a_question_that_was_answered_since_is_no_question_any_more(a, state):
    question, answer = a("question", state=state, rejected="x", level="medium"), a("answer", "yes")
    assert settle([question, answer]) == {"question": "a newer example answers the same prompt (answer)", "answer": ""}
    assert settle([answer, question]) == {"answer": "", "question": ""}


def test_what_was_put_aside_by_hand_is_told_no_other_reason(a):
    assert settle([a("off", state="disabled"), a("answer", "yes")]) == {"off": "", "answer": ""}


@given(examples_of_one_prompt())
def test_one_target_counts_at_most_and_never_a_bad_one(examples):
    left = counting(examples)
    ready = [example for example in left if example.target and example.state == "ready" and not example.secrets]
    assert len(ready) <= 1
    for example in left:
        for other in examples:
            if example.target and other.rejected and other.level != "good":
                assert not same_reply(example.target, other.rejected)


@given(examples_of_one_prompt())
def test_the_last_good_word_is_not_lost(examples):
    """Whatever stands back does so for a reason that is there."""
    bad = [example.rejected for example in examples if example.rejected and example.level != "good"]
    answers = [
        example.id
        for example in examples
        if example.target
        and example.state == "ready"
        and not example.secrets
        and not any(same_reply(example.target, reply) for reply in bad)
    ]
    holds = settle(examples)
    assert list(holds) == [example.id for example in examples]
    if answers:
        assert holds[answers[-1]] == ""
    for example in examples:
        newer = [other.id for other in examples[examples.index(example) + 1 :]]
        if "rated" in holds[example.id]:
            assert any(same_reply(example.target, reply) for reply in bad)
        elif holds[example.id]:
            assert answers[-1] in newer
        elif example.target is None and example.state != "disabled":
            assert not set(answers) & set(newer)
