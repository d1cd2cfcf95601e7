"""The numbers of each step of a run, and how many runs' are kept."""

import json
import os

import pytest

from shammah.records import Run
from shammah.training import run_log
from shammah.training.loop import State
from shammah.training.run_log import RunLog


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(run_log, "_KEPT", 3)


def a_run(number):
    return Run(id=f"run{number}", started="", updated="", trigger="user", model="small", settings={"r": 4})


def test_a_line_for_the_run_and_one_for_each_step(tmp_path):
    with RunLog(tmp_path, a_run(1)) as log:
        log.step(State(step=1, losses=[2.0], tokens=10, seconds=0.5))
    first, step = map(json.loads, (tmp_path / "run1.jsonl").read_text().splitlines())
    assert (first["run"], first["settings"]) == ("run1", {"r": 4})
    assert step == {"step": 1, "loss": 2.0, "tokens": 10, "seconds": 0.5, "held_out": []}


def test_only_the_newest_are_kept(tmp_path, few):
    for number in range(5):
        with RunLog(tmp_path, a_run(number)):
            pass
        os.utime(tmp_path / f"run{number}.jsonl", (number, number))
    with RunLog(tmp_path, a_run(2)):  # gone on with: now it is the newest
        pass
    with RunLog(tmp_path, a_run(5)):
        pass
    assert {log.stem for log in tmp_path.iterdir()} == {"run2", "run4", "run5"}
