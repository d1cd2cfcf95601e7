import json
import shlex
import stat
import sys

import pytest

from shammah.cli.main import run
from shammah.config import Config, knobs_of


@pytest.fixture
def file(home):
    return home / "config.toml"


@pytest.fixture
def call(capfd):
    """Exit code, stdout and stderr of `shammah config ...`."""

    def call(*arguments):
        code = run(["config", *arguments])
        return (code, *capfd.readouterr())

    return call


@pytest.fixture
def editor(tmp_path, monkeypatch):
    """Make $EDITOR a program that does what the Python code says with the file `path`."""

    def make(code, variable="EDITOR"):
        script = tmp_path / f"an {variable}.py"
        script.write_text(f"import pathlib, sys\npath = pathlib.Path(sys.argv[-1])\n{code}\n")
        monkeypatch.setenv(variable, shlex.join([sys.executable, str(script)]))

    monkeypatch.delenv("VISUAL", raising=False)
    return make


class TestGet:
    def test_all_settings_with_their_sources(self, call, file, monkeypatch):
        file.parent.mkdir()
        file.write_text("threads = 2\n")
        monkeypatch.setenv("SHAMMAH_DEVICE", "cpu")
        code, out, err = call("get", "--offline", "--set", "top_k=5")
        lines = out.splitlines()
        assert (code, err) == (0, "")
        assert [line.split(" = ")[0] for line in lines] == list(knobs_of(Config))
        assert {
            'model = "smollm2-135m"  (default)',
            f"threads = 2  ({file})",
            'device = "cpu"  (SHAMMAH_DEVICE)',
            "offline = true  (flag)",
            "generation.top_k = 5  (--set)",
            "generation.stop = []  (default)",
        } <= set(lines)

    @pytest.mark.parametrize("name", ["generation.top_k", "top_k", "top-k"])
    def test_one_setting(self, call, name):
        assert call("get", name) == (0, "40  (default)\n", "")

    def test_json_is_one_object_a_line(self, call):
        code, out, err = call("get", "--json", "--set", 'stop=["a"]')
        rows = [json.loads(line) for line in out.splitlines()]
        assert (code, err) == (0, "")
        assert [row["key"] for row in rows] == list(knobs_of(Config))
        assert next(row for row in rows if row["key"] == "generation.stop") == {
            "key": "generation.stop",
            "value": ["a"],
            "source": "--set",
            "default": [],
            "variable": "SHAMMAH_GENERATION_STOP",
            "help": knobs_of(Config)["generation.stop"].help,
        }
        assert all(row.keys() == rows[0].keys() for row in rows)

    def test_what_it_prints_can_be_set(self, call):
        for line in call("get", "--set", "model=org/x", "--set", 'stop=["a|b"]')[1].splitlines():
            key, value = line.rsplit("  (", 1)[0].split(" = ", 1)
            value = json.loads(value) if value.startswith('"') else value
            assert call("set", key, value)[0] == 0
        assert call("get", "stop")[1].startswith('["a|b"]  (/')

    def test_it_makes_nothing(self, call, home):
        call("get")
        assert not home.exists()

    def test_a_broken_file_is_refused(self, call, file):
        file.parent.mkdir()
        file.write_text("\nmodel = \n")
        code, out, err = call("get")
        assert (code, out) == (2, "")
        assert err.startswith(f"shammah: {file}, line 2: not valid TOML")


class TestSet:
    def test_it_writes_and_says_where(self, call, file):
        assert call("set", "temperature", "0") == (0, "", f"generation.temperature = 0.0, in {file}\n")
        assert call("get", "temperature")[1] == f"0.0  ({file})\n"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600

    def test_a_negative_number_is_a_value(self, call, file):
        call("set", "seed", "5")
        assert call("set", "seed", "-1")[0] == 0
        assert file.read_text() == "[generation]\nseed = -1\n"

    def test_quietly(self, call, file):
        assert call("set", "threads", "2", "-q") == (0, "", "")
        assert file.read_text() == "threads = 2\n"

    def test_as_json(self, call, file):
        code, out, err = call("set", "stop", '["a", "b"]', "--json")
        assert (code, err) == (0, "")
        assert json.loads(out) == {"key": "generation.stop", "value": ["a", "b"], "path": str(file)}

    def test_a_value_that_looks_like_an_option_stands_behind_dashes(self, call, file):
        assert run(["-q", "config", "set", "system", "--", "-q"]) == 0
        assert file.read_text() == 'system = "-q"\n'

    @pytest.mark.parametrize(
        ("key", "value", "words"),
        [("modle", "x", "'model'"), ("threads", "x", "whole number"), ("generation", "x", "no setting")],
    )
    def test_what_is_wrong_is_not_written(self, call, file, key, value, words):
        code, out, err = call("set", key, value)
        assert (code, out, len(err.splitlines())) == (2, "", 1)
        assert words in err
        assert not file.exists()

    def test_a_broken_file_stays_as_it_is(self, call, file):
        file.parent.mkdir()
        file.write_text("# mine\nmodel = \n")
        code, _, err = call("set", "threads", "1")
        assert code == 2 and "line 2" in err
        assert file.read_text() == "# mine\nmodel = \n"


class TestPath:
    def test_it_is_printed_even_when_nothing_is_there_or_it_is_broken(self, call, file):
        assert call("path") == (0, f"{file}\n", "")
        assert json.loads(call("path", "--json")[1]) == {"path": str(file), "exists": False}
        file.parent.mkdir()
        file.write_text("model = ")
        assert json.loads(call("path", "--json")[1]) == {"path": str(file), "exists": True}


class TestEdit:
    def test_a_new_file_begins_as_a_list_of_all_settings(self, call, file, editor, tmp_path):
        editor(f"pathlib.Path({str(tmp_path / 'seen')!r}).write_text(path.read_text())")
        assert call("edit") == (0, "", "")
        seen = (tmp_path / "seen").read_text()
        assert [knob.key for knob in knobs_of(Config).values() if f"# {knob.path[-1]} = " not in seen] == []
        assert file.read_text() == seen
        assert stat.S_IMODE(file.stat().st_mode) == 0o600

    def test_what_is_there_is_changed_not_replaced(self, call, file, editor):
        file.parent.mkdir()
        file.write_text("threads = 1\n")
        editor("path.write_text(path.read_text() + 'offline = true\\n')")
        assert call("edit")[0] == 0
        assert file.read_text() == "threads = 1\noffline = true\n"

    def test_a_mistake_is_said_at_once_and_kept(self, call, file, editor):
        editor("path.write_text('threads = -1\\n')")
        code, _, err = call("edit")
        assert code == 2 and "line 1: threads = -1" in err
        assert file.read_text() == "threads = -1\n"

    def test_a_broken_file_can_be_mended(self, call, file, editor):
        file.parent.mkdir()
        file.write_text("threads =")
        editor("path.write_text('threads = 1\\n')")
        assert call("edit") == (0, "", "")

    def test_visual_comes_before_editor(self, call, file, editor):
        editor("path.write_text('threads = 1\\n')", "EDITOR")
        editor("path.write_text('threads = 2\\n')", "VISUAL")
        call("edit")
        assert file.read_text() == "threads = 2\n"

    @pytest.mark.parametrize(
        ("command", "words"),
        [
            ("no-such-editor --wait", "Cannot start no-such-editor: No such file or directory. Set EDITOR"),
            ("vi '", 'Cannot read EDITOR "vi \'"'),
            (f"{shlex.quote(sys.executable)} -c 'raise SystemExit(3)'", "ended with exit code 3. The file is"),
        ],
    )
    def test_an_editor_that_does_not_work(self, call, editor, monkeypatch, command, words):
        monkeypatch.setenv("VISUAL", " ")
        monkeypatch.setenv("EDITOR", command)
        code, _, err = call("edit")
        assert (code, len(err.splitlines())) == (1, 1)
        assert words in err
