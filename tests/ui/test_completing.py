"""Tab: settings and their values, models, files, conversations."""

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from shammah.app import App
from shammah.ui.completing import CommandCompleter
from shammah.ui.repl import names_of, registry  # the commands come in the order in which it declares them


@pytest.fixture
def completed(tmp_path, monkeypatch, a_turn):
    """What a line may become by Tab."""
    (tmp_path / "my notes.txt").write_text("")
    (tmp_path / "note.md").write_text("")
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "main.py").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    app = App.build()
    for title in ("what is a tree", "what is a house", "Trip", 'the "Ship"', """it's "odd" here"""):
        app.conversations.add(a_turn(id=title, conversation_id=f"id of {title}"), title=title)
    completer = CommandCompleter(registry, lambda kind, begun: names_of(app, kind, begun))

    def complete(line):
        found = completer.get_completions(Document(line), CompleteEvent())
        return [line[: len(line) + each.start_position] + each.text for each in found]

    yield complete
    app.close()


@pytest.mark.parametrize(
    ("line", "lines"),
    [
        ("/set generation.te", ["/set generation.temperature"]),
        ("/set temp", ["/set temperature"]),
        ("/set rules.place ", ["/set rules.place auto", "/set rules.place question", "/set rules.place system"]),
        ("/set rules.place=q", ["/set rules.place=question"]),
        ("/set offline o", ["/set offline on", "/set offline off"]),
        ("/set temperature ", []),
        ("/config set generation.s", [f"/config set generation.{key}" for key in ("seed", "stop_loops", "stop")]),
        ("/config p", ["/config path"]),
        ("/model qwen3", ["/model qwen3-0.6b", "/model qwen3-4b"]),
        ("/model ./s", ["/model ./src/"]),
        ("/read n", ["/read note.md"]),
        ("/read my\\ n", ["/read my\\ notes.txt"]),
        ('/read "my n', ['/read "my notes.txt"']),
        ("/read note.md and @s", ["/read note.md and @src/"]),
        ("/read note.md and n", []),
        ('/read "note.md" n', []),
        ("what of @no", ["what of @note.md"]),
        ("what of @src/", ["what of @src/main.py"]),
        ("(@~/no", ["(@~/note.md"]),
        ("first\nand @no", ["first\nand @note.md"]),
        ('see @"my', ['see @"my notes.txt"']),
        ("mail me@no", []),
        ("see @no\n", []),
        ("no file here", []),
        ("/think f", ["/think fold"]),
        ("/help tok", ["/help tokens"]),
        ("/resume tr", ["/resume Trip"]),
        ("/resume what is a t", ['/resume "what is a tree"']),
        ("/resume the", ["""/resume 'the "Ship"'"""]),
        ("/resume it's", []),
        ('/sessions delete "what is a h', ['/sessions delete "what is a house"']),
        ("/sessions export what is a  h", []),
        ("/sessions export what is a h", ['/sessions export "what is a house"']),
        ("/sessions rename what is a tr", ['/sessions rename "what is a tree"']),
        ('/sessions rename "what is a tree" Tr', []),
        ("/sessions Tr", []),
    ],
)
def test_what_may_follow(completed, line, lines):
    assert completed(line) == lines


def test_a_setting_of_many(completed):
    assert len(completed("/set ")) > 50
