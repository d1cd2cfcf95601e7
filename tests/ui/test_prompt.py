"""What the keys do while a line is typed: the real line editor, with keys from a pipe and a screen in memory."""

import os
import sys
import threading

import pytest
from prompt_toolkit.output.color_depth import ColorDepth
from ui.typist import Typist, after, hides, holds, shows, suggests

import shammah.ui.repl  # declares the commands
from shammah import typed_lines
from shammah.ui.commands import GROUPS, registry

ENTER, TAB, ESC, UP, CTRL_C, CTRL_E, CTRL_R, RIGHT = "\r", "\t", "\x1b", "\x1b[A", "\x03", "\x05", "\x12", "\x1b[C"
ALT_ENTER, ALT_F, EDIT = "\x1b\r", "\x1bf", "\x18\x05"

assert shammah.ui.repl.COMMAND_MODULES


@pytest.fixture
def typist(monkeypatch):
    """Make an editor: typist(columns=40, keys="vi")."""
    made = []
    with open(os.devnull) as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)  # pytest's own has no number; nothing is read from it
        monkeypatch.setenv("TERM", "xterm-256color")
        monkeypatch.delenv("NO_COLOR", raising=False)

        def make(**options):
            made.append(Typist(**options))
            return made[-1]

        yield make
        for each in made:
            each.close()


@pytest.fixture
def lines(tmp_path):
    """A history that holds these lines."""

    def write(*texts):
        for text in texts:
            typed_lines.append_entry(tmp_path / "history", text)
        return tmp_path / "history"

    return write


class TestCompletion:
    def test_the_common_part_first_then_a_menu_with_the_help_then_the_next(self, typist):
        here = typist(columns=100)
        said = here.read("/cri", TAB, holds("/critical "), ENTER)
        assert said == "/critical ", "one match is completed at once, and can be gone on with"
        help = registry.find("read").help
        said = here.read("/clea", TAB, holds("/clear"), CTRL_C, "/re", TAB, shows("/read"), shows(help), TAB, TAB,
                         holds("/read"), ENTER, hides("/report"), ENTER)  # fmt: skip
        assert said == "/read", "the first Enter takes what is marked, the second sends it"

    def test_the_words_of_a_command(self, typist):
        here = typist()
        assert here.read("/adap", TAB, holds("/adapters "), "ro", TAB, holds("/adapters rollback"), ENTER)

    def test_a_slash_and_tab_show_all_in_the_order_of_the_help(self, typist):
        here, shown = typist(columns=80, rows=60), []

        def look(t):
            shown.extend(line.split()[0] for line in t.lines() if line.startswith(" /"))
            return True

        here.read("/", TAB, shows("/critical"), look, ENTER)
        groups = [registry.find(name.removeprefix("/")).group for name in shown]
        assert groups == sorted(groups, key=list(GROUPS).index) and "/clear" in shown and "/new" not in shown

    def test_other_names_of_a_command_only_where_its_own_is_not_meant(self, typist):
        here = typist(columns=100)
        here.read("/reg", TAB, holds("/regen "), CTRL_C, "/re", TAB, shows("the same as /clear"), ENTER)
        assert "/regen" not in here.text()

    def test_names_come_from_where_there_are_some_and_never_hold_up_typing(self, typist):
        asked, found = [], threading.Event()

        def slow(kind, begun):
            asked.append((kind, begun))
            found.wait(5)
            return ["one_adapter", "other"]

        here = typist(names_of=slow)
        here.read("/adapters load o", TAB, lambda _: asked, "n", holds("/adapters load on"),
                  lambda _: found.set() or True, holds("/adapters load one_adapter"), ENTER)  # fmt: skip
        assert asked == [("adapter", "o"), ("adapter", "on")]

    def test_a_source_that_fails_completes_nothing(self, typist):
        def broken(kind, begun):
            raise OSError("gone")

        here = typist(names_of=broken)
        assert here.read("/adapters load o", TAB, TAB, "x" + ENTER) == "/adapters load ox"

    def test_a_file_behind_an_at_sign(self, typist):
        here = typist(names_of=lambda kind, begun: [f"{begun}tes.txt"] if (kind, begun) == ("file", "no") else [])
        assert here.read("what is in @no", TAB, holds("what is in @notes.txt"), ENTER)
        assert here.read("me@no", TAB, "?", ENTER) == "me@no?", "an address is no file"

    def test_esc_closes_the_menu_and_leaves_what_was_typed(self, typist):
        here = typist()
        assert here.read("/re", TAB, shows("/replies"), TAB, ESC, hides("/replies"), holds("/re"), ENTER) == "/re"

    def test_nothing_pops_up_while_typing_unless_that_is_wanted(self, typist):
        here = typist()
        here.read("/re", holds("/re"), after(0.05), hides("/replies"), ENTER)
        here = typist(complete="typing")
        here.read("/re", shows("/replies"), ENTER)


class TestSuggestions:
    def test_the_newest_line_that_begins_so_is_taken_whole_or_by_words(self, typist, lines):
        here = typist(file=lines("what is a tree", "what is a house"))
        assert here.read("wh", suggests("at is a house"), shows("> what is a house"), RIGHT, ENTER) == "what is a house"
        assert here.read("what is a t", suggests("ree"), CTRL_E, ENTER) == "what is a tree"
        assert here.read("wh", suggests("at is a tree"), ALT_F, holds("what "), CTRL_C, ENTER) == ""

    def test_it_is_no_part_of_what_is_sent(self, typist, lines):
        here = typist(file=lines("what is a house"))
        assert here.read("what", suggests(" is a house"), ENTER) == "what"
        assert here.lines()[0] == "> what"

    @pytest.mark.parametrize(
        "options", [{"suggestions": False}, {"depth": ColorDepth.DEPTH_1_BIT}], ids=["not wanted", "no colours"]
    )
    def test_none(self, typist, lines, options):
        here = typist(file=lines("what is a house"), **options)
        here.read("what", holds("what"), after(0.05), suggests(""), ENTER)

    def test_nothing_private_and_nothing_of_several_lines(self, typist, lines):
        file = lines("/forget Atlantis", "my key [redacted API key]", "two\nlines")
        here = typist(file=file, redacts=True, keeps=registry.keeps)
        assert here.read("the key AKIAQWERTZUIOPASDFG2" + ENTER)
        for begun in ("/forget A", "my k", "two", "the key"):
            here.read(begun, holds(begun), after(0.05), suggests(""), CTRL_C, ENTER)
        assert here.read(UP, ENTER) == "the key AKIAQWERTZUIOPASDFG2", "in this chat it can be sent again"

    def test_not_where_a_question_is_open(self, typist, lines):
        here = typist(file=lines("express"))
        typed = here.read(
            "exp", holds("exp"), after(0.05), suggests(""), ENTER, act=lambda: here.prompt.offer("fix> ", "es")
        )
        assert typed.text == "exp"


class TestAbove:
    def test_what_cannot_be_said_or_seen_is_one_line_and_the_prompt_goes_on(self, typist, capsys):
        here, said = typist(), []

        def broken():
            raise KeyError("gone")

        def say(t):
            t.prompt.watch(broken)
            t.prompt.above(broken)
            t.prompt.above(lambda: said.append("next"))
            return True

        assert here.read("half", say, lambda _: said, after(0.3), " a line", ENTER) == "half a line"
        assert capsys.readouterr().err == "Something went wrong: 'gone' (the log tells more)\n"


class TestHistory:
    @pytest.mark.parametrize("keys", ["emacs", "vi"])
    def test_a_search_finds_earlier_lines_and_sends_nothing_by_itself(self, typist, lines, keys):
        here = typist(file=lines("the Blue one", "red\nand blue", "green"), keys=keys)
        found = here.read(CTRL_R, "blue", shows("and blue"), CTRL_R, shows("> the Blue one"), ENTER,
                          holds("the Blue one"), ENTER)  # fmt: skip
        assert found == "the Blue one"
        assert here.read(CTRL_R, "and", shows("and blue"), ENTER, holds("red\nand blue"), ENTER) == "red\nand blue"
        assert here.read("x", CTRL_R, "gre", shows("> green"), CTRL_C, holds("x"), ENTER) == "x", "left as it was"

    def test_up_finds_what_begins_as_the_line_does(self, typist, lines):
        here = typist(file=lines("make tea", "make\ncoffee", "drink"))
        assert here.read("ma", UP, holds("make\ncoffee"), ENTER) == "make\ncoffee"
        assert here.read("make t", UP, ENTER) == "make tea"
        assert here.read(UP, UP, UP, holds("make\ncoffee"), ENTER)

    def test_a_line_that_cannot_be_written_is_kept_for_this_chat(self, typist, tmp_path):
        (tmp_path / "history").mkdir()
        here = typist(file=tmp_path / "history")
        assert here.read("hello" + ENTER) == "hello"
        assert here.read(UP + ENTER) == "hello"


class TestVi:
    def test_the_mode_is_shown_and_esc_is_no_alt(self, typist):
        here = typist(keys="vi")
        rating = here.read(shows("INSERT"), ESC, after(0.3), "cchello" + ENTER)
        assert rating == "hello", "c after Esc is vi's, not the key that rates"
        assert here.read("one two", ESC, shows("NORMAL"), "bcwthree" + ENTER) == "one three"
        assert here.read("one", ESC, shows("NORMAL"), "v", shows("VISUAL"), ESC, shows("NORMAL"), "x" + ENTER) == "on"

    @pytest.mark.parametrize("keys", ["emacs", "vi"])
    @pytest.mark.parametrize(("key", "level"), [("g", "good"), ("m", "medium"), ("c", "critical")])
    def test_the_keys_that_rate(self, typist, keys, key, level):
        assert typist(keys=keys).read(ESC + key) == f"/{level}"

    def test_the_way_changes_with_the_setting(self, typist):
        here = typist()
        here.read(hides("INSERT"), ENTER)
        here.settings = type(here.settings)(keys="vi")
        here.read(shows("INSERT"), ENTER)

    def test_ctrl_c_clears_the_line_and_lets_type_again(self, typist):
        here = typist(keys="vi")
        assert here.read("one", ESC, shows("NORMAL"), CTRL_C, shows("INSERT"), "two" + ENTER) == "two"


class TestEmacs:
    def test_esc_alone_swallows_nothing(self, typist):
        assert typist().read(ESC, after(0.7), "great" + ENTER) == "great"

    @pytest.mark.parametrize("key", ["g", "m", "c"])
    def test_who_begins_a_message_soon_after_esc_rates_nothing(self, typist, key):
        assert typist().read(ESC, after(0.2), f"{key}an you", ENTER) == f"{key}an you"

    def test_esc_stands_for_alt_where_there_is_none(self, typist):
        said = typist().read(after(0.1), "one", ESC, after(0.1), ENTER + "two", holds("one\ntwo"), ENTER)
        assert said == "one\ntwo"

    def test_there_is_time_between_the_keys_that_open_the_editor(self, typist, monkeypatch, editor):
        monkeypatch.setenv("VISUAL", editor("from the editor\n"))
        said = typist().read("one", EDIT[0], after(0.6), EDIT[1], holds("from the editor"), ENTER)
        assert said == "from the editor"

    @pytest.mark.parametrize("keys", ["emacs", "vi"])
    def test_an_editor_that_is_not_there_is_said(self, typist, monkeypatch, keys):
        monkeypatch.setenv("VISUAL", "/nowhere/editor")
        here = typist(keys=keys, columns=120)
        assert here.read("one", EDIT, shows("Set VISUAL or EDITOR"), ENTER) == "one"

    def test_ctrl_c_clears_and_then_says_how_to_leave(self, typist):
        here = typist()
        assert here.read("never", CTRL_C, holds(""), CTRL_C, shows("Ctrl+D or /exit leaves"), "\x04") is None


class TestScreens:
    PASTED = "\x1b[200~" + "\r".join(f"line {number}" for number in range(200)) + "\x1b[201~"

    def test_a_paste_of_200_lines_is_one_message_and_stands_whole_in_the_scrollback(self, typist):
        here = typist(columns=40, rows=12)
        said = here.read(self.PASTED, shows("line 199"), "!", ENTER)
        assert said == "\n".join(f"line {number}" for number in range(200)) + "!"
        assert here.read("next" + ENTER) == "next"
        whole = ["> line 0", *(f"  line {number}" for number in range(1, 199)), "  line 199!", "> next"]
        assert [line for line in [*here.above(), *here.lines()] if line] == whole

    @pytest.mark.parametrize(("columns", "rows"), [(40, 12), (20, 5), (10, 3)])
    def test_a_small_screen_takes_lines_menus_and_a_paste(self, typist, columns, rows):
        here = typist(columns=columns, rows=rows)
        here.prompt.toolbar([[["smollm2-135m"], ["ctx 12 %"]]])
        said = here.read("/re", TAB, shows("/re"), lambda t: t.app.current_buffer.complete_state, TAB, TAB, ESC,
                         CTRL_C, "x" * 70, ALT_ENTER, "y", self.PASTED, ENTER)  # fmt: skip
        assert said.startswith("x" * 70 + "\nyline 0") and "too small" not in here.text() + "".join(here.above())

    def test_resized_while_a_menu_is_open(self, typist):
        here = typist(columns=80, rows=24)

        def resize(columns, rows):
            return lambda t: t.resize(columns, rows) or True

        here.prompt.toolbar([[["smollm2-135m"], ["ctx 12 %"]]])
        here.read("/re", TAB, shows("/replies"), resize(20, 6), lambda t: all(len(line) <= 20 for line in t.lines()),
                  TAB, resize(120, 40), shows("/replies"), shows("ctx 12 %"), ENTER, ENTER)  # fmt: skip
        assert here.read("still here" + ENTER) == "still here"

    def test_without_utf_8_the_toolbar_is_ascii(self, typist):
        here = typist(encoding="ascii", columns=40)
        here.prompt.toolbar([[["smollm2"], ["ctx 12 %"]]])
        here.read(shows("smollm2 | ctx 12 %"), ENTER)
