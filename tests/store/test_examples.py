import dataclasses
import json
import tempfile
from collections import defaultdict
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shammah.errors import HomeError, StoreError
from shammah.records import Buffer, Example, Message
from shammah.store import Archive, Database, Examples
from shammah.store.identity import prompt_hash, same_reply
from shammah.store.rows import example_of
from shammah.store.settling import settle


@pytest.fixture
def examples(database):
    return Examples(database)


def prompts(found):
    return [example.prompt for example in found]


def ids(found):
    return [example.id for example in found]


def archived(archive):
    return [example_of(json.loads(line)) for line in archive.path.read_text("utf-8").splitlines()]


# Storing and reading back


def test_damaged_ones_of_one_prompt_can_be_deleted_and_the_others_are_settled(examples, an_example, database):
    kept, first, second, newest = (
        examples.put(an_example("Which?", target)).id for target in ("Kept.", "First.", "Second.", "Newest.")
    )
    with database.transaction() as connection:
        connection.execute("UPDATE examples SET messages = '[' WHERE id IN (?, ?)", (first, second))
    assert examples.get(kept).hold
    assert examples.delete([newest]) == 1
    assert not examples.get(kept).hold, "of those that can be read it is the newest"
    for damaged in (first, second):
        assert examples.delete([damaged]) == 1
    assert ids(examples.find()) == [kept]


def test_one_that_is_damaged_keeps_no_other_from_leaving(database, an_example):
    examples = Examples(database, limit=1)
    learned, damaged, other = (
        examples.put(an_example("Which?", target)).id for target in ("Learned.", "Damaged.", "Other.")
    )
    examples.mark_trained([learned], "lora-1")
    with database.transaction() as connection:
        connection.execute("UPDATE examples SET messages = '[' WHERE id = ?", (damaged,))
    assert examples.trim() == 1 and examples.has(other) and not examples.has(learned)


def test_a_damaged_one_that_was_trained_keeps_no_new_one_away(database, an_example):
    examples = Examples(database, limit=2)
    damaged, learned = (examples.put(an_example(f"What is {number}?")).id for number in range(2))
    examples.mark_trained([damaged, learned], "lora-1")
    with database.transaction() as connection:
        connection.execute("UPDATE examples SET messages = '[' WHERE id = ?", (damaged,))
    new = examples.put(an_example("Something new?")).id
    assert examples.has(new) and examples.whole_id(damaged) and not examples.has(learned)


def test_what_a_damaged_one_rejected_stays_rejected(examples, an_example, database):
    bad = examples.put(
        an_example("Which?", None, rejected="That.", level="critical", state="needs target", note=None)
    ).id
    good = examples.put(an_example("Which?", "That.", level="good")).id
    assert "critical" in examples.get(good).hold
    with database.transaction() as connection:
        connection.execute("UPDATE examples SET tags = '[' WHERE id = ?", (bad,))
    examples.put(an_example("Which?", "Another."))
    assert "critical" in examples.get(good).hold and not examples.get(good).trainable


def test_every_field_of_an_example_comes_back(examples, an_example):
    example = an_example(
        turn_id="turn",
        source="fix",
        level="critical",
        weight=10.5,
        messages=(Message("system", "Be\u2028 brief."), Message("user", 'What "is"\nit? \u6771 \0')),
        rules=("Answer in French",),
        rejected="It is that.",
        note="wrong",
        state="needs review",
        reason="e-mail redacted",
        secrets=("e-mail", "card number"),
        quality=0.5,
        model="small",
        adapter="lora_adapter_20260131_090500",
        tags=("a", "b"),
        extra={"from": ["somewhere", {"deep": None}], "number": 2**62},
    )
    defaults = {field.name: field.default for field in dataclasses.fields(Example)}
    untouched = {name for name, default in defaults.items() if getattr(example, name) == default}
    assert untouched == {"hold", "trained"}, "these are the store's own; the test must set all others"
    assert examples.put(example) == example
    assert examples.get(example.id) == examples.of_turn("turn") == example
    assert examples.find() == [example]
    assert examples.has(example.id)
    assert not examples.has("turn")
    assert examples.count() == 1


def test_what_only_the_store_can_know_is_not_taken_over(examples, an_example):
    stored, new = examples.add(an_example(hold="odd", trained=3))
    assert (stored.hold, stored.trained, new) == ("", 0, True)
    again = examples.put(dataclasses.replace(stored, hold="odd", trained=3))
    assert (again.hold, again.trained) == ("", 0)


def test_half_a_surrogate_pair_is_replaced(examples, an_example):
    bad = "bad \udcff"
    stored = examples.put(an_example(bad, bad, id="i\udcff", note=bad, turn_id=bad, tags=(bad,), extra={"x": bad}))
    assert stored.messages == (Message("user", "bad \ufffd"),)
    assert (stored.id, stored.target, stored.tags) == ("i\ufffd", "bad \ufffd", ("bad \ufffd",))
    assert examples.of_turn(bad) == examples.get("i\udcff") == stored
    assert examples.find(tag=bad, ids=["i\udcff"], text=bad) == [stored]
    assert examples.delete(["i\udcff"]) == 1


def test_an_example_is_found_by_the_beginning_of_its_id(examples, an_example):
    first = examples.put(an_example(id="abc1"))
    examples.put(an_example("Other?", id="abd2"))
    assert examples.get(" abc ") == first
    with pytest.raises(StoreError, match="More than one example"):
        examples.get("ab")
    for id in ("", "x", "abc12", "%"):
        with pytest.raises(StoreError, match="There is no example") as caught:
            examples.get(id)
        assert "shammah examples list" in caught.value.hint
    assert examples.of_turn("nothing") is None


def test_a_ready_example_must_have_a_target(examples, an_example):
    with pytest.raises(AssertionError, match="has a target"):
        examples.put(an_example(target=None, state="ready"))


# The same again


def test_the_same_id_is_replaced_in_its_place(examples, an_example):
    first, second = examples.put(an_example("One?")), examples.put(an_example("Two?"))
    changed = dataclasses.replace(first, messages=(Message("user", "Three?"),), level="medium", weight=3.0)
    assert examples.put(changed) == changed
    assert examples.find() == [second, changed]


def test_the_same_turn_is_replaced_and_becomes_the_newest(examples, an_example):
    first = examples.put(an_example("One?", "bad", turn_id="t"))
    other = examples.put(an_example("Two?"))
    again = examples.put(an_example("One?", "better", turn_id="t", rejected="bad", level="medium", weight=3.0))
    assert again.id == first.id
    assert (again.target, again.weight) == ("better", 3.0)
    assert examples.of_turn("t") == again
    assert examples.find() == [again, other]


def test_an_id_and_a_turn_of_two_examples_leave_one(examples, an_example):
    examples.put(an_example("One?", "a", id="one", turn_id="t"))
    examples.put(an_example("One?", "b", id="two"))
    merged = examples.put(an_example("One?", "c", id="two", turn_id="t"))
    assert examples.find() == [merged]
    assert (merged.id, merged.turn_id, merged.hold) == ("two", "t", "")


def test_a_lesson_told_twice_is_one(examples, an_example):
    first = examples.put(an_example("What is it?", "It is this.", tags=("a",)))
    again = examples.put(an_example(" what IS it?", "It is  this.", tags=("b",)))
    assert again == first
    assert examples.find() == [first]


@pytest.mark.parametrize("changes", [{"weight": 2.0}, {"note": "x"}, {"state": "disabled"}])
def test_a_lesson_told_otherwise_takes_its_place(examples, an_example, changes):
    first = examples.put(an_example("What is it?", "It is this."))
    again = examples.put(an_example("What is it?", **({"target": "It is this."} | changes)))
    assert again.id == first.id
    assert [getattr(again, name) for name in changes] == [*changes.values()]
    assert examples.find() == [again]


@pytest.mark.parametrize("changes", [{"level": "critical"}, {"target": "it is this."}])
def test_another_level_or_spelling_is_another_example_and_the_newest_counts(examples, an_example, changes):
    first = examples.put(an_example("What is it?", "It is this."))
    again = examples.put(an_example("What is it?", **({"target": "It is this."} | changes)))
    assert ids(examples.find(oldest_first=True)) == [first.id, again.id]
    assert ids(examples.live()) == [again.id]


def test_what_was_edited_is_known_when_it_comes_once_more(examples, an_example):
    first, _ = examples.add(an_example("What is it?", "It is this."))
    edited = examples.change(first.id, target="It is that.")
    assert examples.add(an_example("What is it?", "It is this.")) == (edited, False)
    assert examples.find() == [edited]


def test_a_lesson_told_once_more_is_the_newest_word(examples, an_example):
    first = examples.put(an_example(target="this"))
    second = examples.put(an_example(target="that"))
    assert "newer" in examples.get(first.id).hold
    assert examples.put(an_example(target="this")) == first
    assert "newer" in examples.get(second.id).hold
    assert ids(examples.live()) == [first.id]


def test_two_turns_with_the_same_exchange_both_stay_and_the_newer_counts(examples, an_example):
    first = examples.put(an_example(turn_id="one", weight=1.0))
    second = examples.put(an_example(turn_id="two", weight=3.0))
    assert examples.count() == 2
    assert examples.get(first.id).hold == f"a newer example of the same prompt has another target ({second.id[:10]})"
    assert examples.buffer() == Buffer(
        examples=1, weighted=3.0, new=1, new_weighted=3.0, needs_target=0, needs_review=0
    )
    examples.delete([second.id])
    assert examples.find() == [first]


def test_an_example_keeps_its_turn_when_its_lesson_is_told_otherwise(examples, an_example):
    first = examples.put(an_example(turn_id="one"))
    told = examples.put(an_example(weight=10.0, source="teach"))
    assert (told.id, told.turn_id, told.weight) == (first.id, "one", 10.0)
    rated = examples.put(an_example(turn_id="one", weight=2.0))
    assert (rated.id, examples.count()) == (first.id, 1)


def test_adding_what_is_there_changes_nothing(examples, an_example):
    first, new = examples.add(an_example("What is it?", "It is this.", turn_id="t"))
    assert new
    for same in (
        an_example("what  is IT?", "It is  this.", weight=5.0),
        an_example("other", id=first.id),
        an_example("other", turn_id="t"),
    ):
        assert examples.add(same) == (first, False)
    assert examples.find() == [first]
    other, new = examples.add(an_example("What is it?", "It is this.", turn_id="another"))
    assert new
    assert examples.find(oldest_first=True)[1] == other


# What training learned


def test_training_is_written_down_once_for_each_adapter(examples, an_example):
    first, second = examples.put(an_example("One?")), examples.put(an_example("Two?"))
    examples.mark_trained([first.id, "gone"], "lora-1")
    examples.mark_trained([first.id], "lora-1")
    assert (examples.get(first.id).trained, examples.get(second.id).trained) == (1, 0)
    examples.mark_trained([first.id, second.id], "lora-2")
    assert (examples.get(first.id).status, examples.get(second.id).status) == ("trained by 2", "trained by 1")
    assert ids(examples.live()) == [first.id, second.id]
    assert examples.buffer().examples == 0


@pytest.mark.parametrize(
    "changes", [{"target": "that"}, {"rejected": "this"}, {"messages": (Message("user", "What is it now?"),)}]
)
def test_what_was_changed_since_was_not_learned(database, examples, an_example, changes):
    example = examples.put(an_example(level="medium"))
    examples.mark_trained([example.id], "lora-1")
    assert examples.put(dataclasses.replace(examples.get(example.id), **changes)).trained == 0
    assert database.rows("SELECT * FROM trainings") == []
    examples.mark_trained([example.id], "lora-2")
    assert examples.get(example.id).trained == 1


def test_what_was_only_weighed_anew_is_still_learned(examples, an_example):
    example = examples.put(an_example(turn_id="t"))
    examples.mark_trained([example.id], "lora-1")
    assert examples.change(example.id, weight=3.0, note="x", tags=("a",), level="critical").trained == 1
    assert examples.put(an_example(turn_id="t", weight=5.0)).trained == 1


def test_a_deleted_example_takes_its_trainings_along(database, examples, an_example):
    example = examples.put(an_example())
    examples.mark_trained([example.id], "lora-1")
    assert examples.delete([example.id, example.id, "gone"]) == 1
    assert database.rows("SELECT * FROM trainings") == []
    assert examples.delete([example.id]) == examples.delete([]) == 0


# Changing


def test_fields_can_be_changed(examples, an_example):
    example = examples.put(an_example(target=None, rejected="no", level="critical"))
    newer = examples.put(an_example("Other?"))
    changed = examples.change(example.id, target="yes", state="ready", reason="", source="fix", secrets=("e-mail",))
    assert changed == dataclasses.replace(
        example, target="yes", state="ready", reason="", source="fix", secrets=("e-mail",)
    )
    assert examples.find() == [newer, changed]


def test_only_a_whole_id_is_changed(examples, an_example):
    example = examples.put(an_example())
    with pytest.raises(StoreError, match="There is no example"):
        examples.change(example.id[:-1], weight=2.0)
    with pytest.raises(AssertionError, match="hold"):
        examples.change(example.id, hold="")
    assert examples.find() == [example]


def test_a_reply_rated_badly_later_stops_being_a_target_and_may_be_one_again(examples, an_example):
    good = examples.put(an_example(target="It is this."))
    bad = examples.put(an_example(target=None, rejected="it  is this.", level="critical"))
    assert examples.get(good.id).hold == "", "case counts"
    bad = examples.change(bad.id, rejected="It  is this.")
    assert examples.get(good.id).hold == "its reply was rated critical elsewhere"
    assert examples.live() == []
    examples.change(bad.id, level="good")
    assert ids(examples.live()) == [good.id]


def test_a_changed_prompt_settles_both_prompts(examples, an_example):
    first, second = examples.put(an_example("One?", "a")), examples.put(an_example("One?", "b"))
    third = examples.put(an_example("Two?", "c"))
    assert ids(examples.live()) == [second.id, third.id]
    examples.put(dataclasses.replace(second, messages=(Message("user", "Two?"),)))
    assert ids(examples.live()) == [first.id, third.id]


# Counting and finding


@pytest.fixture
def shelf(examples, an_example):
    """One example of each standing, oldest first."""
    given = [
        an_example("old?", "yes", time="2026-01-01T10:00:00.000Z", tags=("a", "ab"), quality=0.9),
        an_example("ready?", "yes", time="2026-01-02T10:00:00.000Z", level="medium", weight=3.0, rejected="No!"),
        an_example("target?", None, time="2026-01-03T10:00:00.000Z", level="critical", weight=10.0, tags=("a",)),
        an_example(
            "review?",
            None,
            time="2026-01-04T10:00:00.000Z",
            level="critical",
            weight=5.0,
            state="needs review",
            rejected="x",
            note="Stra\u00dfe",
            source="rewrite",
        ),
        an_example("secret?", "yes", time="2026-01-05T10:00:00.000Z", state="needs review", secrets=("e-mail",)),
        an_example("off?", "yes", time="2026-01-06T10:00:00.000Z", state="disabled", model="large", quality=0.5),
        an_example("twice?", "yes", time="2026-01-07T10:00:00.000Z"),
        an_example("twice?", "no", time="2026-01-08T10:00:00.000Z", source="teach"),
    ]
    stored = [examples.put(example) for example in given]
    examples.mark_trained([stored[0].id], "lora-1")
    return [examples.get(example.id) for example in stored]


@pytest.mark.parametrize(
    ("status", "found"),
    [
        ("ready", ["ready?", "twice?"]),
        ("trained", ["old?"]),
        ("needs target", ["target?"]),
        ("needs review", ["review?", "secret?"]),
        ("disabled", ["off?", "twice?"]),
        ("trainable", ["old?", "ready?", "review?", "twice?"]),
        ("waiting", ["target?", "review?", "secret?"]),
    ],
)
def test_examples_are_found_by_how_they_stand(examples, shelf, status, found):
    assert prompts(examples.find(status=status, oldest_first=True)) == found
    words = {"trained": "trained by 1"}.get(status, status)
    if status not in ("trainable", "waiting"):
        assert examples.find(status=status, oldest_first=True) == [e for e in shelf if e.status == words]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"level": "critical"}, ["target?", "review?"]),
        ({"tag": "a"}, ["old?", "target?"]),
        ({"tag": "b"}, []),
        ({"source": "rewrite"}, ["review?"]),
        ({"since": "2026-01-07"}, ["twice?", "twice?"]),
        ({"until": "2026-01-02"}, ["old?", "ready?"]),
        ({"until": "2026-01-02T09"}, ["old?"]),
        ({"min_quality": 0.5}, ["old?", "off?"]),
        ({"min_quality": 0.0}, ["old?", "off?"]),
        ({"model": "large"}, ["off?"]),
        ({"ids": []}, []),
        ({"text": "TWICE"}, ["twice?", "twice?"]),
        ({"text": "no twice"}, ["twice?"]),
        ({"text": "no!"}, ["ready?"]),
        ({"text": "stra\u00dfe"}, ["review?"]),
        ({"text": "content"}, []),
        ({"text": "%"}, []),
        ({"text": " "}, None),
        ({"level": "critical", "tag": "a", "text": "target", "status": "waiting"}, ["target?"]),
        ({"limit": 2}, ["old?", "ready?"]),
        ({"limit": 0}, []),
        ({"limit": None}, None),
    ],
)
def test_examples_are_found_by_what_they_are(examples, shelf, asked, found):
    assert prompts(examples.find(**asked, oldest_first=True)) == (prompts(shelf) if found is None else found)


def test_examples_are_found_newest_first_twenty_at_a_time(examples, an_example):
    stored = [examples.put(an_example(f"{number}?")) for number in range(25)]
    assert examples.find() == stored[:4:-1]
    assert examples.find(ids=[stored[3].id, stored[7].id, "gone"]) == [stored[7], stored[3]]


def test_texts_are_found_in_every_message(examples, an_example):
    example = examples.put(
        an_example(messages=(Message("system", 'Say "hi"'), Message("user", "a"), Message("user", "b")))
    )
    assert examples.find(text='"hi" b') == [example]
    assert examples.find(text='\\"hi') == []


def test_the_buffer_counts_what_waits(examples, shelf):
    assert examples.buffer() == Buffer(
        examples=3, weighted=9.0, new=3, new_weighted=9.0, needs_target=1, needs_review=2
    )


def test_an_empty_buffer(examples):
    assert examples.buffer() == Buffer(
        examples=0, weighted=0.0, new=0, new_weighted=0.0, needs_target=0, needs_review=0
    )


def test_the_buffer_is_read_from_its_index_alone(path):
    statements = []
    with closing(Database(path)) as database:
        database.connection.set_trace_callback(statements.append)
        Examples(database).buffer()
        database.connection.set_trace_callback(None)
        (statement,) = statements
        plan = [row["detail"] for row in database.rows(f"EXPLAIN QUERY PLAN {statement}")]
    tables = [step for step in plan if "examples" in step or "learning" in step]
    assert tables == [
        "SCAN examples USING COVERING INDEX examples_waiting",
        "SEARCH examples USING COVERING INDEX examples_waiting (trainable=? AND trained=?)",
        "SEARCH learning USING PRIMARY KEY (example_id=?)",
    ]


# Leaving


def test_the_oldest_trained_leave_and_never_the_untrained(database, archive, an_example):
    examples = Examples(database, limit=3, archive=archive)
    stored = [examples.put(an_example(f"{number}?", rejected="x")) for number in range(5)]
    assert examples.count() == 5, "nothing was learned yet"
    assert not archive.path.exists()
    examples.mark_trained([stored[1].id, stored[2].id, stored[4].id], "lora-1")
    assert examples.trim() == 2
    assert ids(examples.find(oldest_first=True)) == [stored[0].id, stored[3].id, stored[4].id]
    examples.put(an_example("5?"))
    assert prompts(examples.find(oldest_first=True)) == ["0?", "3?", "5?"]
    examples.add(an_example("6?"))
    assert prompts(examples.find(oldest_first=True)) == ["0?", "3?", "5?", "6?"]
    gone = archived(archive)
    assert prompts(gone) == ["1?", "2?", "4?"]
    assert gone[0] == dataclasses.replace(stored[1], trained=1)
    assert examples.trim() == 0


def test_the_oldest_leave_first_however_often_they_were_learned(database, an_example):
    examples = Examples(database)
    stored = [examples.put(an_example(f"{number}?")) for number in range(3)]
    examples.mark_trained(ids(stored), "lora-1")
    examples.mark_trained(ids(stored[:2]), "lora-2")
    assert Examples(database, limit=1).trim() == 2
    assert ids(examples.find()) == [stored[2].id]


def test_trained_examples_leave_after_some_days(database, archive, an_example):
    now = "2026-02-01T12:00:00.000Z"
    examples = Examples(database, keep_days=2, archive=archive, now=lambda: now)
    times = ["2026-01-30T11:59:59.999Z", "2026-01-30T12:00:00.000Z", "2026-01-01T00:00:00.000Z"]
    stored = [examples.put(an_example(time, time=time)) for time in times]
    examples.mark_trained(ids(stored[:2]), "lora-1")
    assert examples.trim() == 1
    assert ids(examples.find(oldest_first=True)) == ids(stored[1:])
    assert prompts(archived(archive)) == times[:1]


def test_what_was_rejected_stays_so_when_its_example_has_left(database, an_example):
    examples = Examples(database, limit=1)
    bad = examples.put(an_example("What is it?", "It is that.", rejected="It is this.", level="critical"))
    examples.mark_trained([bad.id], "lora-1")
    examples.put(an_example("another"))
    assert not examples.has(bad.id)
    good = examples.put(an_example("What is it?", "It is this."))
    assert "critical" in good.hold and not good.trainable


def test_every_new_example_lets_the_old_ones_go(database, archive, an_example):
    examples = Examples(database, keep_days=2, archive=archive, now=lambda: "2026-02-01T12:00:00.000Z")
    old = examples.put(an_example("old", time="2026-01-01T00:00:00.000Z"))
    examples.mark_trained([old.id], "lora-1")
    new = examples.put(an_example("new", time="2026-02-01T11:00:00.000Z"))
    assert ids(examples.find()) == [new.id] and prompts(archived(archive)) == ["old"]


def test_for_ever_is_for_ever(database, an_example):
    examples = Examples(database, keep_days=0)
    example = examples.put(an_example(time="1970-01-01T00:00:00.000Z"))
    examples.mark_trained([example.id], "lora-1")
    assert examples.trim() == 0
    assert Examples(database, keep_days=10**9).trim() == 0
    assert Examples(database, keep_days=365).trim() == 1, "without an archive they are just deleted"


def test_nothing_leaves_that_could_not_be_archived(database, tmp_path, an_example):
    (tmp_path / "file").touch()
    examples = Examples(database, limit=1, archive=Archive(tmp_path / "file"))
    stored = examples.put(an_example("One?"))
    examples.mark_trained([stored.id], "lora-1")
    with pytest.raises(HomeError):
        examples.put(an_example("Two?"))
    assert ids(examples.find()) == [stored.id]


def test_a_bad_reply_does_not_become_a_target_because_its_rating_has_left(database, an_example):
    examples = Examples(database, limit=2)
    good = examples.put(an_example(target="bad"))
    bad = examples.put(an_example(target="better", rejected="bad", level="critical"))
    examples.mark_trained([bad.id], "lora-1")
    examples.put(an_example("Other?"))
    assert examples.trim() == 0
    assert examples.get(good.id).hold == "its reply was rated critical elsewhere"
    assert examples.count() == 3


def test_an_old_word_does_not_count_again_because_the_newer_one_has_left(database, an_example):
    examples = Examples(database, limit=1)
    older, newer = examples.put(an_example(target="old")), examples.put(an_example(target="new"))
    examples.mark_trained([newer.id], "lora-1")
    assert examples.trim() == 0
    examples.mark_trained([older.id], "lora-1")
    assert examples.trim() == 1
    assert ids(examples.find()) == [newer.id]


def test_all_old_words_of_a_prompt_leave_in_their_order(database, an_example):
    examples = Examples(database)
    stored = [examples.put(an_example(target=target)) for target in ("a", "b", "c")]
    other = examples.put(an_example("Other?"))
    examples.mark_trained(ids(stored), "lora-1")
    assert Examples(database, limit=1).trim() == 3
    assert ids(examples.find()) == [other.id]


# Several changes as one


def test_a_change_is_part_of_the_transaction_around_it(database, examples, an_example):
    kept = examples.put(an_example(target="old"))
    with pytest.raises(KeyboardInterrupt), database.transaction():
        examples.put(an_example(target="new"))
        examples.mark_trained([kept.id], "lora-1")
        raise KeyboardInterrupt
    assert examples.find() == [kept]


def test_what_is_stored_is_there_in_the_next_run(path, an_example):
    with closing(Database(path)) as database:
        examples = Examples(database)
        held = examples.put(an_example(target="no"))
        examples.put(an_example(target=None, rejected="no", level="medium"))
        examples.mark_trained([held.id], "lora-1")
        before, buffer = examples.find(limit=None), examples.buffer()
    with closing(Database(path)) as database:
        assert Examples(database).find(limit=None) == before
        assert Examples(database).buffer() == buffer


# Any sequence of changes

REPLIES = ["yes", "no", " No", "maybe\nso"]
SOME = st.integers(0, 50)
FIELDS = st.fixed_dictionaries(
    {
        "messages": st.sampled_from(["a?", "A?", "b?"]).map(lambda prompt: (Message("user", prompt),)),
        "level": st.sampled_from(["good", "medium", "critical"]),
        "weight": st.sampled_from([1.0, 3.0, 10.0]),
        "target": st.sampled_from([None, *REPLIES]),
        "rejected": st.sampled_from([None, *REPLIES]),
        "note": st.sampled_from([None, "note"]),
        "state": st.sampled_from(["ready", "ready", "needs target", "needs review", "disabled"]),
        "secrets": st.sampled_from([(), (), ("e-mail",)]),
        "turn_id": st.sampled_from([None, None, "t1", "t2", "t3"]),
    }
).filter(lambda fields: fields["target"] or fields["state"] != "ready")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["put", "add"]), FIELDS),
        st.tuples(st.just("put again"), SOME, FIELDS),
        st.tuples(st.just("change"), SOME, FIELDS),
        st.tuples(st.just("delete"), SOME),
        st.tuples(st.just("train"), st.sets(SOME, max_size=4), st.sampled_from(["lora-1", "lora-2"])),
        st.tuples(st.just("trim")),
    ),
    max_size=20,
)
CHANGED = ("target", "rejected", "note", "weight", "level", "state", "secrets")


def take(examples, step, an_example):
    """One step on what is there; the numbers in it choose among the examples. Returns the one it stored, if any."""
    there = examples.find(limit=None, oldest_first=True)
    match step:
        case ("put", fields):
            return examples.put(an_example(**fields))
        case ("add", fields):
            return examples.add(an_example(**fields))[0]
        case ("put again", number, fields) if there:
            return examples.put(an_example(id=there[number % len(there)].id, **fields))
        case ("change", number, fields) if there:
            changes = {name: fields[name] for name in CHANGED}
            return examples.change(there[number % len(there)].id, **changes)
        case ("delete", number) if there:
            assert examples.delete([there[number % len(there)].id]) == 1
        case ("train", numbers, adapter) if there:
            examples.mark_trained({there[number % len(there)].id for number in numbers}, adapter)
        case ("trim",):
            gone = examples.trim()
            assert len(there) - examples.count() == gone
            left = {example.id: example for example in examples.find(limit=None)}
            assert all(example.trained for example in there if example.id not in left)
            for example in there:
                assert not example.hold or example.id not in left or left[example.id].hold, "it counts again"
    return None


def check(database, examples):
    there = examples.find(limit=None, oldest_first=True)
    groups = defaultdict(list)
    for example in there:
        groups[prompt_hash(example.messages)].append(example)
    for prompt, group in groups.items():
        gone = database.rows("SELECT reply_hash, level FROM rejections WHERE prompt_hash = ?", (prompt,))
        assert {example.id: example.hold for example in group} == settle(group, dict(map(tuple, gone)))
        ready = [e for e in group if not e.hold and e.target and e.state == "ready" and not e.secrets]
        assert len(ready) <= 1
        bad = [example.rejected for example in group if example.rejected and example.level != "good"]
        for example in group:
            assert not (example.trainable and any(same_reply(example.target, reply) for reply in bad if example.target))
    assert examples.live() == [example for example in there if example.trainable]
    waiting = [example for example in there if example.trainable and not example.trained]
    assert examples.buffer() == Buffer(
        examples=len(waiting),
        weighted=sum(example.weight for example in waiting),
        new=len(waiting),
        new_weighted=sum(example.weight for example in waiting),
        needs_target=sum(example.status == "needs target" for example in there),
        needs_review=sum(example.status == "needs review" for example in there),
    )
    trainings = [row["example_id"] for row in database.rows("SELECT example_id FROM trainings")]
    assert {e.id: e.trained for e in there if e.trained} == {id: trainings.count(id) for id in trainings}
    turns = [example.turn_id for example in there if example.turn_id]
    assert len(turns) == len(set(turns))


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_the_books_are_right_after_any_sequence_of_changes(an_example, steps):
    with tempfile.TemporaryDirectory() as folder, closing(Database(Path(folder) / "shammah.db")) as database:
        database.connection.execute("PRAGMA synchronous = OFF")
        examples = Examples(database, limit=4)
        for step in steps:
            stored = take(examples, step, an_example)
            if stored is not None:
                assert examples.get(stored.id) == stored
            check(database, examples)


def test_two_examples_that_come_to_teach_the_same_become_one(examples, an_example):
    told = examples.put(an_example(target="Bo", turn_id=None))
    rated = examples.put(an_example(target="Ada", turn_id="turn"))
    assert examples.count() == 2
    changed = examples.change(told.id, target="Ada", rejected=rated.rejected)
    assert (examples.count(), changed.id, changed.turn_id) == (1, told.id, "turn")
    other = examples.put(an_example(target="Bo", turn_id=None))
    again = examples.put(replace_target(changed, "Bo", other.rejected))
    assert (examples.count(), again.id) == (1, told.id)


def replace_target(example, target, rejected):
    return dataclasses.replace(example, target=target, rejected=rejected)
