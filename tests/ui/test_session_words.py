"""Lists of conversations, a page of Markdown, JSON."""

import pytest
from wcwidth import width

from shammah.records import Conversation
from shammah.ui.session_words import (
    as_json,
    as_markdown,
    cut,
    file_name_of,
    going_on_words,
    last_exchange_lines,
    listed_lines,
    numbered,
)

NOW = "2026-01-03T00:00:00.000Z"


def talk(title="What is a lichen?", **changes):
    fields = {
        "id": "one", "title": title, "model": "org/small", "system": "", "created": "2026-01-01T10:00:00.000Z",
        "updated": "2026-01-01T10:05:00.000Z", "turns": 3,
    }  # fmt: skip
    return Conversation(**(fields | changes))


class TestLists:
    def test_mark_age_title_turns_and_model(self):
        talks = [talk(), talk("Cake", id="two", turns=1, updated="2026-01-02T23:59:48.000Z", model="other")]
        assert numbered(listed_lines(talks, now=NOW, cells=80, open_id="two")) == [
            "1   1 d  What is a lichen?  3 turns  small",
            "2 *12 s  Cake               1 turn   other",
        ]
        assert listed_lines([], now=NOW, cells=80, open_id=None) == []

    @pytest.mark.parametrize("cells", [80, 60, 44, 37, 28, 20, 12])
    def test_no_line_is_wider_than_the_screen(self, cells):
        talks = [talk("\u6771\u4eac " * 20, turns=100), talk("word " * 12, id="two")]
        lines = listed_lines(talks, now=NOW, cells=cells, open_id=None)
        assert max(map(width, lines)) <= cells
        assert ("small" in lines[0]) == (cells >= 44) and ("turns" in lines[0]) == (cells >= 37)

    def test_what_a_model_or_a_file_put_there_cannot_drive_the_terminal(self):
        (line,) = listed_lines([talk("a\x1b[31mb\u202e", model="\x07m")], now=NOW, cells=80, open_id=None)
        assert line == " 1 d  a[31mb  3 turns  m"
        assert "(no title)" in listed_lines([talk("")], now=NOW, cells=80, open_id=None)[0]

    def test_cut(self):
        assert [cut("\u6771\u4eac\u6771\u4eac", cells) for cells in (8, 7, 6, 2, 1)] == [
            "\u6771\u4eac\u6771\u4eac", "\u6771\u4eac...", "\u6771...", "\u6771", " ",
        ]  # fmt: skip


class TestGoingOn:
    def test_the_last_exchange_in_short(self, a_turn):
        assert last_exchange_lines(a_turn("Why?\nSay!", "So.\nAnd so.")) == ["> Why? Say!", "So.\nAnd so."]
        question, reply = last_exchange_lines(a_turn("q " * 300, "line\n" * 50))
        assert len(question) <= 202 and question.endswith("...")
        assert reply == "line\n" * 7 + "line ..."
        assert last_exchange_lines(a_turn("Why?", "x" * 5000))[1] == "x" * 600 + " ..."
        assert last_exchange_lines(a_turn("Why?", "")) == ["> Why?"]

    def test_how_much_there_is(self, a_turn):
        assert going_on_words(talk("Cake"), [a_turn()], "") == "Going on with 'Cake', 1 turn."
        assert "from its beginning" in going_on_words(talk("Cake"), [], "")


class TestMarkdown:
    def test_a_whole_page(self, a_turn):
        turns = [
            a_turn("What is it?\nTell me.", "It is\n\n- this", feedback="critical", note="Too\nshort"),
            a_turn("Go on", "", stop_reason="cancelled"),
            a_turn("Once more", "Half a", stop_reason="length", feedback="good"),
        ]
        assert as_markdown(talk(system="Be brief."), turns) == (
            "# What is a lichen?\n\n"
            "- Date: 2026-01-01 10:00 to 2026-01-01 10:05 UTC\n- Model: org/small\n- Adapter: none\n\n"
            "## System prompt\n\n> Be brief.\n\n"
            "## 1\n\n> What is it?\n> Tell me.\n\nIt is\n\n- this\n\n**Rated critical**: Too short\n\n"
            "## 2\n\n> Go on\n\n*(no reply)*\n\n"
            "## 3\n\n> Once more\n\nHalf a\n\n*(stopped before its end)*\n\n**Rated good**\n"
        )

    def test_adapters_are_told_by_turn_where_they_differ(self, a_turn):
        page = as_markdown(talk(), [a_turn(adapter="v1"), a_turn(), a_turn(adapter="v1")])
        assert "- Adapter: v1, none\n" in page
        assert page.count("*Adapter: v1*") == 2 and page.count("*Adapter: none*") == 1
        assert as_markdown(talk(), [a_turn(adapter="v1")]).count("v1") == 1

    @pytest.mark.parametrize(
        ("reply", "end"),
        [
            ("```python\nprint(1)", "print(1)\n```\n"),
            ("~~~~\n```\nx", "x\n~~~~\n"),
            ("```\nx\n```", "x\n```\n"),
            ("````\n```\nx\n```", "x\n```\n````\n"),
            ("``` a `b`\n```\nx", "x\n"),
            ("no code", "no code\n"),
        ],
    )
    def test_code_that_was_cut_off_is_closed(self, a_turn, reply, end):
        assert as_markdown(talk(), [a_turn("Q", reply)]).endswith(f"\n{end}")

    @pytest.mark.parametrize(
        ("title", "name"),
        [
            ("What is a lichen?", "what-is-a-lichen.md"),
            ("../../etc/passwd", "etc-passwd.md"),
            ("\u6771\u4eac", "\u6771\u4eac.md"),
            ("???", "one.md"),
            ("", "one.md"),
            ("w" * 200, "w" * 50 + ".md"),
        ],
    )
    def test_a_file_s_name(self, title, name):
        assert file_name_of(talk(title)) == name


def test_json_has_every_turn_and_says_which_of_them_it_goes_on_with(a_turn):
    one, two = a_turn("One"), a_turn("Two")
    whole = as_json(talk(), [one, two], [two])
    assert whole["context"] == [two.id] and [turn["query"] for turn in whole["turns"]] == ["One", "Two"]
    assert set(whole["turns"][0]) == set(type(one).__slots__)
    assert (whole["id"], whole["title"], whole["model"]) == ("one", "What is a lichen?", "org/small")
