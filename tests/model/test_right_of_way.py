"""Who answers goes first: the lock itself, and a real step of training that waits for it between two layers."""

import signal
import statistics
import subprocess
import sys
import threading
import time

import pytest
import torch
from support.networks import llama, some_ids

from shammah.errors import TrainingCancelled
from shammah.model.right_of_way import Flags, RightOfWay
from shammah.training.control import Control
from shammah.training.courtesy import Courtesy
from shammah.training.learner import Learner
from shammah.training.packing import Row
from shammah.training.recipe import Recipe

WAIT = 20
# A program that replies, or does not, as it is told.
OTHER = """
import sys
from pathlib import Path
from shammah.model.right_of_way import RightOfWay
way, replies = RightOfWay(Path(sys.argv[1])), []
for word in map(str.strip, sys.stdin):
    if word == "reply":
        replies.append(way.taken())
        replies[-1].__enter__()
    elif word == "done":
        replies.pop().__exit__(None, None, None)
    elif word == "fail":
        with way.taken():
            raise KeyError
    print(word, flush=True)
"""


@pytest.fixture
def way():
    return RightOfWay()


@pytest.fixture
def behind(way):
    """Start a thread that gives way; the flag tells that it went on."""
    threads = []

    def start(check=lambda: None):
        went_on = threading.Event()
        threads.append(threading.Thread(target=lambda: (way.give_way(check), went_on.set()), daemon=True))
        threads[-1].start()
        return went_on

    yield start
    for thread in threads:
        thread.join(WAIT)
        assert not thread.is_alive()


def test_nobody_waits_where_nobody_holds_it(way):
    way.give_way(lambda: pytest.fail("there is nothing to wait for"))
    assert not way.held


def test_training_waits_as_long_as_it_is_held(way, behind):
    with way.taken():
        went_on = behind()
        assert way.held and not went_on.wait(0.3)
    assert went_on.wait(WAIT) and not way.held


def test_it_waits_for_all_who_hold_it(way, behind):
    with way.taken():
        with way.taken():
            went_on = behind()
            assert not went_on.wait(0.15)
        assert way.held and not went_on.wait(0.15)
    assert went_on.wait(WAIT)


def test_holders_do_not_wait_for_each_other(way):
    inside = threading.Barrier(3, timeout=WAIT)

    def hold():
        with way.taken():
            inside.wait()

    threads = [threading.Thread(target=hold) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    assert not inside.broken and not way.held


def test_it_is_given_back_where_a_reply_fails(way, behind):
    with pytest.raises(KeyError), way.taken():
        went_on = behind()
        raise KeyError
    assert went_on.wait(WAIT) and not way.held


def test_a_reply_that_nobody_reads_to_its_end_gives_it_back(way):
    def reply():
        with way.taken():
            yield 1
            yield 2

    stream = reply()
    next(stream)
    assert way.held
    stream.close()
    assert not way.held


def test_who_is_told_to_end_waits_no_longer(way):
    control = Control()
    ended = threading.Event()

    def wait():
        with pytest.raises(TrainingCancelled):
            way.give_way(control.raise_if_cancelled)
        ended.set()

    with way.taken():
        thread = threading.Thread(target=wait)
        thread.start()
        assert not ended.wait(0.15)
        control.cancel()
        assert ended.wait(WAIT)
        thread.join(WAIT)


class Training:
    """Steps of a real learner in a thread of its own, counted layer by layer."""

    def __init__(self, way):
        self.control, self.layers, self.steps, self.error = Control(), 0, 0, None
        self._courtesy = Courtesy(way, self.control, torch.device("cpu"))
        self.learner = Learner(llama(vocab_size=128), Recipe(preset="default", r=4), self._before_a_layer)
        self._rows = [Row(ids=tuple(some_ids(12, seed)), start=6) for seed in range(3)]
        self.thread = threading.Thread(target=self._train, daemon=True)

    def _before_a_layer(self):
        self._courtesy()
        self.layers += 1

    def _train(self):
        try:
            while True:
                self.learner.hidden(self._rows).pow(2).mean().backward()
                self.steps += 1
        except TrainingCancelled as error:
            self.error = error

    def moves(self, seconds=WAIT):
        before, end = self.layers, time.monotonic() + seconds
        while time.monotonic() < end:
            if self.layers > before:
                return True
            time.sleep(0.005)
        return False


@pytest.fixture
def training(one_thread, way):
    training = Training(way)
    training.thread.start()
    yield training
    training.control.cancel()
    training.thread.join(WAIT)
    assert not training.thread.is_alive()


def test_a_step_asks_before_every_layer_and_its_two_halves_forwards_and_backwards(one_thread):
    asked = []
    learner = Learner(llama(vocab_size=128), Recipe(preset="default", r=4), lambda: asked.append(1))
    states = learner.hidden([Row(ids=tuple(some_ids(12)), start=6)])
    layers = 2
    assert len(asked) == 3 * layers
    states.sum().backward()
    assert len(asked) == 2 * 3 * layers


def test_training_stands_still_while_a_reply_is_produced(training, way):
    assert training.moves()
    for _ in range(3):
        with way.taken():
            time.sleep(0.05)  # the layer under way comes to its end
            assert not training.moves(0.25)
        assert training.moves()
    assert training.error is None and training.steps > 0


def test_training_ends_while_a_reply_is_produced(training, way):
    assert training.moves()
    with way.taken():
        training.control.cancel()
        training.thread.join(WAIT)
        assert training.error is not None


def test_training_ends_while_it_is_paused(training):
    assert training.moves()
    training.control.pause()
    time.sleep(0.05)
    assert not training.moves(0.2)
    training.control.cancel()
    training.thread.join(WAIT)
    assert training.error is not None


class Other:
    """A process of its own in the same home."""

    def __init__(self, folder):
        self.process = subprocess.Popen(
            [sys.executable, "-c", OTHER, folder],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip

    def told(self, word):
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def does(self, word):
        assert self.told(word) == word

    def end(self, by=signal.SIGTERM):
        self.process.send_signal(by)
        self.process.communicate()


class TestBetweenProcesses:
    @pytest.fixture
    def folder(self, home):
        return home / "adapters" / ".training" / "way"

    @pytest.fixture
    def way(self, folder):
        return RightOfWay(folder)

    @pytest.fixture
    def other(self, folder):
        other = Other(folder)
        yield other
        other.end()

    def test_a_step_stands_still_while_another_one_replies(self, training, other):
        assert training.moves()
        for _ in range(3):
            other.does("reply")
            time.sleep(0.1)
            assert not training.moves(0.25)
            other.does("done")
            assert training.moves()

    def test_it_waits_for_all_of_them(self, behind, other, folder, way):
        second = Other(folder)
        try:
            for each in (other, other, second):
                each.does("reply")
            with way.taken():
                went_on = behind()
                for each in (other, other, second):
                    assert not went_on.wait(0.1)
                    each.does("done")
                assert not went_on.wait(0.1)
            assert went_on.wait(WAIT)
        finally:
            second.end()

    @pytest.mark.skipif(sys.platform == "win32", reason="no kill -9")
    def test_one_that_is_killed_in_the_middle_of_a_reply_holds_nothing(self, behind, other, folder):
        other.does("reply")
        went_on = behind()
        assert not went_on.wait(0.2)
        other.end(signal.SIGKILL)
        assert went_on.wait(WAIT)
        assert list(folder.iterdir()) == [], "what it left is gone"

    def test_one_whose_reply_fails_holds_nothing(self, behind, other):
        other.does("reply")
        went_on = behind()
        assert not went_on.wait(0.1)
        other.told("fail")
        assert went_on.wait(WAIT)

    def test_it_says_how_long_it_waited(self, way, other):
        assert way.give_way() == 0
        other.does("reply")
        timer = threading.Timer(0.3, other.does, ["done"])
        timer.start()
        assert 0.2 < way.give_way() < WAIT
        timer.join()

    def test_who_is_told_to_end_waits_no_longer(self, training, other):
        assert training.moves()
        other.does("reply")
        time.sleep(0.1)
        training.control.cancel()
        training.thread.join(WAIT)
        assert training.error is not None

    def test_a_reply_is_seen_however_often_others_look(self, folder):
        """Who looks has the lock of a flag for a moment, and removes what nobody holds up."""
        replying, looking, enough = RightOfWay(folder), RightOfWay(folder), threading.Event()

        def look():
            one = Flags(folder)
            while not enough.is_set():
                one._look_at = 0
                one.others()
                time.sleep(0.0005)

        def seen():
            raise InterruptedError

        threads = [threading.Thread(target=look) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(200):
                with replying.taken():
                    time.sleep(0.006)
                    with pytest.raises(InterruptedError):
                        looking.give_way(seen)
        finally:
            enough.set()
            for thread in threads:
                thread.join(WAIT)
        looking.give_way()
        assert list(folder.iterdir()) == []

    def test_a_reply_may_end_on_another_thread_than_it_began(self, way, folder):
        reply = way.taken()
        thread = threading.Thread(target=reply.__enter__)
        thread.start()
        thread.join(WAIT)
        assert len(list(folder.iterdir())) == 1
        reply.__exit__(None, None, None)
        RightOfWay(folder).give_way(lambda: pytest.fail("it is still held"))
        assert list(folder.iterdir()) == []

    def test_it_costs_a_reply_next_to_nothing(self, way):
        times = []
        for _ in range(200):
            started = time.perf_counter()
            with way.taken():
                pass
            times.append(time.perf_counter() - started)
        assert statistics.median(times) < 0.001

    @pytest.mark.skipif(sys.platform == "win32", reason="no modes")
    def test_what_it_writes_is_private_and_goes_with_the_reply(self, way, folder, open_umask):
        with way.taken():
            (flag,) = folder.iterdir()
            assert (flag.stat().st_mode & 0o777, folder.stat().st_mode & 0o777) == (0o600, 0o700)
            assert flag.stat().st_size == 0
        assert list(folder.iterdir()) == []

    def test_where_the_folder_cannot_be_written_a_reply_is_as_any_other(self, tmp_path):
        (tmp_path / "file").write_bytes(b"")
        way = RightOfWay(tmp_path / "file" / "way")
        with way.taken():
            assert way.held
        way.give_way()

    def test_a_home_that_was_removed_meanwhile_is_not_made_again(self, way, folder):
        folder.rmdir()
        with way.taken():
            pass
        assert not folder.exists()

    def test_training_ends_with_its_program_while_another_one_replies(self, folder, other):
        script = """
import sys, threading, time
from pathlib import Path
from shammah.model.right_of_way import RightOfWay
threading.Thread(target=RightOfWay(Path(sys.argv[1])).give_way, daemon=True).start()
time.sleep(0.2)
"""
        other.does("reply")
        ended = subprocess.run([sys.executable, "-c", script, folder], capture_output=True, timeout=WAIT, check=True)
        assert ended.stderr == b""
