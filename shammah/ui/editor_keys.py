"""The keys of the line editor, as far as they are about the text: in the emacs and in the vi way.

While the history is searched they are the library's.
"""

import os
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager

from prompt_toolkit.application import Application, run_in_terminal
from prompt_toolkit.document import Document
from prompt_toolkit.enums import DEFAULT_BUFFER, EditingMode
from prompt_toolkit.filters import Condition, Filter, has_completions, has_focus
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.key_binding.vi_state import InputMode
from prompt_toolkit.keys import Keys

# Esc is a key of its own once so many seconds brought no other: with vi it is one always, else it may stand for Alt.
_ESC_SECONDS = {EditingMode.VI: 0.05, EditingMode.EMACS: 0.5}
_SEQUENCE_SECONDS = 1.0  # between the keys of Ctrl+X Ctrl+E
_VI_MODES = {InputMode.INSERT: "INSERT", InputMode.NAVIGATION: "NORMAL", InputMode.REPLACE: "REPLACE"}

typing_a_line = has_focus(DEFAULT_BUFFER)


def text_keys(
    send: Callable[[KeyPressEvent], None],
    edited: Callable[[str], str | None],
    leaving: Callable[[], AbstractContextManager[None]],
) -> KeyBindings:
    """`send` is what Enter does. `edited` has the user change a text in an editor, and gives None where nothing came
    of it. Around `leaving` the terminal is as it was before the chat."""
    keys = KeyBindings()

    @keys.add("enter", filter=typing_a_line)
    def enter(event: KeyPressEvent) -> None:
        state = event.current_buffer.complete_state
        if state is not None and state.current_completion is not None:
            event.current_buffer.complete_state = None
        else:
            send(event)

    @keys.add("escape", "enter", filter=typing_a_line)
    @keys.add("c-j", filter=typing_a_line)
    def break_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @keys.add("escape", filter=typing_a_line & has_completions, eager=True)
    def close_menu(event: KeyPressEvent) -> None:
        event.current_buffer.cancel_completion()

    @keys.add("c-x", "c-e", filter=typing_a_line)
    def edit(event: KeyPressEvent) -> None:
        """What comes back is not sent yet: who leaves an editor without saving does not mean that."""
        line = event.current_buffer

        def write() -> None:
            text = edited(line.text)
            if text is not None:
                line.document = Document(text)

        run_in_terminal(write)

    @keys.add("c-z", filter=typing_a_line & Condition(lambda: hasattr(signal, "SIGTSTP")))
    def suspend(event: KeyPressEvent) -> None:
        def stop() -> None:
            with leaving():
                os.kill(0, signal.SIGTSTP)  # all of the job, as the terminal would do it

        run_in_terminal(stop)

    return keys


def tell_esc_from_alt(app: Application[str]) -> Filter:
    """Have the editor wait for the rest of a sequence of keys as long as it takes to type that one. What it gives says
    of a key behind Esc whether both came at once, as Alt sends them."""
    at_once = False

    def wait(sender: object) -> None:
        nonlocal at_once
        begun = app.key_processor.key_buffer
        alt = bool(begun) and begun[0].key == Keys.Escape
        app.timeoutlen = _ESC_SECONDS[app.editing_mode] if alt else _SEQUENCE_SECONDS
        if alt and len(begun) == 1:
            at_once = bool(app.key_processor.input_queue)

    app.ttimeoutlen = 0.05
    app.key_processor.after_key_press += wait
    return Condition(lambda: at_once)


def vi_mode_words(app: Application[str]) -> str:
    """What keys do just now in the vi way; empty in the emacs way."""
    if app.editing_mode != EditingMode.VI:
        return ""
    if app.current_buffer.selection_state is not None:
        return "VISUAL"
    return _VI_MODES.get(app.vi_state.input_mode, "INSERT")


def empty(line: Callable[[], str]) -> Filter:
    return typing_a_line & Condition(lambda: not line())
