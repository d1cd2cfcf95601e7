import re
from pathlib import Path

import click
import pytest

from shammah import __version__
from shammah.cli.main import COMMANDS, shammah
from shammah.config.writing import settings_table
from shammah.ui.repl import registry

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def commands():
    """Every command with its name as typed; that of the chat is empty."""
    context = click.Context(shammah, info_name="shammah")
    waiting = [(name, shammah.get_command(context, name)) for name in COMMANDS]
    yield "", shammah.get_command(context, "chat")
    while waiting:
        name, command = waiting.pop(0)
        yield name, command
        if isinstance(command, click.Group):
            waiting += [(f"{name} {sub}", command.commands[sub]) for sub in command.commands]


ALL = dict(commands())
OPTIONS = {
    f"{name} {option.opts[-1]}".strip(): option
    for name, command in ALL.items()
    for option in command.params
    if isinstance(option, click.Option)
}


def test_all_commands_were_found():
    assert {"", "models", "models list", "config edit", "logs show", "doctor", "completion"} <= set(ALL)
    assert {"--model", "--set", "logs list --search", "completion --debug"} <= set(OPTIONS)


@pytest.mark.parametrize("name", [name for name in ALL if name])
def test_every_command_has_help(name):
    help = ALL[name].help
    assert help and help[0].isupper() and help.strip().endswith(".")


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_has_help(name):
    help = OPTIONS[name].help
    assert help and help[0].isupper() and help.endswith((".", "..."))


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_that_takes_a_value_says_which(name):
    option = OPTIONS[name]
    assert option.is_flag or option.metavar or isinstance(option.type, click.IntRange)


def test_the_results_of_every_command_come_as_json_too():
    leaves = {name for name, command in ALL.items() if not isinstance(command, click.Group)}
    without = {name for name in leaves if f"{name} --json".strip() not in OPTIONS}
    assert without == {"completion", "config edit", "examples review"}


@pytest.mark.parametrize("command", registry.all(), ids=lambda command: command.name)
def test_every_chat_command_has_help(command):
    assert command.help and command.help == command.help.strip()


class TestReadme:
    def test_the_settings_table_is_made_from_the_settings(self):
        (table,) = re.findall(r"<!-- settings -->\n(.*?)<!-- /settings -->", README, re.DOTALL)
        assert table.strip() == settings_table(), "paste what shammah.config.writing.settings_table() returns"

    @pytest.mark.parametrize("name", [name for name in ALL if name and not isinstance(ALL[name], click.Group)])
    def test_every_command_is_there(self, name):
        group, _, word = name.rpartition(" ")
        line = next((line for line in README.splitlines() if line.startswith(f"| `shammah {group or word}")), "")
        assert re.search(rf"[ `]{word}\b", line), f"no row of the table of commands names `shammah {name}`"

    def test_every_option_of_the_chat_is_there(self):
        short = {option.opts[0] for name, option in OPTIONS.items() if name.startswith("-")} - {"-h", "--version"}
        assert [name for name in short if not re.search(rf"`{name}[` ]", README)] == []

    def test_every_chat_command_is_there(self):
        assert [command.name for command in registry.all() if f"`/{command.name}`" not in README] == []


def test_the_newest_entry_of_the_changelog_is_this_version():
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    versions = re.findall(r"^## \[?(\d+\.\d+\.\d+[^\]\s]*)", text, re.MULTILINE)
    assert versions[0] == __version__
    assert len(versions) == len(set(versions))


def test_no_page_holds_a_gap_to_be_filled():
    for page in ("README.md", "CHANGELOG.md", "DECISIONS.md"):
        lines = (ROOT / page).read_text("utf-8").splitlines()
        assert [line for line in lines if re.fullmatch(r"[A-Z]{3,}", line)] == [], page
