import re
import time

from shammah.records import Message
from shammah.store import context_hash, dedupe_hash, new_id, utc_now
from shammah.store.identity import days_before, example_hash, prompt_hash, same_reply


def at(nanoseconds):
    return lambda: nanoseconds


def test_ids_are_short_url_safe_and_all_different():
    ids = {new_id(at(1_700_000_000_000_000_000)) for _ in range(5000)}
    assert len(ids) == 5000
    assert all(re.fullmatch("[0-9a-hjkmnp-tv-z]{26}", id) for id in ids)


def test_ids_sort_as_their_times_do():
    moments = [0, 999_000, 31_000_000, 1_700_000_000_000_000_000, 1_700_000_000_000_001_000, 4_000_000_000_000_000_000]
    ids = [new_id(at(moment)) for moment in moments]
    assert ids == sorted(ids)
    assert len({id[:11] for id in ids}) == len(moments)


def test_ids_follow_the_clock_of_the_system():
    first = new_id()
    time.sleep(0.001)
    assert first < new_id() < new_id(at(time.time_ns() + 10**9))


def test_the_random_part_uses_all_its_digits():
    for place in range(11, 26):
        assert len({new_id(at(1))[place] for _ in range(200)}) > 16


def test_time_is_utc_with_milliseconds():
    assert utc_now(at(0)) == "1970-01-01T00:00:00.000Z"
    assert utc_now(at(1_769_850_300_042_999_999)) == "2026-01-31T09:05:00.042Z"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", utc_now())


def test_times_sort_as_texts():
    moments = [10**9 * 1_700_000_000 + 10**6 * step for step in (0, 1, 9, 10, 99, 100, 999, 1000)]
    texts = [utc_now(at(moment)) for moment in moments]
    assert texts == sorted(texts)
    assert len(set(texts)) == len(texts)


def test_dedupe_hash_ignores_case_white_space_and_forms():
    plain = dedupe_hash("What is the Straße?", "A street")
    assert dedupe_hash("  what is\n\tthe STRASSE? ", "a  STREET\n") == plain
    assert dedupe_hash("caf\u00e9", "\uff21") == dedupe_hash("cafe\u0301", "a")
    # Folding case alone would leave this in another normal form.
    assert dedupe_hash("\u1f80", "") == dedupe_hash("\u1f88", "") == dedupe_hash("\u1f00\u03b9", "")


def test_dedupe_hash_tells_different_exchanges_apart():
    hashes = [
        dedupe_hash("a", "b"),
        dedupe_hash("b", "a"),
        dedupe_hash("a b", ""),
        dedupe_hash("", "a b"),
        dedupe_hash("ab", ""),
        dedupe_hash('a", "b', ""),
        dedupe_hash("a", "b?"),
    ]
    assert len(set(hashes)) == len(hashes)
    assert all(re.fullmatch("[0-9a-f]{32}", digest) for digest in hashes)


def test_context_hash_is_exact():
    hello, reply = Message("user", "Hello"), Message("assistant", "Hi")
    same = context_hash([hello, reply])
    assert same == context_hash((Message("user", "Hello"), Message("assistant", "Hi")))
    others = [
        context_hash([]),
        context_hash([hello]),
        context_hash([reply, hello]),
        context_hash([Message("user", "hello"), reply]),
        context_hash([Message("system", "Hello"), reply]),
        context_hash([Message("user", "Hello "), reply]),
    ]
    assert len({same, *others}) == 1 + len(others)


def test_prompt_hash_ignores_what_a_reader_would_not_see():
    plain = prompt_hash([Message("system", "Be brief."), Message("user", "Where is the Straße?")])
    assert plain == prompt_hash((Message("system", "be  brief."), Message("user", " where is\nthe STRASSE? ")))
    others = [
        prompt_hash([Message("user", "Be brief."), Message("user", "Where is the Straße?")]),
        prompt_hash([Message("user", "Where is the Straße?")]),
        prompt_hash([Message("user", "Where is the Straße?"), Message("system", "Be brief.")]),
        prompt_hash([Message("system", "Be brief. Where is the Straße?")]),
    ]
    assert len({plain, *others}) == 5


def test_example_hash_is_of_level_prompt_and_both_replies():
    prompt = [Message("user", "What is it?")]
    plain = example_hash("good", prompt, "This", "That")
    assert plain == example_hash("good", [Message("user", "what  is it?")], "This ", " That")
    others = [
        example_hash("critical", prompt, "This", "That"),
        example_hash("good", prompt, "this", "That"),
        example_hash("good", prompt, "That", "This"),
        example_hash("good", prompt, "This", None),
        example_hash("good", prompt, None, "This"),
        example_hash("good", prompt, "This", ""),
        example_hash("good", prompt, None, None),
        example_hash("good", [Message("user", "What is that?")], "This", "That"),
        example_hash("good", [Message("system", "What is it?")], "This", "That"),
    ]
    assert len({plain, *others}) == 10


def test_replies_are_the_same_but_for_white_space():
    assert same_reply(" a\n b ", "a b")
    assert same_reply(None, " ")
    assert same_reply("cafe\u0301", "caf\u00e9")
    assert not same_reply("Paris", "paris")
    assert not same_reply("a b", "ab")
    assert not same_reply("a", None)


def test_days_before():
    assert days_before("2026-03-01T09:05:00.042Z", 1) == "2026-02-28T09:05:00.042Z"
    assert days_before("2026-03-01T09:05:00.042Z", 0) == "2026-03-01T09:05:00.042Z"
    assert days_before("2026-03-01T09:05:00.000Z", 1026 * 366) < "1000"
    assert days_before("2026-03-01T09:05:00.042Z", 10**6) == days_before("2026-03-01T09:05:00.042Z", 10**12) == ""


def test_hashes_are_the_same_in_every_version():
    """They are stored: a change would part old rows from new ones."""
    assert dedupe_hash("Hello", "World") == "7104a1609858f3661e265e19175f6cd0"
    assert context_hash([Message("user", "Hello")]) == "2c435b28eaf619994a8c9ba951a7fe1c"


def test_half_a_surrogate_pair_has_a_hash():
    assert dedupe_hash("\ud800", "") != dedupe_hash("\ud801", "")
    assert context_hash([Message("user", "\ud800")]) != context_hash([Message("user", "\ud801")])
