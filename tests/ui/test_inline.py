"""What is shown of emphasis, code, links and escapes, and that nothing else is taken for them."""

import re

import pytest

from shammah.ui.reply.inline import Inline
from shammah.ui.reply.spans import LIMIT, runs_of

SIGNS = {"strong": "B", "emphasis": "I", "code": "C", "strike": "S", "link": "L", "dim": "D"}


def marked(runs):
    """`B(bold)` for each run with styles, neighbours of the same style joined."""
    joined = []
    for text, style in runs:
        if joined and joined[-1][1] == style:
            joined[-1][0] += text
        else:
            joined.append([text, style])
    return "".join(f"{''.join(SIGNS[name] for name in style)}({text})" if style else text for text, style in joined)


def shown(text, **options):
    """The text, a character at a time; it must come to what it does as a whole."""
    runs = []
    inline = Inline(lambda part, style: runs.append((part, style)), **options)
    for character in text:
        inline.feed(character)
    inline.end()
    assert marked(runs) == marked(runs_of(text, **options)), "in pieces and whole"
    return marked(runs)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a **bold** word", "a B(bold) word"),
        ("**two words**, *one*", "B(two words), I(one)"),
        ("__b__ _i_ ***bi***", "B(b) I(i) BI(bi)"),
        ("**bold *and italic* in it**", "B(bold )BI(and italic)B( in it)"),
        ("*italic **and bold***", "I(italic )IB(and bold)"),
        ("~~gone~~ ~not~", "S(gone) ~not~"),
        ("`code` and ``co`de`` and `` ` ``", "C(code) and C(co`de) and C(`)"),
        ("`**no bold**` **`code` bold**", "C(**no bold**) BC(code)B( bold)"),
        ("**a `**` b**", "B(a )BC(**)B( b)"),
        ("in**fix**es, 中文**重点**内容，**「引」**用", "inB(fix)es, 中文B(重点)内容，B(「引」)用"),
        ("[text](http://a.b/c) [**b**](x)", "L(text)D( (http://a.b/c)) LB(b)D( (x))"),
        ("[http://a.b](http://a.b) ![alt](p.png)", "L(http://a.b) L(alt)D( (p.png))"),
        ('[t](http://a.b "title") [a(b)](c(d))', 'L(t)D( (http://a.b "title")) L(a(b))D( (c(d)))'),
        ("see https://a.b/c_d_e*f*, (http://x.y/z).", "see L(https://a.b/c_d_e*f)*, (L(http://x.y/z))."),
        ("<https://a.b/c> <b>html</b>", "L(https://a.b/c) <b>html</b>"),
        ("请看https://a.b/c。好", "请看L(https://a.b/c)。好"),
        ("a &amp; b &lt;x&gt; &copy; &nope; &", "a & b <x> © &nope; &"),
        ("line one **over\ntwo** lines", "line one B(over\ntwo) lines"),
    ],
)
def test_what_is_a_span(text, expected):
    assert shown(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "2 * 3 * 4",
        "2*3*4 and int *p, *q",
        "snake_case_name and __init__py",
        "a ** b ** c",
        "**never closed",
        "*nor this",
        "`nor that",
        "****four****",
        "[no link] [x]: y [a] (b) [c](d e f",
        "array[0](",
        "x < y && y > z",
        "https and http: are no addresses",
        "the end_",
        "*",
    ],
)
def test_what_is_none(text):
    assert shown(text) == text


def test_a_backslash_takes_the_meaning_away():
    assert shown(r"\*a\* \_b\_ \`c\` \# \$5 \\") == r"*a* _b_ `c` # $5 " + "\\"
    assert shown(r"C:\new \(x^2\) \[y\] \frac") == r"C:\new \(x^2\) \[y\] \frac", "paths and LaTeX stay"
    assert shown("a\\\nb") == "a\nb", "at the end of a line it only says that the line ends"


def test_a_mark_that_is_not_closed_for_long_is_none():
    near, far = "x" * (LIMIT - 10), "x" * (LIMIT + 10)
    assert shown(f"**{near}**") == f"B({near})"
    assert shown(f"**{far}** *a*") == f"**{far}** I(a)"


def test_nothing_is_held_longer_than_it_must_be():
    given = []
    inline = Inline(lambda part, style: given.append(part))
    for character in "plain words, then **bo":
        inline.feed(character)
    assert "".join(given) == "plain words, then "
    for character in "ld** x":
        inline.feed(character)
    assert "".join(given) == "plain words, then bold x"
    for character in " [no link" + " x" * LIMIT:
        inline.feed(character)
    assert len("".join(given)) > LIMIT, "what is not closed for long"


def test_an_entity_cannot_drive_the_terminal():
    for text in ("&#27;[31m", "&#x1b;[31m", "&#x202e;x", "&NewLine;x"):
        assert shown(text) == text


def test_marks_stay_for_what_is_not_shown():
    text = "**b** *i* `c` ~~s~~ [t](http://u.v) https://x.y"
    stay = ("strong", "emphasis", "code", "strike", "link")
    assert re.sub(r"L\((.*)\)$", r"\1", shown(text, marked=stay)) == text


def test_many_openings_cost_no_more_than_their_letters():
    for text in ("*a " * 700, "[" * 700, "``a` " * 700, "**a `b [c](" * 300, "&" * 700, "<h" * 700, "**" * 700):
        assert sum(map(str.isalnum, shown(text))) >= sum(map(str.isalnum, text))
