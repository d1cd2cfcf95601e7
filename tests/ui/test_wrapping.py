"""Words in lines, by the cells that they take."""

import pytest

from shammah.ui.reply.wrapping import cells_of, wrapped


def lines(text, room):
    return ["".join(part for part, _ in line) for line in wrapped([(text, ())], room)]


@pytest.mark.parametrize(
    ("text", "room", "expected"),
    [
        ("one two three", 7, ["one two", "three"]),
        ("one two  three ", 20, ["one two  three"]),
        ("exactly ten", 7, ["exactly", "ten"]),
        ("  lead", 10, ["lead"]),
        ("a\nb\n\n\nc", 10, ["a", "b", "", "c"]),
        ("abcdefghij", 4, ["abcd", "efgh", "ij"]),
        ("x abcdefghijklmnopqrstuvwxyz y", 10, ["x", "abcdefghij", "klmnopqrst", "uvwxyz y"]),
        ("see http://a.b/cdefghij on", 8, ["see", "http://a.b/cdefghij", "on"]),
        ("日本語日本語", 4, ["日本", "語日", "本語"]),
        ("日本語、日本", 6, ["日本", "語、日", "本"]),
        ("日本「語」", 6, ["日本", "「語」"]),
        ("ab日本cd", 4, ["ab日", "本cd"]),
        ("🎉🎉🎉", 4, ["🎉🎉", "🎉"]),
        ("👩‍👩‍👧👩‍👩‍👧", 2, ["👩‍👩‍👧", "👩‍👩‍👧"]),
        ("👍🏽👍🏽 🇩🇪🇫🇷", 5, ["👍🏽👍🏽", "🇩🇪🇫🇷"]),
        ("e\u0301e\u0301e\u0301", 2, ["e\u0301e\u0301", "e\u0301"]),
        ("✔️✔️✔️", 4, ["✔️✔️", "✔️"]),
        ("非break\xa0able", 9, ["非", "break\xa0abl", "e"]),
        ("", 5, [""]),
    ],
)
def test_where_lines_end(text, room, expected):
    assert lines(text, room) == expected
    assert all(cells_of(line) <= room or "://" in line for line in expected)


def test_no_letter_is_lost_at_any_width():
    text = "Some words, 日本語「の」文章。 http://a.b/c and supercalifragilistic 👩‍👩‍👧🎉 e\u0301 (end)."
    for room in range(2, 60):
        assert "".join(lines(text, room)).replace(" ", "") == text.replace(" ", "")


def test_styles_keep_to_their_letters():
    (first, second) = wrapped([("plain ", ()), ("bold words", ("strong",)), ("!", ())], 10)
    assert [run for run in first if run[0].strip()] == [("plain", ()), ("bold", ("strong",))]
    assert second == [("words", ("strong",)), ("!", ())]
