import dataclasses
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

import shammah
from shammah.errors import DiskFull, StoreError
from shammah.records import Conversation, Turn
from shammah.store import Conversations, Database

ROOT = Path(shammah.__file__).parents[1]

ADDER = """
import sys
from pathlib import Path
from shammah.records import Turn
from shammah.store import Conversations, Database, new_id, utc_now
conversations = Conversations(Database(Path(sys.argv[1]), busy_timeout=60))
for number in range(int(sys.argv[3])):
    turn = Turn(id=new_id(), conversation_id=sys.argv[2], number=0, time=utc_now(), query=f"question {number}",
                response="answer " * 50, model="m", stop_reason="end", latency_ms=1.0, first_token_ms=1.0,
                input_tokens=1, output_tokens=1, context_hash="c", dedupe_hash="d")
    conversations.add(turn, title="shared")
    print(turn.id, flush=True)
"""


def adder(path, conversation, turns):
    command = [sys.executable, "-c", ADDER, str(path), conversation, str(turns)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)


# Adding and reading back


def test_every_field_of_a_turn_comes_back(conversations, a_turn):
    turn = a_turn(
        reasoning="Hm.",
        adapter="lora_adapter_20260131_090500",
        expert="code",
        system="Be brief.",
        options={"temperature": 0.5, "stop": ["\n", "Ende \u00fc"], "seed": 2**62, "none": None},
        stop_reason="length",
        cached_tokens=4,
        quality=0.75,
        quality_parts={"rating": 0.5, "length": 1.0},
        feedback="good",
        note="too long",
        parent="before",
        dropped=2,
        retry_of="first",
        continues="begun",
        rules=("Answer in French", "\u6771"),
    )
    defaults = {field.name: field.default for field in dataclasses.fields(Turn)}
    changed = {name for name, default in defaults.items() if getattr(turn, name) != default}
    assert changed == set(defaults), "the test must set every field to something of its own"
    stored = conversations.add(turn, title="Talk")
    assert stored == dataclasses.replace(turn, number=1)
    assert conversations.turns("talk") == [stored]
    assert conversations.turn(turn.id) == stored


def test_what_is_not_known_comes_back_as_none(conversations, say):
    stored = say()
    assert conversations.turn(stored.id) == stored
    assert (stored.adapter, stored.expert, stored.quality, stored.feedback, stored.note) == (None,) * 5
    assert stored.options == {}


def test_turns_are_numbered_by_conversation_whatever_number_they_bring(conversations, say):
    assert [say(number=7).number, say().number, say(conversation_id="other").number, say().number] == [1, 2, 1, 3]
    assert [turn.number for turn in conversations.turns("talk")] == [1, 2, 3]
    assert conversations.turns("nowhere") == []
    assert conversations.count() == 4


def test_the_first_turn_makes_the_conversation(conversations, say):
    say(time="2026-01-01T00:00:00.000Z", model="small", system="Be brief.", title="Fruit")
    assert conversations.latest() == Conversation(
        id="talk",
        title="Fruit",
        model="small",
        system="Be brief.",
        created="2026-01-01T00:00:00.000Z",
        updated="2026-01-01T00:00:00.000Z",
        turns=1,
    )


def test_later_turns_keep_the_title_and_bring_their_model_and_system(conversations, say):
    say(time="2026-01-01T00:00:00.000Z", title="Fruit")
    say(time="2026-01-02T00:00:00.000Z", title="Other", model="large", system="Be long.")
    say(time="2026-01-01T12:00:00.000Z", title="Other", model="large", system="Be long.")
    assert conversations.conversation("talk") == Conversation(
        id="talk",
        title="Fruit",
        model="large",
        system="Be long.",
        created="2026-01-01T00:00:00.000Z",
        updated="2026-01-02T00:00:00.000Z",
        turns=3,
    )


def test_a_turn_that_cannot_be_stored_leaves_no_conversation(conversations, say, a_turn):
    first = say()
    with pytest.raises(StoreError):
        say(id=first.id, conversation_id="other", model="large")
    with pytest.raises(StoreError):
        conversations.add(dataclasses.replace(a_turn(conversation_id="third"), query=None), title="Talk")
    assert [found.id for found in conversations.recent()] == ["talk"]
    assert conversations.count() == 1


def test_a_full_disk_loses_only_the_new_turn(database, conversations, say):
    kept = say()
    pages = database.rows("PRAGMA page_count")[0][0]
    database.connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(DiskFull):
        say("x" * 200_000)
    database.connection.execute("PRAGMA max_page_count = 100000")
    assert conversations.turns("talk") == [kept]
    assert say("again").number == 2


def test_any_text_can_be_stored(conversations, a_turn):
    odd = "tab\t nul\0 emoji \U0001f389 \u6771\u4eac \ue000 \r\n ' \" \\ \u202e"
    stored = conversations.add(a_turn(odd, odd, options={"stop": [odd]}), title=odd)
    assert (stored.query, stored.response, stored.options) == (odd, odd, {"stop": [odd]})
    assert conversations.turns("talk") == [stored]
    assert conversations.conversation("talk").title == odd


def test_half_a_surrogate_pair_is_replaced(conversations, a_turn):
    turn = a_turn("bad \udcff", "half \ud83c", conversation_id="c\udcff", options={"stop": ["\udcff"]})
    stored = conversations.add(turn, title="t \udcff")
    assert (stored.query, stored.response, stored.options) == ("bad \ufffd", "half \ufffd", {"stop": ["\ufffd"]})
    assert conversations.turns("c\udcff") == conversations.turns("c\ufffd") == [stored]


def test_options_are_stored_as_json(database, say):
    say(options={"temperature": 0.5})
    assert json.loads(database.rows("SELECT options FROM turns")[0][0]) == {"temperature": 0.5}


# Finding conversations and turns by id


def test_latest_and_recent(conversations, say):
    assert conversations.latest() is None
    assert conversations.recent() == []
    for day, name in enumerate(["first", "second", "third"], 1):
        say(conversation_id=name, time=f"2026-01-0{day}T00:00:00.000Z")
    say(conversation_id="first", time="2026-01-09T00:00:00.000Z")
    assert [(found.id, found.turns) for found in conversations.recent(2)] == [("first", 2), ("third", 1)]
    assert [found.id for found in conversations.recent(None)] == ["first", "third", "second"]
    assert conversations.recent(0) == conversations.recent(-3) == []
    latest = conversations.latest()
    assert latest is not None
    assert latest.id == "first"


def test_an_id_may_be_shortened_while_it_is_clear(conversations, say):
    for name in ("abc1", "abc2", "abc", "b_d"):
        say(conversation_id=name, id=f"turn-{name}")
    assert conversations.conversation("abc1").id == "abc1"
    assert conversations.conversation(" b ").id == "b_d"
    assert conversations.conversation("abc").id == "abc", "a whole id wins over those that only start with it"
    assert conversations.turn("turn-b").conversation_id == "b_d"
    with pytest.raises(StoreError, match="More than one conversation") as caught:
        conversations.conversation("ab")
    assert "abc" in caught.value.hint
    with pytest.raises(StoreError, match="More than one turn"):
        conversations.turn("turn")


@pytest.mark.parametrize("id", ["", "  ", "zzz", "%", "_", "a*", "abc12", "\udcff", "\0", "'"])
def test_an_id_that_is_not_there(conversations, say, id):
    say(conversation_id="abc1")
    with pytest.raises(StoreError, match="There is no conversation") as caught:
        conversations.conversation(id)
    assert "shammah logs list" in caught.value.hint
    with pytest.raises(StoreError, match="There is no turn"):
        conversations.turn(id)


# What a conversation goes on with


def ids(turns):
    return [turn.id for turn in turns]


def test_a_conversation_goes_on_from_its_last_turn(conversations, say):
    first = say(id="1")
    second = say(id="2", parent=first.id)
    say(id="other", conversation_id="other")
    assert conversations.context("talk") == conversations.turns("talk") == [first, second]
    assert conversations.context("nowhere") == []


def test_turns_that_were_undone_or_tried_again_are_not_in_the_context(conversations, say):
    say(id="1")
    say(id="2", parent="1")
    conversations.set_head("talk", "1")
    assert ids(conversations.context("talk")) == ["1"]
    say(id="3", parent="1", retry_of="2")
    say(id="4", parent="3")
    assert ids(conversations.context("talk")) == ["1", "3", "4"]
    assert ids(conversations.turns("talk")) == ["1", "2", "3", "4"]
    conversations.set_head("talk", None)
    assert conversations.context("talk") == []
    say(id="5")
    assert ids(conversations.context("talk")) == ["5"]


def test_a_turn_that_is_added_again_does_not_become_the_head_again(conversations, say):
    first = say(id="1")
    say(id="2", parent="1")
    conversations.add(first, title="Talk")
    assert ids(conversations.context("talk")) == ["1", "2"]


def test_the_lineage_of_a_turn_is_what_led_to_it(conversations, say, a_turn):
    say(id="1")
    say(id="2", parent="1")
    third = say(id="3", parent="1")
    fourth = say(id="4", parent="3")
    assert ids(conversations.lineage(fourth)) == ["1", "3"]
    assert ids(conversations.lineage(third)) == ["1"]
    assert conversations.lineage(conversations.turn("1")) == []
    assert ids(conversations.lineage(a_turn(parent="4"))) == ["1", "3", "4"], "it need not be stored itself"
    assert conversations.lineage(a_turn(parent="unknown")) == []


def test_parents_in_a_circle_are_followed_once(conversations, say):
    say(id="1", parent="2")
    say(id="2", parent="1")
    say(id="3", parent="3")
    assert ids(conversations.context("talk")) == ["3"]
    assert ids(conversations.lineage(conversations.turn("1"))) == ["1", "2"]


def test_a_long_lineage_is_found(conversations, say):
    parent = None
    for number in range(1500):
        parent = say(id=str(number), parent=parent).id
    assert ids(conversations.context("talk")) == [str(number) for number in range(1500)]


def test_the_head_must_be_a_turn_of_the_conversation(conversations, say):
    say(id="1")
    say(id="2", conversation_id="other")
    for turn in ("2", "nothing", ""):
        with pytest.raises(StoreError, match="There is no turn"):
            conversations.set_head("talk", turn)
    with pytest.raises(StoreError, match="There is no conversation"):
        conversations.set_head("nowhere", None)
    assert ids(conversations.context("talk")) == ["1"]


def test_the_other_tries_at_a_question(conversations, say):
    say(id="1")
    say(id="2")
    say(id="3", retry_of="1")
    say(id="4", retry_of="1")
    say(id="5", retry_of="3")
    assert ids(conversations.retries_of("1")) == ["3", "4"]
    assert conversations.retries_of("2") == conversations.retries_of("nothing") == []


# Rating


def test_a_rating_is_stored_with_its_turn(database, conversations, say, check_index):
    turn, other = say(id="1"), say(id="2")
    rated = conversations.rate("1", "critical", "Much too long", quality=0.25, quality_parts={"rating": 0.0})
    assert rated == conversations.turn("1")
    assert rated == dataclasses.replace(
        turn, feedback="critical", note="Much too long", quality=0.25, quality_parts={"rating": 0.0}
    )
    assert conversations.turn("2") == other
    assert ids(conversations.search("too long")) == ["1"]
    check_index(database)


def test_a_rating_can_be_changed_and_taken_back(database, conversations, say, check_index):
    turn = say(id="1")
    conversations.rate("1", "critical", "much too long", quality=0.25, quality_parts={"rating": 0.0})
    conversations.rate("1", "medium", "half \udcff", quality=0.5, quality_parts={"rating": 0.5})
    assert conversations.search("long") == []
    assert ids(conversations.search("half")) == ["1"]
    assert conversations.turn("1").note == "half \ufffd"
    assert conversations.rate("1", None, None, quality=None, quality_parts={}) == turn == conversations.turn("1")
    assert conversations.search("half") == []
    check_index(database)


def test_the_quality_alone_can_be_set(conversations, say):
    say(id="1", feedback="good", note="fine")
    conversations.set_quality("1", 0.75, {"length": 0.5})
    turn = conversations.turn("1")
    assert (turn.quality, turn.quality_parts, turn.feedback, turn.note) == (0.75, {"length": 0.5}, "good", "fine")


def test_only_a_whole_id_is_rated(conversations, say):
    turn = say(id="turn-1")
    for wrong in ("turn-", "turn-2", "", "\udcff"):
        with pytest.raises(StoreError, match="There is no turn"):
            conversations.rate(wrong, "good", None, quality=1.0, quality_parts={})
        with pytest.raises(StoreError, match="There is no turn"):
            conversations.set_quality(wrong, 1.0, {})
    assert conversations.turns("talk") == [turn]


# Deleting


def test_a_deleted_conversation_is_gone_everywhere(database, conversations, say, check_index):
    say("secret plans", conversation_id="secret")
    say("secret \u6771", conversation_id="secret")
    say("secret garden", conversation_id="garden")
    assert conversations.delete_conversation("secret") == 2
    assert conversations.turns("secret") == []
    assert [found.id for found in conversations.recent()] == ["garden"]
    assert [turn.query for turn in conversations.search("secret")] == ["secret garden"]
    assert conversations.search("plans") == conversations.search("\u6771") == []
    assert conversations.count() == 1
    check_index(database)


def test_a_deleted_conversation_leaves_no_word_in_the_file(path, a_turn):
    with closing(Database(path)) as database:
        conversations = Conversations(database)
        conversations.add(a_turn("kept"), title="t")
        conversations.add(a_turn("xylophonist", conversation_id="secret"), title="t")
    assert b"xylophonist" in path.read_bytes()
    with closing(Database(path)) as database:
        Conversations(database).delete_conversation("secret")
    assert b"xylophonist" not in path.read_bytes()
    assert b"kept" in path.read_bytes()


def test_only_a_whole_id_deletes(conversations, say):
    say()
    for id in ("tal", "", "%", "\udcff"):
        with pytest.raises(StoreError, match="There is no conversation"):
            conversations.delete_conversation(id)
    assert conversations.count() == 1


# Several processes, and their sudden end


def test_two_processes_in_one_conversation(path, check_index):
    Database(path).close()
    processes = [adder(path, "shared", 200) for _ in range(2)]
    outputs = [process.communicate(timeout=120)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    with closing(Database(path)) as database:
        turns = Conversations(database).turns("shared")
        assert [turn.number for turn in turns] == list(range(1, 401))
        assert {turn.id for turn in turns} == {id.decode() for output in outputs for id in output}
        assert Conversations(database).conversation("shared").turns == 400
        check_index(database)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_killed_writers_lose_nothing_that_was_stored(path, check_index):
    chance = random.Random(7)
    stored = []
    for _ in range(10):
        process = adder(path, "shared", 100_000)
        for _ in range(chance.randint(1, 60)):
            stored.append(process.stdout.readline().decode().strip())
        process.send_signal(signal.SIGKILL)
        rest = process.communicate(timeout=60)[0].decode()
        assert process.returncode == -signal.SIGKILL
        stored += [line for line in rest.splitlines(keepends=True) if line.endswith("\n")]
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    with closing(Database(path)) as database:
        turns = Conversations(database).turns("shared")
        assert {id.strip() for id in stored} <= {turn.id for turn in turns}
        assert len(stored) <= len(turns) <= len(stored) + 10
        assert [turn.number for turn in turns] == list(range(1, len(turns) + 1))
        check_index(database)
