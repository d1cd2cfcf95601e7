"""The line editor in a terminal, without the chat around it."""

import sys
import termios

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


SUSPENDED = """
import sys, time
from pathlib import Path
from shammah.ui.line_editor import EditorPrompt
from shammah.ui.prompt import HistorySettings

prompt = EditorPrompt(HistorySettings(None, lambda line: True, False), lambda: None, lambda kind, word: ())
with prompt.listening():
    print("read", repr(prompt.read()), flush=True)
    print("at work", flush=True)
    while not Path(sys.argv[1]).exists():
        time.sleep(0.01)
    print("read", repr(prompt.read()), flush=True)
"""


def test_ctrl_z_gives_the_terminal_back_and_fg_the_line(terminal, tmp_path):
    (tmp_path / "program.py").write_text(SUSPENDED)
    here = terminal(command=["bash", "--norc", "--noprofile", "-i"], PS1="shell: ")
    here.wait("shell:")
    here.send(f"{sys.executable} {tmp_path}/program.py {tmp_path}/done\n")
    here.wait(lambda t: t.line() == ">")
    here.send("half a line")
    here.wait(lambda t: t.line() == "> half a line")
    here.send("\x1a")
    here.wait("Stopped")
    here.wait(lambda t: t.line() == "shell:")
    here.send("echo $((20 + 1)); stty -a\n")
    here.wait("21")
    here.wait(lambda t: t.line() == "shell:")
    assert " icanon" in here.text() and " echo " in here.text() and " icrnl" in here.text()
    here.send("fg\n")
    here.wait(lambda t: t.line() == "> half a line")
    here.send(" more" + ENTER)
    here.wait("read 'half a line more'")
    here.wait("at work")
    here.send("\x1a")
    here.wait(lambda t: t.text().count("Stopped") == 2 and t.line() == "shell:")
    jobs = here.raw.count(b"program.py")
    here.send("fg\n")
    here.wait(lambda t: t.raw.count(b"program.py") > jobs, 10)  # the shell tells what it goes on with
    here.wait(lambda t: not termios.tcgetattr(t.process.child_fd)[3] & termios.ECHO, 10)
    here.send("typed ahead" + ENTER)
    (tmp_path / "done").touch()
    here.wait("read 'typed ahead'")
    assert here.text().count("typed ahead") == 2, "at the prompt and behind it"
    here.send("exit\n")
    here.end()
