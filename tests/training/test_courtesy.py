"""What training leaves to others: the time that it waits for them, cores, the first place on a GPU."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from shammah.model.engine import Lane
from shammah.model.right_of_way import RightOfWay
from shammah.training import control
from shammah.training.control import Control
from shammah.training.courtesy import Courtesy, low_priority_stream, take_threads, threads_for

CPU = torch.device("cpu")


def test_the_limit_of_a_run_does_not_count_what_it_stood_aside_for():
    limit = 0.3
    way, control, held = RightOfWay(), Control(limit_minutes=limit / 60), threading.Event()
    courtesy = Courtesy(way, control, CPU)

    def reply():
        with way.taken():
            held.set()
            time.sleep(3 * limit)

    thread = threading.Thread(target=reply)
    thread.start()
    assert held.wait(10)
    started = time.monotonic()
    courtesy()
    waited = time.monotonic() - started
    courtesy()
    thread.join()
    assert waited > 2 * limit


def test_a_long_reply_is_told_of(monkeypatch):
    monkeypatch.setattr(control, "_PATIENCE_SECONDS", 0.1)
    way, told = RightOfWay(), []
    courtesy = Courtesy(way, Control(on_wait=told.append), CPU)
    for seconds in (0.0, 0.5):  # who waits for no more than a moment says nothing
        with way.taken():
            thread = threading.Thread(target=courtesy)
            thread.start()
            time.sleep(seconds)
        thread.join()
    assert told == ["a reply or a model that loads goes first", ""]


class TestThreads:
    @pytest.fixture
    def chat(self):
        """A thread that has computed on two threads already."""
        before = torch.get_num_threads()
        torch.set_num_threads(2)
        with ThreadPoolExecutor(1) as chat:
            assert chat.submit(torch.get_num_threads).result() == 2
            yield lambda: chat.submit(torch.get_num_threads).result()
        torch.set_num_threads(before)

    @pytest.mark.parametrize(
        ("cores", "chat", "taken"), [(1, 1, 1), (2, 2, 2), (3, 3, 3), (4, 4, 3), (16, 16, 15), (16, 4, 4), (4, 1, 1)]
    )
    def test_a_core_is_left_where_there_are_many(self, cores, chat, taken):
        assert threads_for(0, chat=chat, cores=cores) == taken

    def test_as_set(self):
        assert threads_for(3, chat=1, cores=16) == 3

    def test_the_thread_that_trains_takes_its_own_number_and_leaves_the_others_theirs(self, chat):
        def trains():
            took = take_threads(1), torch.get_num_threads()
            torch.ones(64, 64) @ torch.ones(64, 64)
            return *took, torch.get_num_threads()

        with ThreadPoolExecutor(1) as training:
            for _ in range(2):  # two runs
                assert training.submit(trains).result() == (1, 1, 1)
                assert (chat(), torch.get_num_threads()) == (2, 2)
                with ThreadPoolExecutor(1) as late:
                    assert late.submit(torch.get_num_threads).result() == 2, "one that computes only from now on"
            assert training.submit(take_threads, 2).result() == 2
            assert training.submit(torch.get_num_threads).result() == 2


class TestStreams:
    def test_only_gpus_have_them(self):
        tensor = torch.ones(2)
        with low_priority_stream(CPU), Lane(CPU).first():
            assert Lane(CPU).handed_over(tensor) is tensor

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
    def test_the_chat_goes_first_on_a_gpu_and_training_stays_where_it_is(self):
        device = torch.device("cuda", 0)
        around, lane = torch.cuda.current_stream(device), Lane(device)
        with lane.first():
            chat = torch.cuda.current_stream(device)
        assert torch.cuda.current_stream(device) == around != chat
        with low_priority_stream(device):
            training = torch.cuda.current_stream(device)
            with lane.first():
                assert torch.cuda.current_stream(device) == training
        assert chat.priority < training.priority == 0
