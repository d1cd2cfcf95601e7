"""/status, /train and /stats: where things stand, in words and pictures."""

import json
import os
from contextlib import closing

import pytest
from support.inside import Inside
from support.receipts import ADAPTER, a_body, run_of
from support.standing_adapters import ACCEPTED, FIRST, put_silent

from shammah.records import Run
from shammah.store.receipts import Receipts
from shammah.store.runs import Runs
from shammah.training.trainer_lock import TrainerLock
from shammah.ui.stats_words import stats_lines
from shammah.ui.training_words import fact_lines, moved_lines, pictures

MODEL = "smollm2-135m"


@pytest.fixture
def chat(tmp_path):
    inside = Inside(MODEL, tmp_path)
    with closing(inside.app):
        yield inside


def begun(chat, **fields):
    moment = "2026-11-21T00:00:01.000Z"
    run = Run(id="run1", started=moment, updated=moment, trigger="user", model=MODEL, steps=60, **fields)
    return Runs(chat.app.database).begin(run)


def log_losses(chat, *losses):
    chat.app.home.run_logs.mkdir(parents=True)
    lines = [json.dumps({"step": step, "loss": loss}) for step, loss in enumerate(losses, 1)]
    (chat.app.home.run_logs / "run1.jsonl").write_text("\n".join(lines))


class TestStatus:
    def test_an_empty_home(self, chat, home):
        told = chat.says("/status")
        for line in (
            f"Model    {MODEL}",
            "Adapter  none",
            "Rules    0 given",
            "Buffer   0 examples",
            "Memory   ",
            "Home ",
        ):
            assert line in told
        assert (
            "the model is still loading" in told
            and "Verdict" not in told
            and str(home) in told.replace("\n         ", "")
        )

    def test_strength_and_probation(self, chat, home, a_turn):
        put_silent(home, FIRST, verdict=ACCEPTED)
        chat.app.helm.load(FIRST, base=MODEL, strength=0.5)
        chat.app.conversations.add(a_turn(adapter=FIRST, model=MODEL, feedback="good"), title="t")
        told = " ".join(chat.says("/status").split())
        assert f"Adapter {FIRST} at strength 0.5, on probation: 1 of 20 replies rated" in told
        chat.says("/set adapters.probation 0")
        assert "on probation" not in chat.says("/status")

    def test_the_last_verdict(self, chat):
        receipts = Receipts(chat.app.database)
        receipts.put("run1", ADAPTER, a_body(run=run_of([], id="run1")))
        receipts.tell(["run1"])
        told = " ".join(chat.says("/status").split())
        assert "Verdict Trained, better" in told

    def test_nothing_is_stored(self, tmp_path):
        chat = Inside(MODEL, tmp_path, no_log=True)
        with closing(chat.app):
            assert "Stored   nothing (--no-log)" in chat.says("/status")


class TestTrain:
    def test_the_curve_of_the_last_run(self, chat):
        begun(chat, pid=1, first_loss=4.0, last_loss=1.0)
        log_losses(chat, 4.0, 3.0, 2.0, 1.0)
        Runs(chat.app.database).end("run1", "failed", error="Too hot")
        told = chat.says("/train").splitlines()
        assert told[0].startswith("Last run failed: Too hot") and told[1] == "Loss     4.00 -> 1.00  █▆▅▃"

    def test_the_bar_of_a_run_of_another_process(self, chat, monkeypatch):
        begun(chat, pid=os.getpid())
        Runs(chat.app.database).update("run1", step=30)
        log_losses(chat, 4.0, 2.0)
        with TrainerLock(chat.app.home.adapters / ".training" / "lock").held():
            told = chat.says("/train").splitlines()
            monkeypatch.setenv("COLUMNS", "40")
            narrow = chat.says("/train").splitlines()
        assert told[1] == f"Progress {'█' * 16}{'░' * 16} 50 %" and told[2] == "Loss     4.00 -> 2.00  █▅"
        assert max(map(len, narrow)) <= 40 and any(line.startswith("Progress ") for line in narrow)

    @pytest.mark.parametrize("columns", [40, 80, 200])
    @pytest.mark.parametrize("ascii", [False, True])
    def test_pictures_fit(self, columns, ascii):
        shown = pictures(599, 600, [12.5 - step / 50 for step in range(600)], ascii=ascii, columns=columns)
        lines = fact_lines(shown, columns)
        assert len(lines) == 2 and max(map(len, lines)) <= columns and lines[0].endswith("99 %")
        assert not ascii or "".join(lines).isascii()

    def test_no_bar_before_the_first_step_nor_after_the_last(self):
        from shammah.events import TrainingMoved

        judging = TrainingMoved(run_id="r", phase="judging", step=3, steps=9)
        assert "Progress" not in moved_lines(judging, "", ascii=True)


class TestStats:
    def test_days_and_curves(self, chat, a_turn):
        chat.app.conversations.add(a_turn(quality=0.5), title="t")
        told = chat.says("/stats 7")
        assert "1 turns, 0 of them rated" in told
        (quality,) = (line for line in told.splitlines() if line.startswith("last   7 days"))
        (busy,) = (line for line in told.splitlines() if line.startswith("turns a day"))
        assert quality.endswith("▅|") and busy.endswith("█|") and len(quality) == len(busy) == 17 + 9

    def test_a_wrong_number(self, chat):
        assert "is not a number" in chat.says("/stats week")

    @pytest.mark.parametrize("columns", [40, 80])
    def test_it_fits(self, chat, a_turn, columns, monkeypatch):
        monkeypatch.setenv("COLUMNS", str(columns))
        chat.app.conversations.add(a_turn(quality=0.5, model="/a/very/long/path/to/some/model/of/mine"), title="t")
        assert max(map(len, chat.says("/stats").splitlines())) <= columns

    def test_without_a_width_nothing_is_broken(self, chat, a_turn):
        from shammah.store.statistics import statistics

        chat.app.conversations.add(a_turn(model="m" * 300), title="t")
        lines = stats_lines(statistics(chat.app.database), chat.app.desk.buffer(), ascii=True)
        assert any("m" * 300 in line for line in lines)
