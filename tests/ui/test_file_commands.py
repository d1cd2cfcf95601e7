"""/read and @file in a chat: what is sent, what is stored, what is said of it."""

import shutil
from contextlib import closing

import pytest
from support.inside import Inside

pytestmark = pytest.mark.usefixtures("one_thread")
SECRET = "AKIAIOSFODNN7EXAMPLE"


@pytest.fixture
def chat(tiny_model, tmp_path, monkeypatch):
    (tmp_path / "notes.txt").write_text("one\n")
    (tmp_path / "long.txt").write_text("word " * 200)
    monkeypatch.chdir(tmp_path)
    inside = Inside(tiny_model, tmp_path)
    with closing(inside.app):
        yield inside.load()


@pytest.mark.parametrize("line", ["What is in @notes.txt?", "/read notes.txt What is in notes.txt?"])
def test_what_was_sent_is_what_is_stored(chat, line):
    said = chat.says(line)
    prompt = "notes.txt:\n```\none\n```\n\nWhat is in notes.txt?"
    assert "notes.txt: 22 characters, 22 tokens attached\n" in said
    (turn,) = chat.talk.turns
    assert turn.query == prompt == chat.app.conversations.turn(turn.id).query
    chat.says("/good")
    (example,) = chat.app.desk.examples.find()
    assert example.messages[-1].content == prompt


def test_a_file_alone(chat):
    chat.says("/read notes.txt")
    assert chat.talk.turns[0].query == "notes.txt:\n```\none\n```"


def test_asked_again_it_is_the_file_as_it_was(chat, tmp_path):
    chat.says("@notes.txt")
    (tmp_path / "notes.txt").unlink()
    chat.says("/retry")
    assert chat.talk.turns[0].query == "notes.txt:\n```\none\n```"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("what of @nowhere.txt?", "There is no file nowhere.txt"),
        ("/read nowhere.txt why?", "There is no file nowhere.txt"),
        ("/read", "Which file?"),
        ("@long.txt", "long.txt has 1,000 bytes, more than 900"),
        ("/read .", ". is a folder"),
    ],
)
def test_what_can_t_be_read_is_one_line_and_nothing_is_sent(chat, line, words):
    chat.says("/set files.max_bytes 900")
    said = chat.says(line)
    assert words in said and said.startswith("shammah: ") and said.count("\n") == 1
    assert chat.talk.turns == ()


def test_the_line_can_be_mended(chat):
    chat.says("what of @nowhere.txt?")
    assert chat.repl._unsent == "what of @nowhere.txt?"


def test_what_is_too_long_for_the_window_is_not_sent(chat):
    assert "window of 512" in chat.says("@long.txt") and chat.talk.turns == ()


def test_secrets_in_a_file_are_not_stored(chat, tmp_path, home):
    (tmp_path / "keys.txt").write_text(f"aws_access_key_id = {SECRET}\n")
    assert "redacted" in chat.says("@keys.txt")
    assert SECRET in chat.talk.turns[0].query, "this conversation still knows it"
    chat.app.database.close()
    assert not any(SECRET.encode() in file.read_bytes() for file in home.rglob("*") if file.is_file())


def test_mentions_and_mail_addresses_are_text(chat):
    said = chat.says("ask @ada or ada@example.com")
    assert "attached" not in said and chat.talk.turns[0].query == "ask @ada or ada@example.com"


def test_in_a_terminal(terminal, tiny_model, tmp_path, monkeypatch):
    (tmp_path / "notes.txt").write_text("one\n")
    other = tmp_path / "other"
    shutil.copytree(tiny_model, other)
    monkeypatch.chdir(tmp_path)
    chat = terminal(columns=200)
    chat.wait_for_prompt()
    chat.send("what of @no\t")
    chat.wait(lambda t: t.line() == "> what of @notes.txt")
    chat.send("\r")
    chat.wait("(stopped at 8 tokens")
    assert b"\x1b[2mnotes.txt: 22 characters, 22 tokens attached" in chat.raw, "dim"
    chat.wait_for_prompt(2)
    chat.send(f"/model {other}\rhalf a tho")
    chat.wait(f"From the next message on {other} answers, and is given the 1 turn so far.")
    chat.wait(lambda t: t.line() == "> half a tho")
    chat.send("ught\r")
    chat.wait(lambda t: t.text().count("(stopped at 8 tokens") == 2 and t.line() == ">")
    chat.leave()
