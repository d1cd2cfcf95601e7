"""Threads that compute for a thread of ours: they go when it rests, and come back when it computes again."""

import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="libgomp is what torch computes with on Linux")

PREAMBLE = """
import os, sys, threading, torch
from shammah.model.thread_team import dismiss_team

torch.set_num_threads(3)

def compute():
    torch.set_num_threads(3)
    return torch.randn(400, 400) @ torch.randn(400, 400)

def threads():
    return len(os.listdir("/proc/self/task"))
"""


def printed(script, *arguments):
    """What a process of its own prints: in that of the tests others have computed before."""
    script = PREAMBLE + textwrap.dedent(script)
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True, timeout=120
    )
    return [int(word) for word in done.stdout.split()]


def test_they_go_and_come_back():
    before, computing, resting, again = printed("""
        before = threads()
        compute()
        computing = threads()
        dismiss_team()
        resting = threads()
        compute()
        print(before, computing, resting, threads())
    """)
    assert (computing, resting, again) == (before + 2, before, before + 2)


def test_those_of_other_threads_stay():
    mine, both, left = printed("""
        compute()
        mine = threads()
        done, end = threading.Event(), threading.Event()

        def other():
            compute()
            done.set()
            end.wait()
            dismiss_team()

        thread = threading.Thread(target=other)
        thread.start()
        done.wait()
        both = threads()
        dismiss_team()
        print(mine, both, threads())
        end.set()
        thread.join()
    """)
    assert both == mine + 3 and left == both - 2


def test_what_is_computed_stays_the_same():
    (same,) = printed("""
        torch.manual_seed(1)
        first = compute()
        dismiss_team()
        torch.manual_seed(1)
        print(int(torch.equal(first, compute()) and torch.get_num_threads() == 3))
    """)
    assert same == 1


def test_a_reply_leaves_none_behind(tiny_model):
    before, after = printed(
        """
        from pathlib import Path
        from shammah.config import GenerationSettings
        from shammah.model.chat_model import ChatModel
        from shammah.model.device import Compute
        from shammah.model.loading import load
        from shammah.records import Message

        model = ChatModel("tiny", load(Path(sys.argv[1]), Compute("cpu", "float32", 3, "", {})))
        prompt = model.encode([Message("user", "Hi")])  # the tokenizer has threads of its own
        compute()
        before = threads()
        for _ in model.reply(prompt, GenerationSettings(max_tokens=8)):
            pass
        print(before, threads())
        """,
        str(tiny_model),
    )
    assert after == before - 2


def test_who_gives_way_lets_them_go_and_goes_on():
    computing, waiting, again = printed("""
        from shammah.model.right_of_way import RightOfWay
        from shammah.training.control import Control
        from shammah.training.courtesy import Courtesy

        way = RightOfWay()
        courtesy = Courtesy(way, Control(), torch.device("cpu"))
        taken, seen = threading.Event(), []

        def train():
            compute()
            seen.append(threads())
            taken.set()
            go_on.wait()
            courtesy()
            compute()
            seen.append(threads())

        go_on = threading.Event()
        trainer = threading.Thread(target=train)
        trainer.start()
        taken.wait()
        with way.taken():
            go_on.set()
            for _ in range(1000):
                if threads() < seen[0]:
                    break
                threading.Event().wait(0.01)
            waiting = threads()
        trainer.join()
        print(seen[0], waiting, seen[1])
    """)
    assert waiting == computing - 2 and again == computing
