import json
import os
import stat
from pathlib import Path

import pytest

from shammah.errors import HomeError
from shammah.records import Message
from shammah.store import Archive
from shammah.store.rows import example_of


def read(archive):
    lines = archive.path.read_text(encoding="utf-8").split("\n")
    assert lines.pop() == ""
    return [example_of(json.loads(line)) for line in lines]


def test_examples_come_back_from_its_lines(archive, an_example):
    first = an_example(
        'Was "ist"\nes? \u2028 \u6771',
        messages=(Message("system", "Kurz."), Message("user", "Was\r\nist es?")),
        rules=("Answer in German",),
        rejected="Nichts.",
        note="too long",
        secrets=("e-mail",),
        tags=("a", "b"),
        extra={"from": ["somewhere", {"deep": None}]},
        quality=0.5,
        turn_id="t",
        adapter="lora",
        trained=2,
    )
    archive.append([first, an_example()])
    archive.append([third := an_example("Again?")])
    assert len(read(archive)) == 3
    assert read(archive)[0] == first
    assert read(archive)[2] == third


def test_half_a_surrogate_pair_is_replaced(archive, an_example):
    archive.append([an_example("bad \udcff")])
    assert read(archive)[0].prompt == "bad \ufffd"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_it_is_private(archive, an_example):
    old = os.umask(0)
    try:
        archive.append([an_example("one"), an_example("two")])
        assert stat.S_IMODE(archive.path.parent.stat().st_mode) == 0o700
        assert stat.S_IMODE(archive.path.stat().st_mode) == 0o600
        archive.forget(lambda line: "one" in line)
        assert stat.S_IMODE(archive.path.stat().st_mode) == 0o600
    finally:
        os.umask(old)


def test_a_torn_line_spoils_no_other(archive, an_example):
    archive.append([an_example("one")])
    whole = archive.path.read_bytes()
    archive.append([an_example("two")])
    archive.path.write_bytes(archive.path.read_bytes()[:-20])
    archive.append([an_example("three")])
    lines = archive.path.read_bytes().splitlines(keepends=True)
    assert len(lines) == 3
    assert lines[0] == whole
    assert example_of(json.loads(lines[2])).prompt == "three"
    with pytest.raises(json.JSONDecodeError):
        json.loads(lines[1])


def test_what_is_forgotten_is_gone_and_the_rest_is_as_it_was(archive, an_example):
    archive.append([an_example("one"), an_example("hidden plan", "tell"), an_example("three")])
    lines = archive.path.read_bytes().splitlines(keepends=True)
    assert len(archive.forget(lambda line: "hidden" in line)) == 1
    assert archive.path.read_bytes() == lines[0] + lines[2]
    assert [file.name for file in archive.path.parent.iterdir()] == ["examples.jsonl"]
    archive.append([an_example("four")])
    assert [example.prompt for example in read(archive)] == ["one", "three", "four"]


def test_a_torn_line_can_be_forgotten_too(archive, an_example):
    archive.append([an_example("one")])
    with archive.path.open("ab") as file:
        file.write('{"id": "hidden \u6771'.encode()[:-1])
    assert len(archive.forget(lambda line: "hidden" in line)) == 1
    assert [example.prompt for example in read(archive)] == ["one"]


def test_a_file_without_a_match_is_not_written(archive, an_example):
    assert archive.forget(lambda line: True) == []
    assert not archive.path.parent.exists()
    archive.append([an_example()])
    before = archive.path.stat()
    assert archive.forget(lambda line: False) == []
    assert archive.path.stat().st_ino == before.st_ino


def test_a_place_that_cannot_be_used(tmp_path, an_example):
    (tmp_path / "file").touch()
    with pytest.raises(HomeError):
        Archive(Path(tmp_path / "file")).append([an_example()])
