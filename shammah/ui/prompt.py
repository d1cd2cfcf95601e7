"""Reading what the user types: a line editor on a terminal that can do it, plain lines elsewhere.

Both keep one promise: `read` gives a text, or None when the user leaves, and raises what `fail` was given meanwhile.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from shammah.ui.render import is_plain

if TYPE_CHECKING:
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
    from prompt_toolkit.styles import Style

_MARK = "> "


class Prompt(Protocol):
    def listening(self) -> AbstractContextManager[None]:
        """Around all of the reading: what is typed while no prompt is open waits for the next one."""
        ...

    def read(self, default: str = "") -> str | None: ...

    def status(self, text: str) -> None:
        """Show a word about background work below the line; empty for none."""
        ...

    def fail(self, error: BaseException) -> None:
        """End the reading from another thread, keeping what was typed in the history."""
        ...


def open_prompt(history: Path | None, on_painted: Callable[[], None]) -> Prompt:
    """`on_painted` is called once, when the first prompt stands on the screen."""
    if is_plain(sys.stdin) or is_plain(sys.stdout):
        return PlainPrompt(on_painted)
    return EditorPrompt(history, on_painted)


class PlainPrompt:
    """Lines as the terminal gives them. The mark goes to stderr when stdout is not looked at."""

    def __init__(self, on_painted: Callable[[], None]) -> None:
        self._on_painted: Callable[[], None] | None = on_painted

    def listening(self) -> AbstractContextManager[None]:
        return nullcontext()  # lines wait by themselves

    def read(self, default: str = "") -> str | None:
        if default:
            print(f"(press Enter to send again: {default})", file=sys.stderr)
        stream = sys.stdout if sys.stdout.isatty() else sys.stderr
        stream.write(_MARK)
        stream.flush()
        if self._on_painted:
            self._on_painted()
            self._on_painted = None
        try:
            line = sys.stdin.readline()
        except KeyboardInterrupt:
            print(file=stream)
            return ""
        if not line:
            print(file=stream)
            return None
        return line.rstrip("\n") or default

    def status(self, text: str) -> None:
        pass  # a line that is being typed must stay as it is

    def fail(self, error: BaseException) -> None:
        pass  # the next message that is sent meets the error


class EditorPrompt:
    def __init__(self, history: Path | None, on_painted: Callable[[], None]) -> None:
        from prompt_toolkit import PromptSession
        from prompt_toolkit.history import FileHistory, InMemoryHistory

        self._status = ""
        self._hint = ""
        self._session: PromptSession[str] = PromptSession(
            _MARK,
            multiline=True,
            prompt_continuation="  ",
            history=FileHistory(str(history)) if history else InMemoryHistory(),
            key_bindings=self._keys(),
            bottom_toolbar=lambda: self._hint or self._status or None,
            enable_open_in_editor=True,
            style=_style(),
        )
        self._session.app.ttimeoutlen = 0.05
        self._session.default_buffer.on_text_changed += self._drop_hint
        self._tell_painted(on_painted)

    def listening(self) -> AbstractContextManager[None]:
        return _unseen_typing(sys.stdin.fileno())

    def _tell_painted(self, on_painted: Callable[[], None]) -> None:
        app = self._session.app

        def once(sender: object) -> None:
            app.after_render -= once
            on_painted()

        app.after_render += once

    def read(self, default: str = "") -> str | None:
        try:
            return self._session.prompt(default=default)
        except EOFError:
            return None
        finally:
            _mark_pastes(True)

    def status(self, text: str) -> None:
        self._status = text
        self._in_editor(self._session.app.invalidate)

    def fail(self, error: BaseException) -> None:
        app = self._session.app

        def end() -> None:
            if app.is_running and not app.is_done:
                if app.current_buffer.text.strip():
                    self._session.history.append_string(app.current_buffer.text)
                app.exit(exception=error)

        self._in_editor(end)

    def _in_editor(self, act: Callable[[], None]) -> None:
        """Have the editor's own thread do it, if a prompt is open; one that is just being closed needs nothing."""
        loop = self._session.app.loop
        try:
            if self._session.app.is_running and loop is not None:
                loop.call_soon_threadsafe(act)
        except RuntimeError:
            pass  # closed in the very moment

    def _keys(self) -> "KeyBindings":
        from prompt_toolkit.key_binding import KeyBindings

        keys = KeyBindings()

        @keys.add("enter")
        def send(event: "KeyPressEvent") -> None:
            event.current_buffer.validate_and_handle()

        @keys.add("escape", "enter")
        @keys.add("c-j")
        def break_line(event: "KeyPressEvent") -> None:
            event.current_buffer.insert_text("\n")

        @keys.add("c-c")
        def clear_line(event: "KeyPressEvent") -> None:
            if event.current_buffer.text:
                event.current_buffer.reset()
            else:
                self._hint = "Ctrl+D or /exit leaves"

        return keys

    def _drop_hint(self, sender: object) -> None:
        self._hint = ""


def _style() -> "Style | None":
    """The toolbar is set off by reversed colours, unless colours are not wanted."""
    from prompt_toolkit.styles import Style

    return Style.from_dict({"bottom-toolbar": "noreverse"}) if "NO_COLOR" in os.environ else None


def _mark_pastes(wanted: bool) -> None:
    """Have the terminal say where a paste begins and ends, so that one made between two prompts stays one message."""
    sys.stdout.write("\x1b[?2004h" if wanted else "\x1b[?2004l")
    sys.stdout.flush()


@contextmanager
def _unseen_typing(terminal: int) -> Iterator[None]:
    """Keys pressed between two prompts are not echoed into the reply: the next prompt reads them as typed."""
    if os.name == "nt":
        yield
        return
    import termios

    before = termios.tcgetattr(terminal)
    unseen = termios.tcgetattr(terminal)
    unseen[0] &= ~termios.ICRNL  # Enter stays Enter; as a line feed it would break the line instead of sending it
    unseen[3] &= ~(termios.ECHO | termios.ICANON)
    termios.tcsetattr(terminal, termios.TCSANOW, unseen)
    try:
        yield
    finally:
        _mark_pastes(False)
        termios.tcsetattr(terminal, termios.TCSANOW, before)
