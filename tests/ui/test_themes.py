"""Colours by name, and where there are none."""

import io

import pytest

from shammah.config import UiSettings
from shammah.errors import ModelNotFound
from shammah.ui.render import Screen
from shammah.ui.themes import COLOURLESS, THEMES, colours_forced, theme_named


class FakeTerminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("name", "environment", "expected"),
    [
        ("auto", {}, "dark"),
        ("auto", {"COLORFGBG": "15;0"}, "dark"),
        ("auto", {"COLORFGBG": "0;15"}, "light"),
        ("auto", {"COLORFGBG": "0;default;7"}, "light"),
        ("auto", {"COLORFGBG": "nonsense"}, "dark"),
        ("dark", {"COLORFGBG": "0;15"}, "dark"),
        ("plain", {}, "plain"),
        ("light", {"NO_COLOR": ""}, "none"),
    ],
)
def test_which_one(name, environment, expected):
    assert theme_named(name, environment).name == expected


def test_all_show_the_same_things_but_for_colours():
    assert set(THEMES["dark"].codes) == set(THEMES["light"].codes) > set(THEMES["plain"].codes)
    assert {theme.prompt["bottom-toolbar"] for theme in THEMES.values()} == {"noreverse dim"}
    assert COLOURLESS.prompt == {"bottom-toolbar": "noreverse"}


def test_painting():
    dark = THEMES["dark"]
    assert dark.paint("x", "bad") == "\x1b[31mx\x1b[0m" and dark.paint("x", "strong", "code") == "\x1b[1;36mx\x1b[0m"
    assert dark.paint("", "bad") == "" and dark.paint("x") == "x" and COLOURLESS.paint("x", "bad") == "x"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [({}, False), ({"FORCE_COLOR": "1"}, True), ({"FORCE_COLOR": "0"}, False), ({"FORCE_COLOR": ""}, False),
     ({"FORCE_COLOR": "1", "TERM": "dumb"}, False)],
)  # fmt: skip
def test_forcing(environment, expected):
    assert colours_forced(environment) is expected


@pytest.mark.parametrize(
    ("stream", "environment", "settings", "expected"),
    [
        (FakeTerminal, {"TERM": "xterm"}, {}, "dark"),
        (FakeTerminal, {"TERM": "xterm"}, {"theme": "light"}, "light"),
        (FakeTerminal, {"TERM": "xterm"}, {"plain": True}, "none"),
        (FakeTerminal, {"TERM": "xterm", "NO_COLOR": "1"}, {}, "none"),
        (FakeTerminal, {"TERM": "dumb"}, {}, "none"),
        (FakeTerminal, {"TERM": "dumb", "FORCE_COLOR": "1"}, {}, "none"),
        (io.StringIO, {"TERM": "xterm"}, {}, "none"),
        (io.StringIO, {"TERM": "xterm", "FORCE_COLOR": "1"}, {}, "dark"),
        (io.StringIO, {"TERM": "xterm", "FORCE_COLOR": "1", "NO_COLOR": "1"}, {}, "none"),
        (io.StringIO, {"TERM": "xterm", "FORCE_COLOR": "1"}, {"plain": True}, "none"),
    ],
)
def test_where(monkeypatch, stream, environment, settings, expected):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    out = stream()
    assert Screen(out, ui=lambda: UiSettings(**settings)).theme(out).name == expected


def test_an_error_has_its_colour_on_a_terminal_alone(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    terminal, pipe = FakeTerminal(), io.StringIO()
    for err in (terminal, pipe):
        Screen(io.StringIO(), err).error(ModelNotFound("No such model", hint="Try another."))
    assert pipe.getvalue() == "shammah: No such model. Try another.\n"
    assert terminal.getvalue() == "\x1b[31mshammah:\x1b[0m No such model. Try another.\n"
