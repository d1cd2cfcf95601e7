import os
import signal
import subprocess
import sys
import threading

import pytest

from shammah.errors import HomeError, TrainingBusy
from shammah.training.trainer_lock import TrainerLock

HOLD = """
import sys
from pathlib import Path
from shammah.training.trainer_lock import TrainerLock
with TrainerLock(Path(sys.argv[1])).held():
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def path(home):
    return home / "training" / "trainer.lock"


@pytest.fixture
def other_process(path):
    process = subprocess.Popen([sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.communicate()


def test_it_is_taken_and_given_back(path):
    lock = TrainerLock(path)
    for _ in range(3):
        with lock.held():
            assert lock.holder() == os.getpid()
        assert lock.holder() is None


def test_an_error_gives_it_back(path):
    with pytest.raises(ZeroDivisionError), TrainerLock(path).held():
        raise ZeroDivisionError
    with TrainerLock(path).held():
        pass


def test_another_process_is_named(path, other_process):
    with pytest.raises(TrainingBusy, match=f"Process {other_process.pid} trains") as caught, TrainerLock(path).held():
        pytest.fail("two trainers in one home")
    assert caught.value.hint
    assert TrainerLock(path).holder() == other_process.pid, "who was refused has not taken the holder's name away"


@pytest.mark.parametrize("same_object", [True, False])
def test_another_thread_is_refused(path, same_object):
    lock, refused = TrainerLock(path), []

    def try_it():
        try:
            with (lock if same_object else TrainerLock(path)).held():
                pass
        except TrainingBusy as error:
            refused.append(error)

    with lock.held():
        thread = threading.Thread(target=try_it, daemon=True)
        thread.start()
        thread.join(10)
        try_it()
    assert len(refused) == 2
    assert all("in this process" in error.message and str(os.getpid()) in error.message for error in refused)
    try_it()
    assert len(refused) == 2


def test_it_opens_when_its_holder_ends(path, other_process):
    other_process.communicate(b"")
    with TrainerLock(path).held():
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="no kill -9")
def test_it_opens_when_its_holder_is_killed(path, other_process):
    other_process.send_signal(signal.SIGKILL)
    other_process.wait(10)
    assert TrainerLock(path).holder() is None, "the dead hold nothing"
    with TrainerLock(path).held():
        assert TrainerLock(path).holder() == os.getpid()


def test_what_a_killed_process_left_may_be_the_number_of_another(path):
    lock = TrainerLock(path)
    with lock.held():
        left = path.with_suffix(".pid").read_bytes()
    path.with_suffix(".pid").write_bytes(left)
    assert int(left) == os.getpid() and lock.holder() is None, "nobody trains: the lock is open"
    with lock.held():
        assert lock.holder() == os.getpid()


def test_who_only_asks_keeps_nobody_from_training(path):
    asked, enough = [], threading.Event()

    def ask():
        while not enough.is_set():
            asked.append(TrainerLock(path).holder())

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(100):
            with TrainerLock(path).held():
                pass
            path.with_suffix(".pid").write_bytes(b"%d" % os.getpid())  # left as by a killed one: all ask the lock
    finally:
        enough.set()
        for thread in threads:
            thread.join(10)
    assert set(asked) == {None, os.getpid()}


@pytest.mark.parametrize("left", [b"", b"?", b"\xff", b"-1", b"99999999999999999999"])
def test_a_holder_that_cannot_be_told_is_another_process(path, other_process, left):
    path.with_suffix(".pid").write_bytes(left)
    with pytest.raises(TrainingBusy, match="Another process"), TrainerLock(path).held():
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="no modes")
def test_its_files_are_private(path, open_umask):
    with TrainerLock(path).held():
        assert {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {
            "trainer.lock": 0o600,
            "trainer.pid": 0o600,
        }
        assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_home_that_cannot_be_written_is_explained(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(HomeError), TrainerLock(tmp_path / "file" / "trainer.lock").held():
        pass
    (tmp_path / "trainer.lock").mkdir()
    with pytest.raises(HomeError), TrainerLock(tmp_path / "trainer.lock").held():
        pass
