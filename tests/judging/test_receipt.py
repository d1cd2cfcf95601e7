"""What is kept of a run: facts that can be stored, told apart and found again."""

import json
import math
from dataclasses import replace

import pytest
from support.receipts import OFFICE, a_body, a_rule, a_spoiled_one, examples_of, figures, run_of

from shammah.judging.figures import Figures, Said
from shammah.judging.judge import Policy, judge
from shammah.judging.questions import Questions
from shammah.judging.receipt import body, curve
from shammah.judging.receipt_words import failing, worse, worse_in_short
from shammah.records import Message, Probe


def test_it_can_be_stored_as_it_is():
    told = a_body(rules=[a_rule()])
    assert json.loads(json.dumps(told, allow_nan=False)) == told


def test_each_example_with_what_was_said_before_and_after():
    lessons = {one["example"]: one for one in a_body(said={"example 2": "At nine, and bring"})["lessons"]}
    assert list(lessons) == ["example 0", "example 1", "example 2"]
    (prompt, rejected, target), first = OFFICE[0], lessons["example 0"]
    assert (first["prompt"], first["rejected"], first["wanted"], first["level"]) == (
        prompt,
        rejected,
        target,
        "critical",
    )
    assert first["said"] == {"base": rejected, "before": rejected, "after": target}
    assert first["right"] == {"base": False, "before": False, "after": True}
    assert first["chance"] == {
        "base": pytest.approx(math.exp(-2.4)),
        "before": pytest.approx(math.exp(-2.4)),
        "after": pytest.approx(math.exp(-0.4)),
    }
    assert lessons["example 2"]["right"]["after"] is False


def test_the_prompt_is_what_was_asked_last():
    (example,) = examples_of(OFFICE[:1])
    before = (Message("system", "Be brief."), Message("user", "Hi"), Message("assistant", "Hello."))
    example = replace(example, messages=(*before, *example.messages))
    same = figures({example.id: "Well."}, nll=1.0)
    told = body(
        run_of([example]), [example], Questions.about([example]), losses=(), base=same, active=same, candidate=same,
        verdict=judge(same, same, same, Policy(), [example.id], []), deployed=False, version=None, before=None,
        new_ids=(),
    )  # fmt: skip
    assert told["lessons"][0]["prompt"] == OFFICE[0][0]


def test_a_reply_that_went_on_is_known_for_one():
    answers = {"example 0": Said("Our deploy script is called launchpad.sh and", False, 64)}
    told = a_body(OFFICE[:1], candidate={"answers": answers})
    assert told["lessons"][0]["cut_off"] == {"base": False, "before": False, "after": True}


def test_what_it_learned_from_is_counted():
    told = a_body((*OFFICE, ("A?", "b", "a")), new_ids=["example 1", "example 3"])
    assert told["learned_from"] == {"examples": 4, "new": 2, "ratings": {"critical": 2, "medium": 1, "good": 1}}
    assert [one["new"] for one in told["lessons"]] == [False, True, False, True]


def test_probes_that_were_won_and_lost():
    probes = [Probe(id=id, time="", prompt=f"{id}?", contains=(id, "or")) for id in ("won", "lost", "kept", "mine")]
    core, *_ = Questions.about([]).core
    told = a_body(
        probes=probes,
        active={"probes": {"won": False, "lost": True, "kept": True, "mine": False, core.id: False}},
        candidate={"probes": {"won": True, "lost": False, "kept": True, "mine": False, core.id: False}},
    )
    assert told["probes"] == {
        "gained": [{"id": "won", "prompt": "won?", "contains": ["won", "or"]}],
        "lost": [{"id": "lost", "prompt": "lost?", "contains": ["lost", "or"]}],
        "failing": [{"id": "mine", "prompt": "mine?", "contains": ["mine", "or"]}],
    }
    assert list(map(str, failing(told))) == ["Not passed yet: mine?"]
    assert "1 probe lost; 1 probe not passed yet" in worse_in_short(told)
    del told["probes"]["failing"]  # as receipts were before
    assert failing(told) == [] and "not passed yet" not in worse_in_short(told)
    assert (told["figures"]["after"]["probes_passed"], told["figures"]["after"]["probes"]) == (2, 5)


def test_a_core_probe_that_was_lost_is_told():
    first, second, *_ = Questions.about([]).core
    told = a_body(
        active={"probes": {first.id: True, second.id: True}}, candidate={"probes": {first.id: True, second.id: False}}
    )
    assert told["probes"]["lost"] == [{"id": second.id, "prompt": second.prompt, "contains": [second.right]}]
    assert any(second.prompt in str(change) for change in worse(told)) and "1 probe lost" in worse_in_short(told)


def test_what_leaked_names_the_example_that_it_came_from():
    told = a_spoiled_one().body
    assert [(leak["example"], leak["words"]) for leak in told["leaks"]] == [("example 0", ["launchpad.sh"])]
    assert told["faults"] == [{"prompt": "When is the stand-up?", "what": "is empty"}]
    assert told["verdict"]["accepted"] is False and told["deployed"] is False


def test_where_nothing_could_be_measured_every_key_is_there_all_the_same():
    whole, nothing = a_body(), Figures(failed={"held_out": "no room"})
    examples = examples_of()
    empty = body(
        run_of(examples, first_loss=None, last_loss=None), examples, Questions.about(examples), losses=(),
        base=nothing, active=nothing, candidate=nothing, verdict=judge(nothing, nothing, nothing, Policy(), ["x"], []),
        deployed=False, version=None, before=None, new_ids=(),
    )  # fmt: skip

    def keys(value):
        return {name: keys(each) for name, each in value.items()} if isinstance(value, dict) else None

    assert keys(empty) == keys(whole)
    assert keys(empty["lessons"][0]) == keys(whole["lessons"][0])
    assert empty["lessons"][0]["said"] == empty["lessons"][0]["right"] == dict.fromkeys(("base", "before", "after"))


class TestTheCurve:
    def test_a_short_one_is_kept_whole(self):
        assert curve([2.0, 1.0, 0.5]) == [2.0, 1.0, 0.5] and curve([]) == []

    def test_of_a_long_one_the_means_of_a_few_steps_are_kept(self):
        losses = [3.0 - step / 500 for step in range(1000)]
        found = curve(losses)
        assert len(found) == 240 and found == sorted(found, reverse=True)
        assert sum(found) / len(found) == pytest.approx(sum(losses) / len(losses), abs=0.01)
        assert found[0] == pytest.approx(3.0, abs=0.01) and found[-1] == pytest.approx(1.0, abs=0.01)

    def test_what_is_no_number_is_left_out(self):
        assert curve([2.0, math.nan, math.inf, 1.0]) == [2.0, 1.0]
