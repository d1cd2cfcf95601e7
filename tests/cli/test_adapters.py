"""`shammah adapters`: what each command prints, as text and as JSON, and what it leaves."""

import json
import os
import pty
import shlex
import subprocess
import sys

import pytest
from support.standing_adapters import ACCEPTED, FIRST, REFUSED, SECOND, THIRD, put_silent, put_speaking

from shammah.cli.main import run
from shammah.records import Run
from shammah.store import Conversations, Database
from shammah.store.activations import Activations
from shammah.store.adapter_notes import AdapterNotes
from shammah.store.comparisons import Comparisons
from shammah.store.runs import Runs

BASE, OTHER = "smollm2-135m", "Qwen/Qwen3-0.6B"
KEYS = [
    "name", "version", "label", "state", "answers", "strength", "base", "parent", "created", "examples", "verdict",
    "uses", "bytes", "pinned", "tags", "imported", "broken", "path",
]  # fmt: skip
SHOWN = [*KEYS, "compared", "shape", "recipe", "files"]
ANSWERS = ["adapter", "version", "strength", "base", "time"]


def rows(result):
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def said(result):
    assert result.returncode == 0, result.stderr
    return (result.stdout + result.stderr).decode()


@pytest.fixture
def store(home):
    home.mkdir(mode=0o700)
    database = Database(home / "shammah.db")
    yield database
    database.close()


@pytest.fixture
def shelf(home, store):
    """A good one, one that was refused and has a label, one of another model, and a folder that is none."""
    put_silent(home, FIRST, version=1)
    put_silent(home, SECOND, version=2, parent=FIRST)
    put_silent(home, THIRD, version=3, base=OTHER)
    (home / "adapters" / "lora_adapter_torn").mkdir()
    notes = AdapterNotes(store)
    notes.judged(FIRST, ACCEPTED)
    notes.judged(SECOND, REFUSED)
    notes.label(SECOND, "odd")
    return home / "adapters"


@pytest.fixture
def typed(capsys):
    """Run a command in this process: how it ends, and all that it says."""

    def run_here(*arguments):
        code = run(list(arguments))
        shown = capsys.readouterr()
        return code, shown.out + shown.err

    return run_here


class TestList:
    def test_json_has_all_keys_in_every_row(self, shammah, shelf, store, a_turn):
        Activations(store).activate(BASE, FIRST, strength=0.5, actor="user")
        log = Conversations(store)
        turn = log.add(a_turn(adapter=FIRST), title="one")
        log.rate(turn.id, "good", None, quality=None, quality_parts={})
        found = rows(shammah("adapters", "list", "--json"))
        assert [list(row) for row in found] == [KEYS] * 4
        first, second, third, torn = found
        assert [row["state"] for row in found] == ["active", "rejected", "candidate", "candidate"]
        assert (first["answers"], first["strength"], first["uses"]["turns"], first["uses"]["good"]) == (True, 0.5, 1, 1)
        assert first["verdict"] == {
            "accepted": True,
            "improvement": 0.34,
            "reasons": ACCEPTED["reasons"],
            "metrics": {"improvement": 0.34, "drift": 0.05},
        }
        assert (second["label"], second["answers"], second["strength"], second["parent"]) == ("odd", False, None, FIRST)
        assert (third["base"], torn["version"], torn["verdict"]) == (OTHER, None, None)
        assert "has no manifest" in torn["broken"] and first["bytes"] > 500

    def test_text_marks_who_answers_and_comes_newest_last(self, shammah, shelf, store):
        Activations(store).activate(BASE, FIRST, actor="user")
        result = shammah("adapters", "list")
        lines = result.stdout.decode().splitlines()
        assert result.stderr.split()[:4] == [b"name", b"state", b"age", b"examples"]
        assert [line.split()[:3] for line in lines[:3]] == [
            ["*", "v1", "20261121_130101"], ["v2", "odd", "rejected"], ["v3", "20261121_130103", "candidate"]
        ]  # fmt: skip
        assert lines[2].endswith(OTHER) and "has no manifest" in lines[3] and b"\x1b" not in result.stdout

    def test_in_forty_columns_nothing_is_wider(self, shammah, shelf):
        result = shammah("adapters", "list", COLUMNS="40")
        lines = result.stdout.decode().splitlines()
        assert max(map(len, lines)) <= 40 and lines[0] == "  v1 20261121_130101"
        assert f"    for {OTHER}" in lines and result.stderr == b""

    def test_an_empty_shelf(self, shammah):
        result = shammah("adapters", "list")
        assert (result.returncode, result.stdout) == (0, b"")
        assert b"There is no adapter yet: `shammah train --now`" in result.stderr
        assert rows(shammah("adapters", "list", "--json")) == []

    def test_the_archive_on_request(self, shammah, shelf, home):
        (home / "archive" / "adapters").mkdir(parents=True)
        (shelf / SECOND).rename(home / "archive" / "adapters" / SECOND)
        assert len(rows(shammah("adapters", "list", "--json"))) == 3
        for path in shelf.glob("lora_*"):
            path.rename(home / "archive" / "adapters" / path.name)
        assert b"`shammah adapters list --all` shows 4 in the archive." in shammah("adapters", "list").stderr
        states = {row["name"]: row["state"] for row in rows(shammah("adapters", "list", "--all", "--json"))}
        assert states[SECOND] == "archived" and len(states) == 4


class TestAThousand:
    def test_are_listed_without_torch(self, home, store):
        notes = AdapterNotes(store)
        with store.transaction():
            for number in range(1000):
                name = f"lora_adapter_2026{number:04}_000000"
                put_silent(home, name, version=number + 1)
                notes.judged(name, ACCEPTED)
        program = (
            "import sys; from shammah.cli.main import run\n"
            "code = run(['adapters', 'list'])\n"
            "heavy = {'torch', 'transformers', 'peft', 'prompt_toolkit', 'numpy'} & set(sys.modules)\n"
            "print(code, sorted(heavy), file=sys.stderr)"
        )
        # Handed on by hand: readline told the C library of a width that Python does not know of.
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, env={**os.environ}
        )
        assert len(done.stdout.splitlines()) == 1000, done.stderr
        assert done.stderr.splitlines()[-1] == "0 []"


class TestShow:
    def test_json(self, shammah, shelf, store):
        Comparisons(store).add(BASE, SECOND, None, "first")
        (found,) = rows(shammah("adapters", "show", "odd", "--json"))
        assert sorted(found) == sorted(SHOWN)
        assert found["compared"] == {"wins": 1, "losses": 0, "draws": 0} and found["shape"]["r"] == 4
        listed = next(row for row in rows(shammah("adapters", "list", "--json")) if row["label"] == "odd")["verdict"]
        assert found["verdict"] == {**listed, "too_far": True, "checks": REFUSED["checks"]}
        assert listed["metrics"] == {"improvement": 0.5, "drift": 0.25} and "adapter_config.json" in found["files"]
        (torn,) = rows(shammah("adapters", "show", "lora_adapter_torn", "--json"))
        assert sorted(torn) == sorted(SHOWN)

    def test_text(self, shammah, shelf, store):
        Comparisons(store).add(BASE, SECOND, None, "first")
        shown = shammah("adapters", "show", "v2", COLUMNS="40").stdout.decode()
        assert "Compared  preferred 1 time, the other one 0 times\n" in shown
        assert "Verdict   fails drift\n" in shown and "    fails: it drifted too far: 0.25 of 0.10\n" in shown

    def test_one_that_is_not_there(self, shammah, shelf):
        result = shammah("adapters", "show", "oddd")
        assert (result.returncode, result.stdout) == (1, b"")
        assert b"There is no adapter 'oddd'." in result.stderr and b"odd the nearest" in result.stderr


class TestWhoAnswers:
    def test_load_rollback_unload(self, shammah, shelf, store):
        (loaded,) = rows(shammah("adapters", "load", "odd", "--strength", "0.5", "--json"))
        assert list(loaded) == ANSWERS
        assert (loaded["adapter"], loaded["version"], loaded["strength"], loaded["base"]) == (SECOND, 2, 0.5, BASE)
        assert f"{FIRST} (v1) answers." in said(shammah("adapters", "load", "v1"))
        (back,) = rows(shammah("adapters", "rollback", "--json"))
        assert (list(back), back["adapter"], back["strength"]) == (ANSWERS, SECOND, 0.5)
        assert "the model itself answers" in said(shammah("adapters", "rollback"))
        result = shammah("adapters", "rollback")
        assert result.returncode == 1
        assert b"There is nothing further back. `shammah adapters load NAME` takes one up again." in result.stderr
        rows(shammah("adapters", "load", "v1", "--json"))
        (gone,) = rows(shammah("adapters", "unload", "--json"))
        assert (list(gone), gone["adapter"], gone["version"]) == (ANSWERS, None, None)
        assert Activations(store).current(BASE).adapter is None

    def test_two_steps_back(self, shammah, shelf, store):
        for name in (FIRST, SECOND):
            Activations(store).activate(BASE, name, actor="user")
        assert rows(shammah("adapters", "rollback", "2", "--json"))[0]["adapter"] is None
        assert shammah("adapters", "rollback", "0").returncode == 2

    def test_each_model_has_its_own(self, shammah, shelf, store):
        assert b"made for Qwen/Qwen3-0.6B, not for smollm2-135m" in shammah("adapters", "load", "v3").stderr
        assert rows(shammah("adapters", "load", "v3", "-m", "qwen3-0.6b", "--json"))[0]["base"] == OTHER
        assert Activations(store).current(BASE) is None

    def test_a_setting_that_keeps_chats_from_following_is_told(self, shammah, shelf):
        result = shammah("adapters", "load", "v1", "--set", "adapter=none")
        assert b"`shammah config set adapter active`" in result.stderr

    @pytest.mark.parametrize("strength", ["1.5", "lots"])
    def test_a_strength_that_is_none(self, shammah, shelf, strength):
        result = shammah("adapters", "load", "v1", "--strength", strength)
        assert result.returncode == 2 and b"is not a strength" in result.stderr

    def test_hints_name_the_commands_of_the_shell(self, typed, shelf, store):
        assert "`shammah adapters list` shows what there is." in typed("adapters", "unload")[1]
        run = {"id": "run", "started": "2026-02-01", "updated": "2026-02-01", "trigger": "user", "model": BASE}
        Runs(store).begin(Run(**run))
        hint = "`shammah status` shows how far that is; `shammah train --now` goes on with one that was cut off."
        assert hint in typed("adapters", "load", "v1")[1]


class TestKeeping:
    def test_delete_asks_on_a_terminal_and_refuses_without_one(self, shammah, shelf):
        result = shammah("adapters", "delete", "v1")
        assert result.returncode == 2 and b"Nobody is there to be asked. --yes deletes" in result.stderr
        for key, left in (("n", True), ("y", False)):
            asked = on_a_terminal(["adapters", "delete", "v1"], key)
            assert FIRST in asked and "Delete for good?" in asked
            assert (shelf / FIRST).exists() is left

    def test_delete_several(self, shammah, shelf, store):
        (deleted,) = rows(shammah("adapters", "delete", "-y", "v1", "odd", "v2", "--json"))
        assert deleted == {"deleted": 2, "names": [FIRST, SECOND]}
        assert sorted(path.name for path in shelf.iterdir()) == [THIRD, "lora_adapter_torn"]

    def test_a_name_that_is_wrong_deletes_nothing(self, shammah, shelf):
        assert shammah("adapters", "delete", "-y", "v1", "v9").returncode == 1
        assert (shelf / FIRST).is_dir()

    def test_the_active_one_stays(self, shammah, shelf, store):
        Activations(store).activate(BASE, FIRST, actor="user")
        result = shammah("adapters", "delete", "-y", "v2", "v1")
        assert (shelf / SECOND).is_dir(), "nor is another deleted first"
        assert result.returncode == 1 and b"`shammah adapters unload`" in result.stderr and (shelf / FIRST).is_dir()

    def test_rename_pin_and_tag(self, shammah, shelf):
        assert rows(shammah("adapters", "rename", "v1", "good-one", "--json"))[0]["label"] == "good-one"
        (named,) = rows(shammah("adapters", "pin", "good-one", "--json"))
        assert list(named) == KEYS and named["pinned"] is True
        assert rows(shammah("adapters", "tag", "v1", "a", "b", "--json"))[0]["tags"] == ["a", "b"]
        assert rows(shammah("adapters", "unpin", "v1", "--json"))[0]["pinned"] is False
        assert "has no label any more" in said(shammah("adapters", "rename", "v1"))
        assert "has no tags" in said(shammah("adapters", "tag", "v1"))
        assert shammah("adapters", "rename", "v1", "odd").returncode == 2

    def test_archive_and_restore(self, typed, shelf, home, store):
        code, said_here = typed("adapters", "archive", "v1")
        assert (code, (shelf / FIRST).exists()) == (0, False)
        assert said_here == f"{FIRST} (v1) is archived: `shammah adapters restore 20261121_130101` fetches it back.\n"
        assert (home / "archive" / "adapters" / FIRST).is_dir()
        assert "archived already. `shammah adapters restore` fetches it back." in typed("adapters", "archive", "v1")[1]
        assert typed("adapters", "restore", "20261121_130101") == (0, f"{FIRST} (v1) is back on the shelf.\n")
        assert (shelf / FIRST).is_dir()
        Activations(store).activate(BASE, FIRST, actor="user")
        code, said_here = typed("adapters", "archive", "v1")
        assert code == 1 and "is active" in said_here and (shelf / FIRST).is_dir()
        assert json.loads(typed("adapters", "archive", "odd", "--json")[1])["state"] == "archived"

    def test_prune(self, shammah, shelf, home, store):
        put_silent(home, "lora_adapter_20261121_130109", version=9)
        AdapterNotes(store).judged("lora_adapter_20261121_130109", ACCEPTED)
        few = ("--set", "adapters.keep_last=1", "--set", "adapters.keep_best=0")
        assert rows(shammah("adapters", "prune", "--dry-run", "--json", *few)) == [
            {"left": 1, "names": [FIRST], "archived": True, "done": False}
        ]
        assert shammah("adapters", "prune", *few).returncode == 2
        assert (shelf / FIRST).is_dir()
        assert rows(shammah("adapters", "prune", "-y", "--json", *few)) == [
            {"left": 1, "names": [FIRST], "archived": True, "done": True}
        ]
        assert not (shelf / FIRST).exists() and (home / "archive" / "adapters" / FIRST).is_dir()
        assert "0 adapters archived." in said(shammah("adapters", "prune", *few))


class TestComparing:
    def test_figures_side_by_side(self, shammah, shelf, store):
        (found,) = rows(shammah("adapters", "compare", "v1", "odd", "--json"))
        assert list(found) == ["first", "second", "figures", "compared"] and list(found["first"]) == KEYS
        assert found["figures"] == [
            {"name": "improvement", "first": 0.34, "second": 0.5},
            {"name": "drift", "first": 0.05, "second": 0.25},
        ]
        values = {
            "held_out": 0.34, "margins": 1.0, "earlier": 0.05, "replies": 2.0, "leaks": 0.0, "perplexity": -0.05,
            "probes": 1.0, "speed": 0.98,
        }  # fmt: skip
        checks = [
            {"name": name, "value": value, "limit": None, "passed": True, "words": name}
            for name, value in values.items()
        ]
        AdapterNotes(store).judged(THIRD, {**ACCEPTED, "checks": checks})
        told = shammah("adapters", "compare", "v1", "v3").stdout.decode()
        for words in (
            "better by - 34 %", "pairs gained - 100 %", "lessons lost - 5 %", "spoiled - 2",
            "leaks - 0", "prose surprise - -5 %", "probes lost - 100 %", "speed kept - 98 %",
        ):  # fmt: skip
            assert words in " ".join(told.split()), words
        shown = shammah("adapters", "compare", "v1", "v3", COLUMNS="40").stdout.decode().splitlines()
        assert max(map(len, shown)) <= 40 and shown[3].split() == ["drift", "0.05", "-"]

    def test_with_the_model_itself_and_with_what_was_picked(self, capsys, shelf, store):
        for picked in ("first", "first", "second", None):
            Comparisons(store).add(BASE, FIRST, None, picked)

        def shown(*arguments):
            assert run(["adapters", "compare", *arguments]) == 0
            return capsys.readouterr().out

        found = json.loads(shown("v1", "base", "--json"))
        assert found["first"]["name"] == FIRST and found["second"] is None
        assert found["figures"][0] == {"name": "improvement", "first": 0.34, "second": None}
        mine, bases = {"wins": 2, "losses": 1, "draws": 1}, {"wins": 1, "losses": 2, "draws": 1}
        assert found["compared"] == {"first": mine, "second": bases}
        told = shown("none", "v1").splitlines()
        assert told[0].split() == ["base", "v1"] and told[-2].split() == ["preferred", "1", "2"]
        assert json.loads(shown("v1", "odd", "--json"))["compared"] == {"first": mine, "second": None}


class TestTravel:
    def test_out_and_in_again(self, shammah, home, store, tiny_model, tmp_path):
        put_speaking(home, tiny_model, FIRST)
        (out,) = rows(shammah("adapters", "export", "v1", "--json", "-m", str(tiny_model)))
        assert list(out) == ["name", "to", "path", "files", "use"]
        assert out["path"] == str(tmp_path / f"{FIRST}-peft") and len(out["files"]) >= 3
        assert shammah("adapters", "export", "v1").returncode == 2, "nothing is overwritten"
        assert b"There is no number format 'q4'" in shammah("adapters", "export", "v1", "--numbers", "q4").stderr
        assert b"There is no form 'zip'" in shammah("adapters", "export", "v1", "--to", "zip").stderr
        rows(shammah("adapters", "delete", "-y", "v1", "--json"))
        (back,) = rows(shammah("adapters", "import", out["path"], "--json", "-m", str(tiny_model)))
        assert list(back) == KEYS and back["imported"] and back["base"] == tiny_model.name

    def test_what_it_is_exported_with(self, typed, home, store, tiny_model, tmp_path):
        """At the strength that it answers with, unless told; and in numbers only where there are any to choose."""
        put_speaking(home, tiny_model, FIRST)
        Activations(store).activate(tiny_model.name, FIRST, strength=0.5, actor="user")
        for place, options in (("here", ()), ("whole", ("--strength", "1"))):
            path = str(tmp_path / place)
            code, told = typed("adapters", "export", "v1", "--out", path, "-m", str(tiny_model), *options)
            assert code == 0 and ("It is exported at strength 0.5, as it answers here" in told) == (not options)
        alphas = [
            json.loads((tmp_path / place / "adapter_config.json").read_text())["lora_alpha"]
            for place in ("here", "whole")
        ]
        assert alphas[0] == alphas[1] / 2
        code, told = typed("adapters", "export", "v1", "--to", "merged", "--numbers", "q8_0")
        assert code == 2 and "--numbers changes nothing of what --to merged makes. It is for --to gguf and" in told
        assert typed("adapters", "export", "v1", "--strength", "2")[0] == 2

    def test_a_path_is_whole_and_fit_for_a_shell(self, shammah, shelf, tmp_path):
        (tmp_path / "out here").mkdir()
        (out,) = rows(shammah("adapters", "export", "v1", "--out", "out here/../out here/it's", "--json"))
        assert out["path"] == str(tmp_path / "out here" / "it's")
        assert shlex.split(out["use"])[-1] == f"{FIRST}={out['path']}"

    def test_a_folder_that_is_not_there_is_told_before_the_model_is_loaded(self, shammah, shelf):
        result = shammah("adapters", "import", "nope")
        assert result.returncode == 2 and result.stderr.startswith(b"shammah: There is no folder nope.")

    def test_what_does_not_fit_the_model_in_use_is_refused(self, shammah, shelf):
        result = shammah("adapters", "export", "v3", "--to", "gguf")
        assert result.returncode == 1 and b"Give that model: -m Qwen/Qwen3-0.6B" in result.stderr


def on_a_terminal(arguments, keys):
    """What the program shows a user who types these keys and Enter."""
    control, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "shammah", *arguments], stdin=terminal, stdout=terminal, stderr=terminal
    )
    os.close(terminal)
    os.write(control, keys.encode() + b"\n")
    shown = b""
    try:
        while data := os.read(control, 4096):
            shown += data
    except OSError:
        pass  # its end closed the terminal
    process.wait(60)
    os.close(control)
    return shown.decode()
