"""What is left in the file when rows are gone. How turns are taken out of conversations: see test_forgetting."""

import random
import re
from contextlib import closing
from dataclasses import replace

import pytest

from shammah.store import Conversations, Database
from shammah.store.adapter_notes import AdapterNotes
from shammah.store.erasing import (
    each_turn,
    merge_index,
    remove_turns,
    rewrite_adapter_notes,
    rewrite_probes,
    rewrite_receipts,
    rewrite_turn,
    scrub,
)
from shammah.store.probes import Probes
from shammah.store.receipts import Receipts


def shuffle(database, a_turn, seed):
    """Turns that come, grow and go, each with a mark of its own. The marks of those that are there at the end."""
    chance = random.Random(seed)
    conversations = Conversations(database)
    marks = {}
    with database.transaction() as connection:
        for step in range(900):
            what = chance.random()
            if what < 0.5 or not marks:
                id, mark = f"{step:026d}", f"mark{step}x"
                text = " ".join([mark] * chance.randint(1, 3) + ["word"] * chance.randint(0, 12))
                conversations.add(a_turn(text, text[: chance.randint(1, 60)], id=id), title="t")
                marks[id] = mark
            elif what < 0.8:
                id = chance.choice(list(marks))
                note = "note " * chance.randint(0, 20) + marks[id]
                conversations.rate(id, "good", note, quality=0.5, quality_parts={})
            else:
                id = chance.choice(list(marks))
                connection.execute("DELETE FROM turns WHERE id = ?", (id,))
                del marks[id]
        merge_index(connection)
    return set(marks.values())


def test_copies_that_the_pages_of_a_table_left_behind_are_gone(tmp_path, a_turn):
    """When its pages are balanced, rows move, and the copy that each leaves is reached by no deletion of the row."""
    for seed in range(12):
        path = tmp_path / f"{seed}.db"
        with closing(Database(path)) as database:
            there = shuffle(database, a_turn, seed)
            assert scrub(database)
        found = {mark.decode() for mark in re.findall(rb"mark\d+x", path.read_bytes())}
        assert found == there


def test_a_database_that_is_written_to_cannot_be_scrubbed_now(path, say):
    with closing(Database(path, busy_timeout=0.05)) as database, closing(Database(path)) as other:
        say()
        with other.transaction():
            assert not scrub(database)
        assert scrub(database)


def test_all_turns_come_a_few_at_a_time_in_their_order(database, say):
    with database.transaction():
        said = [say(f"{number}").id for number in range(1003)]
    assert [turn.id for turn in each_turn(database)] == said


def test_only_the_turns_named_go_and_an_empty_conversation_with_them(database, conversations, say, check_index):
    gone = [say("one", conversation_id="a").id, say("two", conversation_id="b").id]
    kept = say("three", conversation_id="b", parent=gone[1], retry_of=gone[1])
    remove_turns(database, [*gone, "nowhere"])
    assert [turn.id for turn in each_turn(database)] == [kept.id]
    assert [found.id for found in conversations.recent()] == ["b"]
    after = conversations.turn(kept.id)
    assert (after.parent, after.retry_of) == (None, None)
    check_index(database)


def test_a_turn_is_rewritten_with_its_hash(database, conversations, say, check_index):
    turn = say("old query", "old reply", note=None, rules=("old rule", "new rule"))
    assert rewrite_turn(database, turn, lambda text: text.replace("old", "new"))
    after = conversations.turn(turn.id)
    assert (after.query, after.response, after.note) == ("new query", "new reply", None)
    assert after.rules == ("new rule", "new rule") and after.dedupe_hash != turn.dedupe_hash
    assert after.dedupe_hash == say("New  query", "new reply").dedupe_hash
    assert conversations.search("old") == []
    check_index(database)
    assert not rewrite_turn(database, after, lambda text: text.replace("old", "new"))


def test_what_was_told_of_adapters_is_rewritten_too(database):
    def change(text):
        return text.replace("old", "new").replace("gone", "")

    receipts, probes, notes = Receipts(database), Probes(database), AdapterNotes(database)
    first = receipts.put("one", "old", {"old": ["an old word", {"b": "old"}], "number": 1.5, "none": None})
    second = receipts.put("two", None, {"a": "new"})
    probe, harmless = probes.add("old?", ["old", "new"]), probes.add("Why?", ["So"])
    notes.label("a", "old")
    notes.tag("a", ["gone", "old one", "two"])
    notes.pin("a")
    kept = notes.label("b", "mine")
    for rewrite in (rewrite_receipts, rewrite_probes, rewrite_adapter_notes):
        rewrite(database, change)
    body = {"old": ["an new word", {"b": "new"}], "number": 1.5, "none": None}
    assert receipts.recent() == [second, replace(first, body=body)]
    assert probes.all() == [replace(probe, prompt="new?", contains=("new", "new")), harmless]
    note = notes.get("a")
    assert (note.label, note.tags, note.pinned, note.verdict) == (None, ("new one", "two"), True, None)
    assert notes.get("b") == kept


@pytest.mark.parametrize("dropped", [0, 1, 2, 3])
def test_turns_left_out_of_a_prompt_are_counted_anew(database, conversations, say, dropped):
    first = say("one")
    second = say("two", parent=first.id)
    third = say("three", parent=second.id)
    last = say("four", parent=third.id, dropped=dropped)
    remove_turns(database, [second.id])
    assert conversations.turn(last.id).dropped == (dropped if dropped < 2 else dropped - 1)
