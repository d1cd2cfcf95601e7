"""A receipt on a terminal: short above the prompt, whole on request, whatever the width and the script."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.receipts import OFFICE, a_body, a_receipt, a_rule, a_spoiled_one
from wcwidth import width

from shammah.judging.receipt_lines import report_lines, short_lines
from shammah.records import Probe

CURVE = "█▇▆▅▄▃▂▁"
# What a terminal can show: no control characters, which whoever shows it has taken out.
SHOWN = st.text(
    st.characters(blacklist_categories=("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")), min_size=1, max_size=200
)

A_PROBE = Probe(id="mine", time="", prompt="Which city?", contains=("Bilbao",))


def lines_of(receipt, columns, **how):
    options = {"curve": CURVE, "ascii": False, **how}
    return [line.text for line in report_lines(receipt, columns=columns, **options)]


class TestTheShortForm:
    def test_what_is_in_it(self):
        told = a_body(rules=[a_rule("Answer in one sentence.")], before=None)
        lines = short_lines(told, columns=120, curve=CURVE)
        assert lines[0] == "Trained, better, deployed: v7, from 3 examples in 54 s"
        facts = {line[:8].strip(): line[8:] for line in lines[1:]}
        assert list(facts) == ["Loss", "Why", "Better", "Worse", "Asked", "Before", "After", "Rule", "Back"]
        assert facts["Loss"] == f"2.31 -> 0.12  {CURVE}"
        assert (facts["Asked"], facts["Before"], facts["After"]) == OFFICE[0]
        assert facts["Rule"] == "is obeyed without being told from now on: Answer in one sentence."
        assert facts["Back"] == "/adapters rollback, /report shows all of it"

    def test_where_it_was_not_better(self):
        lines = short_lines(a_body(learns=False), columns=120, curve=CURVE)
        assert lines[0].startswith("Trained, not better, not deployed: v7")
        assert any(line.startswith("Why") and "worse than the base model" in line for line in lines)
        assert lines[-1] == "Next    your examples are kept, /report shows all of it"

    @pytest.mark.parametrize("columns", [40, 80, 200])
    @pytest.mark.parametrize("told", [a_body(rules=[a_rule()]), a_body(learns=False), a_spoiled_one().body])
    def test_it_takes_6_to_10_lines_that_fit(self, told, columns):
        lines = short_lines(told, columns=columns, curve=CURVE)
        assert 6 <= len(lines) <= 10
        assert all(line.strip() and width(line) <= columns for line in lines)

    @settings(deadline=None)
    @given(prompt=SHOWN, before=SHOWN, after=SHOWN, columns=st.integers(30, 120))
    def test_whatever_was_said_each_fact_is_one_line_that_fits(self, prompt, before, after, columns):
        lines = short_lines(a_body(((prompt, before, after),)), columns=columns, curve=CURVE)
        assert len(lines) <= 10
        assert all("\n" not in line and width(line) <= columns for line in lines)

    def test_an_empty_reply_is_told_as_one(self):
        told = a_body(OFFICE[:1], said={"example 0": " "})
        assert "After   (nothing)" in short_lines(told, columns=80, curve=CURVE)

    def test_a_reply_without_spaces_is_shown_as_far_as_there_is_room(self):
        told = a_body((("Where is it?", "猫" * 80, "https://example.org/" + "a" * 90),))
        for columns in (40, 80):
            facts = {line[:8].strip(): line[8:] for line in short_lines(told, columns=columns, curve=CURVE)}
            assert facts["Before"].startswith("猫猫猫") and facts["Before"].endswith("猫...")
            assert facts["After"].startswith("https://example.org/aa") and width(facts["After"]) == columns - 8

    def test_in_40_columns_the_head_keeps_its_facts(self):
        lines = short_lines(a_spoiled_one().body, columns=40, curve=CURVE)
        assert " ".join(lines[:2]) == "Trained, at too high a price, not deployed: v7, from 3 examples in 54 s"


class TestTheWhole:
    def test_every_part_is_there(self):
        text = "\n".join(lines_of(a_receipt(rules=[a_rule("Answer in one sentence.")]), 100))
        for part in (
            "Trained, better, deployed: v7, 2026-11-21 13:01",
            "v7 is in use; it took the place of the model itself.",
            "Learned from  3 examples (1 critical, 1 medium, 1 good)",
            f"Loss          2.31 -> 0.12  {CURVE}",
            "✓ held-out questions: ",
            "+ Answered rightly now: What is the name of our deploy script?",
            "Nothing that was measured.",
            "Wanted replies  9.1 % -> 67 %",
            "What is obeyed without being told from now on\n  * Answer in one sentence.",
            "Going back\n  `/adapters rollback` goes back to the model itself.",
            "`shammah report 0Run --html receipt.html`",
        ):
            assert part in text

    def test_before_and_after_stand_side_by_side_where_there_is_room(self):
        lines = lines_of(a_receipt(), 100)
        head = next(place for place, line in enumerate(lines) if line.split() == ["Before", "After", "✓"])
        below = lines[head + 1]
        assert below.index("It is called deploy.sh.") == lines[head].index("Before")
        assert below.index("Our deploy script is called") == lines[head].index("After")

    def test_in_40_columns_one_stands_under_the_other(self):
        text = "\n".join(lines_of(a_receipt(), 40))
        assert "  Before: It is called deploy.sh.\n" in text.replace("    Before", "  Before")
        assert "After ✓: Our deploy script is" in text

    @pytest.mark.parametrize("columns", [40, 59, 60, 80, 100, 250])
    @pytest.mark.parametrize("receipt", [a_receipt(rules=[a_rule()]), a_spoiled_one()], ids=["good", "bad"])
    def test_no_line_is_wider_than_the_terminal(self, receipt, columns):
        told = lines_of(receipt, columns)
        assert max(map(width, told)) <= min(columns, 100)

    @settings(deadline=None)
    @given(prompt=SHOWN, before=SHOWN, after=SHOWN, columns=st.integers(40, 120))
    def test_whatever_was_said_it_fits(self, prompt, before, after, columns):
        told = lines_of(a_receipt((prompt, before, after)), columns)
        assert max(map(width, told)) <= columns

    def test_what_is_still_wrong_is_shown_with_what_was_wanted(self):
        text = "\n".join(lines_of(a_receipt(said={"example 1": "I do."}), 100))
        assert "Wanted: Invoices are signed off by Marta Quiroga." in text
        assert "Wanted: Our deploy" not in text

    def test_of_a_refused_one(self):
        text = "\n".join(lines_of(a_spoiled_one(), 100))
        assert "✗ drift 0.22 (limit 0.10)" in text and "What you can do\n  `/adapters load v7`" in text
        assert "- No longer passed: Which city is our office in?" in text
        assert "With v7" in text and "After" not in text

    def test_probes_of_the_user_that_still_fail_are_named(self):
        receipt = a_receipt(probes=[A_PROBE], active={"probes": {"mine": False}}, candidate={"probes": {"mine": False}})
        lines = lines_of(receipt, 100)
        assert lines[lines.index("Your probes") + 1] == "  - Not passed yet: Which city?"
        assert any(line.startswith("Worse") and "1 probe not" in line for line in short_lines(
            receipt.body, columns=80, curve=CURVE))  # fmt: skip
        assert "Your probes" not in lines_of(a_receipt(), 100)

    def test_for_a_program_nothing_is_wrapped(self):
        long = "word " * 100 + "end"
        told = lines_of(a_receipt(("Say it", "No.", long)), None)
        assert any(line.endswith(long) for line in told) and any(line.strip() == "Before: No." for line in told)

    def test_where_a_terminal_has_no_signs(self):
        told = lines_of(a_spoiled_one(), 80, ascii=True, curve="#+-.")
        assert all(line.isascii() for line in told) and any(line.startswith("  NO  drift") for line in told)

    def test_of_one_that_was_replaced_since(self):
        text = "\n".join(lines_of(a_receipt(rules=[a_rule()]), 100, holds=False))
        assert "v7 was taken into use then" in text and "What is obeyed without being told where v7 answers" in text
        assert "Going back" not in text and "`/adapters list` shows what answers now" in text
