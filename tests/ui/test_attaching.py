"""Files before a message: how they are named, how they stand in a prompt, what is refused."""

import os

import pytest

from shammah.errors import UsageError
from shammah.ui.attaching import file_part, read_first, read_message
from shammah.ui.file_names import file_names

PART = "notes.txt:\n```\none\n```"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    folder = tmp_path / "work"
    (folder / "src").mkdir(parents=True)
    (folder / "notes.txt").write_text("one\n")
    (folder / "my notes.txt").write_text("two\n")
    (folder / "src" / "Makefile").write_text("all:\n")
    (folder / "binary.txt").write_bytes(b"a\0b")
    (folder / "latin.txt").write_bytes(b"caf\xe9")
    (folder / ".hidden").write_text("x")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(folder))
    return folder


def sent(text, limit=1000):
    return read_message(text, limit=limit).text


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("What is in @notes.txt?", f"{PART}\n\nWhat is in notes.txt?"),
        ("@notes.txt", PART),
        ("Why (@notes.txt), then?", f"{PART}\n\nWhy (notes.txt), then?"),
        ("See @notes.txt. Now.", f"{PART}\n\nSee notes.txt. Now."),
        ('Sum up @"my notes.txt" please', "my notes.txt:\n```\ntwo\n```\n\nSum up my notes.txt please"),
        ("Sum up @my\\ notes.txt", "my notes.txt:\n```\ntwo\n```\n\nSum up my notes.txt"),
        ("@~/notes.txt and why?", f"{PART}\n\nnotes.txt and why?"),
        ("@./notes.txt\nWhy?", f"{PART}\n\nnotes.txt\nWhy?"),
        ("@src/Makefile @notes.txt", "Makefile:\n```\nall:\n```\n\n" + PART),
        ("@notes.txt or @notes.txt?", f"{PART}\n\nnotes.txt or notes.txt?"),
    ],
)
def test_a_file_that_is_named_goes_before_the_message(typed, message):
    assert sent(typed) == message


@pytest.mark.parametrize(
    "typed",
    [
        "ask @alice about it",
        "mail bob@example.com",
        "me@notes.txt",
        "@dataclass\nclass A: ...",
        '@app.route("/notes.txt")',
        "@org/package is there",
        "at 5 @ noon",
        "@",
        "@?",
        "look @. and @.. and @~",
        'NSLog(@"hello %@", name);',
        'NSString *s = @"x";',
        'var p = @"C:\\temp";',
        "@src\nvoid x() {}",
        " sent as it is, with @notes.txt and @nowhere.txt",
    ],
)
def test_what_names_no_file_stays_text(typed):
    found = read_message(typed, limit=1000)
    assert (found.text, found.files) == (typed, ())


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("what of @nowhere.txt?", "There is no file nowhere.txt"),
        ("what of @src/nowhere", "There is no file src/nowhere"),
        ("what of @/no/where", "There is no file /no/where"),
        ('what of @"no where.txt"', "There is no file no where.txt"),
        ("what of @src/", "src is a folder"),
        ("what of @binary.txt", "binary.txt is not a text file"),
        ("what of @latin.txt", "latin.txt: not UTF-8 text"),
        ("what of @notes.txt", "notes.txt has 4 bytes, more than 3"),
    ],
)
def test_what_is_no_text_to_be_sent_is_refused(typed, words):
    with pytest.raises(UsageError) as caught:
        sent(typed, limit=3 if "more than" in words else 1000)
    assert words in caught.value.one_line() and "\n" not in caught.value.one_line()


def test_a_pipe_is_not_waited_for(folder):
    os.mkfifo(folder / "pipe.txt")
    with pytest.raises(UsageError, match="no ordinary file"):
        sent("@pipe.txt")


def test_a_file_with_fences_of_its_own_has_longer_ones(folder):
    (folder / "page.md").write_text("```py\nx\n```\n")
    assert file_part(folder / "page.md", called="it") == "page.md:\n````\n```py\nx\n```\n````"


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("notes.txt", PART),
        ("notes.txt What is it?", f"{PART}\n\nWhat is it?"),
        ('"my notes.txt" And this?', "my notes.txt:\n```\ntwo\n```\n\nAnd this?"),
        ("my\\ notes.txt", "my notes.txt:\n```\ntwo\n```"),
        ("~/notes.txt  as\n  typed", f"{PART}\n\nas\n  typed"),
        ("notes.txt beside @src/Makefile?", f"{PART}\n\nMakefile:\n```\nall:\n```\n\nbeside Makefile?"),
    ],
)
def test_the_first_of_a_text(typed, message):
    assert read_first(typed, limit=1000, usage="").text == message


def test_nothing_to_read():
    with pytest.raises(UsageError, match="Which file"):
        read_first(" ", limit=1000, usage="")


@pytest.mark.parametrize(
    ("begun", "names"),
    [
        ("n", ["notes.txt"]),
        ("M", ["my\\ notes.txt"]),
        ("my\\ n", ["my\\ notes.txt"]),
        ('"my n', ['"my notes.txt"']),
        ("s", ["src/"]),
        ("src/", ["src/Makefile"]),
        ("~/no", ["~/notes.txt"]),
        (".h", [".hidden"]),
        ("nowhere/", []),
        ("", ["binary.txt", "latin.txt", "my\\ notes.txt", "notes.txt", "src/"]),
    ],
)
def test_names_as_they_are_typed_on(begun, names):
    assert file_names(begun) == names
