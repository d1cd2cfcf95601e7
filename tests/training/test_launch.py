"""Training as a home has it: beside a chat, in a process of its own, and while a model loads."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import psutil
import pytest
import torch
from support.small_runs import Heard

from shammah.config import GenerationSettings
from shammah.errors import ShammahError
from shammah.model import opening
from shammah.model.right_of_way import RightOfWay
from shammah.records import Buffer, Message
from shammah.training.control import Control
from shammah.training.jobs import Job
from shammah.training.launch import make_room
from shammah.training.standing import right_of_way_folder

pytestmark = pytest.mark.usefixtures("one_thread")
linux = pytest.mark.skipif(sys.platform != "linux", reason="priorities of threads are Linux's")
WAIT = 60
SMALL = ("device=cpu", "dtype=float32", "threads=1", "lora.r=4", "lora.training.near_misses=0", "examples.threshold=3")


@pytest.fixture
def taught(an_app, an_example):
    """A home with three examples."""
    app = an_app()
    for name in "ABC":
        app.desk.examples.put(an_example(f"What is {name}?", f"It is {name}, no more."))
    return app


@pytest.fixture
def next_door(home):
    """The right of way as any other process of the home has it."""
    return lambda: RightOfWay(right_of_way_folder(home / "adapters"))


def wait_until(holds):
    end = time.monotonic() + WAIT
    while not holds():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


def held(way):
    """Whether training would have to wait now."""
    time.sleep(0.01)  # what was seen just now is remembered for a moment

    def stop():
        raise InterruptedError

    try:
        way.give_way(stop)
    except InterruptedError:
        return True
    return False


class TestTheChatGoesFirst:
    def test_a_reply_holds_up_who_trains_for_the_same_home_elsewhere(self, an_app, next_door):
        model, elsewhere = an_app().load_model(), next_door()
        assert not held(elsewhere)
        reply = model.reply(model.encode([Message("user", "Hello?")]), GenerationSettings(max_tokens=50))
        next(reply)
        assert held(elsewhere)
        reply.close()
        assert not held(elsewhere)

    def test_without_a_home_none_is_made(self, an_app, home):
        app = an_app(no_log=True)
        with app.right_of_way.taken():
            assert app.right_of_way.held
        assert not home.exists()

    @pytest.mark.parametrize("whole", [True, False])
    def test_so_does_a_model_that_loads_even_one_that_cannot(
        self, an_app, next_door, tiny_model, tmp_path, monkeypatch, whole
    ):
        folder = shutil.copytree(tiny_model, tmp_path / "model")
        if not whole:
            config = json.loads((folder / "config.json").read_text())
            (folder / "config.json").write_text(json.dumps({**config, "hidden_size": 2 * config["hidden_size"]}))
        app, found, load = an_app(model=folder), [], opening.load
        elsewhere = next_door()

        def look(*args, **named):
            found.append((held(app.right_of_way), held(elsewhere)))
            return load(*args, **named)

        monkeypatch.setattr(opening, "load", look)
        try:
            app.load_model()
        except ShammahError:
            assert not whole
        assert found and set(found) == {(True, True)}
        assert (held(app.right_of_way), held(elsewhere)) == (False, False)


class TestElsewhere:
    """Runs of `shammah train` in a process of its own, which would last for minutes."""

    @pytest.fixture
    def call(self, taught, models_dir, tiny_model):
        settings = (*SMALL, f"models_dir={models_dir}", "lora.training.steps=2000", "lora.training.anchors=0")
        named = [word for each in settings for word in ("--set", each)]
        return [sys.executable, "-m", "shammah", "train", "--now", "--json", "-m", str(tiny_model), *named]

    @pytest.fixture
    def steps(self, home):
        """How many steps were done."""
        return lambda: sum(log.read_text().count('"step"') for log in (home / "logs" / "runs").glob("*.jsonl"))

    def test_it_stands_still_while_a_chat_replies_and_ends_when_it_is_told_to(self, call, steps, next_door):
        process = subprocess.Popen([*call, "--wait"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            wait_until(lambda: steps() > 0)
            for _ in range(2):
                with next_door().taken():
                    time.sleep(0.3)
                    before = steps()
                    time.sleep(1)
                    assert steps() == before
                wait_until(lambda before=before: steps() > before)
            with next_door().taken():
                process.send_signal(signal.SIGINT)
                out, _ = process.communicate(timeout=WAIT)
        finally:
            process.kill()
            process.communicate()
        assert (process.returncode, json.loads(out)["status"]) == (130, "cancelled")

    @linux
    @pytest.mark.parametrize("where", ["here", "in the background"])
    def test_it_yields_to_all_others(self, call, steps, where):
        if where == "here":
            process = psutil.Popen([*call, "--wait"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        else:
            begun = subprocess.run(call, capture_output=True, timeout=WAIT, check=True)
            process = psutil.Process(json.loads(begun.stdout)["pid"])
        try:
            wait_until(lambda: steps() > 0)
            threads = {os.getpriority(os.PRIO_PROCESS, thread.id) for thread in process.threads()}
        finally:
            process.kill()
            if where == "here":
                process.wait()
        assert min(threads) == max(10, os.getpriority(os.PRIO_PROCESS, 0))


def test_training_takes_its_own_threads_and_leaves_the_chat_its(an_app, taught):
    app, found = an_app("threads=2", "lora.training.run_threads=1", "lora.training.steps=2"), []
    app.load_model()

    def train():
        before = torch.get_num_threads()
        app.training.cycle().run(Job("high", "user"), Control(), lambda event: None)
        found.append((before, torch.get_num_threads()))

    thread = threading.Thread(target=train)
    thread.start()
    thread.join(WAIT)
    assert found == [(2, 1)] and torch.get_num_threads() == 2


class TestWaits:
    def test_are_in_the_record_of_a_run_of_a_chat(self, an_app, taught):
        app = an_app("lora.training.steps=2000", "lora.training.anchors=0")
        training = app.training
        training.start()
        wait_until(lambda: training.worker.last_moved)
        for wait, say in (("paused", training.worker.pause), ("", training.worker.resume)):
            say()
            wait_until(lambda wait=wait: training.runs.last().error == wait)
        training.worker.cancel()

    def test_for_the_machine_are_told_and_recorded_in_the_foreground(self, taught, monkeypatch):
        low = SimpleNamespace(percent=12.0, power_plugged=False)
        monkeypatch.setattr(psutil, "sensors_battery", lambda: low, raising=False)
        training, found = taught.training, []

        def then(event):
            if getattr(event, "waiting", ""):
                found.append(event.waiting)
                threading.Thread(target=once_recorded).start()

        def once_recorded():
            wait_until(lambda: training.runs.last().error)
            found.append(training.runs.last().error)
            control.cancel()

        heard = Heard(then)
        waiting = training.waiting(heard)
        control = training.control(waiting)
        with ThreadPoolExecutor(1) as thread:  # its priority is lowered for good
            ending = thread.submit(training.in_foreground, control, waiting.publish)
            try:
                run = ending.result(WAIT)
            finally:
                control.cancel()
        assert heard.notices()[0] == "Training waits: on battery (12 %). It goes on by itself."
        assert (run.state, found) == ("cancelled", ["on battery (12 %)"] * 2)

    def test_that_cannot_be_recorded_do_not_end_a_run(self, taught):
        taught.training.waiting(lambda event: None)
        taught.training._record_wait("no such run", "hot")


def test_a_log_that_has_become_large_is_put_aside(tmp_path):
    file, older = tmp_path / "train.log", tmp_path / "train.log.1"
    make_room(file)
    file.write_bytes(b"x" * 1_000_000)
    make_room(file)
    assert file.exists() and not older.exists()
    older.write_bytes(b"older")
    with file.open("ab") as still_writing:
        still_writing.write(b"x")
        still_writing.flush()
        make_room(file)
        still_writing.write(b"end")
    assert not file.exists() and older.read_bytes().endswith(b"xend")


def test_by_itself_it_does_not_begin_on_a_low_battery(taught, monkeypatch):
    low = SimpleNamespace(percent=12.0, power_plugged=False)
    monkeypatch.setattr(psutil, "sensors_battery", lambda: low, raising=False)
    buffer = taught.desk.buffer()
    assert isinstance(buffer, Buffer)
    assert taught.training.start_if_due(buffer) == "Run 1 waits: on battery (12 %). It begins by itself."
    assert [job.priority for job in taught.training.worker.queue()] == ["deferred"]
    assert taught.training.runs.last() is None
