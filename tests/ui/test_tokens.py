"""/tokens: what the context window is full of."""

from contextlib import closing

import pytest
from support.inside import Inside

from shammah.model.window import Filling, fill
from shammah.records import Message
from shammah.ui.tokens_commands import bar_of_parts, filling_lines


def encode(messages):
    """A token for each letter, and one for the frame of each message."""
    return [0] * sum(1 + len(message.content) for message in messages)


def a_filling(**changes):
    return Filling(**{"window": 100, "lead": 10, "turns": (20, 10), "reserve": 25} | changes)


def exchange(question, reply):
    return Message("user", question), Message("assistant", reply)


def test_each_part_is_counted():
    found = fill(
        Message("system", "abcd"), [exchange("ab", "c"), exchange("a", "b")], encode=encode, window=50, reserve=9
    )
    assert (found.lead, found.turns, found.reserve, found.used) == (6, (5, 4), 9, 15)
    assert found.free == 50 - 15 - 9


def test_turns_that_left_the_window_take_nothing():
    found = fill(None, [exchange("ab", "c"), exchange("a", "b")], encode=encode, window=50, reserve=9, dropped=1)
    assert (found.lead, found.turns) == (1, (0, 4))


def test_what_is_more_than_full_has_no_room(a_turn):
    assert a_filling(turns=(95,)).free == 0
    lines = filling_lines(a_filling(turns=(95,)), [a_turn()], columns=40, ascii=True)
    assert "%" in lines[0] and len(lines[1]) == 40


@pytest.mark.parametrize("columns", [40, 80, 200])
@pytest.mark.parametrize("ascii", [False, True])
def test_the_lines_fit(a_turn, columns, ascii):
    turns = [a_turn("long words " * 9), a_turn("漢字" * 40)]
    lines = filling_lines(a_filling(), turns, columns=columns, ascii=ascii)
    assert max(map(len, lines)) <= columns and lines[0] == "40 of 100 tokens, 40 %"
    bar, signs = lines[1], "#=-." if ascii else "█▓░·"
    assert sum(map(bar.count, signs)) == len(bar)
    for sign, share in zip(signs, (0.1, 0.3, 0.25, 0.35), strict=True):
        assert abs(bar.count(sign) - share * len(bar)) <= 1
    assert not ascii or "".join(lines).replace("漢", "").replace("字", "").isascii()


def test_the_turns_one_by_one(a_turn):
    turns = [a_turn(f"Question {number}") for number in range(1, 13)]
    lines = filling_lines(a_filling(window=1000, turns=(0, 0, *[10] * 10)), turns, columns=80, ascii=True)
    told = "\n".join(lines)
    assert "2 turns left the window" in told and "2 earlier turns" in told
    assert "5 Question 5" in told and "12 Question 12" in told and "Question 4" not in told


@pytest.mark.parametrize(
    ("sizes", "bar"),
    [
        ([0, 0, 0, 100], "...."),
        ([1, 0, 0, 99], "#..."),
        ([1, 1, 1, 97], "#=-."),
        ([50, 50, 0, 0], "##=="),
        ([0, 100, 9, 0], "===="),
    ],
)
def test_a_part_that_there_is_can_be_seen(sizes, bar):
    assert bar_of_parts(sizes, 100, 4, "#=-.") == bar


@pytest.mark.usefixtures("one_thread")
def test_in_a_chat(tiny_model, tmp_path):
    chat = Inside(tiny_model, tmp_path, encoding="ascii")
    with closing(chat.app):
        assert chat.says("/tokens") == (
            "The model is still loading; how full its window is can be told when it is there.\n"
        )
        chat.load().asks("Hello there")
        chat.says("/rules add Answer in French")
        told = chat.says("/tokens")
        session = chat.talk.session()
        filling = session.filling(chat.app.config.generation)
        nothing = len(session.prepare("x", chat.app.config.generation).prompt) - 1
        assert filling.used == nothing, "as much as the next prompt has around its question"
        assert f"{nothing} of 512 tokens" in told and "1 Hello there" in told and told.isascii()
