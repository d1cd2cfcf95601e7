"""`shammah train`: when it begins, what it prints, how it ends. The runs learn nothing (support/pupil.py)."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from support.pupil import ADAPTER

from shammah.cli.train_command import rehearsal_lines, run_result
from shammah.config import LoraSettings
from shammah.records import Run
from shammah.store import Database, Examples
from shammah.store.activations import Activations
from shammah.store.runs import Runs
from shammah.training.recipe import recipe_for
from shammah.training.standing import trainer_lock

TALKER = Path(__file__).parents[1] / "ui" / "talker.py"
KEYS = {
    "run", "status", "adapter", "examples", "weighted", "steps", "seconds", "loss", "verdict", "active", "error",
    "tokens",
}  # fmt: skip


def arguments(*words, plan=None):
    environment = {**os.environ, "TALKER": "{}", "TALKER_TRAINS": json.dumps(plan or {})}
    return {"args": [sys.executable, str(TALKER), "train", *words], "env": environment}


@pytest.fixture
def train(tmp_path):
    def run(*words, plan=None):
        return subprocess.run(
            **arguments(*words, plan=plan), cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )

    return run


@pytest.fixture
def two_examples(home, an_example):
    home.mkdir(mode=0o700)
    with closing(Database(home / "shammah.db")) as database:
        examples = Examples(database)
        examples.put(an_example("A?", weight=1.0))
        examples.put(an_example("B?", weight=10.0))


def runs(home):
    with closing(Database(home / "shammah.db")) as database:
        return list(reversed(Runs(database).recent()))


def wait_until(holds, seconds=30):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


class TestWaiting:
    def test_for_more_examples(self, train, two_examples, home):
        result = train("--wait", "--json")
        found = json.loads(result.stdout)
        assert result.returncode == 0 and set(found) == KEYS | {"missing"}
        assert (found["status"], found["missing"], found["examples"], found["weighted"]) == ("waiting", 8, 2, 11.0)
        assert train().stdout == "8 more examples until training; --now does not wait for them.\n"
        assert runs(home) == []

    def test_not_where_enough_are_there(self, train, two_examples):
        found = json.loads(train("--wait", "--json", "--set", "examples.threshold=2").stdout)
        assert found["status"] == "promoted"

    @pytest.mark.parametrize(
        ("of", "status"), [({}, "promoted"), ({"model": "another"}, "waiting"), ({"settings": {"r": 3}}, "waiting")]
    )
    def test_not_for_a_run_of_this_model_and_settings_that_was_cut_off(self, train, two_examples, home, of, status):
        gone = subprocess.Popen([sys.executable, "-c", ""])
        gone.wait()
        with closing(Database(home / "shammah.db")) as database:
            ids = tuple(example.id for example in Examples(database).live())
            begun = {"model": "smollm2-135m", "settings": recipe_for(LoraSettings(), 1).as_json(), **of}
            run = Run(id="x", started="x", updated="x", trigger="user", pid=gone.pid, example_ids=ids, **begun)
            Runs(database).begin(run)
        assert json.loads(train("--wait", "--json").stdout)["status"] == status


class TestHere:
    def test_a_run_that_learns(self, train, two_examples, home):
        result = train("--now", "--wait", "--json")
        (line,) = result.stdout.splitlines()
        found = json.loads(line)
        (run,) = runs(home)
        assert result.returncode == 0 and set(found) == KEYS
        assert found == {
            "run": run.id,
            "status": "promoted",
            "adapter": ADAPTER,
            "examples": 2,
            "weighted": 11.0,
            "steps": 60,
            "seconds": 48.0,
            "loss": {"first": pytest.approx(2.31), "last": pytest.approx(0.12)},
            "verdict": {"reasons": ["30 % better than the base model"], "metrics": {"held_out": 0.3}},
            "active": False,
            "error": "",
            "tokens": 6000,
        }
        steps = [line for line in result.stderr.splitlines() if "step" in line]
        assert 10 <= len(steps) <= 12 and "step 60/60" in steps[-1] and "\x1b" not in result.stderr

    def test_as_text(self, train, two_examples):
        result = train("--now", "--wait", "-q")
        assert result.stdout.startswith(f"Learned from 2 examples in 48 s: {ADAPTER}") and result.stderr == ""

    def test_one_whose_adapter_is_no_better_ended_in_a_verdict_too(self, train, two_examples):
        plan = {"rejected": "10 % worse than the base model"}
        result = train("--now", "--wait", "--json", plan=plan)
        found = json.loads(result.stdout)
        assert result.returncode == 0 and set(found) == KEYS
        assert (found["status"], found["adapter"], found["active"]) == ("rejected", ADAPTER, False)
        assert found["verdict"] == {"reasons": ["10 % worse than the base model"], "metrics": {"held_out": -0.1}}
        text = train("--now", "--wait", "-q", plan=plan)
        assert (text.returncode, text.stderr) == (0, "") and text.stdout == (
            "Trained, not taken into use: 10 % worse than the base model. Your examples are kept.\n"
        )

    def test_what_answers_afterwards(self, train, two_examples, home):
        with closing(Database(home / "shammah.db")) as database:
            Activations(database).activate("any", ADAPTER, actor="user")
        assert json.loads(train("--now", "--wait", "--json").stdout)["active"] is True

    def test_a_run_that_fails(self, train, two_examples):
        result = train("--now", "--wait", "--json", plan={"fails": "Out of memory."})
        found = json.loads(result.stdout)
        assert result.returncode == 1 and set(found) == KEYS
        assert (found["status"], found["error"], found["verdict"]["reasons"]) == ("failed", "Out of memory.", [])
        text = train("--now", "--wait", "-q", plan={"fails": "Out of memory."})
        assert text.returncode == 1 and text.stdout == ""
        assert text.stderr == "shammah: Training failed: Out of memory. Your examples are kept.\n"

    @pytest.mark.parametrize("words", [("--wait",), ("--wait", "--json"), ("--json",), ("--dry-run",)])
    def test_nothing_to_learn_from(self, train, words):
        result = train("--now", *words)
        assert result.returncode == 1 and result.stdout == ""
        assert result.stderr.splitlines() == [
            "shammah: There is nothing to learn from yet. Rate a reply: /good, /medium or /critical."
        ]

    @pytest.mark.parametrize("words", [("--wait",), ("--json",)])
    def test_beside_another_that_trains(self, train, two_examples, home, words):
        with trainer_lock(home / "adapters").held():
            result = train("--now", *words)
        assert result.returncode == 1 and result.stdout == ""
        (line,) = result.stderr.splitlines()
        assert line.startswith(f"shammah: Process {os.getpid()} trains in this home already.")

    def test_ctrl_c_cancels_it_and_keeps_the_examples(self, two_examples, home, tmp_path):
        plan = {"hold": 31, "until": str(tmp_path / "never")}
        call = arguments("--now", "--wait", "--json", plan=plan)
        process = subprocess.Popen(**call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            wait_until(lambda: [run.step for run in runs(home)] == [30])
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
        found = json.loads(out)
        assert process.returncode == 130
        assert (found["status"], found["steps"], found["adapter"]) == ("cancelled", 30, None)
        assert err.splitlines()[-1] == "shammah: Training was cancelled. Your examples are kept."
        assert [run.state for run in runs(home)] == ["cancelled"]
        with closing(Database(home / "shammah.db")) as database:
            assert Examples(database).buffer().examples == 2

    def test_on_a_low_battery_it_says_that_it_waits(self, shammah, two_examples, home):
        call = arguments("--now", "--wait", plan={"battery": 12})
        process = subprocess.Popen(**call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            wait_until(lambda: [run.error for run in runs(home)] == ["on battery (12 %)"])
            running = json.loads(shammah("status", "--json").stdout)["running"]
            text = shammah("status").stdout.decode()
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=30)
        finally:
            process.kill()
        assert (running["waiting"], running["error"]) == ("on battery (12 %)", "")
        assert f"Training  step 0/60, waiting: on battery (12 %) (process {process.pid})" in text
        assert "Training waits: on battery (12 %). It goes on by itself.\n" in err
        assert "waiting: on battery (12 %)" in err.replace("Training waits", "") and process.returncode == 130


class TestElsewhere:
    def test_in_a_process_of_its_own_with_the_same_options(self, train, two_examples, home):
        result = train("--now", "--json", "-m", "nowhere/x", "--offline", "--set", "lora.training.retries=0")
        found = json.loads(result.stdout)
        assert result.returncode == 0 and set(found) == KEYS | {"pid", "log"}
        assert found["status"] == "started" and found["log"] == str(home / "logs" / "train.log")
        wait_until(lambda: not psutil.pid_exists(found["pid"]) or b"nowhere/x" in Path(found["log"]).read_bytes())
        assert "nowhere/x" in Path(found["log"]).read_text("utf-8")
        assert Path(found["log"]).stat().st_mode & 0o777 == 0o600

    def test_what_lies_in_the_current_folder_is_not_run(self, train, two_examples, tmp_path):
        (tmp_path / "secrets.py").write_text("open('run', 'w')\nraise SystemExit")
        found = json.loads(train("--now", "--json", "-m", "nowhere/x", "--offline").stdout)
        wait_until(lambda: b"nowhere/x" in Path(found["log"]).read_bytes() or (tmp_path / "run").exists())
        assert not (tmp_path / "run").exists()

    def test_as_text_it_says_how_to_follow_it(self, train, two_examples, home):
        text = train("--now", "-m", "nowhere/x", "--offline").stdout
        assert text.startswith("Training starts in a process of its own (")
        assert "`shammah status` shows how far it is" in text and str(home / "logs" / "train.log") in text


def test_a_rehearsal_in_words():
    from shammah.training.rehearsal import Rehearsal  # imports torch

    found = Rehearsal(
        examples=10, left_out=2, rows=480, steps=60, epochs=5.25, tokens=24_000, seconds=130.2,
        memory_bytes=812_000_000, recipe={"r": 16, "learning_rate": 0.0005, "preset": "default"},
    )  # fmt: skip
    assert rehearsal_lines(found) == [
        "examples  10 (2 left out: too long, or without a better reply)",
        "rows      480 in 60 steps, 5.25 epochs, 24,000 tokens",
        "time      about 2min",
        "memory    about 812 MB beside the model",
        "recipe    r 16, learning_rate 0.0005, preset default",
    ]


def test_a_run_cut_off_counts_as_cancelled():
    run = Run(id="x", started="", updated="", trigger="user", model="m", state="interrupted")
    assert run_result(run)["status"] == "cancelled"
