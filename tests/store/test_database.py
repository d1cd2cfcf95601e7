import os
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

import shammah
from shammah.errors import DiskFull, HomeError, StoreBusy, StoreError
from shammah.store import Database
from shammah.store.migrations import SCHEMA, Schema

ROOT = Path(shammah.__file__).parents[1]


def notes():
    schema = Schema()

    @schema.migration(1, "notes")
    def _(connection):
        connection.execute("CREATE TABLE notes (text TEXT NOT NULL)")
        connection.execute("CREATE TABLE replies (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES replies (id))")

    return schema


@pytest.fixture
def database(path):
    with closing(Database(path, schema=notes(), busy_timeout=0.05)) as database:
        yield database


def write(database, text):
    with database.transaction() as connection:
        connection.execute("INSERT INTO notes VALUES (?)", (text,))


def texts(database):
    return [row["text"] for row in database.rows("SELECT text FROM notes ORDER BY rowid")]


def python(script, *arguments, **options):
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, **options)


def pragma(database, name):
    return database.rows(f"PRAGMA {name}")[0][0]


def in_thread(work):
    result = []
    thread = threading.Thread(target=lambda: result.append(work()))
    thread.start()
    thread.join(10)
    assert result, "the thread did not finish its work"
    return result[0]


def test_settings_of_every_connection(database):
    def settings():
        return {
            name: pragma(database, name) for name in ("journal_mode", "synchronous", "foreign_keys", "secure_delete")
        }

    expected = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "secure_delete": 1}
    assert settings() == expected
    assert in_thread(settings) == expected


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_all_its_files_are_private(database, path):
    old = os.umask(0)
    try:
        write(database, "x")
    finally:
        os.umask(old)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == {"shammah.db": 0o600, "shammah.db-wal": 0o600, "shammah.db-shm": 0o600}


def test_a_link_that_leads_nowhere_yet_makes_a_private_file_there(tmp_path):
    elsewhere = tmp_path / "elsewhere.db"
    (tmp_path / "link.db").symlink_to(elsewhere)
    umask = os.umask(0)
    try:
        Database(tmp_path / "link.db").close()
    finally:
        os.umask(umask)
    assert elsewhere.stat().st_mode & 0o777 == 0o600


def test_what_is_written_is_there_after_closing(database, path):
    write(database, "kept")
    database.close()
    with closing(Database(path, schema=notes())) as again:
        assert texts(again) == ["kept"]


def test_closing_folds_the_wal_into_the_file(database, path):
    write(database, "kept")
    assert Path(f"{path}-wal").stat().st_size > 0
    database.close()
    assert [file.name for file in path.parent.iterdir()] == ["shammah.db"]


def test_closing_empties_the_wal_while_another_program_goes_on(database, path):
    with closing(sqlite3.connect(path)) as other:
        write(database, "kept")
        other.execute("SELECT * FROM notes").fetchall()
        database.close()
        assert Path(f"{path}-wal").stat().st_size == 0
        assert other.execute("SELECT text FROM notes").fetchall() == [("kept",)]


def test_closing_does_not_wait_for_a_busy_program(path):
    database = Database(path, schema=notes(), busy_timeout=60)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        closer = threading.Thread(target=database.close)
        closer.start()
        closer.join(5)
        assert not closer.is_alive()


def test_a_transaction_is_all_or_nothing(database):
    write(database, "before")
    with pytest.raises(KeyboardInterrupt), database.transaction() as connection:
        connection.execute("INSERT INTO notes VALUES ('half')")
        raise KeyboardInterrupt
    assert texts(database) == ["before"]
    write(database, "after")
    assert texts(database) == ["before", "after"]


def test_a_transaction_inside_another_joins_it(database, path):
    with closing(Database(path, schema=notes())) as reader:
        with database.transaction() as outer:
            with database.transaction() as inner:
                assert inner is outer
                inner.execute("INSERT INTO notes VALUES ('inner')")
            assert texts(reader) == [], "only the end of the outermost block stores"
            outer.execute("INSERT INTO notes VALUES ('outer')")
        assert texts(reader) == ["inner", "outer"]


def test_an_error_in_the_inner_block_undoes_the_outer_one_too(database):
    with pytest.raises(StoreError, match="NOT NULL"), database.transaction() as connection:
        connection.execute("INSERT INTO notes VALUES ('outer')")
        with database.transaction():
            connection.execute("INSERT INTO notes VALUES ('inner')")
            connection.execute("INSERT INTO notes VALUES (NULL)")
    assert texts(database) == []
    write(database, "after")
    assert texts(database) == ["after"]


def test_an_error_after_the_inner_block_undoes_it_too(database):
    with pytest.raises(KeyboardInterrupt), database.transaction():
        write(database, "inner")
        raise KeyboardInterrupt
    assert texts(database) == []


def test_an_inner_block_whose_error_is_met_is_undone_alone(database):
    with database.transaction():
        write(database, "before")
        with pytest.raises(ValueError), database.transaction():
            write(database, "lost")
            with pytest.raises(ValueError), database.transaction():
                write(database, "lost too")
                raise ValueError
            raise ValueError
        write(database, "after")
    assert texts(database) == ["before", "after"]


def test_another_thread_does_not_join(database):
    with database.transaction():
        write(database, "mine")

        def theirs():
            with pytest.raises(StoreBusy):
                write(database, "theirs")
            return True

        assert in_thread(theirs)
    assert texts(database) == ["mine"]


def test_a_checkpoint_leaves_no_deleted_word_on_the_disk(database, path):
    write(database, "xylophonist")
    with database.transaction() as connection:
        connection.execute("DELETE FROM notes")
    assert b"xylophonist" in Path(f"{path}-wal").read_bytes()
    assert database.checkpoint() is True
    assert Path(f"{path}-wal").stat().st_size == 0
    assert b"xylophonist" not in path.read_bytes()
    write(database, "after")
    assert texts(database) == ["after"]


def test_a_checkpoint_tells_when_another_program_keeps_a_part(database, path):
    write(database, "before")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT * FROM notes").fetchall()
        write(database, "xylophonist")
        assert database.checkpoint() is False
        assert b"xylophonist" in Path(f"{path}-wal").read_bytes()
        other.execute("COMMIT")
    assert database.checkpoint() is True


def test_a_checkpoint_is_not_for_the_middle_of_a_transaction(database):
    with pytest.raises(AssertionError, match="under way"), database.transaction():
        database.checkpoint()


def test_a_transaction_locks_at_once(database, path):
    other = Database(path, schema=notes(), busy_timeout=0)
    with closing(other), database.transaction(), pytest.raises(StoreBusy), other.transaction():
        pytest.fail("two writers at once")
    write(database, "after")


def test_a_writer_waits_for_the_other_one(path):
    with closing(Database(path, schema=notes(), busy_timeout=10)) as database:
        with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
            other.execute("BEGIN EXCLUSIVE")
            timer = threading.Timer(0.3, lambda: other.execute("COMMIT"))
            timer.start()
            write(database, "waited")
            timer.join()
        assert texts(database) == ["waited"]


def test_a_reader_does_not_wait_and_sees_what_was_committed(database, path):
    write(database, "old")
    with closing(Database(path, schema=notes(), busy_timeout=0)) as reader, database.transaction() as connection:
        connection.execute("INSERT INTO notes VALUES ('new')")
        assert texts(reader) == ["old"]
        assert texts(database) == ["old", "new"]


def test_a_locked_database_is_busy(database, path):
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreBusy, match="Another program holds the database") as caught:
            write(database, "x")
    assert str(path) in caught.value.message
    assert caught.value.hint
    assert caught.value.__cause__ is not None


def test_opening_a_locked_database_is_busy(path):
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("CREATE TABLE x (y)")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreBusy):
            Database(path, busy_timeout=0.05)


def test_turning_wal_on_waits_too(path):
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("CREATE TABLE x (y)")
        other.execute("BEGIN")
        other.execute("SELECT * FROM x").fetchall()
        with pytest.raises(StoreBusy):
            Database(path, schema=notes(), busy_timeout=0.1)
        timer = threading.Timer(0.3, lambda: other.execute("COMMIT"))
        timer.start()
        with closing(Database(path, schema=notes(), busy_timeout=10)) as database:
            assert pragma(database, "journal_mode") == "wal"
        timer.join()


def test_a_full_disk(database):
    write(database, "before")
    database.connection.execute(f"PRAGMA max_page_count = {pragma(database, 'page_count') + 3}")
    with pytest.raises(DiskFull, match="No room left") as caught:
        write(database, "x" * 100_000)
    assert str(database.path) in caught.value.message
    assert "Free some space" in caught.value.hint
    database.connection.execute("PRAGMA max_page_count = 100000")
    write(database, "after")
    assert texts(database) == ["before", "after"]


def test_a_file_that_cannot_be_written(database):
    database.connection.execute("PRAGMA query_only = ON")
    with pytest.raises(StoreError, match="Cannot use the database") as caught:
        write(database, "x")
    assert "SHAMMAH_HOME" in caught.value.hint


def test_a_place_that_is_a_folder(tmp_path):
    with pytest.raises(StoreError, match="Cannot use the database") as caught:
        Database(tmp_path)
    assert "SHAMMAH_HOME" in caught.value.hint


@pytest.mark.parametrize("name", ["missing/shammah.db", "x" * 300])
def test_a_place_where_no_file_can_be_made(tmp_path, name):
    with pytest.raises(HomeError) as caught:
        Database(tmp_path / name)
    assert "SHAMMAH_HOME" in caught.value.hint


def test_a_disk_that_fails(path):
    Path(f"{path}-wal").mkdir()
    with pytest.raises(StoreError, match="Cannot read or write the database") as caught:
        Database(path)
    assert "disk" in caught.value.hint


def test_a_file_that_is_no_database(path):
    path.write_bytes(b"Dear diary, " * 1000)
    before = path.read_bytes()
    with pytest.raises(StoreError, match="is damaged") as caught:
        Database(path)
    assert str(path) in caught.value.message
    assert "Nothing was deleted" in caught.value.hint
    assert path.read_bytes() == before


def test_a_file_that_was_overwritten_in_its_middle(path):
    with closing(Database(path, schema=notes())) as database:
        for number in range(50):
            write(database, f"{number}" * 1000)
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    with closing(Database(path, schema=notes())) as database:
        with pytest.raises(StoreError, match="is damaged") as caught:
            texts(database)
        with pytest.raises(StoreError, match="is damaged"):
            write(database, "x")
    assert "Nothing was deleted" in caught.value.hint


def test_any_other_error_is_ours_too(database):
    with pytest.raises(StoreError, match="no such table: nowhere") as caught:
        database.rows("SELECT * FROM nowhere")
    assert "shammah doctor" in caught.value.hint
    with pytest.raises(StoreError, match="NOT NULL"):
        write(database, None)
    with pytest.raises(StoreError, match="FOREIGN KEY"), database.transaction() as connection:
        connection.execute("INSERT INTO replies VALUES (1, 42)")
    with pytest.raises(StoreError):
        database.rows("SELECT ?", ())


def test_each_thread_has_its_own_connection(database):
    mine = database.connection
    assert database.connection is mine
    theirs = in_thread(lambda: database.connection)
    assert theirs is not mine


def test_threads_write_at_the_same_time(path):
    with closing(Database(path, schema=notes(), busy_timeout=30)) as database:
        failures = []

        def work(name):
            try:
                for number in range(20):
                    write(database, f"{name}-{number}")
            except StoreError as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        assert sorted(texts(database)) == sorted(f"{name}-{number}" for name in range(4) for number in range(20))


def test_closing_closes_the_connections_of_all_threads(database):
    used, done = threading.Event(), threading.Event()
    theirs = []

    def work():
        theirs.append(database.connection)
        used.set()
        done.wait(10)

    thread = threading.Thread(target=work)
    thread.start()
    used.wait(10)
    connections = [database.connection, *theirs]
    database.close()
    database.close()
    done.set()
    thread.join()
    assert len(connections) == 2
    for connection in connections:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("SELECT 1")
    with pytest.raises(AssertionError, match="closed"):
        database.rows("SELECT 1")


def test_connections_of_ended_threads_are_closed_on_the_way(database):
    ended = in_thread(lambda: database.connection)
    in_thread(lambda: database.connection)
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        ended.execute("SELECT 1")


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="counts open files in /proc")
def test_a_file_that_cannot_be_used_is_not_kept_open(path):
    path.write_bytes(b"Dear diary, " * 1000)
    with pytest.raises(StoreError) as caught:
        Database(path)
    # The error is held on purpose: its traceback keeps alive what was not closed.
    opened = {os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")}
    assert str(path) not in opened, caught.value


@pytest.mark.skipif(os.name == "nt", reason="POSIX locks")
def test_a_second_opening_keeps_the_locks_of_the_first(database, path):
    """POSIX drops all locks of a process on a file when it closes any handle of it; SQLite knows, others must too.

    Without its lock, the next program to close the file takes itself for the last one and removes the WAL in use.
    """
    write(database, "kept")
    Database(path, schema=notes()).close()
    write(database, "kept too")
    other = python("import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('SELECT * FROM notes').fetchall()", path)
    assert other.communicate(timeout=30) == (b"", None)
    assert other.returncode == 0
    assert Path(f"{path}-wal").exists()
    assert texts(database) == ["kept", "kept too"]


def test_eight_processes_open_a_fresh_home_at_once(tmp_path):
    """Several homes one after the other, because the collision to survive is a matter of chance."""
    script = """
import sys, time
from pathlib import Path
from shammah.store import Database
print("ready", flush=True)
for line in sys.stdin:
    path, start = line.split()
    time.sleep(max(0, float(start) - time.time()))
    database = Database(Path(path), busy_timeout=30)
    assert database.rows("PRAGMA journal_mode")[0][0] == "wal"
    print(len(database.rows("SELECT * FROM migrations")), flush=True)
    database.close()
"""
    processes = [python(script, stdin=subprocess.PIPE) for _ in range(8)]
    assert [process.stdout.readline() for process in processes] == [b"ready\n"] * 8
    for number in range(40):
        order = f"{tmp_path / str(number)} {time.time() + 0.01}\n".encode()
        for process in processes:
            process.stdin.write(order)
            process.stdin.flush()
        # A process that failed has closed its end: it answers nothing.
        assert [process.stdout.readline() for process in processes] == [b"%d\n" % SCHEMA.latest] * 8
    assert [process.communicate(timeout=60) for process in processes] == [(b"", None)] * 8
    assert [process.returncode for process in processes] == [0] * 8
