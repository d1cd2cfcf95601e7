"""`shammah stats`: what it shows, as text and as JSON."""

import json
from contextlib import closing

import pytest

from shammah.records import Buffer
from shammah.store import Conversations, Database, Examples
from shammah.store.statistics import statistics
from shammah.ui.render import sparkline
from shammah.ui.stats_words import stats_lines

KEYS = {
    "total", "rated", "feedback_rate", "average_quality", "ratings", "shares", "by_model", "by_adapter", "by_day",
    "trend", "examples", "buffer",
}  # fmt: skip


@pytest.fixture
def rated(home, a_turn, an_example):
    home.mkdir(mode=0o700)
    with closing(Database(home / "shammah.db")) as database:
        store = Conversations(database)
        store.add(a_turn("A?", feedback="good", quality=0.9), title="t")
        store.add(a_turn("B?", feedback="critical", quality=0.1, model="big \x1b[31m"), title="t")
        store.add(a_turn("C?", time="2001-01-01T00:00:00.000Z"), title="t")
        Examples(database).put(an_example(weight=10.0))


def test_json_has_all_its_keys_in_an_empty_home(shammah):
    result = shammah("stats", "--json")
    (line,) = result.stdout.splitlines()
    found = json.loads(line)
    assert result.returncode == 0 and set(found) == KEYS
    assert (found["total"], found["feedback_rate"], found["average_quality"], found["by_day"]) == (0, None, None, [])
    assert found["buffer"] == {
        "examples": 0, "weighted": 0.0, "new": 0, "new_weighted": 0.0, "needs_target": 0, "needs_review": 0
    }  # fmt: skip


def test_json(shammah, rated):
    found = json.loads(shammah("stats", "--json").stdout)
    assert set(found) == KEYS
    assert (found["total"], found["rated"], found["average_quality"]) == (3, 2, 0.5)
    assert found["ratings"] == {"critical": 1, "medium": 0, "good": 1}
    assert found["shares"] == {"critical": 0.5, "medium": 0.0, "good": 0.5}
    assert [(tally["name"], tally["turns"], tally["disliked"]) for tally in found["by_model"]] == [
        ("small", 2, 0.0),
        ("big \x1b[31m", 1, 1.0),
    ]
    assert [tally["name"] for tally in found["by_adapter"]] == ["none"]
    assert found["examples"]["ready"] == 1 and found["buffer"]["weighted"] == 10.0


def test_only_the_last_days(shammah, rated):
    assert json.loads(shammah("stats", "--json", "--days", "30").stdout)["total"] == 2


def test_days_must_be_a_number_above_0(shammah):
    result = shammah("stats", "--days", "0")
    assert result.returncode == 2 and b"Invalid value" in result.stderr


def test_the_text_is_aligned_and_holds_no_escape_code(shammah, rated):
    result = shammah("stats", PYTHONIOENCODING="utf-8")
    lines = result.stdout.decode().splitlines()
    assert lines[0] == "3 turns, 2 of them rated (67%)"
    assert "\x1b" not in result.stdout.decode() and "█" not in lines[0] and any("▅" in line for line in lines)
    tables = [line for line in lines if line.startswith(("small", "big", "none", "2001-01-01"))]
    assert len(tables) == 4 and lines[-1] == "1 wait for training (10.0 weighted)"
    (small,), (big,) = ([line for line in tables if line.startswith(name)] for name in ("small", "big"))
    assert len(small) == len(big) and small.split() == ["small", "2", "1", "0.90", "0%"]


def test_terminals_that_lack_the_blocks_get_signs(shammah, rated):
    result = shammah("stats", PYTHONIOENCODING="latin-1")
    assert result.returncode == 0 and b"+|" in result.stdout and b"?" not in result.stdout


def test_a_sparkline_has_a_character_for_each_value():
    assert sparkline([0.0, 0.5, 1.0]) == "▁▅█"
    assert sparkline([0.0, None, 1.0], ascii=True) == ". #"
    assert sparkline([-3.0, 9.0]) == "▁█"
    assert sparkline([]) == ""


def test_many_days_are_cut_to_the_last_ones(database_of_days):
    lines = stats_lines(
        database_of_days,
        Buffer(examples=0, weighted=0.0, new=0, new_weighted=0.0, needs_target=0, needs_review=0),
        ascii=True,
    )
    days = [line for line in lines if line.startswith("20")]
    assert len(days) == 30 and days[-1].startswith("2026-02-28")


@pytest.fixture
def database_of_days(tmp_path, a_turn):
    with closing(Database(tmp_path / "days.db")) as database:
        store = Conversations(database)
        for month in ("01", "02"):
            for day in range(1, 29):
                store.add(a_turn(time=f"2026-{month}-{day:02d}T00:00:00.000Z"), title="t")
        return statistics(database)
