"""Tables in the room that there is."""

import pytest

from shammah.ui.reply.spans import runs_of
from shammah.ui.reply.tables import alignments, cells_in, lay_out
from shammah.ui.reply.wrapping import cells_of


def laid_out(text, room, **options):
    header, delimiter, *rows = text.strip().splitlines()
    cells = [[runs_of(cell) for cell in cells_in(row)] for row in (header, *rows)]
    return ["".join(part for part, _ in line) for line in lay_out(cells, alignments(delimiter), room, **options)]


@pytest.mark.parametrize(
    ("row", "cells"),
    [
        ("| a | b |", ["a", "b"]),
        ("|a|b", ["a", "b"]),
        ("a | b |", ["a", "b"]),
        ("| a || c |", ["a", "", "c"]),
        (r"| a \| b | `c \| d` |", ["a | b", "`c | d`"]),
        ("| one<br>two |", ["one\ntwo"]),
        ("||", [""]),
    ],
)
def test_cells(row, cells):
    assert cells_in(row) == cells


def test_alignment_and_padding():
    text = "|l|r|c|\n|:--|--:|:-:|\n|long one|1|x|\n|s|22222|wide|"
    assert laid_out(text, 40) == [
        "l        │     r │  c",
        "─────────┼───────┼─────",
        "long one │     1 │  x",
        "s        │ 22222 │ wide",
    ]
    assert laid_out(text, 40, ascii=True)[1] == "---------+-------+-----"


def test_the_widest_column_is_wrapped_and_rows_are_parted():
    text = "|a|b|\n|-|-|\n|x|many words that take room|\n|y|z|"
    assert laid_out(text, 16) == [
        "a │ b",
        "──┼─────────────",
        "x │ many words",
        "  │ that take",
        "  │ room",
        "──┼─────────────",
        "y │ z",
    ]


def test_where_columns_have_no_room_each_row_is_lines():
    text = "|name|what|when|\n|-|-|-|\n|first one|second thing|third of them|\n|1|2|3|"
    assert laid_out(text, 20) == [
        "name: first one", "what: second thing", "when: third of", "  them", "", "name: 1", "what: 2", "when: 3",
    ]  # fmt: skip


def test_rows_of_another_length_lose_nothing():
    lines = laid_out("|a|b|\n|-|-|\n|1|\n|1|2|3|", 40)
    assert [line.split() for line in lines] == [["a", "│", "b", "│"], ["──┼───┼──"], ["1", "│", "│"], list("1│2│3")]


def test_wide_letters_count_twice():
    lines = laid_out("|名|b|\n|-|-|\n|日本語|x|\n|a|y|", 40)
    assert len({cells_of(line.partition("│")[0]) for line in lines if "│" in line}) == 1


def test_no_line_is_wider_than_the_room():
    text = "|a header|another|third|\n|-|-|-|\n|" + "word " * 20 + "|" + "x" * 50 + "|日本語日本語日本語|"
    for room in range(8, 90):
        assert max(map(cells_of, laid_out(text, room))) <= room
