import os
import random
import subprocess
import sys
import threading
import time
from contextlib import closing

import pytest
import torch

from shammah import logs
from shammah.errors import TrainingCancelled, TrainingError
from shammah.events import Notice, TrainingEnded, TrainingMoved
from shammah.model.right_of_way import RightOfWay
from shammah.records import Run
from shammah.training.courtesy import Courtesy
from shammah.training.jobs import Job
from shammah.training.trainer_lock import TrainerLock
from shammah.training.worker import Worker

THRESHOLD, USER = Job("medium", "threshold"), Job("high", "user")


class Chat:
    """Hears what is published, and waits for it."""

    def __init__(self):
        self.events, self._changed = [], threading.Condition()

    def __call__(self, event):
        with self._changed:
            self.events.append(event)
            self._changed.notify_all()

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]

    def notices(self):
        return [event.text for event in self.of(Notice)]

    def begun(self):
        return {event.run_id for event in self.of(TrainingMoved)}

    def ended(self):
        """The runs that came to an end, by the number of their job."""
        return [int(event.run.id) for event in self.of(TrainingEnded)]

    def wait_until(self, holds):
        with self._changed:
            assert self._changed.wait_for(holds, 10), self.events


def run_of(job, state="finished"):
    now = "2026-01-01T00:00:00.000Z"
    return Run(id=str(job.number), started=now, updated=now, state=state, trigger=job.trigger, model="small")


class Cycle:
    """Learns nothing, layer by layer, until it is let go."""

    def __init__(self):
        self.layers, self.started, self.controls, self.enough = 0, [], [], threading.Event()

    def __call__(self, job, control, publish):
        self.started.append(job)
        self.controls.append(control)
        publish(moved(job))
        try:
            while not self.enough.is_set():
                control.check()
                self.layers += 1
                time.sleep(0)
        except TrainingCancelled:
            return run_of(job, "interrupted" if control.ending else "cancelled")
        return run_of(job)


def moved(job, **changes):
    return TrainingMoved(run_id=str(job.number), phase="training", **changes)


def at_once(job, control, publish):
    return run_of(job)


@pytest.fixture
def chat():
    return Chat()


@pytest.fixture
def log_file(tmp_path):
    logs.set_up(tmp_path / "shammah.log", verbosity=0)
    yield tmp_path / "shammah.log"
    logs.set_up(None, verbosity=0)


@pytest.fixture
def cycle():
    return Cycle()


@pytest.fixture
def worker(cycle, chat):
    with closing(Worker(cycle, chat)) as worker:
        yield worker


def begin(worker, chat, job=USER):
    """Submit a job and wait until it is under way."""
    before = chat.begun()
    answer = worker.submit(job)
    chat.wait_until(lambda: chat.begun() > before)
    return answer


def waits(worker, reason):
    moved = worker.last_moved
    return moved is not None and moved.waiting == reason


class TestJobs:
    def test_a_job_runs_and_its_end_is_told(self, worker, cycle, chat):
        assert worker.current is None
        assert begin(worker, chat) == "Training starts."
        assert worker.current == Job("high", "user", "", 1)
        assert worker.last_moved == moved(worker.current)
        cycle.enough.set()
        chat.wait_until(lambda: chat.ended() == [1])
        assert worker.close()
        assert (worker.current, worker.last_moved) == (None, None)
        assert chat.notices() == []

    def test_the_others_wait_in_the_order_of_their_urgency(self, worker, cycle, chat):
        begin(worker, chat)
        assert worker.submit(Job("low", "retry")) == "Queued behind run 1."
        assert worker.submit(THRESHOLD) == "Queued behind run 1."
        assert worker.submit(Job("low", "resume")) == "Queued behind run 2."
        assert worker.submit(USER) == "Queued behind run 1."
        assert [job.number for job in worker.queue()] == [5, 3, 2, 4]
        cycle.enough.set()
        chat.wait_until(lambda: len(chat.ended()) == 5)
        assert chat.ended() == [1, 5, 3, 2, 4]

    def test_one_that_has_nothing_left_to_do(self, chat):
        """That it starts was said, so that it did not has to be."""

        def nothing_left(job, control, publish):
            return None if job.trigger == "user" else run_of(job)

        with closing(Worker(nothing_left, chat)) as worker:
            worker.submit(USER)
            worker.submit(THRESHOLD)
            chat.wait_until(lambda: chat.ended() == [2])
        assert chat.notices() == ["Nothing is left to learn: another run has learned it."]

    def test_the_same_job_waits_once(self, worker, cycle, chat):
        begin(worker, chat)
        for _ in range(5):
            worker.submit(THRESHOLD)
        assert len(worker.queue()) == 1

    @pytest.mark.skipif(sys.platform != "linux", reason="priorities of threads are Linux's")
    def test_the_thread_yields_to_the_chat(self, chat):
        found = []

        def cycle(job, control, publish):
            thread = threading.current_thread()
            found.append((thread.name, thread.daemon, os.getpriority(os.PRIO_PROCESS, thread.native_id)))
            return run_of(job)

        with closing(Worker(cycle, chat)) as worker:
            worker.submit(USER)
            chat.wait_until(lambda: chat.ended())
        assert found == [("train", True, max(10, os.getpriority(os.PRIO_PROCESS, 0)))]


class TestPause:
    def test_nothing_moves_until_it_is_resumed(self, worker, cycle, chat):
        begin(worker, chat)
        for _ in range(3):
            assert worker.pause() == "Run 1 is paused; `/train resume` goes on."
            chat.wait_until(lambda: waits(worker, "paused"))
            assert worker.paused == "paused"
            before = cycle.layers
            time.sleep(0.05)
            assert cycle.layers == before
            assert worker.resume() == "Run 1 goes on."
            chat.wait_until(lambda: waits(worker, ""))
            assert worker.paused == ""
        cycle.enough.set()
        chat.wait_until(lambda: chat.ended() == [1])
        assert [event.waiting for event in chat.of(TrainingMoved)] == ["", *["paused", ""] * 3]
        assert chat.notices() == []

    def test_nothing_starts_either(self, chat):
        with closing(Worker(at_once, chat)) as worker:
            assert worker.resume() == "Training is not paused."
            assert "until `/train resume`" in worker.pause()
            assert "training is paused" in worker.submit(USER)
            time.sleep(0.05)
            assert (worker.current, len(worker.queue()), chat.events) == (None, 1, [])
            worker.resume()
            chat.wait_until(lambda: chat.ended() == [1])

    def test_it_ends_with_the_run_that_was_paused(self, worker, cycle, chat):
        begin(worker, chat)
        assert worker.pause() == "Run 1 is paused; `/train resume` goes on."
        worker.submit(THRESHOLD)
        assert worker.cancel() == "Run 1 is cancelled; its examples are kept."
        chat.wait_until(lambda: chat.begun() == {"1", "2"})
        assert worker.resume() == "Training is not paused."
        cycle.enough.set()
        chat.wait_until(lambda: chat.ended() == [1, 2])
        worker.submit(USER)
        chat.wait_until(lambda: chat.ended() == [1, 2, 3])

    def test_it_does_not_end_with_a_run_that_only_waited(self, worker, chat):
        begin(worker, chat)
        worker.submit(THRESHOLD)
        worker.pause()
        worker.cancel(2)
        assert worker.paused == "paused"


class TestCancel:
    def test_the_run_that_is_under_way(self, worker, cycle, chat):
        begin(worker, chat)
        worker.submit(THRESHOLD)
        assert worker.cancel() == "Run 1 is cancelled; its examples are kept."
        chat.wait_until(lambda: len(cycle.started) == 2)
        assert not cycle.controls[0].ending
        cycle.enough.set()
        chat.wait_until(lambda: chat.ended() == [1, 2])
        assert chat.notices() == []

    def test_by_number(self, worker, cycle, chat):
        begin(worker, chat)
        worker.submit(THRESHOLD)
        assert worker.cancel(2) == "Run 2 is out of the queue."
        assert worker.cancel(2) == "There is no run 2. See `/train queue`."
        assert worker.queue() == []
        assert worker.current.number == 1
        assert worker.cancel(1) == "Run 1 is cancelled; its examples are kept."

    def test_nothing(self, worker):
        assert worker.cancel() == "No run is under way."

    def test_not_what_is_judged_and_being_written_down(self, chat):
        let_go = threading.Event()

        def cycle(job, control, publish):
            publish(TrainingMoved(run_id=str(job.number), phase="recording"))
            control.raise_if_cancelled()
            let_go.wait(10)
            return run_of(job)

        with closing(Worker(cycle, chat)) as worker:
            for number in (1, 2):
                begin(worker, chat)
                late = f"Run {number} is judged, and that is being written down: it is too late to cancel it."
                assert worker.cancel() == late
                let_go.set()
                chat.wait_until(lambda number=number: chat.ended()[-1:] == [number])
                let_go.clear()
            assert chat.notices() == []

    def test_the_next_one_again(self, chat):
        phases = iter(("recording", "training"))
        let_go = threading.Event()

        def cycle(job, control, publish):
            publish(TrainingMoved(run_id=str(job.number), phase=next(phases)))
            while not let_go.wait(0.01):
                control.check()
            return run_of(job)

        with closing(Worker(cycle, chat)) as worker:
            begin(worker, chat)
            let_go.set()
            chat.wait_until(lambda: chat.ended() == [1])
            let_go.clear()
            begin(worker, chat)
            assert worker.cancel() == "Run 2 is cancelled; its examples are kept."

    def test_what_is_saved_only_to_be_judged(self, chat):
        def cycle(job, control, publish):
            publish(TrainingMoved(run_id=str(job.number), phase="saving"))
            while True:
                control.check()
                time.sleep(0.01)

        with closing(Worker(cycle, chat)) as worker:
            begin(worker, chat)
            assert worker.cancel() == "Run 1 is cancelled; its examples are kept."

    def test_what_begins_anew_after_it_was_judged(self, chat):
        going = threading.Event()

        def cycle(job, control, publish):
            publish(TrainingMoved(run_id="1", phase="recording"))
            publish(TrainingMoved(run_id="2", phase="preparing"))
            going.set()
            while True:
                control.check()
                time.sleep(0.01)

        with closing(Worker(cycle, chat)) as worker:
            begin(worker, chat)
            assert going.wait(10)
            assert worker.cancel() == "Run 1 is cancelled; its examples are kept."

    def test_at_any_moment_it_ends_the_run_and_no_other(self, worker, cycle, chat):
        randomness = random.Random(3)
        for number in range(1, 21):
            begin(worker, chat)
            time.sleep(randomness.random() / 100)
            for word in randomness.choices([worker.pause, worker.resume], k=randomness.randrange(4)):
                word()
            assert worker.cancel().startswith(f"Run {number} is cancelled")
            worker.resume()
        begin(worker, chat)
        cycle.enough.set()
        chat.wait_until(lambda: chat.ended() == [*range(1, 22)])
        assert worker.close()
        assert chat.notices() == []


class Panic(BaseException):
    """What comes out of a library that is written in Rust."""


class TestFailures:
    @pytest.mark.parametrize("kind", [ZeroDivisionError, Panic])
    def test_an_error_of_its_own_is_told_once_and_the_next_job_runs(self, chat, log_file, kind):
        def cycle(job, control, publish):
            if job.trigger == "user":
                raise kind("a bug")
            return run_of(job)

        with closing(Worker(cycle, chat)) as worker:
            worker.submit(USER)
            chat.wait_until(chat.notices)
            assert worker.submit(THRESHOLD) in ("Training starts.", "Queued behind run 1.")
            chat.wait_until(lambda: chat.ended() == [2])
        assert len(chat.notices()) == 1
        assert "error of its own" in chat.notices()[0]
        assert f"{kind.__name__}: a bug" in log_file.read_text("utf-8")

    def test_what_a_run_could_not_begin_with_is_told_in_its_words(self, chat):
        def cycle(job, control, publish):
            raise TrainingError("The base model is gone", hint="Fetch it by `shammah models pull`.")

        with closing(Worker(cycle, chat)) as worker:
            worker.submit(USER)
            chat.wait_until(chat.notices)
        assert chat.notices() == ["The base model is gone. Fetch it by `shammah models pull`."]
        assert chat.ended() == []

    @pytest.mark.skipif(sys.platform == "win32", reason="no limit of memory")
    def test_where_no_thread_can_be_started(self):
        script = """
import resource, threading, psutil
from shammah.errors import TrainingError
from shammah.training.worker import Worker
threading.stack_size(1 << 30)
most = psutil.Process().memory_info().vms + (64 << 20)
resource.setrlimit(resource.RLIMIT_AS, (most, most))
try:
    Worker(lambda *run: None, print)
except TrainingError as error:
    print(error.one_line())
"""
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        assert done.stdout.startswith("The system starts no further thread")

    def test_a_listener_that_fails_does_not_end_the_thread(self, chat):
        def publish(event):
            chat(event)
            raise ValueError("a listener")

        with closing(Worker(at_once, publish)) as worker:
            for number in (1, 2):
                worker.submit(USER)
                chat.wait_until(lambda number=number: chat.ended()[-1:] == [number])

    def test_a_run_that_takes_too_long_fails(self, cycle, chat):
        with closing(Worker(cycle, chat, limit_minutes=0.001)) as worker:
            worker.submit(USER)
            chat.wait_until(chat.notices)
        assert "lora.training.max_minutes" in chat.notices()[0]

    def test_two_workers_on_one_lock_train_one_at_a_time(self, home, chat):
        lock, let_go = TrainerLock(home / "trainer.lock"), threading.Event()

        def cycle(job, control, publish):
            with lock.held():
                publish(moved(job))
                let_go.wait(10)
            return run_of(job)

        other_chat = Chat()
        with closing(Worker(cycle, chat)) as worker, closing(Worker(cycle, other_chat)) as other:
            begin(worker, chat)
            other.submit(USER)
            other_chat.wait_until(other_chat.notices)
            assert "already" in other_chat.notices()[0]
            assert other_chat.of(TrainingMoved) == []
            let_go.set()
            chat.wait_until(lambda: chat.ended() == [1])
            other.submit(USER)
            other_chat.wait_until(lambda: other_chat.ended() == [2])


class TestHold:
    def test_a_run_waits_for_the_machine_and_goes_on_by_itself(self, cycle, chat):
        machine = {"reason": ""}
        with closing(Worker(cycle, chat, hold_reason=lambda: machine["reason"], hold_seconds=0.01)) as worker:
            begin(worker, chat)
            for _ in range(2):
                machine["reason"] = "on battery (34 %)"
                chat.wait_until(lambda: waits(worker, "on battery (34 %)"))
                assert worker.paused == "on battery (34 %)"
                assert worker.resume() == "Training waits by itself: on battery (34 %)."
                before = cycle.layers
                time.sleep(0.05)
                assert cycle.layers == before
                machine["reason"] = ""
                chat.wait_until(lambda: waits(worker, ""))
            cycle.enough.set()
            chat.wait_until(lambda: chat.ended() == [1])
        assert chat.notices() == ["Training waits: on battery (34 %). It goes on by itself."]

    @pytest.mark.parametrize("job", [THRESHOLD, Job("medium", "resume")])
    def test_what_nobody_asked_for_does_not_begin_while_the_machine_should_rest(self, chat, job):
        machine = {"reason": "on battery (34 %)"}
        with closing(Worker(at_once, chat, hold_reason=lambda: machine["reason"], hold_seconds=0.01)) as worker:
            assert worker.submit(job) == "Run 1 waits: on battery (34 %). It begins by itself."
            time.sleep(0.05)
            assert ([job.priority for job in worker.queue()], chat.events) == (["deferred"], [])
            machine["reason"] = ""
            chat.wait_until(lambda: chat.ended() == [1])

    def test_a_job_that_was_asked_for_is_not_deferred_with_it(self, chat):
        with closing(Worker(at_once, chat, hold_reason=lambda: "hot", hold_seconds=600)) as worker:
            worker.submit(THRESHOLD)
            assert worker.submit(USER) == "Training starts."
            chat.wait_until(lambda: chat.ended() == [2])
            assert [job.number for job in worker.queue()] == [1]


class TestClose:
    def test_the_run_is_told_that_the_program_ends(self, worker, cycle, chat):
        begin(worker, chat)
        worker.submit(THRESHOLD)
        assert worker.close()
        assert cycle.controls[0].ending
        assert len(cycle.started) == 1
        assert worker.submit(USER) == "Nothing starts any more: the program ends."
        assert worker.close()

    def test_a_run_that_was_cancelled_before_stays_cancelled(self, cycle, chat):
        def stubborn(job, control, publish):
            publish(moved(job))
            cycle.controls.append(control)
            cycle.enough.wait(10)
            return run_of(job)

        worker = Worker(stubborn, chat)
        begin(worker, chat)
        worker.cancel()
        assert not worker.close(timeout=0.01)
        cycle.enough.set()
        assert worker.close()
        assert not cycle.controls[0].ending

    def test_a_paused_run_does_not_hold_it_up(self, worker, chat):
        begin(worker, chat)
        worker.pause()
        chat.wait_until(lambda: waits(worker, "paused"))
        assert worker.close()

    @pytest.mark.parametrize("job", [THRESHOLD, USER])
    def test_nor_does_one_that_waits_for_the_machine(self, cycle, chat, job):
        worker = Worker(cycle, chat, hold_reason=lambda: "hot", hold_seconds=600)
        worker.submit(job)
        if job is USER:
            chat.wait_until(chat.notices)
        assert worker.close()

    @pytest.mark.parametrize("beside", [True, False])
    def test_nor_does_one_that_gives_way_to_a_reply(self, chat, tmp_path, beside):
        """Of this program, or of another one."""
        ours = RightOfWay(tmp_path / "way")

        def cycle(job, control, publish):
            courtesy = Courtesy(ours, control, torch.device("cpu"))
            publish(moved(job))
            try:
                while True:
                    courtesy()
            except TrainingCancelled:
                return run_of(job, "interrupted")

        worker = Worker(cycle, chat)
        with (RightOfWay(tmp_path / "way") if beside else ours).taken():
            begin(worker, chat)
            time.sleep(0.1)
            assert worker.close()
        assert chat.notices() == []

    def test_a_worker_without_work_ends_at_once(self, chat):
        assert Worker(at_once, chat).close()

    def test_a_thread_that_does_not_end_is_left(self, chat):
        let_go = threading.Event()

        def stuck(job, control, publish):
            publish(moved(job))
            let_go.wait(10)
            return run_of(job)

        worker = Worker(stuck, chat)
        begin(worker, chat)
        assert not worker.close(timeout=0.05)
        let_go.set()
        assert worker.close()
