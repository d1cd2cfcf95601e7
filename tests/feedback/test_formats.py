import json
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shammah.errors import RowError
from shammah.feedback.formats import DEEPEST, FORMATS, Draft, read_row, why_not, write_row
from shammah.feedback.lessons import lesson
from shammah.records import Example, Message
from shammah.store import new_id

LEVELS = ("good", "medium", "critical")
SYSTEM, USER, ASSISTANT = (partial(Message, role) for role in ("system", "user", "assistant"))
TALK = (SYSTEM("Be brief."), USER("Hello"), ASSISTANT("Hi"), USER("What is it?"))


def read(row, format="shammah", rating="good"):
    return read_row(format, row, rating=rating)


def refusal(row, format="shammah", rating="good"):
    with pytest.raises(RowError) as caught:
        read(row, format, rating)
    return caught.value.message


def example_of(draft):
    """What a home without any settings makes of a draft of ours; the rule decides over target and rejected reply."""
    learned = lesson(draft.level, reply=draft.reply, better=draft.better, note=draft.note)
    return Example(
        **{
            name: getattr(draft, name)
            for name in (
                *("id", "time", "turn_id", "source", "level", "weight", "messages", "rules", "note", "secrets"),
                *("quality", "model", "adapter", "tags", "extra"),
            )
        },
        target=learned.target,
        rejected=learned.rejected,
        state=draft.state,
        reason=draft.reason,
    )


class TestOurs:
    def test_a_row_with_all_a_user_would_write(self):
        row = {
            "prompt": "What port?",
            "system": "Be brief.",
            "reply": "80",
            "rating": "High",
            "better": "8443",
            "note": "Staging uses 8443",
            "weight": 5,
            "tags": ["office"],
            "probes": ["Which port?"],
        }
        assert read(row) == Draft(
            messages=(SYSTEM("Be brief."), USER("What port?")),
            level="critical",
            reply="80",
            better="8443",
            note="Staging uses 8443",
            weight=5.0,
            tags=("office",),
            extra={"probes": ["Which port?"]},
        )

    def test_a_conversation_instead_of_a_prompt(self):
        messages = [{"role": message.role, "content": message.content} for message in TALK]
        row = {"messages": messages, "reply": "It is this.", "rating": "good"}
        assert read(row).messages == TALK
        assert read({**row, "prompt": "What is it?", "system": "Be brief."}).messages == TALK
        assert read({**row, "messages": messages[1:], "system": "Be brief."}).messages == TALK

    def test_empty_values_are_none_at_all(self):
        nothing = dict.fromkeys(
            ["better", "note", "weight", "tags", "system", "id", "adapter", "state", "rules", "quality", "messages"]
        )
        row = {"prompt": "Hi", "reply": "Hello", "rating": "good"}
        assert read({**row, **nothing}) == read(row)

    def test_without_a_better_reply_a_bad_rating_stands_all_the_same(self):
        assert read({"prompt": "Hi", "reply": "No", "rating": "critical"}).better is None
        assert (
            read({"prompt": "Hi", "reply": "No", "better": " ", "rating": "medium", "note": "Be kind"}).better is None
        )

    def test_keys_of_ours_that_mean_something_else_are_extra(self):
        strange = {
            "id": 17,
            "time": "noon",
            "state": "CA",
            "source": "web",
            "model": 3,
            "rules": "none",
            "quality": "A",
        }
        draft = read({"prompt": "Hi", "reply": "Hello", "rating": "good", **strange})
        assert draft.extra == strange
        assert (draft.id, draft.time, draft.state, draft.source, draft.model) == (None, None, None, "import", "")
        assert (
            read({"prompt": "Hi", "reply": "Hello", "rating": "good", "time": "2026-13-01T00:00:00.000Z"}).time is None
        )

    def test_an_export_that_was_looked_at_says_so(self):
        row = {"prompt": "Hi", "reply": "Hello", "rating": "good"}
        assert not read(row).secrets_seen
        assert not read({**row, "secrets": ["API key"]}).secrets_seen
        assert read({**row, "secrets": []}).secrets_seen

    def test_a_file_cannot_make_a_target_of_a_bad_reply(self):
        row = {"prompt": "Hi", "reply": "No", "rating": "critical", "state": "ready", "target": "No", "note": "Be kind"}
        draft = read(row)
        assert draft.extra == {"target": "No"}
        assert lesson(draft.level, reply=draft.reply, better=draft.better, note=draft.note).target is None


GOOD = {"prompt": "Hi", "reply": "Hello", "rating": "good"}
MESSAGES = [{"role": "user", "content": "Hi"}]
BROKEN = [
    (["a list"], "not an object"),
    ({"reply": "Hello", "rating": "good"}, 'no "prompt"'),
    ({**GOOD, "prompt": None}, 'no "prompt"'),
    ({**GOOD, "prompt": 5}, '"prompt" is not a text'),
    ({**GOOD, "prompt": " \n"}, "the prompt is empty"),
    ({"prompt": "Hi", "reply": "Hello"}, 'no "rating"'),
    ({**GOOD, "rating": "critcal"}, "unknown rating 'critcal'. Did you mean 'critical'?"),
    ({**GOOD, "rating": "5 stars"}, "unknown rating '5 stars'. It is good, medium or critical."),
    ({**GOOD, "rating": 1}, '"rating" is not a text'),
    ({"prompt": "Hi", "rating": "good"}, "neither a reply nor a better one"),
    ({"prompt": "Hi", "rating": "critical", "reply": " ", "note": "Say something"}, "neither a reply nor a better one"),
    ({**GOOD, "reply": ["Hello"]}, '"reply" is not a text'),
    ({**GOOD, "better": 1}, '"better" is not a text'),
    ({**GOOD, "note": {}}, '"note" is not a text'),
    ({**GOOD, "reply": "  "}, "rated good, but the reply is empty"),
    ({**GOOD, "rating": "medium", "better": "Hello\n"}, "the better reply is the one that was rated medium"),
    ({**GOOD, "rating": "high", "better": " Hello"}, "the better reply is the one that was rated critical"),
    *(({**GOOD, "weight": weight}, '"weight" is not a positive number') for weight in (0, -1, "3", True)),
    ({**GOOD, "tags": "a"}, '"tags" is not a list of texts'),
    ({**GOOD, "tags": ["a", 1]}, '"tags" is not a list of texts'),
    ({**GOOD, "messages": "Hi"}, '"messages" is not a list of messages'),
    ({**GOOD, "messages": []}, '"messages" is not a list of messages'),
    ({**GOOD, "messages": ["Hi"]}, '"messages" is not a list of messages'),
    ({**GOOD, "messages": [{"role": "bot", "content": "Hi"}]}, "unknown role 'bot' in message 1"),
    ({**GOOD, "messages": [*MESSAGES, {"role": "assistant"}]}, "message 2 has no text"),
    (
        {**GOOD, "messages": [*MESSAGES, {"role": "system", "content": "x"}]},
        "message 2 is a system prompt, which only the first can be",
    ),
    ({**GOOD, "messages": [{"role": "user", "content": "Ho"}]}, '"prompt" is not the last of its messages'),
    (
        {"reply": "a", "rating": "good", "messages": [{"role": "assistant", "content": "Hi"}]},
        "the last message before the reply is not the user's",
    ),
    ({**GOOD, "system": "b", "messages": [{"role": "system", "content": "a"}, *MESSAGES]}, "two system prompts"),
    ({**GOOD, "reply": "a\0b"}, "a null byte in a text"),
    ({**GOOD, "more": [{"deep": ["\0"]}]}, "a null byte in a text"),
    ({**GOOD, "\0": 1}, "a null byte in a text"),
]


class TestRefusals:
    @pytest.mark.parametrize(("row", "reason"), BROKEN)
    def test_each_says_what_is_wrong(self, row, reason):
        assert refusal(row) == reason

    @pytest.mark.parametrize(
        ("format", "row", "reason"),
        [
            ("chatml", {}, 'no "messages" and no "text"'),
            ("chatml", {"messages": MESSAGES}, "the last message is not the assistant's"),
            (
                "chatml",
                {"messages": [{"role": "assistant", "content": "Hi"}]},
                "the last message before the reply is not the user's",
            ),
            (
                "chatml",
                {"text": "Hello"},
                '"text" is not ChatML: <|im_start|>role, a line break, the message, <|im_end|>',
            ),
            ("chatml", {"text": "<|im_start|>tool\nx<|im_end|>"}, "unknown role 'tool' in message 1"),
            ("alpaca", {"output": "x"}, 'no "instruction"'),
            ("alpaca", {"instruction": "x"}, 'no "output"'),
            ("alpaca", {"instruction": "x", "output": "y", "history": [["a", "b"]]}, 'earlier turns in "history"'),
            ("sharegpt", {"messages": []}, 'no "conversations"'),
            (
                "sharegpt",
                {"conversations": [{"from": "narrator", "value": "x"}]},
                "unknown role 'narrator' in message 1",
            ),
            ("completion", {"prompt": "x"}, 'no "completion"'),
            ("completion", {"prompt": "x", "completion": ""}, "rated good, but the reply is empty"),
            ("completion", {"prompt": "x", "completion": "y", "rating": 4.5}, '"rating" is not a text'),
            ("dpo", {"prompt": "x", "chosen": "y"}, 'no "rejected"'),
            ("dpo", {"chosen": "y", "rejected": "z"}, 'no "prompt"'),
            (
                "dpo",
                {"prompt": "x", "chosen": "y", "rejected": "y "},
                "the better reply is the one that was rated medium",
            ),
            (
                "dpo",
                {"prompt": "x", "chosen": "y", "rejected": [*MESSAGES, {"role": "assistant", "content": "z"}]},
                "chosen and rejected do not reply to the same messages",
            ),
            ("kto", {"prompt": "x", "completion": "y"}, '"label" is neither true nor false'),
            ("kto", {"prompt": "x", "completion": "y", "label": 1}, '"label" is neither true nor false'),
            (
                "kto",
                {"prompt": "x", "completion": "y", "label": False, "rating": "good"},
                "rated good, but its label is false",
            ),
        ],
    )
    def test_so_do_those_of_other_forms(self, format, row, reason):
        assert refusal(row, format) == reason

    @given(
        st.sampled_from(FORMATS),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["good", "user", "x", ""]),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(
                        [
                            "prompt",
                            "reply",
                            "rating",
                            "better",
                            "messages",
                            "role",
                            "content",
                            "from",
                            "value",
                            "text",
                            "label",
                            "conversations",
                            "instruction",
                            "output",
                            "chosen",
                            "rejected",
                            "completion",
                            "extra",
                            "id",
                            "state",
                        ]
                    ),
                    inner,
                    max_size=6,
                )
            ),
            max_leaves=12,
        ),
    )
    def test_no_row_does_worse_than_being_refused(self, format, row):
        try:
            draft = read(row, format)
        except RowError as error:
            assert error.message
        else:
            assert draft.messages[-1].role == "user"
            assert draft.reply or draft.better


class TestOthers:
    def test_chatml_as_messages_and_as_text(self):
        messages = [{"role": message.role, "content": message.content} for message in (*TALK, ASSISTANT("This."))]
        text = "".join(f"<|im_start|>{message['role']}\n{message['content']}<|im_end|>\n" for message in messages)
        expected = Draft(messages=TALK, level="good", reply="This.")
        assert read({"messages": messages}, "chatml") == expected
        assert read({"text": text}, "chatml") == expected
        assert read({"text": text.removesuffix("<|im_end|>\n")}, "chatml") == expected

    def test_the_reply_of_a_row_with_a_bad_rating_is_the_rejected_one(self):
        row = {
            "instruction": "Hi",
            "output": "No",
            "rating": "critical",
            "better": "Hello",
            "note": "Be kind",
            "weight": 2,
        }
        draft = read(row, "alpaca")
        assert (draft.level, draft.reply, draft.better, draft.note, draft.weight) == (
            "critical",
            "No",
            "Hello",
            "Be kind",
            2.0,
        )

    def test_rows_without_a_rating_take_the_one_that_is_given(self):
        assert read({"prompt": "Hi", "completion": "No"}, "completion", "medium").level == "medium"
        assert read({"prompt": "Hi", "completion": "No", "label": True}, "kto", "medium").level == "good"
        assert read({"prompt": "Hi", "chosen": "Yes", "rejected": "No"}, "dpo", "good").level == "medium"
        assert (
            read({"prompt": "Hi", "chosen": "Yes", "rejected": "No", "rating": "critical"}, "dpo").level == "critical"
        )

    def test_alpaca_with_an_input(self):
        row = {"instruction": "Add", "input": "1 and 2", "output": "3", "system": "Count.", "id": 4}
        assert read(row, "alpaca") == Draft(
            messages=(SYSTEM("Count."), USER("Add\n\n1 and 2")), level="good", reply="3", extra={"id": 4}
        )

    def test_sharegpt_with_both_kinds_of_names(self):
        human = {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}], "system": "S"}
        user = {
            "conversations": [
                {"from": "system", "value": "S"},
                {"from": "user", "value": "Hi"},
                {"from": "assistant", "value": "Hello"},
            ]
        }
        assert (
            read(human, "sharegpt")
            == read(user, "sharegpt")
            == Draft(messages=(SYSTEM("S"), USER("Hi")), level="good", reply="Hello")
        )

    def test_pairs_in_the_forms_that_they_come_in(self):
        def said(*texts):
            roles = ("user", "assistant") if len(texts) == 2 else ("assistant",)
            return [{"role": role, "content": text} for role, text in zip(roles, texts, strict=True)]

        expected = Draft(messages=(USER("Hi"),), level="medium", reply="No", better="Yes")
        assert read({"prompt": "Hi", "chosen": "Yes", "rejected": "No"}, "dpo") == expected
        assert read({"prompt": MESSAGES, "chosen": said("Yes"), "rejected": said("No")}, "dpo") == expected
        assert read({"chosen": said("Hi", "Yes"), "rejected": said("Hi", "No")}, "dpo") == expected
        assert read({"prompt": "Hi", "chosen": said("Hi", "Yes"), "rejected": said("Hi", "No")}, "dpo") == expected

    def test_a_false_label_is_a_rejected_reply_without_a_better_one(self):
        draft = read({"prompt": "Hi", "completion": "No", "label": False}, "kto")
        assert draft == Draft(messages=(USER("Hi"),), level="medium", reply="No")
        assert lesson(draft.level, reply=draft.reply, better=draft.better, note=draft.note).target is None


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
SAID = TEXTS.filter(str.strip)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=4,
)
KEYS = TEXTS | st.sampled_from(["probes", "id", "reply", "extra", "state", "prompt", "messages", "target"])


@st.composite
def examples(draw, levels=LEVELS):
    """What feedback can make: never without the rule, which says what the target is."""
    level = draw(st.sampled_from(levels))
    reply, better = draw(st.none() | SAID), draw(st.none() | SAID)
    note = draw(st.none() | TEXTS)
    learned = lesson(level, reply=reply or (None if better else "x"), better=better, note=note)
    earlier = draw(st.lists(st.tuples(SAID, TEXTS), max_size=2))
    return Example(
        id=new_id(),
        time=f"2026-0{draw(st.integers(1, 9))}-11T12:00:00.{draw(st.integers(100, 999))}Z",
        turn_id=draw(st.none() | st.just(new_id())),
        source=draw(st.sampled_from(["rating", "fix", "rewrite", "retry", "teach", "import", "script"])),
        level=level,
        weight=draw(st.floats(0.01, 1000)),
        messages=(
            *draw(st.lists(TEXTS.map(SYSTEM), max_size=1)),
            *(message for said, reply in earlier for message in (USER(said), ASSISTANT(reply))),
            USER(draw(SAID)),
        ),
        rules=tuple(draw(st.lists(TEXTS, max_size=2))),
        target=learned.target,
        rejected=learned.rejected,
        note=note,
        state=draw(st.sampled_from([learned.state, "disabled", "needs review"])),
        reason=draw(st.sampled_from([learned.reason, "put aside by hand"])),
        secrets=tuple(draw(st.lists(st.sampled_from(["API key", "password"]), max_size=2, unique=True))),
        quality=draw(st.none() | st.floats(0, 1)),
        model=draw(TEXTS),
        adapter=draw(st.none() | TEXTS),
        tags=tuple(draw(st.lists(TEXTS, max_size=2))),
        extra=draw(st.dictionaries(KEYS, VALUES, max_size=3)),
    )


class TestLimits:
    def nested(self, depth):
        value = "x"
        for _ in range(depth):
            value = [value]
        return value

    @pytest.mark.parametrize("depth", [DEEPEST, 480, 990, 5000])
    def test_what_is_nested_too_deeply_is_refused(self, depth):
        assert refusal({**GOOD, "more": self.nested(depth)}) == "nested too deeply"
        assert refusal({"instruction": "a", "output": {"b": self.nested(depth)}}, "alpaca") == "nested too deeply"

    def test_the_deepest_row_is_taken(self):
        assert read({**GOOD, "more": self.nested(DEEPEST - 1)}).extra["more"] == self.nested(DEEPEST - 1)

    def test_a_weight_is_what_edit_allows(self):
        assert read({**GOOD, "weight": 1000}).weight == 1000
        for weight in (1000.5, 1e12, 1e999, 10**400):
            assert refusal({**GOOD, "weight": weight}) == '"weight" is more than 1,000'

    def test_of_secrets_only_the_known_kinds_are_kept(self):
        draft = read({**GOOD, "secrets": ["sk-abcdef", "password", "password", "API key"]})
        assert draft.secrets == ("password", "API key") and not draft.secrets_seen
        assert not read({**GOOD, "secrets": ["sk-abcdef"]}).secrets_seen
        assert read({**GOOD, "secrets": []}).secrets_seen


class TestThereAndBack:
    @given(examples())
    def test_ours_keeps_everything(self, example):
        row = json.loads(json.dumps(write_row("shammah", example), ensure_ascii=False))
        draft = read(row)
        assert example_of(draft) == example
        assert draft.secrets_seen == (not example.secrets)

    @given(examples())
    def test_what_only_this_home_knows_stays_here(self, example):
        row = write_row("shammah", replace(example, hold="a newer one", trained=3))
        assert row == write_row("shammah", example)

    @pytest.mark.parametrize("format", ["chatml", "alpaca", "sharegpt", "completion"])
    @given(examples())
    def test_forms_with_a_reply_keep_prompt_and_target(self, format, example):
        row = write_row(format, example)
        assert (row is None) == bool(why_not(format, example))
        if row is not None:
            draft = read(json.loads(json.dumps(row)), format)
            blank = not example.messages[0].content.strip() and format == "alpaca"
            assert draft == Draft(messages=example.messages[blank:], level="good", reply=example.target)

    @given(examples(), st.booleans())
    def test_pairs_keep_both_replies(self, example, as_messages):
        row = write_row("dpo", example, as_messages=as_messages)
        if row is not None:
            expected = Draft(messages=example.messages, level="medium", reply=example.rejected, better=example.target)
            assert read(row, "dpo") == expected
            assert {type(text) for text in row.values()} == {list if as_messages or len(example.messages) > 1 else str}
        else:
            assert why_not("dpo", example)

    @given(examples(), st.booleans())
    def test_a_label_goes_with_the_reply_that_it_is_about(self, example, as_messages):
        row = write_row("kto", example, as_messages=as_messages)
        if row is not None:
            draft = read(row, "kto")
            assert draft.reply == (example.target or example.rejected)
            assert draft.level == ("good" if example.target else "medium")

    @given(examples(levels=("medium", "critical")), st.sampled_from(FORMATS))
    def test_no_way_through_any_form_makes_a_target_of_a_rejected_reply(self, example, format):
        row = write_row(format, example)
        if row is not None:
            draft = read(row, format)
            learned = lesson(draft.level, reply=draft.reply, better=draft.better, note=draft.note)
            assert learned.target in (None, example.target)


class TestWhyNot:
    @pytest.mark.parametrize(
        ("format", "changes", "reason"),
        [
            ("chatml", {"target": None, "rejected": "No", "level": "medium"}, "no target"),
            ("chatml", {"state": "disabled"}, "disabled"),
            ("chatml", {"hold": "a newer one"}, "disabled"),
            ("chatml", {"state": "needs review"}, "needs review"),
            ("chatml", {"secrets": ("password",)}, "redacted secrets that were not looked at"),
            ("alpaca", {"messages": TALK}, "earlier turns in its prompt"),
            ("chatml", {"messages": TALK}, "earlier replies in its prompt"),
            ("sharegpt", {"messages": TALK}, "earlier replies in its prompt"),
            ("chatml", {"messages": TALK[:2]}, ""),
            ("sharegpt", {"messages": TALK[:2]}, ""),
            ("kto", {"messages": TALK}, ""),
            ("dpo", {}, "no rejected reply"),
            ("kto", {"target": None}, "no target"),
            ("shammah", {"target": None}, "neither a reply nor a better one"),
            ("shammah", {"target": None, "rejected": "No"}, "neither a reply nor a better one"),
            ("shammah", {"target": None, "rejected": "No", "level": "medium"}, ""),
            ("shammah", {"state": "disabled", "hold": "a newer one"}, ""),
            ("kto", {"target": None, "rejected": "No", "level": "medium", "state": "needs target"}, ""),
            ("completion", {"messages": TALK}, ""),
        ],
    )
    def test_it_says_what_keeps_an_example_out(self, an_example, format, changes, reason):
        example = an_example(**changes)
        assert why_not(format, example) == reason
        assert (write_row(format, example) is None) == bool(reason)
