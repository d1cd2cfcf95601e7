"""The clipboard: by the system's own tool where there is one, else by the terminal itself (OSC 52).

Over SSH the tool would reach the clipboard of the other machine, so there the terminal is asked first.
"""

import base64
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from typing import TextIO

from shammah.errors import ShammahError
from shammah.ui.render import is_plain

_WAIT_SECONDS = 5
# What terminals take at once; beyond it they take nothing.
_MOST_BYTES = 74_994
_HINT = "Install wl-clipboard, xclip or xsel, or use a terminal that knows OSC 52."


def copy(text: str, terminal: TextIO, *, environment: Mapping[str, str] = os.environ) -> str:
    """Put a text where it can be pasted. Whose clipboard that was, in words."""
    takes_it = not is_plain(terminal)
    if takes_it and _is_remote(environment) and len(text.encode()) <= _MOST_BYTES:
        return _by_terminal(text, terminal, environment)
    for name, *arguments in _tools(environment):
        program = shutil.which(name, path=environment.get("PATH"))
        if program is not None and _by_tool(text, [program, *arguments]):
            return f"to the clipboard ({name})"
    if not takes_it:
        raise ShammahError("There is no clipboard here: this is no terminal, and no tool reaches one", hint=_HINT)
    if len(text.encode()) > _MOST_BYTES:
        raise ShammahError("That is more than a terminal's clipboard takes", hint=_HINT)
    return _by_terminal(text, terminal, environment)


def sequence(text: str, environment: Mapping[str, str]) -> str:
    """What a terminal obeys. tmux and screen pass it on where it is wrapped."""
    asked = f"\x1b]52;c;{base64.b64encode(text.encode()).decode()}\x07"
    if environment.get("TMUX"):
        doubled = asked.replace("\x1b", "\x1b\x1b")
        return f"\x1bPtmux;{doubled}\x1b\\"
    if environment.get("STY"):
        return f"\x1bP{asked}\x1b\\"
    return asked


def _by_terminal(text: str, terminal: TextIO, environment: Mapping[str, str]) -> str:
    terminal.write(sequence(text, environment))
    terminal.flush()
    through = " through tmux" if environment.get("TMUX") else " through screen" if environment.get("STY") else ""
    return f"to the terminal's clipboard{through} (OSC 52, where it allows that)"


def _by_tool(text: str, command: list[str]) -> bool:
    # That of Windows reads its own kind of text.
    data = text.encode("utf-16" if command[0].endswith("clip.exe") else "utf-8", "replace")
    try:
        # Some stay in the background to give the text away, and would keep a pipe open.
        done = subprocess.run(
            command,
            input=data,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_WAIT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _tools(environment: Mapping[str, str]) -> list[list[str]]:
    """Those that can reach a clipboard from here, the nearest first."""
    known = [["pbcopy"]] if sys.platform == "darwin" else []
    if environment.get("WAYLAND_DISPLAY"):
        known.append(["wl-copy"])
    if environment.get("DISPLAY"):
        known += [["xclip", "-selection", "clipboard"], ["xsel", "--clipboard", "--input"]]
    known.append(["clip.exe"])  # of Windows, from within WSL too
    return known


def _is_remote(environment: Mapping[str, str]) -> bool:
    return bool(environment.get("SSH_CONNECTION") or environment.get("SSH_TTY"))
