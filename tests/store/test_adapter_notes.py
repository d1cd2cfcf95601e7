"""What is known of an adapter beside its folder."""

import itertools

import pytest

from shammah.errors import UsageError
from shammah.records import AdapterNote
from shammah.store.adapter_notes import AdapterNotes


@pytest.fixture
def notes(database):
    seconds = itertools.count()
    return AdapterNotes(database, now=lambda: f"2026-01-01T00:00:{next(seconds):02d}.000Z")


def test_a_note_without_anything_in_it(notes):
    assert notes.get("a") is None and notes.all() == {}
    note = notes.add("a")
    assert note == notes.get("a") == AdapterNote(name="a", time="2026-01-01T00:00:00.000Z")
    assert notes.add("b", imported=True).imported
    assert notes.all() == {"a": note, "b": notes.get("b")}


def test_one_that_is_there_stays_as_it_is(notes):
    before = notes.pin("a")
    assert notes.add("a", imported=True) == before and not before.imported


def test_all_that_can_be_noted(notes):
    verdict = {"accepted": True, "improvement": 0.25, "checks": [{"name": "drift", "value": float("inf")}]}
    notes.label("a", "  mine ")
    notes.pin("a")
    notes.tag("a", ["  of  today ", "french"])
    note = notes.judged("a", verdict)
    assert note == notes.get("a")
    assert (note.label, note.pinned, note.tags) == ("mine", True, ("of today", "french"))
    assert note.verdict == {**verdict, "checks": [{"name": "drift", "value": None}]}
    assert note.time == "2026-01-01T00:00:00.000Z", "what is changed later is no new note"
    assert not notes.pin("a", False).pinned and notes.tag("a", ()).tags == () and notes.label("a", None).label is None


@pytest.mark.parametrize(
    "change",
    [
        lambda notes: notes.label("a", "mine"),
        lambda notes: notes.pin("a"),
        lambda notes: notes.tag("a", ["x"]),
        lambda notes: notes.judged("a", {}),
    ],
)
def test_a_folder_may_be_older_than_its_note(notes, change):
    note = change(notes)
    assert notes.all() == {"a": note} and not note.imported


@pytest.mark.parametrize("taken", ["mine", "MINE", "ｍｉｎｅ"])
def test_a_label_belongs_to_one(notes, taken):
    notes.label("a", "mine")
    with pytest.raises(UsageError, match="a is called 'mine' already") as caught:
        notes.label("b", taken)
    assert caught.value.hint and notes.get("b") is None
    assert notes.label("a", taken).label == taken, "its own may be spelled otherwise"
    notes.label("a", None)
    assert notes.label("b", taken).label == taken


@pytest.mark.parametrize(
    "wrong",
    [
        *("", " ", "a b", "a/b", "..", ".hidden", "-x", "a\n", "\x1b[31m", "x" * 65, "\udcff", "a\u202eb"),
        *("7", "v7", "V07", "20261121", "20261121_101500", "_", "lora_adapter_1", "LORA_ADAPTER"),
        *("none", "latest", "Active", "BASE"),
    ],
)
def test_what_means_something_else_is_no_label(notes, wrong):
    if wrong == "a\n":
        assert notes.label("a", wrong).label == "a"
        return
    with pytest.raises(UsageError) as caught:
        notes.label("a", wrong)
    assert caught.value.hint and notes.all() == {}


@pytest.mark.parametrize("right", ["my-style", "Köln", "v7b", "C++", "3rd", "a.b_c", "x" * 64, "日本"])
def test_plain_words_are_labels(notes, right):
    assert notes.label("a", right).label == right


def test_a_tag_is_there_once(notes):
    assert notes.tag("a", ["French", "french", "  FRENCH", "other"]).tags == ("  FRENCH".strip(), "other")


@pytest.mark.parametrize("wrong", ["", "  ", "x" * 65, "\x1b[31m"])
def test_what_is_no_tag_is_refused(notes, wrong):
    notes.tag("a", ["kept"])
    with pytest.raises(UsageError, match="is no tag"):
        notes.tag("a", ["new", wrong])
    assert notes.get("a").tags == ("kept",)


def test_what_is_removed_is_forgotten(notes):
    notes.label("a", "mine")
    kept = notes.label("b", "other")
    for _ in range(2):
        notes.remove("a")
        assert notes.all() == {"b": kept}
    assert notes.label("c", "mine").label == "mine"
