"""Typing: lines, keys, pastes, history, completion, a window that changes its size."""

import pytest

CTRL_C, CTRL_D, CTRL_J, CTRL_L, CTRL_R, CTRL_X_E = "\x03", "\x04", "\n", "\x0c", "\x12", "\x18\x05"
ALT_ENTER, ENTER, TAB, UP = "\x1b\r", "\r", "\t", "\x1b[A"

WRITES = 'printf "written in\\nthe editor" > "$1"'


@pytest.fixture(scope="module")
def shared(chats, tmp_path_factory):
    program = tmp_path_factory.mktemp("editor") / "editor"
    program.write_text(f"#!/bin/sh\ntest -e {program}.waits && touch {program}.waited && sleep 30\n{WRITES}\n")
    program.chmod(0o755)
    (program.parent / "notes.txt").touch()
    chat = chats({"capital": "Paris.", "long": "Short."}, VISUAL=str(program), HOME=str(program.parent))
    chat.waits, chat.waited = (program.with_name(f"editor.{word}") for word in ("waits", "waited"))
    return chat


@pytest.fixture
def chat(shared):
    return shared.begin()


def shown(chat):
    """The lines on the screen now."""
    return [line.rstrip() for line in chat.screen.display]


def test_a_paste_of_200_lines_is_one_message(chat):
    lines = [f"line {number}" for number in range(200)]
    chat.send("\x1b[200~" + "\r".join(lines) + "\x1b[201~")
    chat.wait(lambda t: "line 199" in t.said(), 20)
    chat.send(ENTER)
    chat.until("I do not know.")
    assert chat.turns()[-1].query.split("\n") == lines


@pytest.mark.parametrize("key", [ALT_ENTER, CTRL_J], ids=["alt-enter", "ctrl-j"])
def test_keys_that_break_the_line(chat, key):
    chat.send("first" + key + "second")
    chat.enter(", capital", "Paris.")
    assert chat.turns()[-1].query == "first\nsecond, capital"


def test_ctrl_c_clears_a_filled_line_and_explains_on_an_empty_one(chat):
    before = len(chat.turns())
    chat.send("never sent")
    chat.wait(lambda t: t.line() == "> never sent")
    chat.send(CTRL_C)
    chat.wait(lambda t: t.line() == ">")
    chat.send(CTRL_C)
    chat.wait("Ctrl+D or /exit leaves")
    chat.enter("the capital?", "Paris.")
    assert len(chat.turns()) == before + 1


def test_ctrl_d_on_a_filled_line_does_not_leave(chat):
    chat.send("still here, capital" + CTRL_D)
    chat.wait(lambda t: t.line() == "> still here, capital")
    chat.enter("", "Paris.")
    assert chat.process.isalive()


def test_up_brings_the_line_before(chat):
    chat.enter("a capital to come back to", "Paris.")
    chat.send(UP)
    chat.wait(lambda t: t.line() == "> a capital to come back to")


def test_ctrl_r_finds_an_earlier_line_and_ctrl_c_gives_the_search_up(chat):
    chat.enter("the capital of the needle", "Paris.")
    chat.enter("another capital", "Paris.")
    chat.send(CTRL_R + "needle")
    chat.wait(lambda t: "needle" in t.line() and "> the capital of the needle" in shown(t))
    chat.send(CTRL_C)
    chat.wait(lambda t: t.line() == ">")
    chat.send(CTRL_R + "needle")
    chat.wait(lambda t: "needle" in t.line() and "> the capital of the needle" in shown(t))
    chat.send(ENTER)
    chat.wait(lambda t: t.line() == "> the capital of the needle")


def test_an_unknown_command_is_told_with_the_nearest(chat):
    before = len(chat.turns())
    chat.enter("/adaptres", "There is no command /adaptres; did you mean /adapters?")
    assert len(chat.turns()) == before


@pytest.mark.parametrize(
    "typed, whole",
    [
        ("/crit", "/critical"),
        ("/adapters roll", "/adapters rollback"),
        ("/help quee", None),
        ("/help repo", "/help report"),
        ("/set rules.pl", "/set rules.place"),
        ("/set rules.place qu", "/set rules.place question"),
        ("/model smollm2-1", "/model smollm2-135m"),
        ("/read ~/no", "/read ~/notes.txt"),
        ("what says @~/no", "what says @~/notes.txt"),
    ],
    ids=["command", "word", "nothing fits", "name of a command", "setting", "value", "model", "file", "attached file"],
)
def test_tab_completes(chat, typed, whole):
    chat.send(typed)
    chat.wait(lambda t: t.line() == f"> {typed}")
    chat.send(TAB)
    if whole is None:
        chat.send("!")
        chat.wait(lambda t: t.line() == f"> {typed}!")
    else:
        chat.wait(lambda t: t.line().startswith(f"> {whole}"))


def test_tab_completes_conversations(chat):
    chat.enter("the capital?", "Paris.")
    chat.enter("/save My haystack", "Saved as")
    chat.send("/sessions export my" + TAB)
    chat.wait(lambda t: t.line() == '> /sessions export "My haystack"')


def test_a_window_that_changes_its_size_while_a_line_is_typed(chat):
    chat.send("half a tho")
    chat.wait(lambda t: t.line() == "> half a tho")
    chat.resize(50, 16)
    chat.send("ught of a capital")
    chat.wait(lambda t: t.line() == "> half a thought of a capital")
    chat.resize(80, 24)
    chat.enter("", "Paris.")
    assert chat.turns()[-1].query == "half a thought of a capital"


def test_a_word_longer_than_the_screen_is_wide(chat):
    word = "long" + "o" * 400
    chat.send(word)
    chat.enter("", "Short.")
    assert chat.turns()[-1].query == word


def test_the_editor_takes_the_line_and_gives_it_back(chat):
    chat.send("to be replaced" + CTRL_X_E)
    chat.wait(lambda t: "the editor" in t.line() or "I do not know." in t.said())
    if "the editor" in chat.line():
        chat.send(ENTER)
    chat.until("I do not know.")
    assert chat.turns()[-1].query == "written in\nthe editor"


def test_ctrl_c_in_an_editor_ends_the_editor_and_not_the_chat(chat):
    chat.waits.touch()
    chat.send("the line before" + CTRL_X_E)
    chat.wait(lambda t: t.waited.exists())
    chat.send(CTRL_C)
    chat.waits.unlink()
    chat.wait(lambda t: t.line().lstrip("^C").startswith(">"))
    chat.send(CTRL_L)  # the terminal shows the keys that the editor did not take
    chat.begin().enter("the capital?", "Paris.")


def test_help_on_all_on_one_and_on_the_keys(chat):
    for line, word in (("/help", "/adapters"), ("/help fix", "/fix [#n]"), ("/help keys", "Ctrl+R")):
        chat.enter(line, word)


def test_ctrl_l_clears_the_screen_and_keeps_the_line(chat):
    chat.send("kept")
    chat.wait(lambda t: t.line() == "> kept")
    chat.send(CTRL_L)
    chat.wait(lambda t: t.screen.display[0].rstrip() == "> kept")


def test_a_bare_exit_leaves(chat):
    chat.send("exit" + ENTER)
    assert chat.end() == 0
