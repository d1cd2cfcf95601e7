"""/help: all commands, one of them, and what it says of those that are nearly right."""

from contextlib import closing

import pytest
from support.inside import Inside

from shammah.ui.commands import GROUPS, Registry
from shammah.ui.help_words import of_command, overview
from shammah.ui.repl import registry


@pytest.fixture
def chat(tmp_path):
    inside = Inside("smollm2-135m", tmp_path)
    with closing(inside.app):
        yield inside


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_all_of_them_fit(columns):
    shown = overview(registry.all(), columns).splitlines()
    assert max(map(len, shown)) <= columns and set(GROUPS.values()) <= set(shown)
    assert all(any(line.strip().startswith(f"/{command.name}") for line in shown) for command in registry.all())


@pytest.mark.parametrize("columns", [40, 80])
@pytest.mark.parametrize("command", registry.all(), ids=lambda command: command.name)
def test_each_explains_its_words(command, columns):
    shown = of_command(command, columns)
    assert max(map(len, shown.splitlines())) <= columns
    assert all(word in shown for word in command.words)
    assert all(command.words[word][1] in " ".join(shown.split()) for word in command.words)


@pytest.mark.parametrize(
    "name",
    [
        "set",
        "config",
        "system",
        "think",
        "model",
        "models",
        "tokens",
        "copy",
        "read",
        "stats",
        "status",
        "train",
        "help",
    ],
)
def test_a_command_that_is_nearly_right(chat, name):
    assert chat.says(f"/help {name}").startswith(f"/{name}")
    assert f"did you mean /{name}?" in chat.says(f"/{name}x")


def test_one_that_is_none(chat):
    assert "see /help" in chat.says("/help xyzzy")
    assert "Ctrl+D" in chat.says("/help keys")


def test_words_may_be_names_alone():
    small = Registry()
    small.command("paint", help="put colour on it", words=("red", "blue"))(lambda repl, argument: None)
    (command,) = small.all()
    assert "red, blue" in of_command(command, 80) and list(command.words) == ["red", "blue"]
