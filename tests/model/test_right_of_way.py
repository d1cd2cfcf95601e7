"""Who answers goes first: the lock itself, and a real step of training that waits for it between two layers."""

import threading
import time

import pytest
import torch
from support.networks import llama, some_ids

from shammah.errors import TrainingCancelled
from shammah.model.right_of_way import RightOfWay
from shammah.training.control import Control
from shammah.training.courtesy import Courtesy
from shammah.training.learner import Learner
from shammah.training.packing import Row
from shammah.training.recipe import Recipe

WAIT = 20


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
            way.give_way(control.raise_if_over)
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


def test_a_step_asks_before_every_layer_forwards_and_backwards(one_thread):
    asked = []
    learner = Learner(llama(vocab_size=128), Recipe(preset="default", r=4), lambda: asked.append(1))
    states = learner.hidden([Row(ids=tuple(some_ids(12)), start=6)])
    assert len(asked) == 2
    states.sum().backward()
    assert len(asked) == 4


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
