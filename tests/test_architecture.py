import re
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest

import shammah

PACKAGE = Path(shammah.__file__).parent
ROOT = PACKAGE.parent
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))
HEAVY = ("torch", "transformers", "peft", "accelerate", "gguf")
IMPORT_RULES = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]


def rule(name):
    return next(contract for contract in IMPORT_RULES["contracts"] if name in contract["name"])


def top_level():
    """The packages and modules right below `shammah`, as import-linter names them."""
    return {f"shammah.{path.parts[0].removesuffix('.py')}" for path in MODULES} - {"shammah.__init__"}


def imports_heavy(path):
    text = (PACKAGE / path).read_text("utf-8")
    return re.search(rf"^(?:from|import) (?:{'|'.join(HEAVY)})\b", text, re.MULTILINE) is not None


class TestImports:
    def test_they_run_one_way(self):
        tool = Path(sys.executable).with_name("lint-imports")
        result = subprocess.run(
            [tool, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
        )
        assert result.returncode == 0, result.stdout + result.stderr
        kept = f"Contracts: {len(IMPORT_RULES['contracts'])} kept, 0 broken."
        assert kept in result.stdout

    def test_the_layers_name_every_part(self):
        assert {part for layer in rule("one way")["layers"] for part in layer.split(" | ")} == top_level()

    def test_the_ban_on_heavy_libraries_covers_all_but_the_model(self):
        covered = set(rule("heavy libraries")["source_modules"])
        training = {path for path in MODULES if path.parts[0] == "training" and path.name != "__init__.py"}
        spared = {path for path in training if not imports_heavy(path)}
        parts = {f"shammah.training.{path.stem}" for path in spared}
        assert covered == (top_level() - {"shammah.model", "shammah.training", "shammah.__main__"}) | parts
        assert set(rule("heavy libraries")["forbidden_modules"]) == set(HEAVY)


class TestFiles:
    def test_none_is_longer_than_400_lines(self):
        lines = {str(path): len((PACKAGE / path).read_text("utf-8").splitlines()) for path in MODULES}
        assert {path: count for path, count in lines.items() if count > 400} == {}

    def test_no_two_have_the_same_name(self):
        names = Counter(path.name for path in MODULES if path.name not in ("__init__.py", "__main__.py"))
        assert [name for name, count in names.items() if count > 1] == []

    def test_no_two_tests_have_the_same_name(self):
        names = Counter(path.name for path in Path(__file__).parent.rglob("test_*.py"))
        assert [name for name, count in names.items() if count > 1] == []

    def test_none_has_a_name_that_says_nothing(self):
        vague = re.compile(r"(utils?|helpers?|common|base|managers?|misc)(\.py)?$")
        assert [path for path in MODULES for part in path.parts if vague.match(part)] == []

    @pytest.mark.parametrize("path", MODULES, ids=str)
    def test_each_says_what_it_is(self, path):
        text = (PACKAGE / path).read_text("utf-8")
        assert text.startswith('"""') and len(text.split('"""')[1].strip()) > 20


class TestStartUp:
    """What is imported before the first prompt, and by commands that only look. torch takes seconds, these must not."""

    def heavy(self, script):
        code = f"import sys\n{script}\nprint('HEAVY', *[name for name in {HEAVY} if name in sys.modules])"
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
        assert result.returncode == 0, result.stderr
        return result.stdout.splitlines()[-1]

    def test_the_check_can_fail(self):
        assert self.heavy("import gguf") == "HEAVY gguf"

    @pytest.mark.parametrize("module", ["shammah.cli.main", "shammah.cli.chat", "shammah.ui.repl", "shammah.app"])
    def test_importing(self, module):
        assert self.heavy(f"import {module}") == "HEAVY"

    def test_making_the_app_and_the_chat(self):
        script = (
            "from shammah.app import App\n"
            "from shammah.ui.render import Screen\n"
            "from shammah.ui.repl import Repl\n"
            "app = App.build()\n"
            "app.require_store()\n"
            "Repl(app, Screen())\n"
            "app.close()"
        )
        assert self.heavy(script) == "HEAVY"

    @pytest.mark.parametrize(
        "call",
        ["--version", "-h", "config get", "config set threads 2", "logs list", "logs path", "models list", "models -h",
         "models use smollm2-135m", "completion bash", "--nonsense"],
    )  # fmt: skip
    def test_commands_that_only_look(self, call):
        script = (
            f"from shammah.cli.main import run\ncode = run({call.split()!r})\nassert code == {2 * ('nons' in call)}"
        )
        assert self.heavy(script) == "HEAVY"


def tree_in_readme():
    """The paths in the fenced block that begins with `shammah/`. A deeper line belongs to the folder above it."""
    text = (ROOT / "README.md").read_text("utf-8")
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (block,) = [block for block in blocks if block.startswith("shammah/")]
    paths, folders = [], []
    for line in block.splitlines()[1:]:
        if not line.strip():
            continue
        indent, name, about = re.fullmatch(r"(\s*)(\S+)(?:\s+(\S.*))?", line).groups()
        folders = [(width, folder) for width, folder in folders if width < len(indent)]
        path = Path(*(folder for _, folder in folders), name)
        if name.endswith("/"):
            folders.append((len(indent), name))
        else:
            assert about, f"README.md says nothing about {path}"
            paths.append(path)
    return paths


def test_readme_lists_every_module_and_nothing_else():
    listed = tree_in_readme()
    assert len(listed) == len(set(listed)), "a file is listed twice"
    assert sorted(listed) == [path for path in MODULES if path.name != "__init__.py"]
