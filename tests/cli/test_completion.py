import os
import subprocess
import sys
from contextlib import closing

import pytest
from support.standing_adapters import FIRST, SECOND, put_silent

from shammah.cli.main import COMMANDS
from shammah.config import GenerationSettings, knobs_of
from shammah.store import Database
from shammah.store.adapter_notes import AdapterNotes

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the shells are POSIX")


def protocol(shell, typed):
    """What the script is told for a line with the cursor at its end."""
    words = typed.split(" ")
    environment = {
        "bash": {"COMP_WORDS": typed, "COMP_CWORD": str(len(words) - 1)},
        "zsh": {"COMP_WORDS": typed, "COMP_CWORD": str(len(words) - 1)},
        "fish": {"COMP_WORDS": typed, "COMP_CWORD": words[-1]},
    }[shell]
    result = subprocess.run(
        [sys.executable, "-m", "shammah"],
        env={**os.environ, "_SHAMMAH_COMPLETE": f"{shell}_complete", **environment},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert result.stderr == ""
    return result.stdout


def offered(typed):
    """(type, value) of what bash is offered."""
    return [tuple(line.split(",", 1)) for line in protocol("bash", typed).splitlines()]


def values(typed):
    return [value for _, value in offered(typed)]


class TestOffers:
    def test_commands_come_first(self):
        assert values("shammah ") == list(COMMANDS)

    @pytest.mark.parametrize("before", ["", "-q ", "-m x ", "--set a=b -n "])
    def test_a_command_that_is_begun(self, before):
        assert values(f"shammah {before}mod") == ["models"]

    def test_its_subcommands(self):
        assert values("shammah models ") == ["list", "pull", "use"]
        assert values("shammah -q config s") == ["set"]

    def test_the_options_of_the_chat(self):
        assert values("shammah --re") == ["--resume"]
        assert values("shammah --ver") == ["--verbose", "--version"]
        assert values("shammah hello --co") == ["--continue"]
        assert {"-m", "--model", "-o", "--json", "--debug", "-h", "--version"} <= set(values("shammah -"))
        assert len(values("shammah -")) == len(set(values("shammah -")))

    def test_the_options_of_a_command(self):
        assert sorted(values("shammah logs list --se")) == ["--search", "--set"]
        assert "--resume" not in values("shammah logs list --")

    def test_generation_options(self):
        assert values("shammah -o ") == list(knobs_of(GenerationSettings))
        assert values("shammah hello -o top") == ["top_p", "top_k"]

    @pytest.mark.parametrize("typed", ["shammah -m smol", "shammah --model smol", "shammah models pull smol"])
    def test_models(self, typed):
        assert ("plain", "smollm2-135m") in offered(typed)

    def test_adapters_by_name_and_label(self, home):
        names = [put_silent(home, name, version=version) for version, name in enumerate((FIRST, SECOND), 1)]
        with closing(Database(home / "shammah.db")) as database:
            AdapterNotes(database).label(SECOND, "odd")
        assert values("shammah adapters load ") == ["odd", *(name.removeprefix("lora_adapter_") for name in names)]
        assert values("shammah adapters show lora") == names
        assert values("shammah adapters compare odd 20261121_13010") == ["20261121_130101", "20261121_130102"]
        assert values("shammah adapters de") == ["delete"]

    def test_adapters_of_a_home_that_cannot_be_used(self, home):
        home.write_text("not a folder")
        assert protocol("bash", "shammah adapters load ") == "\n"

    def test_models_can_be_folders_too(self):
        assert offered("shammah -m ./mod") == [("file", "./mod")]

    @pytest.mark.parametrize("typed", ["shammah -f no", "shammah hello --file no", "shammah --batch no"])
    def test_files(self, typed):
        assert offered(typed) == [("file", "no")]

    def test_shells(self):
        assert values("shammah completion ") == ["bash", "zsh", "fish"]

    def test_a_broken_config_is_no_obstacle(self, home):
        home.mkdir()
        (home / "config.toml").write_text("model = ")
        assert values("shammah mod") == ["models"]

    def test_zsh_and_fish_are_offered_the_same_with_help(self):
        for shell in ("zsh", "fish"):
            told = protocol(shell, "shammah mod").replace(",", "\n").replace("\t", "\n")
            assert told.startswith("plain\nmodels\nSee which models fit this machine"), told


class TestScripts:
    @pytest.fixture
    def script(self, shammah):
        def script(shell):
            result = shammah("completion", shell)
            assert (result.returncode, result.stderr) == (0, b"")
            return result.stdout.decode()

        return script

    @pytest.mark.parametrize(
        ("shell", "words"),
        [
            ("bash", ["_SHAMMAH_COMPLETE=bash_complete", "complete -o nosort -F _shammah_completion shammah"]),
            ("zsh", ["#compdef shammah", "_SHAMMAH_COMPLETE=zsh_complete", "compdef _shammah_completion shammah"]),
            ("fish", ["_SHAMMAH_COMPLETE=fish_complete", "complete --no-files --command shammah"]),
        ],
    )
    def test_each_shell_has_one(self, script, shell, words):
        text = script(shell)
        assert [word for word in words if word not in text] == []

    def test_the_help_says_how_to_use_it(self, shammah):
        text = shammah("completion", "-h").stdout.decode()
        for line in (
            'eval "$(shammah completion bash)"',
            'eval "$(shammah completion zsh)"',
            "shammah completion fish | source",
        ):
            assert line in text

    def complete(self, tmp_path, typed):
        """In a real bash that took up the script as the help says: what Tab leaves in COMPREPLY."""
        program = tmp_path / "bin" / "shammah"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m shammah "$@"\n')
        program.chmod(0o755)
        words = typed.split(" ")
        quoted = " ".join(f"'{word}'" for word in words)
        lines = (
            'eval "$(shammah completion bash)"',
            f"COMP_WORDS=({quoted}) COMP_CWORD={len(words) - 1}",
            "declare -F _shammah_completion >&2",
            "complete -p shammah >&2",
            "_shammah_completion shammah",
            'printf "%s\\n" "${COMPREPLY[@]}"',
        )
        result = subprocess.run(
            ["bash", "--norc", "-euc", "\n".join(lines)],
            env={**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}"},
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        assert "-F _shammah_completion shammah" in result.stderr
        return result.stdout.split()

    @pytest.mark.parametrize(
        ("typed", "replies"),
        [
            ("shammah mod", ["models"]),
            ("shammah -q models p", ["pull"]),
            ("shammah --resu", ["--resume"]),
            ("shammah -o temp", ["temperature"]),
        ],
    )
    def test_in_a_real_bash(self, tmp_path, typed, replies):
        assert self.complete(tmp_path, typed) == replies
