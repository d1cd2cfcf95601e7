"""What is measured is what was asked, and what cannot be measured is a check that failed, by its name."""

import json
import math
from dataclasses import replace

import pytest

from shammah.errors import ExampleDeleted, Interrupted, TrainingCancelled
from shammah.judging.figures import Fault, Figures, Said
from shammah.judging.general import GENERAL
from shammah.judging.measuring import MOST_TOKENS, measure
from shammah.judging.questions import Questions
from shammah.records import Probe

BEES, CAT = GENERAL[0], GENERAL[8]
SCRIPT, WIFI = "What is our deploy script called?", "How do guests get online?"
NAN, INF = math.nan, math.inf


@pytest.fixture
def base(questions, a_voice):
    return measure(a_voice(), questions)


@pytest.fixture
def measured(questions, a_voice, base):
    return lambda **how: measure(a_voice(**how), questions, base)


def test_all_of_it(questions, lessons, a_voice, base):
    script, *_ = lessons
    voice = a_voice(likely={script.target: -0.5, script.rejected: -3.0}, drifts=0.07, perplexed=21.0, speed=40.0)
    ticks = iter([10.0, 13.5])
    found = measure(voice, questions, base, clock=lambda: next(ticks))
    assert found.nll == {"script": 0.5, "wifi": 2.0, "brief": 2.0}
    assert found.margins == {"script": 2.5, "wifi": 0.0}
    assert (found.drift, found.perplexity, found.speed, found.seconds) == (0.07, 21.0, 40.0, 3.5)
    assert found.answers.keys() == {"script", "wifi", "brief"} and found.general.keys() == set(GENERAL)
    assert found.answers["script"] == Said("That is a thing of the world.", True, 12)
    assert found.probes == {each.id: False for each in questions.core}
    assert (found.faults, found.leaks, found.failed) == ((), (), {})


def test_likelihoods_are_asked_in_held_out_words_only(questions, a_voice):
    voice = a_voice()
    measure(voice, questions)
    prompts = {messages[-1].content for messages, reply in voice.asked if reply.startswith("Our deploy")}
    assert len(prompts) == 3 and SCRIPT not in prompts


def test_they_are_the_means_over_the_questions(lessons, a_voice):
    class Wavering(a_voice):
        def log_probabilities(self, exchanges):
            return [-float(number) for number, _ in enumerate(exchanges, 1)]

    found = measure(Wavering(), Questions.about(lessons[:1]))
    assert found.nll == {"script": 2.0}  # of 1, 2 and 3
    assert found.margins == {"script": 3.0}  # against 4, 5 and 6


def test_what_is_too_long_in_other_words_is_asked_as_it_was(lessons, a_voice):
    class Short(a_voice):
        def log_probabilities(self, exchanges):
            return [-1.0 if messages[-1].content == SCRIPT else None for messages, _ in exchanges]

    found = measure(Short(), Questions.about(lessons))
    assert found.nll == {"script": 1.0} and found.margins == {"script": 0.0} and not found.failed
    nothing = measure(a_voice(otherwise=None), Questions.about(lessons))
    assert nothing.nll == {} and "none of the questions fits" in nothing.failed["held_out"]


def test_a_rejected_reply_that_is_too_long_leaves_the_target_measured(lessons, a_voice):
    found = measure(a_voice(likely={lessons[0].rejected: None}), Questions.about(lessons))
    assert found.nll.keys() == {"script", "wifi", "brief"} and found.margins.keys() == {"wifi"}


def test_the_base_is_where_it_is(questions, a_voice):
    voice = a_voice(drifts=RuntimeError("nobody should ask"))
    found = measure(voice, questions)
    assert found.drift == 0.0 and not found.failed and found.faults == found.leaks == ()


def test_drift_is_measured_on_what_the_base_said(questions, a_voice):
    base = measure(a_voice(says={BEES: "They sleep.", CAT: " "}), questions)
    voice = a_voice(says={BEES: "They dance."})
    measure(voice, questions, base)
    said = {messages[-1].content: reply for messages, reply in voice.asked}
    assert said[BEES] == "They sleep." and CAT not in said
    silent = measure(a_voice(says=dict.fromkeys(GENERAL, "")), questions)
    assert "nothing to say" in measure(a_voice(), questions, silent).failed["drift"]


def test_rounding_below_zero_is_no_drift(measured):
    assert measured(drifts=-1e-7).drift == 0.0


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("held_out", {"otherwise": NAN}),
        ("held_out", {"otherwise": -INF}),
        ("held_out", {"otherwise": ValueError("bad row")}),
        ("drift", {"drifts": NAN}),
        ("drift", {"drifts": INF}),
        ("drift", {"drifts": RuntimeError("no tensor")}),
        ("perplexity", {"perplexed": NAN}),
        ("perplexity", {"perplexed": 0.0}),
        ("perplexity", {"perplexed": MemoryError()}),
        ("speed", {"speed": 0.0}),
        ("speed", {"speed": INF}),
        ("speed", {"speed": ZeroDivisionError("division by zero")}),
        ("replies", {"says": {BEES: RuntimeError("it broke\nin two")}}),
    ],
)
def test_what_cannot_be_measured_fails_by_its_name_and_all_else_is_measured(measured, name, how):
    found = measured(**how)
    # What every model should know is likelihoods too.
    names = ["held_out", "probes"] if name == "held_out" else [name]
    assert list(found.failed) == names and all(why and "\n" not in why for why in found.failed.values())
    there = {
        "held_out": bool(found.nll),
        "drift": found.drift is not None,
        "perplexity": found.perplexity is not None,
        "speed": found.speed is not None,
        "replies": bool(found.general),
    }
    assert [what for what, is_there in there.items() if not is_there] == [name]
    json.dumps(found.as_json(), allow_nan=False)


def test_a_voice_that_answers_less_than_it_was_asked_has_failed(questions, a_voice):
    class Lazy(a_voice):
        def replies(self, prompts, most_tokens):
            return super().replies(prompts[1:], most_tokens)

        def log_probabilities(self, exchanges):
            return []

    failed = measure(Lazy(), questions).failed
    assert (
        failed.keys() == {"held_out", "probes", "replies"}
        and "answers to" in failed["held_out"]
        and "answers to" in failed["replies"]
    )


@pytest.mark.parametrize(
    "ended", [TrainingCancelled("cancelled"), ExampleDeleted("deleted"), Interrupted(), KeyboardInterrupt()]
)
@pytest.mark.parametrize("place", ["otherwise", "drifts", "perplexed", "speed"])
def test_whoever_ends_it_is_heard(measured, place, ended):
    with pytest.raises(type(ended)):
        measured(**{place: ended})


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "is empty"),
        (" \n", "is empty"),
        ("They sleep.<|im_end|>\n<|im_start|>user", "holds signs of the chat template"),
        ("They sleep.\nuser\nAnd then?", "holds signs of the chat template"),
        ("They sleep.</s>", "holds signs of the chat template"),
        ("[INST] Why? [/INST]", "holds signs of the chat template"),
        (
            "they hum and they hum and they hum and they hum and they hum and they hum and they hum",
            "goes round in circles",
        ),
        ("They sleep.\nThey eat.\nThey sleep.\nThey eat.\n", "goes round in circles"),
    ],
)
def test_a_spoiled_reply_is_found_where_the_base_has_a_sound_one(questions, a_voice, base, text, what):
    found = measure(a_voice(says={BEES: text}), questions, base)
    assert found.faults == (Fault(BEES, what),)
    spoiled = measure(a_voice(says={BEES: text}), questions)
    assert measure(a_voice(says={BEES: text}), questions, spoiled).faults == ()


def test_a_reply_to_an_example_counts_too(measured):
    assert measured(says={SCRIPT: ""}).faults == (Fault(SCRIPT, "is empty"),)


def test_a_target_that_goes_round_may_be_answered_with(lessons, a_voice):
    verse = "row row\nrow row\nrow row\nrow row"
    questions = Questions.about([replace(lessons[0], target=verse)])
    base = measure(a_voice(), questions)
    assert measure(a_voice(says={SCRIPT: verse}), questions, base).faults == ()
    assert measure(a_voice(says={BEES: verse}), questions, base).faults == (Fault(BEES, "goes round in circles"),)


@pytest.mark.parametrize(("base_tokens", "base_ended", "faults"), [(20, True, 19), (40, True, 0), (20, False, 0)])
def test_endless_is_what_the_base_ends_long_before(questions, a_voice, base_tokens, base_ended, faults):
    base = measure(a_voice(tokens=base_tokens, ended=base_ended), questions)
    found = measure(a_voice(tokens=64, ended=False), questions, base)
    assert len(found.faults) == faults and {fault.what for fault in found.faults} <= {"does not end"}


def test_leaks_are_found_in_general_replies(measured):
    found = measured(says={BEES: "They run launchpad.sh."})
    assert [(leak.prompt, leak.example, leak.words) for leak in found.leaks] == [(BEES, "script", ("launchpad.sh",))]
    assert measured(says={SCRIPT: "It is launchpad.sh."}).leaks == ()


def test_probes_are_passed_by_any_of_their_texts_in_any_case(lessons, a_voice):
    probe = Probe(id="port", time="", prompt="Which port?", contains=("port 8443", "PORT: 8443"))
    questions = Questions.about(lessons, [probe])
    for text, passed in (("Use Port 8443.", True), ("port: 8443", True), ("Use 8443.", False)):
        assert measure(a_voice(says={"Which port?": text}), questions).probes["port"] == passed


def test_a_probe_is_waited_for_longer_where_its_reply_was_cut_off_before_it_was_passed(lessons, a_voice):
    class Slow(a_voice):
        def replies(self, prompts, most_tokens):
            said = super().replies(prompts, most_tokens)
            waits.append([messages[-1].content for messages in prompts])
            return [replace(each, text="At last: Neptune.") for each in said] if most_tokens > MOST_TOKENS else said

    probes = [
        Probe(id=id, time="", prompt=prompt, contains=(text,))
        for id, prompt, text in (("late", "Which planets?", "Neptune"), ("soon", "And things?", "thing"))
    ]
    waits, questions = [], Questions.about(lessons, probes)
    found = measure(Slow(ended=False), questions).probes
    assert found["late"] and found["soon"] and waits[1:] == [["Which planets?"]]
    for others in ({}, {"ended": False, "says": {"Which planets?": "On and on. " * 12}}):
        waits.clear()
        assert not measure(Slow(**others), questions).probes["late"] and len(waits) == 1, "it gets nowhere"


def test_a_lesson_that_was_learned_is_passed_where_it_is_likelier_than_what_was_rejected(lessons, a_voice):
    script, wifi, _ = lessons
    probes = [Probe(id=one.id, time="", prompt="", contains=("",), source="example") for one in lessons]
    voice = a_voice(likely={script.target: -0.5, wifi.rejected: -0.5})
    found = measure(voice, Questions.about(lessons, probes)).probes
    assert found["example script"] and not found["example wifi"] and "example brief" not in found
    assert (script.messages, script.target) in voice.asked


def test_a_core_probe_is_passed_where_what_is_right_is_likelier(questions, a_voice):
    snow, dog, *_ = questions.core
    voice = a_voice(likely={snow.right: -1.0, dog.wrong: -1.0})
    found = measure(voice, questions).probes
    assert found[snow.id] and not found[dog.id] and sum(found.values()) == 1
    assert not measure(a_voice(likely={snow.right: None}), questions).probes[snow.id]


def test_figures_come_back_from_a_file(measured):
    found = measured(says={BEES: "They run launchpad.sh.", CAT: ""}, drifts=NAN)
    assert found.faults and found.leaks and found.failed
    assert Figures.from_json(json.loads(json.dumps(found.as_json(), allow_nan=False))) == found
