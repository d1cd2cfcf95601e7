"""Markdown as it stands on the screen, without colours and with them."""

import re

import pytest

from shammah.ui.reply.blocks import Blocks
from shammah.ui.reply.page import Page
from shammah.ui.themes import COLOURLESS, THEMES


def rendered(text, width=40, theme="dark", *, ascii=False):
    page = Page(THEMES.get(theme, COLOURLESS), lambda: width)
    blocks = Blocks(page, ascii=ascii)
    blocks.feed(text)
    blocks.end()
    return page.take()


def plain(text, width=40, theme="dark", **options):
    """What can be read of it."""
    return re.sub(r"\x1b\[[\d;]*m", "", rendered(text, width, theme, **options)).removesuffix("\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one\ntwo", "one\ntwo"),
        ("one\n\n\n\ntwo\n\n", "one\n\ntwo"),
        ("  one\n   two", "one\ntwo"),
        ("# A\ntext\n## B ##\n- x", "A\n\ntext\n\nB\n\n• x"),
        ("#no\n####### no", "#no\n####### no"),
        ("So:\n- a\n- b\n\nand", "So:\n\n• a\n• b\n\nand"),
        ("- a\n\n- b", "• a\n\n• b"),
        ("* a\n  * b\n    + c\n* d", "• a\n  ◦ b\n    ◦ c\n• d"),
        ("1. a\n  - b\n2. c\n10) d", "1. a\n   • b\n2. c\n10) d"),
        ("1. a\n\n   more\n2. b", "1. a\n\n   more\n2. b"),
        ("- a\nlazy", "• a\n  lazy"),
        ("-\n- b\n-", "•\n• b\n•"),
        ("- [ ] a\n- [x] b", "[ ] a\n[x] b"),
        ("in\n1986. It was", "in\n1986. It was"),
        ("3.14 is pi\n- 3\n-4", "3.14 is pi\n\n• 3\n  -4"),
        ("> a\n> b\nlazy\n\nc", "▌ a\n▌ b\n▌ lazy\n\nc"),
        ("> a\n>\n> - b\n>> c", "▌ a\n▌\n▌ • b\n▌\n▌ ▌ c"),
        ("- a\n  > q\n  >\n  > r", "• a\n  ▌ q\n  ▌\n  ▌ r"),
        ("a\n***\nb", "a\n\n" + "─" * 39 + "\n\nb"),
        ("Title\n===\ntext", "Title\n═════\n\ntext"),
        ("Part\n---\ntext", "Part\n────\n\ntext"),
        ("```python\nx = 1\n\ny\n```\nend", "python\nx = 1\n\ny\n\nend"),
        ("```\nx\n```\n```\ny", "x\n\ny"),
        ("```\n```\nend", "end"),
        ("~~~\n```\nx\n```\n~~~\n", "```\nx\n```"),
        ("````md\n```\nx\n```\n````\nend", "md\n```\nx\n```\n\nend"),
        ("- a\n  ```sh\n  ls\n    x\n  ```\n- b", "• a\n  sh\n  ls\n    x\n• b"),
        ("1. a\n   ```\nnot indented\n   ```\n2. b", "1. a\n   not indented\n2. b"),
        ("> ```\n> x\nout", "▌ x\n\nout"),
        ("```a`b``` is code", "a`b is code"),
        ("    x\n\n\n      y\nz", "x\n\n\n  y\n\nz"),
        ("a\n    b", "a\nb"),
        ("<div>\n  <i>x\n</div>\n\n*y*", "<div>\n  <i>x\n</div>\n\ny"),
        ("<!-- c -->\n\n<b>x</b>", "<!-- c -->\n\n<b>x</b>"),
        ("|a|b|\n|-|-|\n|1|2|\nend", "a │ b\n──┼──\n1 │ 2\n\nend"),
        ("text\n|a|b|\n|-|-|\n", "text\n\na │ b\n──┼──"),
        ("|a|\ntext", "|a|\ntext"),
        ("text\n|a|\ntext", "text\n|a|\ntext"),
        ("- |a|b|\n  |-|-|\n  |1|2|\n- c", "• a │ b\n  ──┼──\n  1 │ 2\n• c"),
        (">" * 14 + " x", "▌ " * 12 + ">> x"),
        ("", ""),
        ("\n \n", ""),
    ],
)
def test_what_becomes_of_a_text(text, expected):
    assert plain(text) == expected
    cut = [line.replace("-3", "-3") for line in plain("\n" + text + "\n").splitlines()]
    assert cut == expected.splitlines(), "blank lines around it make no difference"


def test_what_is_long_hangs_below_its_beginning():
    text = "1. one two three four five six\n   - seven eight nine ten eleven\n\n> twelve thirteen fourteen"
    assert plain(text, 22) == (
        "1. one two three four\n   five six\n   • seven eight nine\n     ten eleven\n\n"
        "▌ twelve thirteen\n▌ fourteen"
    )  # fmt: skip


def test_code_is_never_broken():
    line = "x = " + "very_long_name + " * 20 + "1"
    assert line in plain(f"```python\n{line}\n```", 20)


def test_blank_lines_of_code_have_no_blanks():
    for text in ("- a\n  ```\n  x\n\n  y\n  ```", "> ```\n>\n> y", "> a\n>\n> b"):
        assert not re.search(r" $", plain(text), re.MULTILINE)


def test_without_colours_the_marks_stay():
    text = "# Title\n\nSome **bold** and `code`.\n\n```python\nx = 1\n```\n\nend"
    assert rendered(text, theme="none").removesuffix("\n") == text
    attributes = rendered(text, theme="plain")
    assert "\x1b[1mbold\x1b[0m" in attributes and "`code`" in attributes and "```python" in attributes
    assert not re.search(r"\x1b\[[\d;]*[349]\d", attributes), "attributes are no colours"


def test_each_line_and_each_word_ends_its_own_colours():
    text = "**bold words that are wrapped** here\n\n# A heading that is wrapped as well\n```python\n'''a\nb'''"
    for line in rendered(text, 14).splitlines():
        codes = re.findall(r"\x1b\[([\d;]*)m", line)
        assert not codes or codes[-1] == "0"


def test_what_a_terminal_without_utf8_can_write():
    text = "- a\n\n> b\n\n---\n\n|a|b|\n|-|-|\n|1|2|\n\nT\n="
    assert rendered(text, theme="none", ascii=True).isascii()
    assert plain(text, ascii=True) == "- a\n\n> b\n\n" + "-" * 39 + "\n\na | b\n--+--\n1 | 2\n\nT\n="


def test_a_word_is_written_once_the_blank_behind_it_came():
    page = Page(COLOURLESS, lambda: 40)
    blocks = Blocks(page)
    written = []
    for piece in ("Some", "thing ", "is", " here\n", "- no", "w\n", "|a|b|\n|-|-|\n", "|1|2|\n"):
        blocks.feed(piece)
        written.append(page.take())
    assert written == ["", "Something", "", " is here", "\n\n", "• now", "\n\n", ""]
    assert blocks.waiting == "table, 1 row"
    blocks.end()
    assert page.take() == "a │ b\n──┼──\n1 │ 2\n" and not blocks.waiting


def test_a_width_that_changes_is_followed():
    width = [40]
    page = Page(COLOURLESS, lambda: width[0])
    blocks = Blocks(page)
    blocks.feed("one two three four five six ")
    width[0] = 12
    blocks.feed("seven eight nine ten ")
    blocks.end()
    assert page.take() == "one two three four five six\nseven eight\nnine ten\n"
