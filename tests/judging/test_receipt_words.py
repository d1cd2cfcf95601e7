"""The words of a receipt: what was decided, what became better and worse, what the numbers mean, how to go back."""

import pytest
from support.receipts import OFFICE, a_body, a_rule, a_spoiled_one, run_of

from shammah.judging import receipt_words as words
from shammah.records import Probe


class TestTheDecision:
    def test_better_and_in_use(self):
        told = a_body(before="lora_adapter_old")
        assert words.title(told) == "Trained, better, deployed"
        assert words.answers_words(told) == "v7 is in use; it took the place of lora_adapter_old."
        assert words.going_back(told) == ("/adapters rollback", "goes back to lora_adapter_old.")
        assert words.going_back(told, back="lora_adapter_new")[1] == "goes back to lora_adapter_new.", (
            "others came since"
        )
        assert words.headings(told) == ("Before", "After")

    def test_better_where_nothing_is_swapped_by_itself(self):
        told = a_body(deployed=False)
        assert words.title(told) == "Trained, better, not deployed yet"
        assert words.answers_words(told) == "What answered before still does: the model itself."
        assert words.going_back(told)[0] == "/adapters load v7"

    def test_not_better(self):
        told = a_body(learns=False)
        assert words.title(told) == "Trained, not better, not deployed"
        assert words.going_back(told)[0] == "/adapters load v7" and "examples are kept" in words.going_back(told)[1]
        assert words.headings(told) == ("Now", "With v7")

    @pytest.mark.parametrize(
        ("deployed", "answers", "heading"),
        [
            (True, "v7 was taken into use then, in place of the model itself; it is not any more.", "Before"),
            (False, "What answered then went on: the model itself; something else answers now.", "Then"),
        ],
    )
    def test_long_after_when_something_else_answers(self, deployed, answers, heading):
        told = a_body(deployed=deployed)
        assert words.holds(told, told["adapter"]["name"]) is deployed and words.holds(told, None) is not deployed
        assert words.answers_words(told, holds=False) == answers
        assert words.headings(told, holds=False)[0] == heading
        assert words.obeyed(told, holds=False).endswith("where v7 answers")
        command, does = words.going_back(told, holds=False)
        assert command == "/adapters list" and "load v7" in does

    def test_at_too_high_a_price(self):
        assert words.title(a_spoiled_one().body) == "Trained, at too high a price, not deployed"

    def test_what_could_not_be_judged(self):
        assert words.title(a_body(candidate={"speed": None})) == "Trained, not good enough, not deployed"

    def test_why(self):
        told = a_body(candidate={"drift": 0.2})
        (reason,) = words.reasons(told)
        assert "drift 0.20" in reason
        assert (False, reason) in words.checks(told) and sum(not passed for passed, _ in words.checks(told)) == 1

    def test_an_adapter_without_a_version_goes_by_its_name(self):
        told = a_body(version=None)
        assert words.name(told) == told["adapter"]["name"]


class TestWhatItLearnedFrom:
    def test_examples_by_rating(self):
        assert words.learned_words(a_body()) == "3 examples (1 critical, 1 medium, 1 good)"
        assert words.learned_words(a_body(new_ids=["example 0"])).endswith("; 1 of them new")

    def test_the_run(self):
        assert words.took_words(a_body()) == "54 s, 60 steps, 24,000 tokens"
        assert words.loss_words(a_body()) == "2.31 -> 0.12"
        assert words.took_words(a_body(run=run_of([], seconds=1823.0))).startswith("30 min, ")


class TestBeforeAndAfter:
    def test_what_turned_right_comes_first_and_then_what_turned_wrong(self):
        lessons = (("Stays wrong?", "No.", "Alpha"), ("Stays right?", "Beta", "Beta"), ("Lost?", "Gamma", "Gamma"),
                   ("Won?", "No.", "Delta"))  # fmt: skip
        told = a_body(lessons, said={"example 0": "Still no.", "example 2": "Hm."})
        asked = [one["prompt"] for one in words.answered(told)]
        assert asked == ["Won?", "Lost?", "Stays wrong?", "Stays right?"]
        assert words.example_of(told)["prompt"] == "Won?"

    def test_without_a_change_there_is_nothing_to_show(self):
        assert words.example_of(a_body(learns=False)) is None

    def test_a_reply_that_goes_on_says_so(self):
        lesson = {"said": {"after": "One, two \n"}, "cut_off": {"after": True}}
        assert words.said(lesson, "after") == "One, two ..."
        assert words.said({"said": {"after": "Two."}, "cut_off": {"after": False}}, "after") == "Two."


class TestBetterAndWorse:
    def test_what_became_better(self):
        won = Probe(id="won", time="", prompt="Which city?", contains=("Bilbao",))
        changes = list(map(str, words.better(a_body(probes=[won], active={"probes": {"won": False}},
                                                     candidate={"probes": {"won": True}}))))  # fmt: skip
        assert changes == [
            *(f"Answered rightly now: {prompt}" for prompt, _, _ in OFFICE),
            "3 of 3 wanted replies are likelier, asked in other words too.",
            "Passed now: Which city?",
        ]

    def test_what_became_worse(self):
        changes = list(map(str, words.worse(a_spoiled_one().body)))
        assert changes == [
            "No longer passed: Which city is our office in?",
            "A reply is empty: When is the stand-up?",
            "What was taught (launchpad.sh) came up where nobody asked: Who was Marie Curie?",
            "Drift 0.22 (limit 0.10).",
            "General prose is 6.09 % more surprising (limit 5 %), perplexity 24.0.",
        ]

    def test_an_answer_that_was_right(self):
        told = a_body((("A?", "Alpha", "Alpha"),), said={"example 0": "Hm."}, candidate={"nll": {"example 0": 3.0}})
        assert list(map(str, words.worse(told))) == ["No longer answered rightly: A?", "Less sure than before: A?"]
        assert words.worse_in_short(told) == "1 answer wrong now; 1 lesson less sure"

    def test_a_cost_that_is_allowed_is_told_all_the_same(self):
        told = a_body(candidate={"perplexity": 22.0})
        assert told["deployed"] and [str(change) for change in words.worse(told)] == [
            "General prose is 3.2 % more surprising."
        ]

    def test_a_small_change_is_no_news(self):
        told = a_body(learns=False, candidate={"nll": {f"example {at}": 2.44 for at in range(3)}})
        assert words.better(told) == words.worse(told) == []
        assert words.better_in_short(told) == words.worse_in_short(told) == words.NOTHING

    def test_in_short(self):
        told = a_spoiled_one().body
        assert (
            words.better_in_short(told) == "2 of 3 prompts answered rightly, 0 before; 3 of 3 wanted replies likelier"
        )
        worse = words.worse_in_short(told)
        assert worse.startswith("1 probe lost; 1 prompt answered badly; 1 prompt met with what was taught elsewhere;")
        assert "Drift 0.22" in worse

    def test_a_long_prompt_is_shown_by_its_beginning(self):
        lessons = (("word " * 400, "No.", "Yes, Alpha"),)
        assert max(map(len, map(str, words.better(a_body(lessons))))) < 300


class TestTheNumbers:
    def numbers(self, told):
        return {number.name: number for number in words.numbers(told)}

    def test_each_with_its_meaning(self):
        found = self.numbers(a_body())
        assert (found["Wanted replies"].before, found["Wanted replies"].after) == ("9.1 %", "67 %")
        assert (found["Your prompts"].before, found["Your prompts"].after) == ("0 of 3", "3 of 3")
        assert (found["Drift"].before, found["Drift"].after) == ("0.00", "0.06")
        assert "0.10 the most that passes" in found["Drift"].meaning
        assert (found["Speed"].before, found["Speed"].after) == ("50", "49")
        assert all(number.meaning for number in found.values())

    def test_a_chance_that_is_next_to_none(self):
        lost = self.numbers(a_body(learns=False, candidate={"nll": {f"example {at}": 30.0 for at in range(3)}}))
        assert lost["Wanted replies"].after == "under 1 %"

    def test_what_was_not_measured_is_left_out_or_said_to_be_missing(self):
        assert self.numbers(a_body(candidate={"speed": None}))["Speed"].after is None
        assert "Speed" not in self.numbers(a_body(candidate={"speed": None}, active={"speed": None}))


@pytest.mark.parametrize(
    ("deployed", "when"), [(True, "from now on"), (False, "where v7 answers")], ids=["in use", "not in use"]
)
def test_rules_that_graduated(deployed, when):
    assert words.obeyed(a_body(deployed=deployed, rules=[a_rule()])) == f"is obeyed without being told {when}"
