"""The list to pick from, by real keys."""

import pytest
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from shammah.ui.picking import Picker, pick

ROWS = ["1   3 d  Bread and butter  small", "2   2 d  Butter cake  large", "3   1 d  Crème brûlée  small"]
UP, DOWN, ENTER, ESC, CTRL_C, BACK, CTRL_U, CTRL_W = "\x1b[A", "\x1b[B", "\r", "\x1b", "\x03", "\x7f", "\x15", "\x17"


@pytest.mark.parametrize(
    ("keys", "taken"),
    [
        (ENTER, 0),
        (DOWN + ENTER, 1),
        (DOWN * 9 + ENTER, 2),
        (DOWN * 9 + UP + ENTER, 1),
        (UP + ENTER, 0),
        ("butter" + ENTER, 0),
        ("BUTTER cake" + ENTER, 1),
        ("butter" + DOWN + ENTER, 1),
        ("small" + DOWN + ENTER, 2),
        (DOWN * 2 + "b" + ENTER, 0),  # what is typed begins at the first that is left
        ("pie" + ENTER + BACK * 3 + "cake" + ENTER, 1),  # Enter takes nothing where nothing is left
        ("pie" + CTRL_U + "br\u00fb" + ENTER, 2),
        ("large pie" + CTRL_W + ENTER, 1),
        ("\x1b[3~" + "\x1b[15~" + "cake" + ENTER, 1),  # keys without a letter
        ("\x1b[200~cake\nbutter \x1b[31m\x1b[201~" + BACK * 5 + ENTER, 1),
        ("3" + ENTER, 2),  # a number is its row's, though others hold it too
        ("3" + DOWN + ENTER, 0),
        (CTRL_C, None),
        (ESC, None),
        ("cake" + ESC, None),
    ],
)
def test_keys(keys, taken):
    with create_pipe_input() as pipe:
        pipe.send_text(keys + CTRL_C)  # so that no list stays open
        assert pick(pipe, DummyOutput(), ROWS, "Which?") == taken


def lines(picker, columns=80, rows=24):
    return "".join(text for _, text, *_ in picker.shown(columns, rows)).splitlines()


def test_what_is_shown():
    picker = Picker(ROWS, "Which?")
    assert lines(picker)[:4] == ["Which? ", f"> {ROWS[0]}", f"  {ROWS[1]}", f"  {ROWS[2]}"]
    assert "Esc leaves" in lines(picker)[4]
    picker.type("butter")
    picker.move(1)
    assert lines(picker)[:3] == ["Which? butter", f"  {ROWS[0]}", f"> {ROWS[1]}"]
    picker.type("pie")
    assert lines(picker) == ["Which? pie", "  nothing holds these words"] and picker.taken is None


def test_a_long_list_moves_past_a_small_screen():
    picker = Picker([f"row {number}" for number in range(100)], "Which?")
    picker.move(50)
    shown = lines(picker, columns=12, rows=7)
    assert shown == ["Which? ", "  row 48", "  row 49", "> row 50", "  row 51", "  row 52", "  95 more"]
    picker.move(99)
    assert "> row 99" in lines(picker, rows=7)
    assert all(len(line) < 12 for line in lines(Picker(ROWS, "Which?"), columns=12))
