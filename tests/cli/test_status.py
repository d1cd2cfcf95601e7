"""`shammah status`: what it says, in an empty home, after runs, and while another process trains."""

import json
import os
import subprocess
import sys
from contextlib import closing, contextmanager

import pytest

from shammah.records import Run
from shammah.store import Conversations, Database, Examples
from shammah.store.runs import Runs
from shammah.training.standing import trainer_lock

KEYS = {
    "model", "adapter", "strength", "probation", "verdict", "rules", "buffer", "auto", "cut_off", "running",
    "last_run", "stored", "home",
}  # fmt: skip


@contextmanager
def store(home):
    home.mkdir(mode=0o700, exist_ok=True)
    with closing(Database(home / "shammah.db")) as database:
        yield database


def begin(database, number, pid, **fields):
    moment = f"2026-11-21T00:00:0{number}.000Z"
    run = Run(id=f"run{number}", started=moment, updated=moment, trigger="user", model="m", pid=pid, steps=60, **fields)
    return Runs(database).begin(run)


def test_json_has_all_its_keys_in_an_empty_home(shammah, home):
    result = shammah("status", "--json")
    (line,) = result.stdout.splitlines()
    found = json.loads(line)
    assert result.returncode == 0 and set(found) == KEYS
    assert (found["adapter"], found["running"], found["last_run"], found["cut_off"]) == (None, None, None, False)
    assert found["buffer"] == {
        "examples": 0, "weighted": 0.0, "new": 0, "new_weighted": 0.0, "needs_target": 0, "needs_review": 0,
        "threshold": 10, "missing": 10,
    }  # fmt: skip
    assert (found["stored"], found["home"]) == ({"turns": 0, "examples": 0}, str(home))


def test_what_is_stored_and_what_came_of_the_last_run(shammah, home, a_turn, an_example):
    with store(home) as database:
        Conversations(database).add(a_turn(), title="t")
        example = Examples(database).put(an_example(weight=3.0))
        begin(database, 1, 1, example_ids=(example.id,))
        Runs(database).update("run1", step=60, seconds=48.26, first_loss=2.3, last_loss=0.1)
        Runs(database).end("run1", "failed", error="Too hot.")
    found = json.loads(shammah("status", "--json").stdout)
    last = found["last_run"]
    assert (last["run"], last["state"], last["error"], last["examples"]) == ("run1", "failed", "Too hot.", 1)
    assert (last["seconds"], last["loss"], last["step"]) == (48.3, {"first": 2.3, "last": 0.1}, 60)
    assert (found["buffer"]["examples"], found["buffer"]["weighted"], found["buffer"]["missing"]) == (1, 3.0, 10)
    text = shammah("status").stdout.decode()
    for line in (
        "Adapter   none",
        "Buffer    1 example (3.0 weighted)",
        "Last run  failed: Too hot.",
        "Next      10 new ones until training, beside 1 of the latest run",
        "Stored    1 turn and 1 example in ",
        f"Home      {home}",
    ):
        assert line in text


def test_a_run_whose_process_was_killed_is_no_run_under_way(shammah, home, an_example):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with store(home) as database:
        id = Examples(database).put(an_example()).id
        begin(database, 1, gone.pid, example_ids=(id,))
    found = json.loads(shammah("status", "--json").stdout)
    assert found["running"] is None and found["cut_off"]
    assert found["last_run"]["state"] == "interrupted"
    assert "cut off at step 0 of 60" in shammah("status").stdout.decode()
    with store(home) as database:
        Examples(database).delete([id])
    assert not json.loads(shammah("status", "--json").stdout)["cut_off"], "nobody will go on with it"


def test_nor_is_one_whose_process_number_is_another_s_by_now(shammah, home, an_example):
    with store(home) as database:
        begin(database, 1, os.getpid(), example_ids=(Examples(database).put(an_example()).id,))
    with trainer_lock(home / "adapters").held():
        (number,) = (home / "adapters" / ".training").glob("*.pid")
        left = number.read_bytes()
    number.write_bytes(left)  # as a process leaves it that is killed
    found = json.loads(shammah("status", "--json").stdout)
    assert found["running"] is None and found["cut_off"]


def test_another_process_that_gets_ready(shammah, home, an_example):
    with store(home) as database:
        begin(database, 1, 1, example_ids=(Examples(database).put(an_example()).id,))
        Runs(database).end("run1", "interrupted")
    with trainer_lock(home / "adapters").held():
        assert not json.loads(shammah("status", "--json").stdout)["cut_off"]
        assert f"Training  getting ready (process {os.getpid()})" in shammah("status").stdout.decode()
    assert json.loads(shammah("status", "--json").stdout)["cut_off"]


def test_a_run_of_another_process(shammah, home):
    with store(home) as database:
        begin(database, 1, 1)
        Runs(database).end("run1", "cancelled")
        begin(database, 2, os.getpid())
        Runs(database).update("run2", step=7, first_loss=2.0, last_loss=1.5)
        without = json.loads(shammah("status", "--json").stdout)
        with trainer_lock(home / "adapters").held():
            found = json.loads(shammah("status", "--json").stdout)
            text = shammah("status").stdout.decode()
    assert without["running"] is None, "nobody holds the lock"
    assert found["running"]["run"] == "run2" and found["running"]["pid"] == os.getpid()
    assert found["last_run"]["run"] == "run1" and not found["cut_off"]
    assert f"Training  step 7/60, loss 2.00 -> 1.50 (process {os.getpid()})" in text


def test_settings_show(shammah):
    text = shammah("status", "-m", "some/model", "--set", "lora.training.auto=false").stdout.decode()
    assert "Model     some/model" in text and "lora.training.auto is false" in text


@pytest.mark.parametrize("call", ["status", "status --json", "train"])
def test_nothing_heavy_is_imported(call):
    script = (
        "import sys\nfrom shammah.cli.main import run\n"
        f"assert run({call.split()!r}) == 0\n"
        "print(*[name for name in ('torch', 'transformers', 'peft') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout.splitlines()[-1] == ""
