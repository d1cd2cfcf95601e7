"""Ctrl+C while the program works, by real signals."""

import os
import signal
import threading

import pytest

from shammah.ui.interrupts import CtrlC


def press():
    os.kill(os.getpid(), signal.SIGINT)


def test_the_first_asks_and_the_second_raises():
    with CtrlC() as asked:
        assert not asked()
        press()
        assert asked()
        with pytest.raises(KeyboardInterrupt):
            press()


def test_the_handler_before_is_back_afterwards():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ZeroDivisionError), CtrlC():
        assert signal.getsignal(signal.SIGINT) != before
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGINT) == before
    with pytest.raises(KeyboardInterrupt):
        press()


def test_in_another_thread_it_does_nothing():
    found = []

    def work():
        with CtrlC() as asked:
            found.append(asked())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [False]
