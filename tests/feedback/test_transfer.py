import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from shammah.config import WeightSettings
from shammah.errors import RowError
from shammah.feedback.formats import Draft
from shammah.feedback.lessons import lesson
from shammah.feedback.transfer import (
    LONGEST_ROW,
    export_rows,
    import_lines,
    numbered_rows,
    redacted,
    rewritten,
    without_secrets,
)
from shammah.records import Message

OFFICE = Path(__file__).with_name("office.jsonl")
GOOD = {"prompt": "Hi", "reply": "Hello", "rating": "good"}
KEY = "AKIA" + "Q8ZR2LKP0VXW7TNB"


class Shelf:
    """Keeps drafts and knows those that it has."""

    def __init__(self):
        self.drafts = []

    def take(self, draft):
        if draft in self.drafts:
            return False
        self.drafts.append(draft)
        return True


@pytest.fixture
def shelf():
    return Shelf()


@pytest.fixture
def load(shelf):
    def load(data, format="shammah", **options):
        options = {"weights": WeightSettings(), "take": shelf.take, **options}
        return import_lines(numbered_rows(io.BytesIO(data)), format, **options)

    return load


def jsonl(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


class TestIn:
    def test_the_office_suite(self, load, shelf):
        report = load(OFFICE.read_bytes())
        assert (report.taken, report.known, report.skipped, report.weighted, report.redacted) == (10, 0, [], 54.0, 0)
        levels = [draft.level for draft in shelf.drafts]
        assert [levels.count(level) for level in ("critical", "medium", "good")] == [4, 4, 2]
        assert all(draft.extra.keys() == {"probes", "expect_any"} for draft in shelf.drafts)
        again = load(OFFICE.read_bytes())
        assert (again.taken, again.known, again.weighted) == (0, 10, 0.0)
        assert len(shelf.drafts) == 10

    def test_weights_are_the_settings_or_the_rows_own(self, load):
        rows = [GOOD, {**GOOD, "prompt": "Ho", "weight": 0.25}, {**GOOD, "prompt": "Ha", "rating": "medium"}]
        assert load(jsonl(*rows), weights=WeightSettings(good=2, medium=7)).weighted == 9.25

    def test_broken_rows_are_named_and_the_good_ones_taken(self, load, shelf):
        lines = [
            json.dumps(GOOD).encode(),
            b"{",
            b"\xff\xfe",
            b"[1, 2]",
            b"",
            b'{"reply": "Hello", "rating": "good"}',
            b'{"prompt": "Hi", "reply": "Hello"}',
            b'{"prompt": "Hi", "reply": "Hello", "rating": "grand"}',
            b'{"prompt": "Hi", "rating": "medium"}',
            b'{"prompt": "Hi", "reply": "No", "rating": "critical", "better": "No"}',
            b'{"prompt": "Hi", "reply": "No", "rating": "good", "weight": NaN}',
            b'{"prompt": "H\\u0000i", "reply": "No", "rating": "good"}',
            json.dumps({**GOOD, "prompt": "x" * LONGEST_ROW}).encode(),
            b"[" * 100_000,
            b'{"prompt": "Hi", "reply": "No", "rating": "medium", "weight": -1}',
            b'{"prompt": "Ho", "reply": "No", "rating": "medium", "note": "Be kind"}',
        ]
        report = load(b"\n".join(lines))
        assert report.taken == 2
        assert report.weighted == 4.0
        assert [draft.messages[-1].content for draft in shelf.drafts] == ["Hi", "Ho"]
        reasons = dict(report.skipped)
        assert list(reasons) == [2, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]
        assert reasons[2].startswith("not JSON: ")
        assert reasons[14] == "nested too deeply"
        assert [reasons[line] for line in (3, 4, 6, 7, 9, 10, 12, 13, 15)] == [
            "not UTF-8",
            "not an object",
            'no "prompt"',
            'no "rating"',
            "neither a reply nor a better one",
            "the better reply is the one that was rated critical",
            "a null byte in a text",
            "longer than 1 MB",
            '"weight" is not a positive number',
        ]
        assert reasons[8] == "unknown rating 'grand'. It is good, medium or critical."
        assert reasons[11] == "not JSON: NaN is no number there"

    def test_what_the_taker_refuses_is_skipped_too(self, load):
        def take(draft):
            raise RowError("no room")

        assert load(jsonl(GOOD), take=take).skipped == [(1, "no room")]

    def test_other_forms_take_the_level_that_is_given(self, load, shelf):
        row = {"instruction": "Hi", "output": "Hello"}
        assert load(jsonl(row), "alpaca", rating="critical").weighted == 10.0
        assert shelf.drafts == [Draft(messages=(Message("user", "Hi"),), level="critical", reply="Hello")]


class TestRows:
    def rows(self, data):
        return [(number, line.strip()) for number, line in numbered_rows(io.BytesIO(data)) if line.strip()]

    def test_lines_of_all_systems_with_a_mark_of_the_byte_order(self):
        assert self.rows(b"\xef\xbb\xbf{}\r\n\r\n{1}\n\n \n{2}") == [(1, b"{}"), (3, b"{1}"), (6, b"{2}")]
        assert self.rows(b"") == self.rows(b"\n\n") == []

    def test_an_array_is_its_items(self, load):
        assert self.rows(b' [ {"a": 1},\n {"b": "],\xc3\xa9"} , 3 ]\n') == [
            (1, b'{"a": 1}'),
            (2, b'{"b": "],\xc3\xa9"}'),
            (3, b"3"),
        ]
        assert self.rows(b"\n[]\n") == []
        report = load(json.dumps([GOOD, {}, {**GOOD, "prompt": "Ho"}], indent=1).encode())
        assert (report.taken, report.skipped) == (2, [(2, 'no "prompt"')])

    def test_an_array_that_breaks_off_gives_what_came_before(self, load):
        report = load(b"[" + json.dumps(GOOD).encode() + b', {"prompt": ]')
        assert report.taken == 1
        assert [number for number, _ in report.skipped] == [2]

    @pytest.mark.parametrize("depth", [120, 480, 900, 990, 5000])
    def test_a_row_that_is_nested_too_deeply_leaves_the_others(self, load, depth):
        row = json.dumps({**GOOD, "prompt": "Ho", "say": ']}\\"['}).encode()
        deep = row[:-1] + b', "more": ' + b"[" * depth + b"]" * depth + b"}"
        rows = [json.dumps(GOOD).encode(), deep, row]
        report = load(b"\n".join(rows))
        assert (report.taken, report.skipped) == (2, [(2, "nested too deeply")])
        report = load(b"[" + b", ".join(rows) + b"]")
        assert (report.known, report.skipped) == (2, [(2, "nested too deeply")])

    def test_a_list_in_the_first_line_of_many_is_only_a_wrong_row(self, load):
        report = load(b"[1]\n" + jsonl(GOOD))
        assert (report.taken, report.skipped) == (1, [(1, "not an object")])
        assert load(b"[broken\n" + jsonl({**GOOD, "prompt": "Ho"})).taken == 1
        assert load(b"[1]\n" + jsonl({**GOOD, "prompt": "Ha"}) + b"[2]").skipped == [
            (1, "not an object"),
            (3, "not an object"),
        ]

    def test_an_array_in_one_line_may_be_longer_than_a_row(self, load):
        rows = [{**GOOD, "prompt": f"{number} {'x' * 1000}"} for number in range(1500)]
        data = json.dumps(rows).encode()
        assert len(data) > LONGEST_ROW
        assert load(data, redacting=False).taken == 1500

    def test_the_longest_row_is_taken_and_one_more_letter_is_not(self, load, shelf):
        def row(length):
            return jsonl({**GOOD, "prompt": "x" * (length - len(jsonl({**GOOD, "prompt": ""})) + 1)})

        assert len(row(LONGEST_ROW)) == LONGEST_ROW + 1
        data = row(LONGEST_ROW) + row(LONGEST_ROW + 1) + row(3 * LONGEST_ROW) + jsonl(GOOD)
        report = load(data, redacting=False)
        assert report.skipped == [(2, "longer than 1 MB"), (3, "longer than 1 MB")]
        assert shelf.drafts[-1].messages[-1].content == "Hi"

    def test_no_more_is_read_than_the_rows_that_are_asked_for(self):
        class Endless(io.BytesIO):
            def readline(self, size=-1):
                return b"x" * (size - 1) + b"\n" if size > 0 else pytest.fail("a line without an end was read")

        rows = numbered_rows(Endless())
        assert [next(rows)[0] for _ in range(3)] == [1, 2, 3]


class TestSecrets:
    DRAFT = Draft(
        messages=(Message("system", f"Key: {KEY}"), Message("user", f"Key: {KEY}")),
        level="medium",
        reply=f"Key: {KEY}",
        better=f"Key: {KEY}",
        note=f"Key: {KEY}",
        rules=(f"Key: {KEY}",),
        reason=f"Key: {KEY}",
        secrets_seen=True,
        tags=(f"Key: {KEY}",),
        model=f"Key: {KEY}",
        adapter=f"Key: {KEY}",
        extra={"probes": [f"Key: {KEY}", {"deep": f"Key: {KEY}"}], "number": 3},
    )

    def test_they_leave_every_text(self):
        clean = without_secrets(self.DRAFT)
        assert KEY not in repr(clean)
        assert repr(clean).count("Key: [redacted API key]") == 12
        assert clean.secrets == ("API key",)
        assert not clean.secrets_seen

    def test_every_field_with_text_is_passed_on(self, an_example):
        example = an_example(
            messages=(Message("user", "a"),), target="b", rejected="c", note="d", rules=("e",),
            tags=("f",), model="g", adapter="h", reason="i", extra={"j": ["k", 1, None, True, 2.5]},
        )  # fmt: skip
        after = rewritten(example, str.upper, lambda text: text * 2)
        assert (after.prompt, after.target, after.rejected, after.note, after.rules) == ("A", "B", "C", "D", ("E",))
        assert (after.tags, after.model, after.adapter, after.reason) == (("ff",), "gg", "hh", "ii")
        assert after.extra == {"jj": ["kk", 1, None, True, 2.5]}
        assert (after.id, after.time, after.state) == (example.id, example.time, example.state)

    @pytest.mark.parametrize(
        "more",
        [
            {"tags": (f"Key: {KEY}",)},
            {"model": KEY},
            {"adapter": KEY},
            {"extra": {KEY: 1}},
            {"extra": {"deep": [{"a": {f"Key: {KEY}": KEY}}]}},
        ],
    )
    def test_what_is_never_trained_on_is_redacted_and_not_pending(self, more):
        draft = Draft(messages=(Message("user", "Hi"),), level="good", reply="Hello", secrets_seen=True, **more)
        clean = without_secrets(draft)
        assert KEY not in repr(clean) and "[redacted API key]" in repr(clean)
        assert (clean.secrets, clean.secrets_seen) == ((), True)
        assert redacted(draft)[1:] == ((), ("API key",))

    @pytest.mark.parametrize("where", ["reply", "better", "note", "rules", "messages"])
    def test_what_is_trained_on_is_pending(self, where):
        value = {"rules": (KEY,), "messages": (Message("user", KEY),)}.get(where, KEY)
        draft = Draft(**{"messages": (Message("user", "Hi"),), "level": "good", "reply": "Hello", where: value})
        assert without_secrets(draft).secrets == ("API key",)

    def test_card_numbers_may_be_numbers(self):
        extra = {"card": 4111111111111111, "same": [4111111111111111.0, -4111111111111111], "count": 4111111111111112}
        draft = Draft(messages=(Message("user", "Hi"),), level="good", reply="Hello", extra=extra)
        mark = "[redacted card number]"
        assert without_secrets(draft).extra == {"card": mark, "same": [mark, mark], "count": 4111111111111112}

    def test_a_name_tells_what_its_value_is(self):
        extra = {"password": "hunter2xyz", "api_key": ["a8f7d6e5c4b3"], "word": "hunter2xyz", "say": 'a "b" c'}
        draft = Draft(messages=(Message("user", "Hi"),), level="good", reply="Hello", extra=extra)
        assert without_secrets(draft).extra == {**extra, "password": "[redacted password]"}

    def test_names_that_become_one_lose_no_value(self):
        extra = {"anna@acme.org": 1, "ben@acme.org": 2}
        clean = without_secrets(Draft(messages=(Message("user", "Hi"),), level="good", reply="Hello", extra=extra))
        assert sorted(clean.extra.values()) == [1, 2] and "acme" not in repr(clean)
        assert without_secrets(clean) is clean

    def test_what_was_redacted_before_stays_on_the_list(self):
        draft = replace(self.DRAFT, secrets=("password",), messages=(Message("user", "[redacted password]"),))
        assert without_secrets(draft).secrets == ("password", "API key")
        seen = Draft(messages=(Message("user", "[redacted password]"),), level="good", reply="a", secrets_seen=True)
        assert without_secrets(seen) is seen

    def test_they_are_gone_before_anybody_takes_the_draft(self, load, shelf):
        rows = [{**GOOD, "reply": f"It is {KEY}", "secrets": []}, {**GOOD, "prompt": "Ho"}]
        report = load(jsonl(*rows))
        assert (report.taken, report.redacted) == (2, 1)
        assert [draft.secrets for draft in shelf.drafts] == [("API key",), ()]
        assert KEY not in repr(shelf.drafts)

    def test_unless_that_is_switched_off(self, load, shelf):
        assert load(jsonl({**GOOD, "reply": f"It is {KEY}"}), redacting=False).redacted == 0
        assert shelf.drafts[0].reply == f"It is {KEY}"

    def test_two_replies_that_differ_in_their_secrets_only_teach_nothing(self, load, shelf):
        load(jsonl({**GOOD, "rating": "medium", "reply": f"Take {KEY}", "better": f"Take {KEY[:-1]}C"}))
        (draft,) = shelf.drafts
        assert lesson(draft.level, reply=draft.reply, better=draft.better, note=draft.note).target is None


class TestOut:
    def test_what_a_form_cannot_hold_is_counted(self, an_example):
        examples = [
            an_example("a"),
            an_example("b", level="medium", rejected="No"),
            an_example("c", target=None, rejected="No", level="medium"),
            an_example("d", state="disabled"),
        ]
        rows, left_out = export_rows(examples, "dpo")
        assert rows == [{"prompt": "b", "chosen": "It is this.", "rejected": "No"}]
        assert left_out == {"no rejected reply": 1, "no target": 1, "disabled": 1}
        assert len(export_rows(examples, "shammah")[0]) == 4
        assert export_rows([], "kto") == ([], {})

    def test_all_rows_of_a_file_are_of_one_kind(self, an_example):
        plain, talk = an_example("a"), an_example(messages=(Message("system", "S"), Message("user", "b")))
        assert {type(row["prompt"]) for row in export_rows([plain, plain], "completion")[0]} == {str}
        assert {type(row["prompt"]) for row in export_rows([plain, talk], "completion")[0]} == {list}

    @pytest.mark.parametrize("format", ["shammah", "chatml", "alpaca", "sharegpt", "completion", "kto"])
    def test_the_office_comes_back_from_every_form(self, an_example, load, shelf, format):
        load(OFFICE.read_bytes())
        examples = []
        for draft in shelf.drafts:
            learned = lesson(draft.level, reply=draft.reply, better=draft.better, note=draft.note)
            examples.append(
                an_example(messages=draft.messages, level=draft.level, target=learned.target, rejected=learned.rejected)
            )
        rows, left_out = export_rows(examples, format)
        assert left_out == {}
        shelf.drafts.clear()
        assert load(jsonl(*rows), format).taken == 10
        back = [lesson(draft.level, reply=draft.reply, better=draft.better, note=draft.note) for draft in shelf.drafts]
        assert [learned.target for learned in back] == [example.target for example in examples]
        assert [draft.messages for draft in shelf.drafts] == [example.messages for example in examples]
