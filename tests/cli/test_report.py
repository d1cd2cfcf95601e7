"""`shammah report`: the newest receipt or one by its run, for eyes, for programs and for a browser."""

import json
import os
from contextlib import closing

import pytest
from support.receipts import ADAPTER, OFFICE, a_receipt, a_spoiled_one, run_of
from support.standing_adapters import FIRST, put_silent

from shammah.cli import main
from shammah.store import Database
from shammah.store.activations import Activations
from shammah.store.receipts import Receipts
from shammah.ui.render import Screen
from shammah.ui.report_commands import print_report


@pytest.fixture
def judged(home):
    """Two runs, of which the second was refused."""
    home.mkdir(mode=0o700)
    with closing(Database(home / "shammah.db")) as database:
        receipts = Receipts(database)
        first, second = a_receipt(run=run_of([], id="01FIRST")), a_spoiled_one()
        for receipt in (first, second):
            receipts.put(receipt.run_id, receipt.adapter, receipt.body)


def test_the_newest_as_plain_lines(shammah, judged):
    result = shammah("report")
    text = result.stdout.decode()
    assert result.returncode == 0 and result.stderr == b""
    assert text.startswith("Trained, at too high a price, not deployed: v7, ")
    assert "\x1b" not in text and "drift 0.22 (limit 0.10)" in text
    assert f"Before: {OFFICE[0][1]}" in text.replace("Now:", "Before:") and f": {OFFICE[0][2]}\n" in text


def test_one_by_the_beginning_of_its_run(shammah, judged):
    assert shammah("report", "01F").stdout.startswith(b"Trained, better, deployed: v7, ")


def test_who_answers_now_decides_how_it_is_told(shammah, judged, home):
    assert b"v7 was taken into use then" in shammah("report", "01F").stdout
    assert b"What answered before still does" in shammah("report", "0Run").stdout
    with closing(Database(home / "shammah.db")) as database:
        Activations(database).activate("smollm2-135m", ADAPTER, actor="training")
    assert b"v7 is in use;" in shammah("report", "01F").stdout
    assert b"was in use" not in shammah("report", "01F", "--html", "-").stdout
    assert b"something else answers now" in shammah("report", "0Run").stdout


def said(capsys, *arguments):
    assert main.run(["report", *arguments]) == 0
    return capsys.readouterr().out


def test_the_way_back_is_the_one_that_rollback_takes(capsys, judged, home):
    put_silent(home, FIRST)
    with closing(Database(home / "shammah.db")) as database:
        for adapter in (ADAPTER, FIRST, ADAPTER):
            Activations(database).activate("smollm2-135m", adapter, actor="user")
    for how in ((), ("--html", "-")):
        told = said(capsys, "01F", *how)
        assert f"goes back to {FIRST}." in told and "took the place of the model itself" in told
    (home / "adapters" / FIRST / "manifest.json").unlink()
    assert "goes back to the model itself." in said(capsys, "01F"), "what is broken is passed over"


def test_a_model_that_is_a_path(capsys, home, tmp_path):
    """Told by its last part alone, as the adapters that were made for it name it."""
    home.mkdir(mode=0o700)
    model = tmp_path / "secret" / "mine.gguf"
    with closing(Database(home / "shammah.db")) as database:
        told = a_receipt(run=run_of([], model=str(model)))
        Receipts(database).put(told.run_id, told.adapter, told.body)
        Activations(database).activate("mine.gguf", ADAPTER, actor="training")
    text, page, line = (said(capsys, *how) for how in ((), ("--html", "-"), ("--json",)))
    assert "v7 is in use;" in text and "Model</dt><dd>mine.gguf<" in page
    assert json.loads(line)["run"]["model"] == "mine.gguf"
    assert "secret" not in text + page + line


def test_a_reader_that_goes_away_is_not_the_end_of_the_program():
    """The program's own last boundary says what that means, for every command the same."""
    read, write = os.pipe()
    os.close(read)
    closed = os.fdopen(write, "w", encoding="utf-8")
    with pytest.raises(BrokenPipeError):
        print_report(a_receipt(), Screen(), closed, holds=True)
    with pytest.raises(BrokenPipeError):
        closed.close()


def test_an_unknown_run(shammah, judged):
    result = shammah("report", "nonsense")
    (line,) = result.stderr.decode().splitlines()
    assert result.returncode == 1 and line.startswith("shammah: There is no receipt of a run 'nonsense'.")


def test_before_any_run_was_judged(shammah):
    result = shammah("report")
    assert result.returncode == 1 and b"There is no receipt yet. " in result.stderr and result.stdout == b""


def test_json(shammah, judged):
    (line,) = shammah("report", "01FIRST", "--json").stdout.splitlines()
    found = json.loads(line)
    assert set(found) == {
        "time", "run", "adapter", "deployed", "verdict", "learned_from", "loss", "lessons", "figures", "probes",
        "faults", "leaks", "graduated",
    }  # fmt: skip
    assert found["run"]["id"] == "01FIRST" and found["adapter"]["version"] == 7 and found["deployed"] is True
    assert found["lessons"][0]["said"]["after"] == OFFICE[0][2]


class TestThePage:
    def test_in_a_file_of_the_users_alone(self, shammah, judged, tmp_path):
        result = shammah("report", "--html", "receipt.html")
        file = tmp_path / "receipt.html"
        assert result.returncode == 0 and result.stdout == b"" and b"receipt.html" in result.stderr
        assert file.read_text("utf-8").startswith("<!DOCTYPE html>") and file.stat().st_mode & 0o777 == 0o600
        assert OFFICE[0][2] in file.read_text("utf-8")

    def test_on_stdout(self, shammah, judged, tmp_path):
        shammah("report", "01FIRST", "--html", "receipt.html")
        result = shammah("report", "01FIRST", "--html", "-")
        assert result.stdout == (tmp_path / "receipt.html").read_bytes()

    def test_a_name_that_cannot_be_written(self, shammah, judged, tmp_path):
        assert (shammah("report", "--html", str(tmp_path)).returncode, shammah("report", "--html", "").returncode) == (
            2,
            2,
        )
        result = shammah("report", "--html", "nowhere/receipt.html")
        assert (
            result.returncode == 2 and b"There is no folder" in result.stderr and b"Name another file" in result.stderr
        )

    def test_no_file_but_an_earlier_page_is_overwritten(self, shammah, judged, tmp_path):
        file = tmp_path / "thesis.html"
        file.write_text("<!DOCTYPE html>\nMine")
        result = shammah("report", "--html", "thesis.html")
        assert result.returncode == 2 and b"Name another file" in result.stderr
        assert file.read_text() == "<!DOCTYPE html>\nMine"
        for run in ("0Run", "01FIRST"):
            assert shammah("report", run, "--html", "receipt.html").returncode == 0
        assert "Run</dt><dd>01FIRST" in (tmp_path / "receipt.html").read_text("utf-8")

    def test_not_together_with_json(self, shammah, judged):
        assert shammah("report", "--html", "-", "--json").returncode == 2


def test_what_a_model_said_does_not_drive_the_terminal_and_stays_text_on_the_page(shammah, home):
    home.mkdir(mode=0o700)
    told = a_receipt(("Clear \x1b[2J?", "\x1b[31mNo\x1b[0m\u202e", "<b>Yes</b>\x9b"))
    with closing(Database(home / "shammah.db")) as database:
        Receipts(database).put(told.run_id, told.adapter, told.body)
    text, page = (shammah("report", *how).stdout.decode() for how in ((), ("--html", "-")))
    for output in (text, page):
        assert not {"\x1b", "\x9b", "\u202e"} & set(output) and "[31mNo" in output
    assert "<b>Yes</b>" in text and "&lt;b&gt;Yes&lt;/b&gt;" in page and "<b>" not in page
    found = json.loads(shammah("report", "--json").stdout)
    assert found["lessons"][0]["wanted"] == "<b>Yes</b>\x9b"
