"""How the commands of feedback are read, and what is said about it, as far as it needs no terminal."""

import pytest

from shammah.feedback.desk import Outcome
from shammah.records import Buffer, Example, Message, Rule
from shammah.typed_lines import append_entry, read_entries
from shammah.ui.commands import Registry
from shammah.ui.feedback_words import (
    ONLY_WHEN_ASKED,
    rating_lines,
    read_lesson,
    read_reply_number,
    state_lines,
)
from shammah.ui.history import Lines
from shammah.ui.repl import registry
from shammah.ui.toolbar import best_fitting, line_below, toolbar_forms


@pytest.mark.parametrize(
    ("argument", "number", "note"),
    [
        ("", None, ""),
        ("#2", 2, ""),
        ("#2 note", 2, "note"),
        ("#2: note", 2, "note"),
        ("2", 2, ""),
        ("2:", 2, ""),
        ("2: note\nmore", 2, "note\nmore"),
        ("2 + 2 is 4", None, "2 + 2 is 4"),
        ("12:30 is right", None, "12:30 is right"),
        ("3 times", None, "3 times"),
        ("#2nd", None, "#2nd"),
        ("²", None, "²"),
        ("9" * 5000, None, "9" * 5000),
    ],
)
def test_the_number_of_a_reply(argument, number, note):
    assert read_reply_number(argument) == (number, note)


def test_where_a_number_alone_is_a_text():
    assert read_reply_number("42", bare=False) == (None, "42")
    assert read_reply_number("2: note", bare=False) == (None, "2: note")
    assert read_reply_number("#2 42", bare=False) == (2, "42")


@pytest.mark.parametrize(
    ("text", "lesson"),
    [
        ('"when asked X, say Y"', ("X", "Y")),
        ("when asked X, say Y", ("X", "Y")),
        ("When asked what X is, answer: It is Y, say some.", ("what X is", "It is Y, say some.")),
        ("if asked X say Y", ("X", "Y")),
        ("“when asked X, say Y”", ("X", "Y")),
        ('when asked "What\'s up, say?", say "Not \'much\'."', ("What's up, say?", "Not 'much'.")),
        ('"when asked "hi", say "yo""', ("hi", "yo")),
        ("X => Y", ("X", "Y")),
        ('"X => Y"', ("X", "Y")),
        ('"X" => "Y"', ("X", "Y")),
        ("How? => a => b", ("How?", "a => b")),
        ("when asked X,\nsay line one\n  line two", ("X", "line one\n  line two")),
        ("what to do when asked => say nothing", ("what to do when asked", "say nothing")),
        ("it's => that's", ("it's", "that's")),
        ("", None),
        ('""', None),
        ('"', None),
        ("nonsense", None),
        ("when asked X", None),
        ("when asked , say Y", None),
        ("when asked X, say", None),
        ("=> Y", None),
        ("X =>", None),
        ('"" => Y', None),
    ],
)
def test_a_lesson(text, lesson):
    assert read_lesson(text) == lesson


def outcome(**fields):
    given = {"id": "x", "time": "", "source": "rating", "level": "critical", "weight": 10, "state": "ready"}
    example = Example(**given | {"messages": (Message("user", "q"),), "target": "t"} | fields)
    muted = (Rule(id="r", time="", text="Answer in Dutch"),)
    rule = Rule(id="s", time="", text="Answer in French")
    buffer = Buffer(examples=12, weighted=1042.5, new=12, new_weighted=1042.5, needs_target=0, needs_review=0)
    return Outcome(example=example, buffer=buffer, rule=rule, muted=muted)


def test_all_that_can_be_said_of_a_rating():
    given = outcome(
        note="one\ntwo",
        state="needs review",
        secrets=("API key",),
        hold="another counts",
        rejected="[redacted API key] x2",
    )
    assert rating_lines(given, "🔴", changed=False, threshold=10, auto=True, rules_given=True) == [
        "🔴 Feedback recorded (weight: 10x)",
        "   Note: one\n   two",
        "   Training buffer: 12 examples (1042.5 weighted)",
        "   Training threshold reached: 12 of 10",
        "   1 secret redacted (API key): /review decides whether it is trained on",
        "   It stands back: another counts",
        "   From now on a rule: Answer in French",
        "   It contradicts, and mutes, the rule: Answer in Dutch",
    ]


@pytest.mark.parametrize(
    ("examples", "new", "auto", "words"),
    [
        (3, 3, True, "7 more until training"),
        (12, 3, True, "7 new ones until training, beside 9 of the latest run"),
        (4, 3, True, "7 new ones until training, beside 1 of the latest run"),
        (12, 10, True, "Training threshold reached: 10 of 10"),
        (3, 3, False, f"3 of 10 for training ({ONLY_WHEN_ASKED})"),
        (12, 12, False, f"12 of 10 for training ({ONLY_WHEN_ASKED})"),
    ],
)
def test_what_is_still_to_come_before_training(examples, new, auto, words):
    buffer = Buffer(examples=examples, weighted=42.0, new=new, new_weighted=9.0, needs_target=0, needs_review=0)
    assert state_lines(outcome().example, buffer, 10, auto) == [
        f"   Training buffer: {examples} examples (42.0 weighted)",
        f"   {words}",
    ]


def test_a_rule_that_is_not_given_is_not_called_one():
    lines = rating_lines(outcome(), "🔴", changed=True, threshold=10, auto=True, rules_given=False)
    assert "   A rule, though none is given to the model (rules.active is false): Answer in French" in lines


class TestToolbar:
    # Four more are in the hands of the last run.
    BUFFER = Buffer(examples=12, weighted=90.0, new=8, new_weighted=42.0, needs_target=0, needs_review=0)
    FORMS = toolbar_forms(["smollm2", "v3 at 0.5"], 0.124, BUFFER, 10, 2, rateable=True)
    SPOKEN = "smollm2 · v3 at 0.5 · ctx 12 %"

    @pytest.mark.parametrize(
        ("columns", "line"),
        [
            (112, SPOKEN + " · 8/10 examples, 42 weighted · 2 rules · Alt+G good  Alt+M medium  Alt+C critical"),
            (111, SPOKEN + " · 8/10 examples, 42 weighted · 2 rules · Alt+G/M/C rates"),
            (80, SPOKEN + " · 8/10 examples · 2 rules · Alt+G/M/C rates"),
            (70, SPOKEN + " · 8/10 examples · 2 rules"),
            (40, SPOKEN),
            (5, "smoll"),
        ],
    )
    def test_as_much_as_fits(self, columns, line):
        assert best_fitting(self.FORMS, columns, " · ") == line

    def test_cells_are_counted_not_letters(self):
        forms = toolbar_forms(["模型模型"], None, None, 10, 1, rateable=False)
        assert best_fitting(forms, 17, " · ") == "模型模型 · 1 rule"
        assert best_fitting(forms, 16, " · ") == "模型模型"
        assert best_fitting(forms, 6, " · ") == "模型模"

    def test_what_begins_the_line_gets_shorter_first(self):
        begun = [["training", "▇▅▃ loss 1"], ["training", "loss 1"]]
        assert line_below(begun, self.FORMS, 30, " · ") == "training  ▇▅▃ loss 1 · smollm2"
        assert line_below(begun, self.FORMS, 19, " · ") == "training  loss 1"
        assert line_below([], self.FORMS, 10, " · ") == "smollm2"

    def test_nothing(self):
        assert best_fitting(toolbar_forms([], None, None, 10, 0, rateable=False), 80, " · ") == ""


class TestHistory:
    def test_private_lines_are_not_kept_and_secrets_are_redacted(self, tmp_path):
        file = tmp_path / "history"
        lines = Lines(file, keeps=registry.keeps, redacts=True)
        for line in (
            "hello",
            "/forget Atlantis",
            "/forgt Atlantis",
            "/FORGET Atlantis",
            "the key AKIAQWERTZUIOPASDFG2",
        ):
            lines.append_string(line)
        assert "Atlantis" not in file.read_text() and "AKIA" not in file.read_text()
        assert [line for line in lines.get_strings() if "Atlantis" in line] == []
        assert list(Lines(file, keeps=registry.keeps, redacts=True).load_history_strings())[-1] == "hello"

    def test_so_many_of_the_newest_are_known_and_the_file_is_cut_now_and_then(self, tmp_path):
        def known():
            return list(Lines(tmp_path / "history", keeps=registry.keeps, redacts=True, most=10).load_history_strings())

        for number in range(11):
            append_entry(tmp_path / "history", f"line {number}")
        assert (
            known() == [f"line {number}" for number in range(10, 0, -1)]
            and len(read_entries(tmp_path / "history")) == 11
        )
        append_entry(tmp_path / "history", "line 11")
        assert known()[0] == "line 11" and len(read_entries(tmp_path / "history")) == 10

    def test_without_a_file_nothing_is_written(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        lines = Lines(None, keeps=lambda line: True, redacts=True)
        lines.append_string("hello")
        assert lines.get_strings() == ["hello"] and list(tmp_path.iterdir()) == []
        lines.reload()
        assert lines.get_strings() == []


def test_a_command_nearly_spelled_as_a_private_one_is_private_too():
    made = Registry()
    made.command("forget", help="x", private=True)(lambda repl, argument: None)
    made.command("fix", help="x")(lambda repl, argument: None)
    assert [made.keeps(line) for line in ("/forget a", "/forgt a", "/fix a", "forget a", "/xyz")] == [
        False, False, True, True, True,
    ]  # fmt: skip
