"""The file of typed lines: shared by chats, killed at any moment, never larger than wanted."""

import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from filelock import FileLock

from shammah import typed_lines
from shammah.errors import HomeError
from shammah.typed_lines import append_entry, read_entries, trim

# Long enough that no single page holds an entry.
LONG = "\n".join(f"{number} " + "x" * 90 for number in range(300))
WRITER = """
import sys, time
from pathlib import Path
from shammah.typed_lines import append_entry, trim
file, name, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
print("ready", flush=True)
sys.stdin.readline()
for number in range(count):
    time.sleep(0.002)
    append_entry(file, f"{name} {number}\\nsecond line of {name} {number}")
    if name == "trimmer":
        trim(file, 100_000)
"""
ENDLESS = """
import sys
from pathlib import Path
from shammah.typed_lines import append_entry
number = 0
while True:
    append_entry(Path(sys.argv[1]), f"{number}\\n" + sys.argv[2])
    if number == 0:
        print("ready", flush=True)
    number += 1
"""


@pytest.fixture
def file(tmp_path):
    return tmp_path / "history"


@pytest.fixture
def start():
    """Have another process run a script, from when it is ready on."""
    started = []

    def start(script, *arguments):
        command = [sys.executable, "-c", script, *map(str, arguments)]
        started.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        assert started[-1].stdout.readline() == "ready\n"
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("text", ["one", "two\nlines", "", "\n\n", "+a\n# b\n", "a\r\nb", "Ünd ❄ 模型", " blanks "])
def test_what_was_typed_comes_back_whole(file, text):
    append_entry(file, "before")
    append_entry(file, text)
    append_entry(file, "after")
    assert read_entries(file) == ["before", text, "after"]
    assert file.stat().st_mode & 0o777 == 0o600


def test_what_no_file_can_hold_spoils_nothing(file):
    append_entry(file, "half a pair \ud83d")
    assert read_entries(file) == ["half a pair ?"]


def test_chats_that_write_at_once_lose_nothing_while_one_writes_the_file_anew(file, start):
    names = ("one", "two", "trimmer")
    file.write_bytes(b"\n# 2026-01-01\n+old\n" * 5000)  # so that it takes a while to write it anew
    processes = [start(WRITER, file, name, 30) for name in names]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.wait(30) for process in processes] == [0, 0, 0]
    found = [entry for entry in read_entries(file) if entry != "old"]
    assert sorted(found) == sorted(f"{name} {n}\nsecond line of {name} {n}" for name in names for n in range(30))
    for name in names:
        mine = [entry for entry in found if entry.startswith(name)]
        assert mine == sorted(mine, key=lambda entry: int(entry.split()[1])), "in the order in which they were typed"


def test_killed_while_it_writes(file, start):
    for after in (0.01, 0.03, 0.05):
        process = start(ENDLESS, file, LONG)
        time.sleep(after)
        process.send_signal(signal.SIGKILL)
        process.wait(30)
        before = read_entries(file)
        append_entry(file, "the next chat")
        assert read_entries(file) == [*before, "the next chat"]
        whole = [entry for entry in before if entry.endswith(LONG)]
        torn = [entry for entry in before if entry not in whole and entry != "the next chat"]
        assert whole and len(torn) <= 3, "at most the entry under way each time"


def test_wherever_it_was_torn_it_is_read_the_same_before_and_after_the_next(file):
    append_entry(file, "old\nline")
    whole = file.stat().st_size
    append_entry(file, "5\nx\u00e9\n\ny")
    content = file.read_bytes()
    for end in range(whole, len(content) + 1):
        file.write_bytes(content[:end])
        before = read_entries(file)
        append_entry(file, "next")
        assert read_entries(file) == [*before, "next"], content[whole:end]


def test_what_was_torn_is_closed_by_the_next(file):
    file.write_bytes(b"\n# 2026-01-01\n+whole\n\n# 2026-01-02\n+first\n+seco\xc3")
    append_entry(file, "next")
    assert read_entries(file) == ["whole", "first\nseco\ufffd", "next"]


def test_the_oldest_leave_and_the_file_stays_private(file):
    for number in range(12):
        append_entry(file, f"line {number}")
    trim(file, 5)
    assert read_entries(file) == [f"line {number}" for number in range(7, 12)]
    assert file.stat().st_mode & 0o777 == 0o600
    assert typed_lines.is_too_long(file, 12, 10) and not typed_lines.is_too_long(file, 11, 10)


def test_a_file_of_few_huge_entries_is_cut_too(file, monkeypatch):
    monkeypatch.setattr(typed_lines, "_MOST_BYTES", 1000)
    for number in range(5):
        append_entry(file, f"{number}" + "x" * 300)
    assert typed_lines.is_too_long(file, 5, 100)
    trim(file, 100)
    append_entry(file, "5" + "x" * 1200)
    trim(file, 100)
    assert [entry[0] for entry in read_entries(file)] == ["2", "3", "4"], "the newest is too long by itself"


def test_a_lock_that_nobody_lets_go_of_costs_no_line(file, monkeypatch):
    monkeypatch.setattr(typed_lines, "_WAIT_SECONDS", 0.05)
    append_entry(file, "one")
    with FileLock(file.with_name(".history.lock")), ThreadPoolExecutor() as other:
        other.submit(append_entry, file, "two").result()
        other.submit(trim, file, 1).result()
    assert read_entries(file) == ["one", "two"], "what can wait is left for later"


def test_a_file_that_cannot_be_written(tmp_path):
    (tmp_path / "history").mkdir()
    with pytest.raises(HomeError, match="history"):
        append_entry(tmp_path / "history", "one")
    assert read_entries(tmp_path / "history") == []


def test_a_home_that_is_gone_is_said(tmp_path):
    with pytest.raises(HomeError):
        append_entry(tmp_path / "gone" / "history", "one")
