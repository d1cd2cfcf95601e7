import pytest

from shammah.cli.chat import compose_prompt
from shammah.errors import UsageError


@pytest.fixture
def write(tmp_path):
    def write(name, data):
        path = tmp_path / name
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return str(path)

    return write


@pytest.mark.parametrize(
    ("given", "piped", "prompt"),
    [
        (("hello",), None, "hello"),
        (("hello",), "", "hello"),
        (("hello",), " \n\t\n", "hello"),
        ((), "from stdin\n", "from stdin"),
        ((), "\n\n  indented\nlines \n\n", "  indented\nlines "),
        (("Explain this.",), "the text\n", "the text\n\nExplain this."),
        (("first", "second"), None, "first\n\nsecond"),
        (("", "second", " "), None, "second"),
        (("  as typed  ",), None, "  as typed  "),
    ],
)
def test_material_comes_before_the_question(given, piped, prompt):
    assert compose_prompt(given, (), piped=piped) == prompt


def test_files_come_first_each_with_its_name(write):
    files = (write("a.txt", "one\ntwo\n\n"), write("b.py", "  x = 1"))
    assert compose_prompt(("Why?",), files, piped="piped\n") == (
        "a.txt:\n```\none\ntwo\n```\n\nb.py:\n```\n  x = 1\n```\n\npiped\n\nWhy?"
    )


def test_files_alone_are_a_prompt(write):
    assert compose_prompt((), (write("a.txt", "one"),), piped=None) == "a.txt:\n```\none\n```"


def test_a_home_may_be_short(write, tmp_path, monkeypatch):
    write("a.txt", "one")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert compose_prompt((), ("~/a.txt",), piped=None).startswith("a.txt:\n```\none")


@pytest.mark.parametrize(("given", "piped"), [((), None), ((), ""), (("",), " \n"), ((" ", "\n"), None)])
def test_an_empty_prompt_is_refused(given, piped):
    with pytest.raises(UsageError, match="The prompt is empty"):
        compose_prompt(given, (), piped=piped)


@pytest.mark.parametrize(
    ("name", "words"),
    [("nowhere.txt", "no such file or directory"), ("binary", "not UTF-8"), (".", "is a directory")],
)
def test_a_file_that_cannot_be_read_is_named(write, tmp_path, name, words):
    write("binary", b"\xff\x00")
    path = str(tmp_path / name)
    with pytest.raises(UsageError) as caught:
        compose_prompt(("hello",), (path,), piped="piped")
    assert f"-f {path}" in caught.value.message and words in caught.value.message
