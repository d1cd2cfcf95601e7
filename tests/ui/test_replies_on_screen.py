"""Thirty replies in terminals of three sizes: each stands there once, whole, however it came in pieces; and nothing
that was written is ever touched again."""

import io
import os
import re
from random import Random

import pyte
import pytest
from support.markdown_replies import REPLIES

from shammah.records import Piece
from shammah.ui.reply.view import Look, ReplyView
from shammah.ui.reply.wrapping import cells_of
from shammah.ui.themes import COLOURLESS, THEMES

SIZES = ((80, 24), (40, 12), (200, 50))
SGR = r"\x1b\[[\d;]*m"
# Longest word that may stand in the last row for a while.
SHORT = 20
each_reply = pytest.mark.parametrize("name", REPLIES)


class FakeTerminal(io.StringIO):
    def isatty(self):
        return True


def written(text, columns, *, theme="dark", cuts=()):
    """The bytes of a reply that comes in these pieces."""
    out = FakeTerminal()
    look = Look(THEMES.get(theme, COLOURLESS), lambda: columns, rendered=True, moves=True, ascii=False)
    view = ReplyView(out, look)
    view.begin()
    for begin, end in zip((0, *cuts), (*cuts, len(text)), strict=True):
        view.add(Piece("reply", text[begin:end]))
    view.end()
    return out.getvalue()


def without_transients(raw):
    """What stays. Whatever goes away again must begin a row, be short, and be blank before anything else comes."""
    kept = []
    for line in raw.split("\n"):
        *gone, text = line.split("\r")
        if gone:
            first, *words, last = gone
            assert first == "" and not last.strip(), "nothing stands in a row that is drawn over"
            assert all(0 < len(word) <= SHORT and cells_of(word) <= len(last) for word in words)
        kept.append(text)
    return "\n".join(kept)


def stripped(raw):
    return re.sub(SGR, "", raw)


def as_terminal_shows(text, columns):
    """Lines that are too long are broken by the terminal itself."""
    lines = []
    for line in text.split("\n"):
        while cells_of(line) > columns:
            lines.append(line[:columns])
            line = line[columns:]
        lines.append(line.rstrip())
    return lines


def shown(raw, columns, rows):
    """All rows of a terminal, scrolled off or not."""
    screen = pyte.HistoryScreen(columns, rows, history=10_000)
    pyte.Stream(screen).feed(raw.replace("\n", "\r\n"))
    above = ["".join(line[at].data for at in range(columns)) for line in screen.history.top]
    return [line.rstrip() for line in (*above, *screen.display)]


@each_reply
@pytest.mark.parametrize("theme", ["dark", "none"])
def test_the_bytes_do_not_hang_on_the_pieces(name, theme):
    text, random = REPLIES[name], Random(name)
    whole = without_transients(written(text, 40, theme=theme))
    every = range(1, len(text))
    for cuts in (every, *(sorted(random.sample(every, random.randint(1, len(text) // 3))) for _ in range(4))):
        assert without_transients(written(text, 40, theme=theme, cuts=tuple(cuts))) == whole


@each_reply
def test_the_bytes_are_text_line_ends_and_colours(name):
    for columns, _ in SIZES:
        raw = without_transients(written(REPLIES[name], columns, cuts=range(1, len(REPLIES[name]))))
        rest = stripped(raw)
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", rest), "no cursor is moved, no row drawn over"
        assert rest.endswith("\n") and not rest.endswith("\n\n") and not rest.startswith("\n")
        assert not re.search(" $", rest, re.MULTILINE)
        assert "code" in name or "\n\n\n" not in rest, "one blank line between blocks"


@each_reply
@pytest.mark.parametrize(("columns", "rows"), SIZES)
def test_it_stands_on_the_screen_once_and_as_it_was_laid_out(name, columns, rows):
    raw = written(REPLIES[name], columns, cuts=range(3, len(REPLIES[name]), 5))
    laid_out = as_terminal_shows(stripped(without_transients(raw)).removesuffix("\n"), columns)
    before, after = ["> question"], [">"]
    lines = shown(f"> question\n{raw}> ", columns, rows)
    while lines and not lines[-1]:
        lines.pop()
    assert [as_cells(line) for line in lines] == [as_cells(line) for line in (*before, *laid_out, *after)]


def as_cells(line):
    """pyte keeps an empty cell, or none, behind a wide letter."""
    return line.replace("\0", "")


@each_reply
@pytest.mark.parametrize("theme", ["dark", "none"])
def test_every_word_is_there_in_its_order(name, theme):
    text = REPLIES[name]
    for known in ("&#27;", "&copy;", "&amp;", "&nbsp;", "&lt;", "&gt;"):
        text = text.replace(known, " ")
    for columns, _ in SIZES:
        seen = stripped(without_transients(written(REPLIES[name], columns, theme=theme)))
        letters = re.sub(r"\W|_", "", seen)
        if "many columns" not in name:  # where a column has no room, its header stands before each of its cells
            place = 0
            wide = "wide table" in name  # whose cells are wrapped beside each other
            for word in re.findall(r"[^\W_]+", text):
                found = letters.find(word, 0 if wide else place)
                assert found >= 0 or wide, f"{word!r} is missing"
                place = max(place, found)
        for letter in set(re.findall(r"[^\W_]", text)):
            assert letters.count(letter) >= re.sub(r"\W|_", "", text).count(letter)


@each_reply
def test_a_window_that_changes_its_size_meanwhile(name):
    text, columns = REPLIES[name], [80]
    out = FakeTerminal()
    view = ReplyView(out, Look(THEMES["dark"], lambda: columns[0], rendered=True, moves=False, ascii=False))
    third = len(text) // 3
    for part, size in ((text[:third], 80), (text[third : 2 * third], 40), (text[2 * third :], 200)):
        columns[0] = size
        view.add(Piece("reply", part))
    view.end()
    letters = re.sub(r"\W|_", "", stripped(out.getvalue()))
    whole = re.sub(r"\W|_", "", stripped(written(text, 80)))
    assert sorted(letters) == sorted(whole) or "table" in name


class TestInARealTerminal:
    def test_a_spinner_then_the_reply_then_nothing_of_it(self, talker):
        chat = talker({"table": REPLIES["a table"], "": "Never said."}, TALKER_PAUSE="0.25")
        chat.wait_for_prompt()
        chat.send("a table\r")
        chat.wait(lambda t: t.line() in tuple("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"))
        chat.wait_for_prompt(2)
        said = chat.raw[: chat.raw.index(b"That was it.")].decode()
        begins = "\x1b[?2004h"  # the last that the line editor writes
        reply = without_transients(said[said.rindex(begins) + len(begins) :].replace("\r\n", "\n"))
        assert stripped(reply) == stripped(without_transients(written(REPLIES["a table"], 100))).partition("That")[0]
        chat.send("stop this\r")
        chat.wait(lambda t: t.line() in tuple("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"))
        chat.interrupt()
        chat.wait("the reply so far is kept")
        chat.wait(lambda t: t.line() == ">")
        assert not re.search("[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏]", chat.text())
        chat.leave()

    def test_the_window_is_made_narrow_during_a_reply(self, talker):
        words = [f"word{number}" for number in range(120)]
        chat = talker({"": " ".join(words)}, TALKER_PAUSE="0.02", columns=80)
        chat.wait_for_prompt()
        chat.send("go\r")
        chat.wait("word20")
        chat.process.setwinsize(24, 40)
        chat.wait(lambda t: b"word119" in t.raw)
        chat.wait(lambda t: t.line().startswith(">"))
        raw = chat.raw.decode()
        assert re.findall(r"word\d+", raw) == words
        lines = raw[raw.index("word0 ") : raw.index("word119")].split("\r\n")
        assert max(map(len, lines)) > 60 and max(map(len, lines[-6:])) <= 39
        chat.leave()

    def test_plain_by_a_flag_and_figures_on_request(self, talker):
        chat = talker({"": "Some **bold** words."}, "--plain", "--set", "ui.stats=true", "hello")
        assert chat.end() == 0
        assert b"\x1b" not in chat.raw and "Some **bold** words." in chat.text()
        assert re.search(r"^3 tokens · 0\.\d s · \d+ tokens/s · talker$", chat.text(), re.MULTILINE)

    def test_plain_in_the_chat(self, talker, home):
        os.makedirs(home)
        (home / "config.toml").write_text("[ui]\nplain = true\n")
        chat = talker({"": "Some **bold** words."}, TALKER_PAUSE="0.2")
        chat.say("hello", "Some **bold** words.")
        assert b"\x1b" not in chat.raw and not re.search("[⠋⠙⠹⠸]", chat.text())
        chat.leave()
