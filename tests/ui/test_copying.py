"""/copy: which text, and by which way it comes to the clipboard."""

import base64
import sys
from io import StringIO

import pytest

from shammah.errors import ShammahError
from shammah.ui.clipboard import copy, sequence
from shammah.ui.copy_commands import last_code

TEXT = "déjà vu\n"
OSC = f"\x1b]52;c;{base64.b64encode(TEXT.encode()).decode()}\x07"


class Terminal(StringIO):
    def isatty(self):
        return True


@pytest.fixture
def tool(tmp_path):
    """Make a tool of the system that puts what it is given into a file."""

    def make(name, code=0):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(
            f'#!/bin/sh\n/bin/cat > "{tmp_path}/copied"\necho "$@" > "{tmp_path}/arguments"\nexit {code}\n'
        )
        program.chmod(0o755)
        return {"PATH": str(program.parent)}

    return make


def copied(tmp_path):
    file = tmp_path / "copied"
    return file.read_bytes() if file.exists() else None


@pytest.mark.parametrize(
    ("name", "display", "arguments"),
    [
        ("wl-copy", {"WAYLAND_DISPLAY": "wayland-0"}, ""),
        ("xclip", {"DISPLAY": ":0"}, "-selection clipboard"),
        ("xsel", {"DISPLAY": ":0"}, "--clipboard --input"),
    ],
)
def test_the_system_s_own_tool_goes_before_the_terminal(tool, tmp_path, name, display, arguments):
    terminal = Terminal()
    words = copy(TEXT, terminal, environment=tool(name) | display)
    assert words == f"to the clipboard ({name})" and terminal.getvalue() == ""
    assert copied(tmp_path) == TEXT.encode()
    assert (tmp_path / "arguments").read_text().strip() == arguments


def test_windows_is_given_its_own_kind_of_text(tool, tmp_path):
    copy(TEXT, StringIO(), environment=tool("clip.exe"))
    assert copied(tmp_path).decode("utf-16") == TEXT


def test_a_tool_without_a_display_is_not_asked(tool, tmp_path, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    assert "OSC 52" in copy(TEXT, terminal, environment=tool("xclip"))
    assert copied(tmp_path) is None and terminal.getvalue() == OSC


def test_where_the_tool_fails_the_terminal_is_asked(tool, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    copy(TEXT, terminal, environment=tool("xclip", 1) | {"DISPLAY": ":0"})
    assert terminal.getvalue() == OSC


def test_over_ssh_the_terminal_goes_first(tool, tmp_path, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    copy(TEXT, terminal, environment=tool("xclip") | {"DISPLAY": ":0", "SSH_CONNECTION": "1 2 3 4"})
    assert terminal.getvalue() == OSC and copied(tmp_path) is None


def test_through_tmux_and_screen():
    assert sequence(TEXT, {"TMUX": "/tmp/tmux"}) == f"{OSC}\x1bPtmux;\x1b{OSC}\x1b\\"
    assert sequence(TEXT, {"STY": "1.pts"}) == f"\x1bP{OSC}\x1b\\"
    assert sequence(TEXT, {}) == OSC


def test_screen_gets_a_long_text_in_parts_that_it_keeps():
    parts = sequence(TEXT * 500, {"STY": "1.pts"}).split("\x1b\\")
    assert len(parts) > 3 and parts.pop() == "" and all(len(part) <= 700 for part in parts)
    assert "".join(part.removeprefix("\x1bP") for part in parts) == sequence(TEXT * 500, {})


@pytest.mark.parametrize("terminal", [StringIO(), Terminal()])
def test_nowhere_to_put_it(terminal, monkeypatch, tmp_path):
    monkeypatch.setenv("TERM", "dumb")
    with pytest.raises(ShammahError, match="no clipboard here"):
        copy(TEXT, terminal, environment={"PATH": str(tmp_path)})
    assert terminal.getvalue() == ""


def test_more_than_a_terminal_takes_is_not_sent_to_it(monkeypatch, tmp_path):
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    with pytest.raises(ShammahError, match="more than a terminal's clipboard takes"):
        copy("x" * 80_000, terminal, environment={"PATH": str(tmp_path)})
    assert terminal.getvalue() == ""


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        ("Say:\n```py\nx = 1\n\ny = 2\n```\nDone.", "x = 1\n\ny = 2"),
        ("```\na\n```\n\n~~~\nb\n~~~", "b"),
        ("````md\n```\ninner\n```\n````", "```\ninner\n```"),
        ("1. So:\n   ```\n   a\n     b\n   ```", "a\n  b"),
        ("Cut off:\n```sh\nls -l", "ls -l"),
        ("No code, `but` this.", None),
    ],
)
def test_the_last_code_of_a_reply(reply, code):
    assert last_code(reply) == code


def test_in_a_terminal(talker):
    chat = talker({"code": "So:\n```\nls -l\n```", "else": "Nothing."}, PATH="/nowhere")
    chat.wait_for_prompt()
    chat.say("/copy", "There is no reply yet")
    chat.say("code?", "ls -l")
    chat.say("else?", "Nothing.")
    chat.say("/copy", "The reply (1 line) goes to the terminal's clipboard (OSC 52")
    chat.say("/copy 1 code", "The code (1 line) goes to")
    chat.say("/copy code", "There is no code block in that reply")
    chat.say("/copy nonsense", "/copy does not know 'nonsense'")
    chat.say("/copy 9", "There is no reply 9")
    chat.leave()
    sent = [base64.b64encode(text).decode().encode() for text in (b"Nothing.", b"ls -l")]
    assert chat.raw.count(b"\x1b]52;") == 2 and all(b"\x1b]52;c;" + text + b"\x07" in chat.raw for text in sent)


if sys.platform == "darwin":

    def test_the_tool_of_a_mac(tool, tmp_path):
        assert copy(TEXT, StringIO(), environment=tool("pbcopy")) == "to the clipboard (pbcopy)"
        assert copied(tmp_path) == TEXT.encode()
