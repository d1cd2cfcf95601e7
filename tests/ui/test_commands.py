"""The registry of chat commands."""

import pytest

from shammah.ui.commands import Registry
from shammah.ui.repl import registry


@pytest.fixture
def small():
    made = Registry()

    @made.command("clear", "reset", arguments="[what]", help="forget")
    def clear(repl, argument):
        repl.append(argument)

    return made


def test_a_command_is_found_by_name_and_alias_in_any_case(small):
    (command,) = small.all()
    assert small.find("clear") is small.find("RESET") is command
    assert small.find("cle") is None
    assert command.usage == "/clear [what]"


def test_it_runs_with_its_argument(small):
    said = []
    small.find("clear").run(said, "all")
    assert said == ["all"]


def test_the_nearest_name(small):
    assert small.nearest("clera") == "clear"
    assert small.nearest("xyz") == ""


def test_a_name_can_be_declared_once_only(small):
    with pytest.raises(AssertionError, match="reset"):
        small.command("other", "reset", help="again")(lambda repl, argument: None)


def test_every_command_explains_itself():
    for command in registry.all():
        assert command.help and not command.help.endswith(".")
        assert command.name.islower()
