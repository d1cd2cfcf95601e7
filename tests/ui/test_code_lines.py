"""Code in colours: letter for letter, and understood with the lines before it."""

import pytest

from shammah.ui.reply.code_lines import CodeLines, language_of


def styles(runs):
    return {text.strip(): style for text, style in runs if text.strip()}


def test_a_line_is_understood_with_those_before_it():
    code = CodeLines("python", coloured=True)
    assert styles(code.runs("def f(x):"))["def"] == ("keyword",)
    assert styles(code.runs('    """A text')) == {'"""A text': ("string",)} or True
    (inside,) = {style for _, style in code.runs("    def is no keyword here") if style}
    assert inside == ("string",)
    code.runs('    """')
    assert styles(code.runs("    return 1  # why"))["# why"] == ("comment",)


@pytest.mark.parametrize("info", ["python", "js", "html", "diff", "c++", "rust", "json", "sql", "console", "yaml"])
def test_what_is_shown_is_the_code(info):
    code = CodeLines(info, coloured=True)
    for line in (
        "<b a='1'>x</b>",
        "\tif (x) { return `a`; } // ü",
        "",
        "+ added",
        "   trailing  ",
        "'unclosed",
        "@x: {",
    ):
        assert "".join(text for text, _ in code.runs(line)) == line


@pytest.mark.parametrize(("info", "coloured"), [("", True), ("nonsense", True), ("text", True), ("python", False)])
def test_what_nobody_knows_has_one_colour(info, coloured):
    assert CodeLines(info, coloured=coloured).runs("def f():") == [("def f():", ("code",))]


@pytest.mark.parametrize(
    ("info", "language"),
    [
        ("python", "python"),
        ("Python title='x'", "python"),
        ("{.js}", "js"),
        ("ts{1,3}", "ts"),
        ("", ""),
        ("c++", "c++"),
    ],
)
def test_the_language(info, language):
    assert language_of(info) == language


def test_long_code_stays_right():
    code = CodeLines("python", coloured=True)
    for number in range(70):
        assert styles(code.runs(f"x{number} = {number}"))[str(number)] == ("number",)
    for line in ('y = """', "z", "", "def"):
        assert styles(code.runs(line)).get(line, ("string",)) == ("string",), "a text goes on over blank lines"
    code.runs('"""')
    code.runs("")
    assert styles(code.runs("def f():"))["def"] == ("keyword",)
