"""What the line below the prompt and the lines of a run say of training, as far as it needs no terminal."""

import io

import pytest

from shammah.events import TrainingMoved
from shammah.records import Run
from shammah.ui.render import ProgressLine
from shammah.ui.toolbar import duration, fitting, training_parts
from shammah.ui.training_words import ended_words, last_words, loss_curve, moved_lines, running_words


def moved(**fields):
    given = {"run_id": "r", "phase": "training", "step": 31, "steps": 60, "epoch": 2, "epochs": 5}
    return TrainingMoved(**given | {"losses": (2.31, 0.41), "seconds_left": 38.0, "tokens_per_second": 900.0} | fields)


def a_run(**fields):
    return Run(**{"id": "r", "started": "", "updated": "", "trigger": "user", "model": "m"} | fields)


class TestParts:
    @pytest.mark.parametrize(
        ("event", "waiting", "line"),
        [
            (moved(), "", "training epoch 2/5  step 31/60  loss 0.41  38s left"),
            (moved(seconds_left=None, losses=()), "", "training epoch 2/5  step 31/60"),
            (moved(waiting="on battery"), "", "training epoch 2/5  waiting: on battery  step 31/60  loss 0.41"),
            (moved(), "paused", "training epoch 2/5  paused  step 31/60  loss 0.41"),
            (moved(phase="preparing", steps=0), "", "training: getting ready"),
            (moved(phase="preparing"), "", "training: getting ready 51 %"),
            (moved(phase="preparing"), "paused", "training: getting ready 51 %  paused"),
            (moved(phase="judging"), "", "training: judging what was learned 51 %"),
            (moved(phase="saving"), "", "training: saving what was learned"),
            (moved(phase="recording", steps=0), "", "training: writing down what was found"),
        ],
    )  # fmt: skip
    def test_in_words(self, event, waiting, line):
        assert fitting([training_parts(event, waiting)], 200, " · ") == line

    @pytest.mark.parametrize(
        ("seconds", "words"), [(0.4, "0s"), (99.4, "99s"), (100, "2min"), (5940, "99min"), (7500, "2h 05min")]
    )
    def test_a_duration(self, seconds, words):
        assert duration(seconds) == words


class TestProgress:
    def lines(self, *events, quiet=False):
        err = io.StringIO()
        line = ProgressLine(err, quiet=quiet, in_place=err.isatty())
        for event in events:
            line.moved(event)
        return err.getvalue().splitlines()

    def test_off_a_terminal_a_run_is_told_in_some_ten_lines(self):
        lines = self.lines(moved(phase="preparing", steps=0), *(moved(step=step) for step in range(1, 61)))
        assert lines[0] == "training: getting ready"
        assert lines[-1] == "training epoch 2/5  step 60/60  loss 0.41  38s left"
        assert 10 <= len(lines) <= 13

    def test_quiet(self):
        assert self.lines(moved(), quiet=True) == []

    def test_on_a_terminal_one_line_is_rewritten(self):
        class Terminal(io.StringIO):
            def isatty(self):
                return True

        err = Terminal()
        now = iter(range(10))
        line = ProgressLine(err, quiet=False, in_place=True, clock=lambda: next(now))
        for step in (1, 10, 60):
            line.moved(moved(step=step))
        drawn = err.getvalue().split("\r")
        assert [text.split("  ")[1] for text in drawn[1:]] == ["step 1/60", "step 10/60", "step 60/60"]
        assert "\n" not in err.getvalue() and "\x1b" not in err.getvalue()


class TestRuns:
    def test_how_each_end_is_told(self):
        done = {"example_ids": ("a",), "seconds": 48.4, "first_loss": 2.31, "last_loss": 0.117, "adapter": "lora_x"}
        assert ended_words(a_run(state="finished", **done)) == (
            "Learned from 1 example in 48 s: lora_x (loss 2.31 -> 0.12)."
        )
        assert ended_words(a_run(state="rejected", error="drift 0.4; 1 reply spoiled", **done)) == (
            "Trained, not taken into use: drift 0.4; 1 reply spoiled. Your examples are kept."
        )
        assert ended_words(a_run(state="failed", error="Out of\n memory.")) == (
            "Training failed: Out of memory. Your examples are kept."
        )
        assert ended_words(a_run(state="cancelled")) == "Training was cancelled. Your examples are kept."
        assert ended_words(a_run(state="interrupted")) == ""

    def test_an_earlier_run(self):
        assert last_words(a_run(state="interrupted", step=3, steps=9)) == "cut off at step 3 of 9"
        assert last_words(a_run(state="failed", error="No.")) == "failed: No."
        assert last_words(a_run(state="rejected", error="No")) == "not taken into use: No."

    def test_one_of_another_process(self):
        assert running_words(a_run(pid=7)) == "getting ready (process 7)"
        run = a_run(pid=7, step=3, steps=9, first_loss=2.0, last_loss=1.0)
        assert running_words(run) == "step 3/9, loss 2.00 -> 1.00 (process 7)"
        run = a_run(pid=7, step=9, steps=9)
        assert running_words(run) == "judging what was learned (process 7)"

    def test_one_of_this_chat(self):
        assert moved_lines(moved(), "", ascii=True) == {
            "Training": "epoch 2/5, step 31/60, 38s left",
            "Progress": "[################................] 51 %",
            "Loss": "2.31 -> 0.41  #:",
            "Speed": "900 tokens/s",
        }
        assert moved_lines(moved(phase="judging", losses=()), "", ascii=True) == {
            "Training": "judging what was learned 51 %"
        }
        assert moved_lines(moved(phase="saving", losses=()), "", ascii=True) == {"Training": "saving what was learned"}
        assert moved_lines(moved(phase="preparing", losses=(), steps=0), "", ascii=True) == {
            "Training": "getting ready"
        }

    def test_the_curve_fits_on_a_line_however_long_the_run(self):
        assert loss_curve((4.0, 2.0, 0.0), ascii=True) == "#+."
        curve = loss_curve([1000 - step for step in range(1000)], ascii=True)
        assert len(curve) == 32 and curve.startswith("#") and curve.endswith(".")
        assert loss_curve((0.0, 0.0), ascii=True) == ".." and loss_curve((), ascii=True) == ""
        assert len(loss_curve([1.0] * 1000, ascii=False, most=8)) == 8
