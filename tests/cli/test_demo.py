"""`shammah demo`, without a terminal and in one: a model that says what it is told, a run that takes no time, and the
chat between them real."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from support import pupil
from ui import talker
from ui.conftest import Terminal

from shammah.app import App
from shammah.cli.demo_lessons import LESSONS, REWORDED
from shammah.cli.demo_tour import Tour
from shammah.cli.main import run
from shammah.events import TrainingMoved
from shammah.training.launch import Training

WRONG = "I think it is Thomas."
# What each question brings: before, after, and where it is asked once more.
LEARNED = {
    **{lesson.question: [WRONG, lesson.answer, WRONG] for lesson in LESSONS},
    REWORDED.question: [WRONG, f"It is {REWORDED.expects}!"],
}
BETTER = {"steps": 3, "receipt": True, "deploys": True}
TALKER = Path(talker.__file__)


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """Where the demo's home is made; nothing may be left there."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    yield folder
    # torch makes a cache of its own there, if it is imported just now.
    assert [path for path in folder.iterdir() if not path.name.startswith("torchinductor")] == []


@pytest.fixture
def demo(temporary, home, monkeypatch, capsys):
    """Run it with these replies and this plan of its training; the exit code, stdout and stderr."""

    def call(*arguments, answers=LEARNED, plan=BETTER):
        monkeypatch.setenv("TALKER", json.dumps(answers))
        monkeypatch.setattr(App, "load_model", talker.load)
        monkeypatch.setattr(Training, "_run", Training._run)
        pupil.take_over(json.dumps(plan))
        code = run(["demo", *arguments])
        assert not home.exists(), "the user's home is left alone"
        return code, *capsys.readouterr()

    return call


def in_order(text, *parts):
    at = 0
    for part in parts:
        found = text.find(part, at)
        assert found >= 0, f"{part!r} does not come next in\n{text[at:]}"
        at = found + len(part)


class TestWithoutATerminal:
    def test_its_parts_and_its_words(self, demo):
        code, out, err = demo()
        assert (code, err) == (0, "")
        first, *_, last = LESSONS
        in_order(
            out,
            "Shammah learns from what you tell it",
            "[1/5] smollm2-135m is loaded",
            "[2/5] Questions about an office",
            f"> {first.question}\n{WRONG}\n> /fix {first.answer}\nBetter reply stored (weight: 3x)",
            f"> {last.question}\n{WRONG}\n> /fix {last.answer}",
            f"Training threshold reached: {len(LESSONS)} of {len(LESSONS)}",
            f"Training starts: {len(LESSONS)} new examples.",
            "[3/5] ",
            f"> {REWORDED.question}\n{WRONG}",
            "Trained, better, deployed",
            "[4/5] ",
            f"> {first.question}\n{first.answer}",
            f"> {REWORDED.question}\nIt is {REWORDED.expects}!",
            "[5/5] ",
            "> /adapters rollback\nFrom the next message on the model itself answers",
            f"> {LESSONS[1].question}\n{WRONG}",
            "BEFORE",
            "AFTER",
            "wrong: I think",
            "right: Our release train",
            "GONE BACK",
            "wrong: I think",
            "5 of 5 right after the training, 0 before it.",
            "Gone back, the reply is wrong again",
            "Its home is deleted",
            "Now yours: `shammah` starts a chat.",
        )
        assert "\x1b" not in out

    def test_as_one_object(self, demo):
        code, out, err = demo("--json")
        found = json.loads(out)
        assert code == 0 and "[5/5]" in err and found["better"] and found["deployed"]
        assert [step["name"] for step in found["steps"]] == ["load", "ask and correct", "train", "ask again", "go back"]
        assert (found["asked"], found["right_before"], found["right_after"]) == (5, 0, 5)
        assert found["run"]["state"] == "finished" and found["run"]["examples"] == len(LESSONS)
        assert found["run"]["reasons"] and found["seconds"] > 0 and found["cpu_seconds"] > 0
        second, reworded = found["questions"][1], found["questions"][-1]
        assert (second["before"], second["after"], second["back"]) == (WRONG, LESSONS[1].answer, WRONG)
        assert reworded["reworded"] and (reworded["before"], reworded["back"]) == (WRONG, None)

    def test_quietly_only_the_result(self, demo):
        code, out, err = demo("-q")
        assert (code, err) == (0, "") and "[1/5]" not in out and "> " not in out
        in_order(out, "BEFORE", LESSONS[0].question, "wrong: I think", "right: Our", "5 of 5 right")

    def test_what_is_not_taken_into_use_is_told_and_nothing_is_asked_again(self, demo):
        code, out, _ = demo(plan={"steps": 3, "receipt": True, "rejected": "it drifted too far"})
        assert code == 1 and "[4/5]" not in out and "rollback" not in out
        in_order(out, "Trained, not", "Trained, not taken into use: it drifted too far.", "It is not better this time")
        assert "Now yours" not in out

    def test_what_answers_as_before_is_no_better_whatever_was_measured(self, demo):
        code, out, _ = demo("--json", answers={"?": WRONG})
        found = json.loads(out)
        assert code == 1 and found["deployed"] and not found["better"] and found["right_after"] == 0
        code, out, _ = demo(answers={"?": WRONG})
        assert code == 1 and "0 of 5 right after the training" in out and "That is no better" in out

    def test_a_run_that_fails(self, demo):
        code, out, _ = demo(plan={"fails": "The numbers ran away."})
        assert code == 1
        in_order(out, "Training failed: The numbers ran away.", "It is not better this time")

    def test_a_run_that_cannot_begin(self, demo):
        code, out, _ = demo(plan={"refuses": "No room left"})
        assert code == 1
        in_order(out, "No room left", "Nothing came of the training.")

    def test_a_reply_that_is_right_already_is_not_corrected(self, demo):
        code, out, _ = demo("--json", answers={**LEARNED, LESSONS[0].question: LESSONS[0].answer})
        found = json.loads(out)
        assert code == 0 and found["right_before"] == 1 and found["run"]["examples"] == len(LESSONS)

    def test_where_it_was_told_not_to_train(self, demo):
        code, out, err = demo("--set", "lora.training.auto=false")
        assert code == 1 and "Training did not begin" in err and "[4/5]" not in out

    def test_ctrl_c_twice_is_one_stop(self, demo, monkeypatch):
        def pressed_again(tour):
            if isinstance(tour._latest, TrainingMoved):
                raise KeyboardInterrupt

        monkeypatch.setattr(Tour, "_stop_if_asked", pressed_again)
        code, out, err = demo(plan={"steps": 3, "hold": 3, "until": "/nowhere/at/all"})
        assert code == 130 and "The demo was stopped. Its home is deleted" in err
        assert "Nothing came" not in out and "goes on at the next start" not in out

    def test_a_model_that_is_not_there(self, demo, monkeypatch):
        real = App.load_model
        monkeypatch.setattr(talker, "load", real)
        code, out, err = demo("-m", "nowhere/x", "--offline")
        assert code == 1 and "nowhere/x" in err and "[2/5]" not in out

    def test_what_is_set_of_the_machine_counts_and_nothing_else(self, temporary, home, demo, monkeypatch):
        seen = []
        home.mkdir(mode=0o700)
        (home / "config.toml").write_text('threads = 1\nmodel = "nowhere/x"\n[ui]\nplain = true\ntheme = "dark"\n')
        monkeypatch.setenv("SHAMMAH_SYSTEM", "Say nothing.")
        monkeypatch.setenv("SHAMMAH_MODEL", "nowhere/y")
        monkeypatch.setattr(Path, "exists", lambda path, really=Path.exists: path != home and really(path))
        load = talker.load
        monkeypatch.setattr(talker, "load", lambda app: (seen.append(app.config), load(app))[1])
        assert demo()[0] == 0
        config = seen[0]
        assert (config.threads, config.model, config.system) == (1, "smollm2-135m", "")
        assert (config.ui.plain, config.ui.theme) == (True, "dark")


@pytest.fixture
def terminal(temporary):
    started = []

    def start(**options):
        told = {"TALKER": json.dumps(LEARNED), "TALKER_TRAINS": json.dumps(BETTER), **options}
        started.append(Terminal(command=[sys.executable, str(TALKER), "demo"], **told))
        return started[-1]

    yield start
    for one in started:
        one.process.close(force=True)


class TestInATerminal:
    @pytest.mark.parametrize("columns", [80, 40])
    def test_it_fits(self, terminal, columns):
        shown = terminal(columns=columns, rows=50)
        assert shown.end() == 0
        words = " ".join(shown.text().split())
        in_order(words, "[1/5]", "[5/5]", "BEFORE", "wrong: I think", "right: Our", "5 of 5 right after the training")

    def test_what_is_typed_meanwhile_is_neither_shown_nor_left_to_the_shell(self, temporary):
        script = f"{sys.executable} {TALKER} demo; read -t 0.2 line; echo [$line]"
        told = {"TALKER": json.dumps(LEARNED), "TALKER_TRAINS": json.dumps(BETTER), "TALKER_PAUSE": "0.01"}
        shown = Terminal(command=["bash", "-c", script], **told)
        shown.wait("I think")
        shown.send("rm everything\r")
        assert shown.end() == 0
        assert "[]" in shown.text() and "rm everything" not in shown.text()

    @pytest.mark.parametrize(
        "state, options",
        [
            ("[1/5]", {"TALKER_WAITS_FOR": "/nowhere/at/all"}),
            ("I think", {"TALKER_PAUSE": "0.2"}),
            ("step 2/3", {"TALKER_TRAINS": json.dumps({"steps": 3, "hold": 3, "until": "/nowhere/at/all"})}),
        ],
        ids=["loading", "replying", "training"],
    )
    def test_ctrl_c(self, terminal, state, options):
        shown = terminal(columns=100, **options)
        shown.wait(state)
        shown.interrupt()
        assert shown.end() == 130
        assert "The demo was stopped. Its home is deleted; yours was not touched." in shown.text()
        assert "Traceback" not in shown.text() and "goes on at the next start" not in shown.text()

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
    def test_ended_from_outside(self, terminal, temporary, number):
        plan = {"steps": 3, "hold": 3, "until": "/nowhere/at/all"}
        shown = terminal(columns=100, TALKER_TRAINS=json.dumps(plan))
        shown.wait("step 2/3")
        assert len(list(temporary.iterdir())) == 1
        os.kill(shown.process.pid, number)
        assert shown.end() == -number
        deadline = time.monotonic() + 5
        while list(temporary.iterdir()) and time.monotonic() < deadline:
            time.sleep(0.02)
