"""The beginning of a text on one line."""

from shammah.excerpt import excerpt


def test_it_is_one_short_line() -> None:
    assert excerpt("a\n\tb  c") == "a b c"
    assert excerpt("word " * 40) == ("word " * 40)[:57].rstrip() + "..."
    assert len(excerpt("x" * 60)) == 60 and len(excerpt("x" * 61)) == 60
