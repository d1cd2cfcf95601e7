"""`shammah logs`, `models` and `doctor`: what they show, as text and as JSON."""

import json
import shutil
from contextlib import closing

import pytest
from support.standing_adapters import FIRST, SECOND, THIRD, put_silent

from shammah.model.catalog import CATALOG
from shammah.store import Conversations, Database
from shammah.store.activations import Activations
from shammah.store.audit import Audit
from shammah.store.examples import Examples


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

    def test_delete_names_the_adapters_that_learned_from_it(self, shammah, talk, home, an_example):
        with closing(Database(home / "shammah.db")) as database:
            Examples(database).put(an_example("And how old?", id="mine", turn_id=talk[1].id))
        for folder, name, learned in ((home, FIRST, "mine"), (home / "archive", SECOND, "mine"), (home, THIRD, "no")):
            (folder / "adapters").mkdir(parents=True, exist_ok=True)
            put_silent(folder, name, example_ids=(learned,))
        told = shammah("logs", "delete", "two").stderr.decode()
        assert f"`shammah adapters delete {FIRST}`" in told and f"`shammah adapters delete {SECOND}`" in told
        assert THIRD not in told

    def test_path(self, shammah, home):
        found = rows(shammah("logs", "path", "--json"))[0]
        assert found == {"log": str(home / "logs" / "shammah.log"), "database": str(home / "shammah.db")}


class TestAudit:
    @pytest.fixture
    def happened(self, home):
        home.mkdir(mode=0o700)
        moments = (f"2026-01-01T00:00:{second:02d}.000Z" for second in range(60))
        with closing(Database(home / "shammah.db")) as database:
            activations, audit = (kind(database, now=lambda: next(moments)) for kind in (Activations, Audit))
            activations.activate("small", "lora_adapter_1", strength=0.5, actor="user")
            details = {
                "accepted": False,
                "reasons": ["worse", "too \x1b[31mslow"],
                "parts": {"loss": 0.25},
                "steps": 1200,
            }
            audit.add("training", "judged", "lora_adapter_2", details)
            activations.activate("small", None, actor="probation", cause="rated worse", back_to=0)

    def test_newest_first_in_words(self, shammah, happened):
        result = shammah("logs", "audit")
        assert result.stdout.decode().splitlines() == [
            "2026-01-01 00:00:04  probation  rolled back  lora_adapter_1  "
            "base: small, before: lora_adapter_1, strength: 1, cause: rated worse",
            "2026-01-01 00:00:02  training   judged       lora_adapter_2  "
            "accepted: no, reasons: worse and too [31mslow, parts: (loss 0.25), steps: 1200",
            "2026-01-01 00:00:01  user       activated    lora_adapter_1  "
            "base: small, adapter: lora_adapter_1, strength: 0.5",
        ]
        assert (result.returncode, result.stderr) == (0, b"The chain of 3 entries holds.\n")

    def test_json_has_every_field(self, shammah, happened):
        found = rows(shammah("logs", "audit", "--json"))
        assert [row["sequence"] for row in found] == [3, 2, 1]
        assert set(found[0]) == {"sequence", "time", "actor", "action", "subject", "details", "previous", "hash"}
        assert found[0]["previous"] == found[1]["hash"] and found[1]["details"]["parts"] == {"loss": 0.25}
        assert [row["sequence"] for row in rows(shammah("logs", "audit", "--json", "-n", "2"))] == [3, 2]
        assert len(rows(shammah("logs", "audit", "--json", "-n", "0"))) == 3

    def test_the_chain_is_verified(self, shammah, happened, home):
        assert rows(shammah("logs", "audit", "--verify", "--json")) == [{"entries": 3, "holds": True, "broken": None}]
        assert shammah("logs", "audit", "--verify").stdout == b""
        with closing(Database(home / "shammah.db")) as database:
            database.connection.execute("DROP TRIGGER audit_no_update")
            database.connection.execute("UPDATE audit SET actor = 'user' WHERE sequence = 2")
        verified = shammah("logs", "audit", "--verify", "--json")
        assert verified.returncode == 1
        assert json.loads(verified.stdout) == {"entries": 3, "holds": False, "broken": 2}
        for more, code, lines in (("--verify", 1, 0), ("--json", 0, 3), ("--quiet", 0, 3)):
            result = shammah("logs", "audit", more)
            assert (result.returncode, len(result.stdout.splitlines())) == (code, lines)
            assert b"The chain is broken at entry 2" in result.stderr

    def test_before_anything_happened(self, shammah):
        result = shammah("logs", "audit")
        assert (result.stdout, result.stderr) == (b"", b"Nothing has happened to an adapter yet.\n")
        assert rows(shammah("logs", "audit", "--json")) == []
        assert rows(shammah("logs", "audit", "--verify", "--json")) == [{"entries": 0, "holds": True, "broken": None}]


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
