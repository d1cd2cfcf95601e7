"""`shammah logs sessions`, `rename`, `export`, and going on with a conversation by its name."""

import json
import stat
from contextlib import closing

import pytest
from click.testing import CliRunner

from shammah.app import App
from shammah.cli.main import run
from shammah.cli.options import complete_conversation
from shammah.errors import StoreError
from shammah.store import Conversations, Database


@pytest.fixture(autouse=True)
def talks(home, a_turn):
    """Two conversations; the first went on from its second reply."""
    home.mkdir(mode=0o700)
    with closing(Database(home / "shammah.db")) as database:
        store = Conversations(database)
        first = store.add(a_turn("Is it sweet?", "No.", conversation_id="one", time="2026-01-01T00:00:00.000Z"),
                          title="Is it sweet?")  # fmt: skip
        again = a_turn("Is it sweet?", "Yes \x1b[31m!", conversation_id="one", retry_of=first.id, time=first.time)
        store.add(again, title="")
        store.add(a_turn("Is it green?", "It is.", conversation_id="two"), title="Moss")


@pytest.fixture
def call(capfd):
    """What a call prints, and what it says beside that; like a shell's, but in this process."""

    def call(*arguments, code=0):
        assert run(["logs", *arguments]) == code
        return capfd.readouterr()

    return call


def rows(said):
    return [json.loads(line) for line in said.out.splitlines()]


class TestSessions:
    def test_newest_first(self, call):
        first, second = call("sessions").out.splitlines()
        assert first.startswith("two ") and first.endswith("s  Moss          1 turn   small")
        assert second.startswith("one ") and second.endswith("d  Is it sweet?  2 turns  small")

    def test_json(self, call):
        found = rows(call("sessions", "--json"))
        assert [row["id"] for row in found] == ["two", "one"]
        assert set(found[0]) == {"id", "title", "model", "system", "created", "updated", "turns"}
        assert len(rows(call("sessions", "--json", "-l", "1"))) == 1

    @pytest.mark.parametrize(
        ("text", "ids"), [("moss", ["two"]), ("sweet", ["one"]), ("it", ["two", "one"]), ("x", [])]
    )
    def test_search(self, call, text, ids):
        assert [row["id"] for row in rows(call("sessions", "--json", "--search", text))] == ids

    def test_nothing_found(self, call):
        assert call("sessions", "--search", "x") == ("", "No conversation matches.\n")


class TestNames:
    def test_renamed_and_meant_by_the_name_from_then_on(self, call):
        assert call("rename", "is it sweet?", "Sugar").err == "'Is it sweet?' is now called 'Sugar'.\n"
        assert [row["number"] for row in rows(call("show", "sugar", "--json"))] == [1, 2]
        assert [row["query"] for row in rows(call("list", "--conversation", "Sugar", "--json"))] == ["Is it sweet?"] * 2
        assert rows(call("rename", "latest", "Green moss", "--json"))[0]["title"] == "Green moss"
        assert rows(call("delete", "Green moss", "--json"))[0]["conversation_id"] == "two"

    def test_what_is_refused(self, call):
        assert "Another conversation is called 'MOSS' already" in call("rename", "one", "MOSS", code=2).err
        assert "There is no conversation 'pie'" in call("rename", "pie", "x", code=1).err
        assert "There is no turn 'pie'" in call("show", "pie", code=1).err

    def test_a_secret_in_a_name_is_not_stored(self, call, home):
        call("rename", "one", "key sk-ant-api03-Zk3vQ9xT7mLp2RwY8sBd4FhJ6nKc1VgE")
        assert rows(call("sessions", "--json"))[1]["title"] == "key [redacted API key]"

    def test_a_chat_goes_on_with_a_name(self):
        with closing(App.build()) as app:
            assert [turn.response for turn in app.history(resume="moss")] == ["It is."]
            assert [turn.response for turn in app.history(latest=True)] == ["It is."]
            with pytest.raises(StoreError, match="There is no conversation 'pie'"):
                app.history(resume="pie")

    def test_the_shell_completes_names_and_ids(self, home):
        def offered(begun):
            return [(item.value, item.help) for item in complete_conversation(None, None, begun)]

        assert offered("") == [("latest", None), ("Moss", None), ("two", "Moss"), ("one", "Is it sweet?")]
        assert offered("tw") == [("two", "Moss")]
        (home / "shammah.db").unlink()
        assert offered("") == []


class TestExport:
    def test_markdown_of_what_the_conversation_goes_on_with(self, call):
        said = call("export", "one")
        assert said.err == "" and said.out.startswith("# Is it sweet?\n\n- Date: 2026-01-01 00:00 UTC\n")
        assert "## 1\n\n> Is it sweet?\n\nYes [31m!\n" in said.out and "No." not in said.out

    def test_json_of_all_of_it(self, call):
        (whole,) = rows(call("export", "one", "--format", "json"))
        assert [turn["response"] for turn in whole["turns"]] == ["No.", "Yes \x1b[31m!"]
        assert whole["turns"] == rows(call("show", "one", "--json"))
        assert whole["context"] == [whole["turns"][1]["id"]]

    def test_to_a_file_that_is_not_there_yet(self, call, tmp_path):
        for name, form in (("a.md", ()), ("a.json", ()), ("b.txt", ("--format", "json"))):
            path = tmp_path / name
            said = call("export", "latest", "--out", str(path), *form)
            assert said == ("", f"Exported 'Moss' to {path}.\n")
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert path.read_text().startswith("# Moss" if name == "a.md" else '{\n  "id": "two"')
            before = path.read_bytes()
            assert "is there already" in call("export", "one", "--out", str(path), *form, code=2).err
            assert path.read_bytes() == before

    def test_the_report_as_json(self, call, tmp_path):
        path = tmp_path / "a.md"
        assert rows(call("export", "two", "--out", str(path), "--json")) == [
            {"path": str(path), "conversation_id": "two"}
        ]
        said = call("export", "two", "--json")
        assert json.loads(said.err) == {"path": None, "conversation_id": "two"} and said.out.startswith("# Moss")

    @pytest.mark.parametrize("name", ["nowhere/a.md", "a.doc", "", "a.md/b.md"])
    def test_a_file_that_cannot_be(self, call, tmp_path, name):
        (tmp_path / "a.md").touch()
        said = call("export", "two", "--out", str(tmp_path / name), code=2)
        assert said.err.count("\n") == 1 and "ame a" in said.err


def test_the_help_of_each_fits_a_narrow_terminal():
    from shammah.cli.main import shammah

    shown = CliRunner().invoke(shammah, ["logs", "-h"], terminal_width=80).output
    assert "..." not in shown.replace("[ARGS]...", "") and "sessions" in shown
