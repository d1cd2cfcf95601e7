"""The line editor without the chat: keys come from a pipe, and what it draws goes to a screen in memory."""

import io
import threading
import time
from contextlib import ExitStack

import pyte
from prompt_toolkit.application import create_app_session
from prompt_toolkit.data_structures import Size
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output.color_depth import ColorDepth
from prompt_toolkit.output.vt100 import Vt100_Output

from shammah.config import UiSettings
from shammah.ui.line_editor import EditorPrompt
from shammah.ui.prompt import HistorySettings


class Paper:
    """A terminal as the editor sees it. It answers where its cursor is."""

    def __init__(self, columns, rows, answer, encoding="utf-8"):
        self.screen = pyte.HistoryScreen(columns, rows, history=1000)
        self.encoding = encoding
        self.lock = threading.Lock()
        self._stream = pyte.Stream(self.screen)
        self._answer = answer

    def write(self, text):
        with self.lock:
            self._stream.feed(text.replace("\x1b[6n", ""))
            for _ in range(text.count("\x1b[6n")):
                self._answer(f"\x1b[{self.screen.cursor.y + 1};{self.screen.cursor.x + 1}R")

    def flush(self):
        pass

    def isatty(self):
        return True

    def fileno(self):
        raise io.UnsupportedOperation


class Typist:
    """`read("abc", "\\t", lambda t: t.shows("abc"))` types, waits for what has to be there, and goes on."""

    def __init__(self, *, columns=60, rows=20, file=None, names_of=lambda kind, begun: (), keeps=lambda line: True,
                 redacts=False, depth=ColorDepth.DEPTH_8_BIT, encoding="utf-8", **settings):  # fmt: skip
        self._stack = ExitStack()
        self._keys = self._stack.enter_context(create_pipe_input())
        self.size = Size(rows=rows, columns=columns)
        self.paper = Paper(columns, rows, self._keys.send_text, encoding)
        output = Vt100_Output(self.paper, lambda: self.size, term="xterm-256color", default_color_depth=depth)
        self._stack.enter_context(create_app_session(input=self._keys, output=output))
        self.settings = UiSettings(**settings)
        history = HistorySettings(file, keeps, redacts)
        self.prompt = EditorPrompt(history, lambda: None, names_of, lambda: self.settings)
        self.app = self.prompt._session.app
        self.failure = ""

    def close(self):
        self._stack.close()

    def resize(self, columns, rows):
        self.size = Size(rows=rows, columns=columns)
        with self.paper.lock:
            self.paper.screen.resize(rows, columns)
        self.app.loop.call_soon_threadsafe(self.app._on_resize)

    def read(self, *steps, act=None):
        """What the prompt gives for these keys. A step is a text to type, or what has to hold before the next."""
        return self._while_typing(steps, act or self.prompt.read)

    def _while_typing(self, steps, act):
        typing = threading.Thread(target=self._type, args=(steps,))
        typing.start()
        try:
            return act()
        finally:
            typing.join()
            assert not self.failure, self.failure

    def _type(self, steps):
        self._wait(lambda typist: typist.app.is_running)
        for step in steps:
            if isinstance(step, str):
                self._keys.send_text(step)
            elif not self._wait(step):
                self.failure = f"step {steps.index(step)} never came:\n{self.text()}"
                if self.app.is_running:
                    self.app.loop.call_soon_threadsafe(self.app.exit)
                return

    def _wait(self, condition):
        end = time.monotonic() + 5
        while not condition(self):
            if time.monotonic() > end:
                return False
            time.sleep(0.002)
        return True

    def lines(self):
        """What stands on the screen, without the blank lines at its end."""
        with self.paper.lock:
            shown = [line.rstrip() for line in self.paper.screen.display]
        while shown and not shown[-1]:
            shown.pop()
        return shown

    def text(self):
        return "\n".join(self.lines())

    def above(self):
        """What was scrolled off."""
        with self.paper.lock:
            top = self.paper.screen.history.top
            return ["".join(line[x].data for x in range(self.paper.screen.columns)).rstrip() for line in top]

    @property
    def line(self):
        return self.app.current_buffer.text


def shows(text):
    return lambda typist: text in typist.text()


def hides(text):
    return lambda typist: text not in typist.text()


def holds(text):
    """The line is this by now."""
    return lambda typist: typist.app.is_running and typist.prompt._session.default_buffer.text == text


def after(seconds):
    """So long nothing is typed."""
    begun = []

    def test(typist):
        begun.append(time.monotonic())
        return begun[-1] - begun[0] >= seconds

    return test


def suggests(text):
    """So much stands in grey behind the cursor; nothing, where it is empty."""

    def test(typist):
        suggestion = typist.prompt._session.default_buffer.suggestion
        return (suggestion.text if suggestion else "") == text

    return test
