import os
import subprocess
import sys

import click
import pytest

from shammah import __version__
from shammah.cli import main as module
from shammah.cli.main import route, run, shammah
from shammah.config import Config, knobs_of


def said(capsys, *arguments):
    """Exit code, stdout and the lines of stderr of a call."""
    code = run(list(arguments))
    out, err = capsys.readouterr()
    return code, out, err.splitlines()


class TestRoute:
    @pytest.mark.parametrize(
        ("typed", "routed"),
        [
            ("", "chat"),
            ("hello", "chat hello"),
            ("hello world", "chat hello world"),
            ("-q", "chat -q"),
            ("-m x", "chat -m x"),
            ("-m x hello", "chat -m x hello"),
            ("hello -m x", "chat hello -m x"),
            ("-h", "chat -h"),
            ("--version", "chat --version"),
            ("-", "chat -"),
            ("chat", "chat chat"),
            ("--nonsense", "chat --nonsense"),
            # A command, with options before and behind it.
            ("models", "models"),
            ("models list", "models list"),
            ("models list --json", "models list --json"),
            ("--json models list", "models list --json"),
            ("-q --set a=b logs list --search x", "logs list --search x -q --set a=b"),
            ("--set models logs list", "logs list --set models"),
            ("-m models logs list", "logs list -m models"),
            ("-m=models logs", "logs -m=models"),
            ("--model=models config get", "config get --model=models"),
            ("-c models list", "models list -c"),
            # Options that take two values.
            ("-o top_k 5 models list", "models list -o top_k 5"),
            ("-o models logs", "chat -o models logs"),
            ("-o models logs doctor", "doctor -o models logs"),
            ("-otop_k models doctor", "doctor -otop_k models"),
            ("--option=top_k models doctor", "doctor --option=top_k models"),
            ("--option top_k", "chat --option top_k"),
            # Clusters.
            ("-nq models list", "models list -nq"),
            ("-nqm models", "chat -nqm models"),
            ("-nqm x models", "models -nqm x"),
            ("-nqmx models", "models -nqmx"),
            ("-qp models", "chat -qp models"),
            # A prompt that is spelled like a command.
            ("-p models", "chat -p models"),
            ("--prompt models", "chat --prompt models"),
            ("--prompt=models", "chat --prompt=models"),
            ("-- models", "chat -- models"),
            ("-q -- models list", "chat -q -- models list"),
            ("tell models", "chat tell models"),
            ("--", "chat --"),
            # What a command keeps from options.
            ("-q config set system -- -x", "config set system -q -- -x"),
            ("config set system -- -x", "config set system -- -x"),
        ],
    )
    def test_the_command_comes_first(self, typed, routed):
        assert route(typed.split()) == routed.split()

    @pytest.mark.parametrize(
        ("typed", "routed"),
        [
            ("", ""),
            ("-q", ""),
            ("-m x", ""),
            ("-m", "chat -m"),
            ("-q -m", "chat -q -m"),
            ("-o", "chat -o"),
            ("-o top_k", "chat -o top_k"),
            ("-f", "chat -f"),
            ("hello", "chat hello"),
            ("hello -m", "chat hello -m"),
            ("models", "models"),
            ("-q models", "models -q"),
            ("models list", "models list"),
        ],
    )
    def test_while_it_is_being_typed(self, typed, routed):
        """The words before the one at the cursor: as long as that may be a command, the call is not a chat yet."""
        assert route(typed.split(), completing=True) == routed.split()

    def test_prompts_are_not_taken_apart(self):
        assert route(["models list"]) == ["chat", "models list"]
        assert route([""]) == ["chat", ""]


class TestHelp:
    @pytest.mark.parametrize("call", [["-h"], ["--help"], ["-q", "-h"], ["hello", "-h"], ["-nh"]])
    def test_it_is_the_same_wherever_the_option_stands(self, capsys, call):
        code, out, err = said(capsys, *call)
        assert (code, err) == (0, [])
        assert out.startswith("Usage: shammah [OPTIONS] [PROMPT]\n       shammah COMMAND ...\n")
        assert out == said(capsys, "-h")[1]

    def test_it_names_every_command_and_every_option(self, capsys):
        out = said(capsys, "-h")[1]
        with click.Context(shammah) as context:
            chat = shammah.get_command(context, "chat")
            commands = shammah.list_commands(context)
        assert [name for name in commands if f"\n  {name} " not in out] == []
        options = [name for param in chat.params if isinstance(param, click.Option) for name in param.opts]
        assert [name for name in options if name not in out] == []
        assert "\n  chat " not in out

    def test_it_names_the_flag_of_every_setting_with_its_help(self, capsys):
        out = " ".join(said(capsys, "-h")[1].split())
        for knob in knobs_of(Config).values():
            assert [flag for flag in knob.flags if flag not in out] == []
            assert not knob.flags or knob.help[1:] in out

    def test_no_line_is_cut_or_too_wide(self, capsys):
        for call in (["-h"], *([name, "-h"] for name in module.COMMANDS)):
            out = said(capsys, *call)[1]
            assert "..." not in out.replace("seed, ...", "").replace("[ARGS]...", "").replace("COMMAND ...", ""), call
            assert max(map(len, out.splitlines())) <= 80

    @pytest.mark.parametrize("call", [["--version"], ["-q", "--version"], ["hello", "--version"]])
    def test_version(self, capsys, call):
        assert said(capsys, *call) == (0, f"shammah {__version__}\n", [])

    @pytest.mark.parametrize("group", ["models", "config", "logs"])
    def test_a_group_without_a_command_shows_its_help(self, capsys, group):
        code, out, err = said(capsys, group)
        assert (code, out) == (2, "")
        assert err == said(capsys, group, "-h")[1].splitlines()


class TestWrongCalls:
    @pytest.mark.parametrize(
        ("call", "words"),
        [
            (["--modle", "x"], ["--modle", "--model", "See `shammah --help`."]),
            (["hello", "--contineu"], ["--contineu", "--continue", "See `shammah --help`."]),
            (["-z"], ["-z", "See `shammah --help`."]),
            (["-m"], ["-m", "argument", "See `shammah --help`."]),
            (["-c", "models", "list"], ["-c", "See `shammah models list --help`."]),
            (["-p", "x", "doctor"], ["-p", "See `shammah doctor --help`."]),
            (["models", "lst"], ["'lst'", "'list'", "See `shammah models --help`."]),
            (["models", "pull"], ["NAME", "See `shammah models pull --help`."]),
            (["models", "list", "--jsn"], ["--jsn", "--json"]),
            (["config", "set", "model"], ["VALUE"]),
            (["config", "get", "modle"], ["'modle'", "'model'"]),
            (["completion", "tcsh"], ["'tcsh'", "bash"]),
            (["logs", "list", "--limit", "-1"], ["-1"]),
            (["-o", "temprature", "1", "hi"], ["-o temprature", "'temperature'"]),
            (["--set", "offlin=1", "logs", "list"], ["'offlin'", "'offline'"]),
        ],
    )
    def test_one_line_says_what_is_wrong_and_what_to_do(self, capsys, call, words):
        code, out, err = said(capsys, *call)
        assert (code, out, len(err)) == (2, "", 1)
        assert err[0].startswith("shammah: ")
        assert [word for word in words if word not in err[0]] == []
        assert "?." not in err[0] and ".." not in err[0]


COMMAND = """\
import errno, os, click
from shammah.cli.options import build_app, common
from shammah.errors import ModelError
FAILURES = {
    "bug": RuntimeError("all is\\nlost"),
    "ours": ModelError("No model", hint="Fetch one."),
    "click": click.ClickException("No file"),
    "ctrl-c": KeyboardInterrupt(),
    "full": OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
    "pipe": BrokenPipeError(),
}
@click.command()
@click.argument("kind")
@click.option("--app", is_flag=True)
@common
def fail(kind, app, assignments, **options):
    if app:
        build_app(options, assignments).close()
    print("the answer")
    if kind.isdigit():
        return int(kind)
    raise FAILURES[kind]
"""


@pytest.fixture
def fail(tmp_path, monkeypatch):
    """One more command, which fails as it is told."""
    (tmp_path / "failing_command.py").write_text(COMMAND)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(module.COMMANDS, "fail", "failing_command:fail")
    yield
    sys.modules.pop("failing_command", None)


@pytest.mark.usefixtures("fail")
class TestFailures:
    BUG = "shammah: Unexpected RuntimeError: all is lost. --debug shows where; the log keeps it: `shammah logs path`."

    @pytest.mark.parametrize(
        ("kind", "code", "line"),
        [
            ("bug", 1, BUG),
            ("ours", 1, "shammah: No model. Fetch one."),
            ("click", 1, "shammah: No file"),
            ("ctrl-c", 130, "shammah: Interrupted"),
            ("full", 1, "shammah: No room left: [Errno 28] No space left on device. Free some space and try again."),
        ],
    )
    @pytest.mark.parametrize("options", [[], ["-q"], ["-v"], ["--app"], ["--app", "-v"]], ids=" ".join)
    def test_each_is_one_line_and_an_exit_code(self, capsys, kind, code, line, options):
        out = said(capsys, "fail", kind, *options)
        assert (out[0], out[1]) == (code, "the answer\n")
        assert [text for text in out[2] if text.startswith("shammah: ")] == [line]
        assert "Traceback" not in "\n".join(out[2])
        assert len(out[2]) == 1 or "-v" in options

    @pytest.mark.parametrize("options", [["--debug"], ["--debug", "--app"]], ids=" ".join)
    @pytest.mark.parametrize(("kind", "raised"), [("bug", "RuntimeError"), ("ours", "ModelError")])
    def test_debug_shows_the_traceback(self, capsys, kind, raised, options):
        _, _, err = said(capsys, *options, "fail", kind)
        assert "Traceback (most recent call last):" in err
        assert any("failing_command.py" in line for line in err)
        assert any(raised in line for line in err)
        assert err[-1].startswith("shammah: ")

    def test_the_log_keeps_the_traceback(self, capsys, home):
        said(capsys, "fail", "bug", "--app")
        assert "failing_command.py" in (home / "logs" / "shammah.log").read_text()

    @pytest.mark.parametrize("code", [0, 1, 2])
    def test_the_exit_code_of_a_command_is_that_of_the_program(self, capsys, code):
        assert said(capsys, "fail", str(code)) == (code, "the answer\n", [])


def test_a_bad_setting_with_debug_shows_its_traceback(capsys, monkeypatch):
    monkeypatch.setenv("SHAMMAH_THREADS", "many")
    assert "Traceback" not in "\n".join(said(capsys, "config", "get")[2])
    assert "Traceback" in "\n".join(said(capsys, "config", "get", "--debug")[2])


@pytest.mark.skipif(os.name == "nt", reason="shell redirections")
class TestStreams:
    def sh(self, command, **environment):
        script = f'shammah() {{ {sys.executable} -m shammah "$@"; }}; {command}'
        return subprocess.run(
            ["bash", "-o", "pipefail", "-c", script],
            capture_output=True, timeout=120, check=False, env={**os.environ, **environment},
        )  # fmt: skip

    @pytest.mark.parametrize("call", ["--version", "-h", "config path", "config get"])
    def test_no_room_for_the_output(self, call):
        result = self.sh(f"shammah {call} > /dev/full")
        lines = result.stderr.decode().splitlines()
        assert (result.returncode, len(lines)) == (1, 1), lines
        assert "No room left" in lines[0]

    @pytest.mark.parametrize("call", ["--version", "config get"])
    def test_a_closed_stream(self, call):
        assert self.sh(f"shammah {call} >&-").returncode == 0
        assert self.sh(f"shammah {call} 2>&-").returncode == 0
        assert self.sh(f"shammah {call} <&-").returncode == 0

    def test_a_closed_stdin_is_an_empty_one(self):
        result = self.sh("shammah <&-")
        assert (result.returncode, result.stdout) == (2, b"")
        assert b"The prompt is empty" in result.stderr

    def test_a_reader_that_goes_away(self):
        result = self.sh("shammah -h | true; shammah config get | head -c 1")
        assert (result.returncode, result.stdout) == (0, b"m")
        assert set(result.stderr.decode().splitlines()) <= {"shammah: The reader closed the pipe"}

    def test_a_locale_that_lacks_the_characters(self):
        result = self.sh(
            "shammah config get system", SHAMMAH_SYSTEM="caf\u00e9", PYTHONIOENCODING="ascii", PYTHONUTF8="0"
        )
        assert (result.returncode, result.stdout, result.stderr) == (0, b'"caf?"  (SHAMMAH_SYSTEM)\n', b"")
