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
# What GNU screen keeps of a wrapped string; it prints the rest of a longer one.
_SCREEN_TAKES = 500
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
    """What a terminal obeys. tmux takes it itself (set-clipboard on), or passes it on where it is wrapped
    (allow-passthrough on); screen passes on what is wrapped, in short parts."""
    asked = f"\x1b]52;c;{base64.b64encode(text.encode()).decode()}\x07"
    if environment.get("TMUX"):
        doubled = asked.replace("\x1b", "\x1b\x1b")
        return f"{asked}\x1bPtmux;{doubled}\x1b\\"
    if environment.get("STY"):
        parts = (asked[begin : begin + _SCREEN_TAKES] for begin in range(0, len(asked), _SCREEN_TAKES))
        return "".join(f"\x1bP{part}\x1b\\" for part in parts)
    return asked


def _by_terminal(text: str, terminal: TextIO, environment: Mapping[str, str]) -> str:
    terminal.write(sequence(text, environment))
    terminal.flush()
    if environment.get("TMUX"):
        return "to the terminal's clipboard, where tmux allows that (`set -g set-clipboard on`)"
    through = " through screen" if environment.get("STY") else ""
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
