"""How the terminal is set: by streams and terminals that are real."""

import io
import os
import pty
import sys
import termios

import pytest

from shammah.ui.terminal_modes import UnseenTyping, mark_pastes


class Interrupted(io.RawIOBase):
    """A stream during whose first write a signal comes, as with a terminal that takes its time."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._interrupted = False

    def fileno(self) -> int:
        return self._handle

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:
        if not self._interrupted:
            self._interrupted = True
            mark_pastes(False)
        return os.write(self._handle, data)


def test_a_signal_in_the_middle_of_a_write_still_gives_the_terminal_back(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = os.pipe()
    stream = io.TextIOWrapper(io.BufferedWriter(Interrupted(theirs)), encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", stream)
    stream.write("a reply")
    stream.flush()
    monkeypatch.undo()
    assert os.read(ours, 100).startswith(b"\x1b[?2004la reply")
    os.close(ours)
    stream.close()


def test_unseen_typing_leaves_the_terminal_as_it_was(capfd: pytest.CaptureFixture[str]) -> None:
    _, terminal = pty.openpty()
    before = termios.tcgetattr(terminal)
    with UnseenTyping(terminal):
        flags = termios.tcgetattr(terminal)[3]
        assert not flags & (termios.ECHO | termios.ICANON) and flags & termios.NOFLSH
    assert termios.tcgetattr(terminal) == before
