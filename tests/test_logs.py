import logging
import stat

import pytest

from shammah import logs

log = logging.getLogger("shammah.part")


@pytest.fixture
def file(tmp_path):
    yield tmp_path / "shammah.log"
    logs.set_up(None, verbosity=0)


def modes(folder):
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


def say_everything():
    log.debug("a detail")
    log.info("a step")
    log.warning("a worry")
    try:
        raise KeyError("lost")
    except KeyError:
        log.exception("a failure")


def test_a_quiet_program_logs_to_the_file_only(file, capfd):
    logs.set_up(file, verbosity=0)
    say_everything()
    text = file.read_text("utf-8")
    assert [word in text for word in ("a detail", "a step", "a worry", "a failure")] == [False, True, True, True]
    assert "Traceback" in text and "KeyError: 'lost'" in text
    assert text.splitlines()[0].endswith(" INFO shammah.part: a step")
    assert capfd.readouterr() == ("", "")


def test_what_was_typed_is_cleaned_in_the_file_tracebacks_too(file, capfd):
    logs.set_up(file, verbosity=0, clean=lambda line: line.replace("hunter2xyz", "[redacted]"))
    try:
        raise KeyError("hunter2xyz")
    except KeyError:
        log.info("failed on %s", "hunter2xyz", exc_info=True)
    text = file.read_text("utf-8")
    assert "hunter2xyz" not in text and "failed on [redacted]\n" in text and "KeyError: '[redacted]'\n" in text
    assert capfd.readouterr() == ("", "")


def test_a_line_that_cannot_be_cleaned_is_kept(file, capfd):
    logs.set_up(file, verbosity=0, clean=lambda line: line[10**6])
    log.info("a step")
    assert file.read_text("utf-8").endswith("INFO shammah.part: a step\n")
    assert capfd.readouterr() == ("", "")


def test_verbose_says_each_step_on_stderr_in_one_line(file, capfd):
    logs.set_up(file, verbosity=1)
    say_everything()
    out, err = capfd.readouterr()
    assert out == ""
    assert err.splitlines() == ["shammah.part: a step", "shammah.part: a worry", "shammah.part: a failure"]
    assert "Traceback" in file.read_text("utf-8")


def test_debug_says_everything_with_tracebacks(file, capfd):
    logs.set_up(file, verbosity=2)
    say_everything()
    err = capfd.readouterr().err
    assert "shammah.part: a detail\n" in err and "KeyError: 'lost'" in err and "Traceback" in err
    assert "DEBUG shammah.part: a detail" in file.read_text("utf-8")


def test_without_a_file_nothing_is_said_either(file, capfd):
    logs.set_up(None, verbosity=0)
    say_everything()
    assert capfd.readouterr() == ("", "")


def test_setting_up_again_replaces_the_first(tmp_path, file, capfd):
    logs.set_up(file, verbosity=1)
    logs.set_up(tmp_path / "second.log", verbosity=0)
    log.info("a step")
    assert not file.exists()
    assert (tmp_path / "second.log").read_text("utf-8").count("a step") == 1
    assert capfd.readouterr().err == ""


def test_no_file_before_the_first_line(file):
    logs.set_up(file, verbosity=0)
    assert not file.exists()


def test_it_rotates_and_every_file_is_private(file, open_umask):
    logs.set_up(file, verbosity=0)
    for number in range(60):
        log.info("%d %s", number, "x" * 100_000)
    assert modes(file.parent) == dict.fromkeys(
        ["shammah.log", "shammah.log.1", "shammah.log.2", "shammah.log.3"], 0o600
    )
    assert all(path.stat().st_size <= 1_000_000 for path in file.parent.iterdir())
    assert " 59 x" in file.read_text("utf-8").splitlines()[-1]


def test_any_text_can_be_logged(file):
    logs.set_up(file, verbosity=0)
    log.info("gr\u00fc\u00df \u6a5f\u68b0 \U0001f600")
    assert "gr\u00fc\u00df \u6a5f\u68b0 \U0001f600" in file.read_text("utf-8")


def test_a_full_disk_is_not_a_failure(file, capfd):
    file.symlink_to("/dev/full")
    logs.set_up(file, verbosity=0)
    log.info("a step")
    logs.set_up(None, verbosity=0)
    assert capfd.readouterr() == ("", "")


def test_the_logs_of_libraries_are_left_alone(file, caplog, capfd):
    before = (logging.getLogger().level, list(logging.getLogger().handlers))
    logs.set_up(file, verbosity=2)
    logging.getLogger("library").warning("not ours")
    assert (logging.getLogger().level, list(logging.getLogger().handlers)) == before
    assert not file.exists()
    say_everything()
    assert [record.getMessage() for record in caplog.records] == ["not ours"], "ours do not reach the handlers of all"
