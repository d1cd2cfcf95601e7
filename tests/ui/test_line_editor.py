"""The line editor in a terminal, without the chat around it."""

import sys

ENTER = "\r"

SCRIPT = """
import sys, time
from shammah.ui.line_editor import EditorPrompt
from shammah.ui.prompt import HistorySettings

def slowly():
    print("A notice begins", file=sys.stderr, flush=True)
    time.sleep(1)
    print("and ends.", file=sys.stderr, flush=True)

history = HistorySettings(None, lambda line: True, False)
prompt = EditorPrompt(history, lambda: prompt.above(slowly), lambda kind, word: ())
with prompt.listening():
    print("read", repr(prompt.read()), flush=True)
"""


def test_a_line_sent_while_something_is_said_above_it_is_sent(terminal):
    here = terminal(command=[sys.executable, "-c", SCRIPT])
    here.wait("A notice begins")
    here.send("one line" + ENTER)
    here.wait("read 'one line'", timeout=20)
    assert here.text().splitlines() == ["A notice begins", "and ends.", "> one line", "read 'one line'"]
