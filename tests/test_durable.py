import errno
import os
import random
import stat
import subprocess
import sys
import time

import pytest

from shammah.durable import explained, is_out_of_room, make_folder, touch_private, write_file
from shammah.errors import DiskFull, HomeError, ShammahError


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "notes.txt"
    file.write_bytes(b"old")
    return file


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def python(script, *arguments):
    return subprocess.Popen([sys.executable, "-c", script, *map(str, arguments)], stdout=subprocess.PIPE)


class TestWriteFile:
    def test_replaces_the_content(self, file):
        write_file(file, b"new")
        assert file.read_bytes() == b"new"

    def test_makes_a_new_file(self, tmp_path):
        write_file(tmp_path / "new", b"")
        assert (tmp_path / "new").read_bytes() == b""

    def test_only_the_owner_may_read_it(self, file, open_umask):
        file.chmod(0o644)
        write_file(file, b"new")
        assert mode(file) == 0o600

    def test_a_link_stays_a_link(self, file, tmp_path):
        link = tmp_path / "elsewhere" / "link"
        link.parent.mkdir()
        link.symlink_to(file)
        write_file(link, b"new")
        assert link.is_symlink() and file.read_bytes() == b"new"
        assert list(link.parent.iterdir()) == [link]

    @pytest.mark.parametrize(("step", "content"), [("write", b"old"), ("rename", b"new" * 100_000)])
    def test_a_crash_leaves_the_old_or_the_new(self, file, step, content):
        """The system stands still at the first fsync (the file's) or the second (the folder's); then comes the kill."""
        script = (
            "import os, sys, time; from pathlib import Path; from shammah.durable import write_file\n"
            "calls, fsync = [], os.fsync\n"
            "def halt(handle):\n"
            "    calls.append(handle)\n"
            "    if len(calls) < int(sys.argv[2]): return fsync(handle)\n"
            "    print('here', flush=True); time.sleep(60)\n"
            "os.fsync = halt\n"
            "write_file(Path(sys.argv[1]), b'new' * 100_000)\n"
        )
        child = python(script, file, {"write": 1, "rename": 2}[step])
        assert child.stdout.readline() == b"here\n"
        child.kill()
        child.communicate()
        assert file.read_bytes() == content

    def test_kills_at_random_moments_never_leave_a_torn_file(self, file):
        script = (
            "import sys; from pathlib import Path; from shammah.durable import write_file\n"
            "print('begun', flush=True)\n"
            "while True:\n"
            "    for letter in b'ab': write_file(Path(sys.argv[1]), bytes([letter]) * 300_000)\n"
        )
        chance = random.Random(3)
        for _ in range(8):
            child = python(script, file)
            assert child.stdout.readline() == b"begun\n"
            time.sleep(chance.uniform(0, 0.05))
            child.kill()
            child.communicate()
            assert file.read_bytes() in (b"old", b"a" * 300_000, b"b" * 300_000)

    def test_no_room_keeps_the_old_file_and_leaves_nothing_behind(self, file):
        script = (
            "import resource, sys; from pathlib import Path; from shammah.durable import write_file\n"
            "from shammah.errors import DiskFull\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
            "try: write_file(Path(sys.argv[1]), b'new' * 1000)\n"
            "except DiskFull as error: print(error.one_line())\n"
        )
        out, _ = python(script, file).communicate(timeout=60)
        assert out.decode() == f"No room left to write {file}. Free some space and try again.\n"
        assert file.read_bytes() == b"old"
        assert list(file.parent.iterdir()) == [file]

    def test_data_that_cannot_be_written_leaves_nothing_behind(self, file):
        with pytest.raises(TypeError):
            write_file(file, "text")
        assert file.read_bytes() == b"old"
        assert list(file.parent.iterdir()) == [file]

    def test_a_target_that_cannot_be_replaced_leaves_nothing_behind(self, tmp_path):
        folder = tmp_path / "folder"
        folder.mkdir()
        with pytest.raises(HomeError, match="folder"):
            write_file(folder, b"new")
        assert list(tmp_path.iterdir()) == [folder]

    def test_a_missing_folder_is_named(self, tmp_path):
        with pytest.raises(HomeError, match="no such file or directory") as caught:
            write_file(tmp_path / "nowhere" / "file", b"new")
        assert str(tmp_path / "nowhere") in caught.value.message


class TestFolders:
    def test_every_folder_made_is_for_its_owner_only(self, tmp_path, open_umask):
        tmp_path.chmod(0o755)
        make_folder(tmp_path / "a" / "b")
        assert [mode(path) for path in (tmp_path / "a" / "b", tmp_path / "a", tmp_path)] == [0o700, 0o700, 0o755]

    def test_one_that_is_there_stays_as_it_is(self, tmp_path):
        tmp_path.chmod(0o755)
        make_folder(tmp_path)
        assert mode(tmp_path) == 0o755

    @pytest.mark.parametrize("below", ["", "folder"])
    def test_a_file_in_the_way_is_an_error(self, file, below):
        with pytest.raises(HomeError, match="folder|directory"):
            make_folder(file / below)


class TestTouch:
    def test_makes_an_empty_private_file(self, tmp_path, open_umask):
        touch_private(tmp_path / "new")
        assert mode(tmp_path / "new") == 0o600
        assert (tmp_path / "new").read_bytes() == b""

    def test_one_that_is_there_stays_as_it_is(self, file):
        file.chmod(0o640)
        touch_private(file)
        assert (file.read_bytes(), mode(file)) == (b"old", 0o640)

    def test_closes_no_handle_of_a_file_that_is_there(self, file):
        """POSIX drops all locks of a process on a file when it closes any handle of it: SQLite's are at stake."""
        script = (
            "import fcntl, sys; from pathlib import Path; from shammah.durable import touch_private\n"
            "held = open(sys.argv[1], 'r+b'); fcntl.lockf(held, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
            "touch_private(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()\n"
        )
        command = [sys.executable, "-c", script, str(file)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
            assert holder.stdout.readline() == b"held\n"
            import fcntl

            with file.open("r+b") as other, pytest.raises(OSError):
                fcntl.lockf(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            holder.stdin.close()


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, DiskFull),
        (errno.EDQUOT, DiskFull),
        (errno.EFBIG, DiskFull),
        (errno.EACCES, HomeError),
        (errno.EROFS, HomeError),
    ],
)
def test_what_the_system_refuses_is_said_in_our_words(tmp_path, number, kind):
    error = OSError(number, os.strerror(number))
    with pytest.raises(ShammahError) as caught, explained(tmp_path):
        raise error
    assert type(caught.value) is kind
    assert str(tmp_path) in caught.value.message and caught.value.hint
    assert caught.value.__cause__ is error
    assert is_out_of_room(error) == (kind is DiskFull)


def test_other_errors_pass(tmp_path):
    with pytest.raises(KeyError), explained(tmp_path):
        raise KeyError("not ours")
    assert not is_out_of_room(KeyError(errno.ENOSPC))
