"""What runs came to."""

import itertools

import pytest

from shammah.errors import StoreError
from shammah.records import Receipt
from shammah.store.receipts import Receipts

BODY = {"prompts": [{"example": "e1", "prompt": "Grüße?", "before": "Ja", "after": "Grüezi"}], "loss": [2.5, 1.0]}


@pytest.fixture
def receipts(database):
    seconds = itertools.count()
    return Receipts(database, now=lambda: f"2026-01-01T00:00:{next(seconds):02d}.000Z")


def test_what_was_put_is_read_again(receipts):
    first = receipts.put("run-1", "lora-1", BODY)
    second = receipts.put("run-2", None, {})
    assert first == Receipt(run_id="run-1", time="2026-01-01T00:00:00.000Z", adapter="lora-1", body=BODY)
    assert receipts.get("run-1") == first and receipts.get() == second
    assert receipts.recent() == receipts.recent(None) == [second, first] and receipts.recent(1) == [second]


def test_what_has_no_word_in_json_is_replaced(receipts):
    body = {"loss": [float("nan"), 1], "after": "bad \udcff", "parts": ("a", float("inf"))}
    assert receipts.put("run", None, body).body == {"loss": [None, 1], "after": "bad \ufffd", "parts": ["a", None]}


def test_a_run_has_one(receipts):
    first = receipts.put("run-1", None, BODY)
    other = receipts.put("run-2", None, {})
    again = receipts.put("run-1", "lora-1", {"loss": []})
    assert again.body == {"loss": []} and (again.adapter, again.time) == ("lora-1", first.time)
    assert receipts.recent() == [other, again], "it keeps its place"


def test_each_is_told_once_whoever_asks_first(receipts):
    first, second = receipts.put("run-1", None, BODY), receipts.put("run-2", None, {})
    assert receipts.untold() == [second, first]
    assert receipts.tell(["run-1", "run-9"]) == {"run-1"} and receipts.tell(["run-1"]) == set()
    receipts.put("run-1", None, {})
    assert receipts.untold() == [second], "put anew it stays told"


def test_the_beginning_of_an_id_will_do(receipts):
    first, second = receipts.put("abc1", None, BODY), receipts.put("abd2", None, {})
    assert receipts.get("abc") == first and receipts.get(" abd2 ") == second
    with pytest.raises(StoreError, match="More than one receipt of a run"):
        receipts.get("ab")
    for wrong in ("", "x", "abc12"):
        with pytest.raises(StoreError, match="There is no receipt of a run") as caught:
            receipts.get(wrong)
        assert caught.value.hint


def test_before_the_first_run_there_is_none(receipts):
    assert receipts.recent() == []
    with pytest.raises(StoreError, match="There is no receipt yet") as caught:
        receipts.get()
    assert "/train now" in caught.value.hint


def test_which_tell_of_an_example(receipts):
    receipts.put("value", None, BODY)
    receipts.put("key", None, {"after": {"e1": "Yes", "e2": "No"}})
    receipts.put("other", None, {"prompts": [{"example": "e3"}]})
    assert receipts.about(["e1"]) == ["value", "key"]
    assert receipts.about(["e2", "e3", "e4"]) == ["key", "other"]
    assert receipts.about([]) == receipts.about(["e4"]) == []


def test_what_is_deleted_is_gone(receipts):
    kept = [receipts.put(name, None, BODY) for name in ("one", "two", "three")][1]
    assert receipts.delete(["one", "three", "four"]) == 2
    assert receipts.recent() == [kept]
    assert receipts.delete([]) == receipts.delete(["tw"]) == 0


def test_one_is_found_without_reading_all(database):
    for asked in ("WHERE id >= ? AND id < ? ORDER BY id LIMIT 2", "WHERE id > ? AND id < ? LIMIT 1"):
        sql = f"SELECT * FROM (SELECT run_id AS id, * FROM receipts) {asked}"
        plan = " ".join(row["detail"] for row in database.rows("EXPLAIN QUERY PLAN " + sql, ("a", "b")))
        assert "SEARCH receipts USING INDEX" in plan and "SCAN" not in plan
