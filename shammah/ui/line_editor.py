"""The prompt of a terminal that can do more than lines: history, completion, suggestions, a toolbar, several lines in
one message."""

import asyncio
import logging
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import cache

from prompt_toolkit import PromptSession
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.enums import EditingMode
from prompt_toolkit.filters import Condition, emacs_mode
from prompt_toolkit.input.typeahead import get_typeahead, store_typeahead
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent, merge_key_bindings
from prompt_toolkit.key_binding.bindings.named_commands import self_insert
from prompt_toolkit.key_binding.vi_state import InputMode
from prompt_toolkit.keys import Keys
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.styles import DynamicStyle, Style

from shammah.config import UiSettings
from shammah.errors import ShammahError
from shammah.ui import editing, editor_keys
from shammah.ui.commands import registry
from shammah.ui.completing import CommandCompleter, NamesOf
from shammah.ui.history import Lines
from shammah.ui.meanwhile import RowBelow, typed_below
from shammah.ui.prompt import MARK, HistorySettings, Pressed, Sayings, Typed
from shammah.ui.render import can_write, printable, separator_for
from shammah.ui.reply.view import Stream
from shammah.ui.suggesting import FromLines
from shammah.ui.terminal_modes import UnseenTyping, has_input, mark_pastes
from shammah.ui.themes import theme_named
from shammah.ui.toolbar import RATING_KEYS, Bar, fitting, line_below, width

# A key that is offered may be the first letter of a message: it counts once so many seconds brought no other letter.
_KEY_ALONE_SECONDS = 0.25
_LOOK_SECONDS = 0.25

log = logging.getLogger(__name__)


class EditorPrompt:
    asks = has_keys = True

    def __init__(
        self,
        history: HistorySettings,
        on_painted: Callable[[], None],
        names_of: NamesOf,
        settings: Callable[[], UiSettings] = UiSettings,
    ) -> None:
        """`settings` is asked for each prompt."""
        self._settings = settings
        self._status = ""
        self._hint = ""
        self._toolbar: Sequence[Bar] = ()
        self._look: Callable[[], Bar] | None = None
        self._seen: Bar = ()  # what it gave last
        self._look_failed = False
        self._sayings = Sayings()
        self._offered: str | None = None  # the keys of an offer that is open
        self._pressed = ""  # the one of them that was taken
        self._choices: str | None = None  # the keys of which one has to be chosen
        self._changes = 0
        self._typing = UnseenTyping(sys.stdin.fileno())
        self._history = Lines(history.file, keeps=history.keeps, redacts=history.redacts, most=settings().history)
        self._session: PromptSession[str] = PromptSession(
            MARK,
            multiline=True,
            prompt_continuation=lambda width, line, wrapped: " " * width,
            history=self._history,
            enable_history_search=True,
            search_ignore_case=True,
            auto_suggest=FromLines(self._history, self._suggests),
            bottom_toolbar=self._below,
            completer=CommandCompleter(registry, names_of),
            complete_in_thread=True,
            style=DynamicStyle(lambda: _style(settings().theme)),
        )
        self._session.default_buffer.complete_while_typing = Condition(lambda: settings().complete == "typing")
        self._session.default_buffer.on_text_changed += self._on_change
        self._session.key_bindings = merge_key_bindings(
            [editor_keys.text_keys(self._send, self._edited, self._typing.paused), self._keys()]
        )
        self._session.app.before_render += self._leave_room
        self._tell_painted(on_painted)

    def listening(self) -> AbstractContextManager[None]:
        return self._typing

    def read(self, default: str = "") -> str | None:
        try:
            return self._open(MARK, default)
        except EOFError:
            return None

    def offer(self, mark: str, keys: str) -> Pressed | Typed | None:
        self._offered, self._pressed = keys, ""
        try:
            text: str | None = self._open(mark)
        except EOFError:
            return None
        finally:
            self._offered = None
        if text is None:
            return None
        return Typed(text) if text.strip() and not self._pressed else Pressed(self._pressed)

    def choose(self, mark: str, keys: str) -> str | None:
        self._choices = keys
        try:
            return self._open(mark)
        except EOFError:
            return None
        finally:
            self._choices = None

    def pick(self, rows: Sequence[str], title: str) -> int | None:
        from shammah.ui.picking import pick  # not needed before the prompt is painted

        try:
            return pick(self._session.input, self._session.output, rows, title)
        finally:
            mark_pastes(True)

    def edit(self, text: str) -> str | None:
        return editing.edit(text, self._typing.paused())

    def away(self) -> AbstractContextManager[None]:
        return self._typing.paused()

    def open_row(self, out: Stream, paint: Callable[[str], str]) -> AbstractContextManager[RowBelow]:
        output = self._session.output
        enter = "⏎" if can_write("⏎", output.encoding()) else "^M"
        return typed_below(self._session.input, RowBelow(out, paint, output.get_size), enter)

    def typed_ahead(self) -> bool:
        typed = get_typeahead(self._session.input)
        store_typeahead(self._session.input, typed)
        return any(press.key != Keys.CPRResponse for press in typed) or has_input(sys.stdin.fileno())

    def status(self, text: str) -> None:
        self._status = text
        self._in_editor(self._session.app.invalidate)

    def toolbar(self, forms: Sequence[Bar]) -> None:
        self._toolbar = forms
        self._in_editor(self._session.app.invalidate)

    def watch(self, look: Callable[[], Bar]) -> None:
        begun, self._look = self._look is not None, look
        if not begun:
            self._in_editor(self._begin_watching)

    def above(self, say: Callable[[], None]) -> None:
        self._sayings.add(say)
        self._in_editor(self._say_above)

    def soon(self, act: Callable[[], None]) -> None:
        self._in_editor(act)

    def reload_history(self) -> None:
        self._history.reload()

    def fail(self, error: BaseException) -> None:
        app = self._session.app

        def end() -> None:
            if app.is_running and not app.is_done:
                if app.current_buffer.text.strip():
                    self._session.history.append_string(app.current_buffer.text)
                app.exit(exception=error)

        self._in_editor(end)

    def _open(self, mark: str, default: str = "") -> str:
        self._sayings.say()
        app = self._session.app
        app.editing_mode = EditingMode.VI if self._settings().keys == "vi" else EditingMode.EMACS
        app.erase_when_done, self._hint = False, ""
        try:
            text = self._session.prompt([("class:mark", mark)], default=default, pre_run=self._opened)
        finally:
            mark_pastes(True)
        if app.erase_when_done:
            shown = printable(text).replace("\n", "\r\n" + " " * len(mark))
            self._session.output.write_raw(f"{mark}{shown}\r\n")
            self._session.output.flush()
        return text

    def _opened(self) -> None:
        self._begin_watching()
        self._in_editor(self._say_above)  # what came since the last look

    def _say_above(self) -> None:
        """Not by the library's own way, which lets the terminal take lines meanwhile: it shows what is typed just then
        a second time, and turns Enter into a broken line."""
        app = self._session.app
        if not (self._sayings and app.is_running and not app.is_done):
            return
        if app._running_in_terminal:  # the screen is another program's: the user's editor
            assert app.loop is not None
            app.loop.call_later(_LOOK_SECONDS, self._say_above)
            return
        app.renderer.erase()
        self._sayings.say()
        app.renderer.request_absolute_cursor_position()
        app.invalidate()

    def _begin_watching(self) -> None:
        if self._look is not None:
            self._seen = self._looked(self._look)
            self._session.app.create_background_task(self._watch(self._look))

    async def _watch(self, look: Callable[[], Bar]) -> None:
        """Ends with the prompt."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            seen = self._looked(look)
            if seen != self._seen:
                self._seen = seen
                self._session.app.invalidate()

    def _looked(self, look: Callable[[], Bar]) -> Bar:
        """What there is to see; nothing where that can't be told, which is logged once."""
        try:
            return look()
        except Exception:
            if not self._look_failed:
                log.warning("the toolbar can't look", exc_info=True)
            self._look_failed = True
            return ()

    def _tell_painted(self, on_painted: Callable[[], None]) -> None:
        app = self._session.app

        def once(sender: object) -> None:
            app.after_render -= once
            on_painted()

        app.after_render += once

    def _in_editor(self, act: Callable[[], None]) -> None:
        """Have the editor's own thread do it, if a prompt is open; one that is just being closed needs nothing."""
        loop = self._session.app.loop
        try:
            if self._session.app.is_running and loop is not None:
                loop.call_soon_threadsafe(act)
        except RuntimeError:
            pass  # closed in the very moment

    def _suggests(self) -> bool:
        """Not where nothing can set a suggestion off from what is typed, nor in the answer to an offer."""
        grey = self._session.app.color_depth != ColorDepth.DEPTH_1_BIT
        return self._settings().suggestions and grey and self._offered is None

    def _leave_room(self, sender: object) -> None:
        """A menu may be as high as a low terminal allows."""
        self._session.reserve_space_for_menu = max(0, min(8, self._session.app.output.get_size().rows - 3))

    def _below(self) -> str | None:
        output = self._session.app.output
        separator = separator_for(output.encoding())
        mode = editor_keys.vi_mode_words(self._session.app)
        if said := self._hint or self._status:
            return fitting([["  ".join(filter(None, (mode, said)))]], output.get_size().columns, separator)
        begun, forms = self._seen, self._toolbar or [[]]
        if mode:
            begun = [[mode, *form] for form in begun or [[]]]
        return line_below(begun, forms, output.get_size().columns, separator) or None

    def _edited(self, text: str) -> str | None:
        try:
            return self.edit(text)
        except ShammahError as error:
            self._hint = error.one_line()
            return None

    def _send(self, event: KeyPressEvent) -> None:
        # The library shows at last as much of a message as the screen holds: a longer one is printed instead.
        event.app.erase_when_done = self._is_longer_than_screen(event.current_buffer.text)
        event.current_buffer.validate_and_handle()

    def _is_longer_than_screen(self, text: str) -> bool:
        size = self._session.app.output.get_size()
        rows = sum((width(MARK + line) - 1) // max(1, size.columns) + 1 for line in text.split("\n"))
        return rows >= size.rows

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()
        choosing = Condition(lambda: self._choices is not None)
        empty_line = ~choosing & editor_keys.empty(lambda: self._session.default_buffer.text)

        @keys.add("enter", filter=choosing)
        def take_none(event: KeyPressEvent) -> None:
            event.app.exit(result="")

        @keys.add("c-c", filter=editor_keys.typing_a_line)
        def clear_line(event: KeyPressEvent) -> None:
            event.app.vi_state.input_mode = InputMode.INSERT
            if event.current_buffer.text:
                event.current_buffer.reset()
            elif self._offered is not None or self._choices is not None:
                event.app.exit(result=None)
            else:
                self._hint = "Ctrl+D or /exit leaves"

        with_alt = editor_keys.tell_esc_from_alt(self._session.app)
        for key, level in RATING_KEYS.items():
            keys.add("escape", key, filter=empty_line & with_alt)(_submitting(f"/{level}"))
            # Who lets go of Esc and then begins a message must not rate by that.
            keys.add("escape", key, filter=empty_line & ~with_alt & emacs_mode)(self_insert)

        @keys.add(Keys.Any, filter=choosing)
        def choose(event: KeyPressEvent) -> None:
            if event.data.lower() in tuple(self._choices or ""):
                event.current_buffer.text = event.data.lower()
                event.app.exit(result=event.data.lower())

        @keys.add(Keys.BracketedPaste, filter=choosing)
        @keys.add("c-j", filter=choosing)
        @keys.add("escape", "enter", filter=choosing)
        def ignore(event: KeyPressEvent) -> None:
            pass  # a text is no choice

        return keys

    def _on_change(self, buffer: Buffer) -> None:
        self._hint = ""
        self._changes += 1
        loop = self._session.app.loop
        if self._offered and loop is not None and buffer.text.lower() in tuple(self._offered):
            loop.call_later(_KEY_ALONE_SECONDS, self._press, buffer.text.lower(), self._changes)

    def _press(self, key: str, change: int) -> None:
        """The key is what was meant, if nothing else was typed since."""
        app = self._session.app
        if change == self._changes and self._offered and app.is_running and not app.is_done:
            self._pressed = key
            app.exit(result=key)


def _submitting(command: str) -> Callable[[KeyPressEvent], None]:
    """A key that sends a command as if it had been typed, though it is not kept in the history."""

    def submit(event: KeyPressEvent) -> None:
        event.current_buffer.text = command
        event.app.exit(result=command)

    return submit


@cache
def _style(theme: str) -> Style:
    return Style.from_dict(dict(theme_named(theme).prompt))
