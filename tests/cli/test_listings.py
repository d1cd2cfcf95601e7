"""`shammah logs`, `models` and `doctor`: what they show, as text and as JSON."""

import json
import shutil
from contextlib import closing

import pytest

from shammah.model.catalog import CATALOG
from shammah.store import Conversations, Database


def rows(result):
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture
def talk(home, a_turn):
    """Two stored conversations, the second of two turns."""
    home.mkdir(mode=0o700)
    with closing(Database(home / "shammah.db")) as database:
        store = Conversations(database)
        first = store.add(a_turn("How tall is Ångström?", "Quite \x1b[31mtall.", conversation_id="one"), title="one")
        second = store.add(a_turn("And how old?", "Very old.", conversation_id="two", model="other"), title="two")
        third = store.add(a_turn("Since when?", "1814.", conversation_id="two", model="other"), title="two")
    return first, second, third


class TestLogs:
    def test_newest_first(self, shammah, talk):
        assert [row["query"] for row in rows(shammah("logs", "list", "--json"))] == [
            "Since when?",
            "And how old?",
            "How tall is Ångström?",
        ]
        assert len(rows(shammah("logs", "list", "--json", "-l", "1"))) == 1

    @pytest.mark.parametrize(
        ("filters", "found"),
        [
            (("--search", "angstrom"), ["How tall is Ångström?"]),
            (("--search", "how ol"), ["And how old?"]),
            (("--search", '"'), []),
            (("--conversation", "two"), ["Since when?", "And how old?"]),
            (("-m", "small"), ["How tall is Ångström?"]),
        ],
    )
    def test_filters(self, shammah, talk, filters, found):
        assert [row["query"] for row in rows(shammah("logs", "list", "--json", *filters))] == found

    def test_text_holds_no_escape_code_of_the_model(self, shammah, talk):
        for arguments in (("logs", "list"), ("logs", "show", "one")):
            result = shammah(*arguments)
            assert b"[31mtall." in result.stdout and b"\x1b" not in result.stdout

    def test_show_a_conversation_or_a_turn(self, shammah, talk):
        assert [row["number"] for row in rows(shammah("logs", "show", "two", "--json"))] == [1, 2]
        assert [row["query"] for row in rows(shammah("logs", "show", talk[2].id, "--json"))] == ["Since when?"]
        shown = shammah("logs", "show", "two").stdout.decode()
        assert "> And how old?" in shown and "Very old." in shown

    def test_nothing_found_is_said_beside_stdout(self, shammah, talk):
        result = shammah("logs", "list", "--search", "zebra")
        assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"No turn matches.\n")

    def test_delete_takes_a_conversation_off_the_disk(self, shammah, talk, home):
        assert rows(shammah("logs", "delete", "two", "--json")) == [
            {"conversation_id": "two", "turns": 2, "examples": 0}
        ]
        assert [row["query"] for row in rows(shammah("logs", "list", "--json"))] == ["How tall is Ångström?"]
        assert not any(b"Since when" in path.read_bytes() for path in home.rglob("*") if path.is_file())

    def test_path(self, shammah, home):
        found = rows(shammah("logs", "path", "--json"))[0]
        assert found == {"log": str(home / "logs" / "shammah.log"), "database": str(home / "shammah.db")}


class TestModels:
    def test_every_known_model_is_listed_with_its_fit(self, shammah, tmp_path):
        listed = rows(shammah("models", "list", "--json", SHAMMAH_MODELS_DIR=str(tmp_path / "none")))
        assert [row["name"] for row in listed] == [entry.name for entry in CATALOG]
        assert all(row["fit"] in ("fits", "tight", "too big") and row["why"] for row in listed)
        assert [row["in_use"] for row in listed] == [True, False, False, False, False]
        assert not listed[0]["here"]

    def test_the_text_shows_the_machine_and_marks_the_model_in_use(self, shammah):
        result = shammah("models", "list")
        assert result.stdout.decode().splitlines()[0].startswith("* smollm2-135m")
        assert b"This machine:" in result.stderr

    def test_use_changes_the_config_and_keeps_its_comments(self, shammah, home):
        home.mkdir()
        (home / "config.toml").write_text("# mine\nthreads = 1\n")
        assert shammah("models", "use", "qwen3-0.6b").returncode == 0
        assert (home / "config.toml").read_text() == '# mine\nthreads = 1\nmodel = "qwen3-0.6b"\n'
        assert [row["in_use"] for row in rows(shammah("models", "list", "--json"))][:2] == [False, True]
        assert shammah("models", "use", "qwen4").returncode == 1
        assert 'model = "qwen3-0.6b"' in (home / "config.toml").read_text()

    def test_a_folder_needs_no_pull(self, shammah, tiny_model):
        assert rows(shammah("models", "pull", str(tiny_model), "--json")) == [
            {"name": str(tiny_model), "path": str(tiny_model)}
        ]


class TestDoctor:
    def test_json_has_the_contract_s_keys(self, shammah, tiny_model, home):
        report = rows(shammah("doctor", "--json", "-m", str(tiny_model)))[0]
        assert {"model", "device", "threads", "memory", "home", "versions", "checks"} <= set(report)
        assert set(report["model"]) == {"name", "path", "dtype", "parameters"}
        assert report["model"]["path"] == str(tiny_model) and report["model"]["parameters"] > 10_000
        assert report["model"]["dtype"] == report["device"]["dtype"] in ("bfloat16", "float16", "float32")
        assert report["threads"] >= 1 and report["versions"]["torch"]
        assert {check["name"]: check["level"] for check in report["checks"]}["model"] == "ok"

    def test_a_model_that_is_not_here_is_advice_not_a_failure(self, shammah, tmp_path):
        report = rows(shammah("doctor", "--json", SHAMMAH_MODELS_DIR=str(tmp_path / "none")))[0]
        (check,) = [check for check in report["checks"] if check["name"] == "model"]
        assert check["level"] == "advice" and report["model"]["path"] is None

    def test_a_gguf_file_is_not_converted_by_looking_at_it(self, shammah, tmp_path):
        (tmp_path / "x.gguf").write_bytes(b"GGUF")
        report = rows(shammah("doctor", "--json", "-m", "x.gguf", SHAMMAH_MODELS_DIR=str(tmp_path / "models")))[0]
        assert {check["name"]: check["text"] for check in report["checks"]}["model"] == "not converted yet"

    def test_a_damaged_model_is_a_problem(self, shammah, tiny_model, tmp_path):
        folder = shutil.copytree(tiny_model, tmp_path / "damaged")
        (folder / "model.safetensors").write_bytes(b"nothing")
        result = shammah("doctor", "-m", str(folder))
        assert result.returncode == 1
        assert "BAD   model:" in result.stdout.decode()

    def test_a_home_others_can_read_is_told(self, shammah, tiny_model, home):
        home.mkdir()
        home.chmod(0o755)
        report = rows(shammah("doctor", "--json", "-m", str(tiny_model)))[0]
        assert not report["home"]["private"]
        assert any(check["name"] == "privacy" and "chmod" in check["hint"] for check in report["checks"])
