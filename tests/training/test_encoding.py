"""What is trained on is what the chat would have sent, to the byte, and then the reply and one end."""

import pytest
from support.reasoning import TEMPLATES
from transformers import AutoTokenizer

from shammah.model.chat_format import ChatFormat
from shammah.records import Message
from shammah.training.encoding import Encoder

IM_END = 2
TALKS = [
    [Message("user", "What is it?")],
    [Message("system", "Be short."), Message("user", "¿Qué? \n\n<b>")],
    [Message("user", "a"), Message("assistant", "b"), Message("user", "c ")],
]


@pytest.fixture
def plain(tiny_model):
    """The same tokenizer without its template."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.chat_template = None
    return ChatFormat(tokenizer)


def text(format, ids):
    return format._tokenizer.decode(ids, skip_special_tokens=False)


@pytest.mark.parametrize("messages", TALKS)
def test_the_prompt_is_the_chats_to_the_byte(encoder, tiny_loaded, messages):
    row = encoder.row(messages, "It is this.")
    prompt = tiny_loaded.format.encode(messages)
    assert list(row.ids[: row.start]) == prompt == encoder.prompt(messages)


@pytest.mark.parametrize("messages", TALKS)
def test_the_reply_follows_and_one_end(encoder, tiny_loaded, messages):
    row = encoder.row(messages, "It is this.")
    assert list(row.ids[row.start :]) == [*tiny_loaded.format.tokens("It is this."), IM_END]
    assert row.learned == len("It is this.") + 1


def test_it_is_what_the_template_writes_for_the_whole_talk(encoder, tiny_loaded):
    messages = TALKS[0]
    row = encoder.row(messages, "It is this.")
    whole = tiny_loaded.format._apply([*messages, Message("assistant", "It is this.")])
    assert whole.startswith(text(tiny_loaded.format, list(row.ids)))


@pytest.mark.parametrize("messages", TALKS)
def test_without_a_template_the_plain_one_of_the_chat(plain, messages):
    encoder = Encoder(plain, {IM_END}, longest=300)
    row = encoder.row(messages, "It is this.")
    assert list(row.ids[: row.start]) == plain.encode(messages)
    said = text(plain, list(row.ids[row.start :]))
    assert said.strip() == "It is this.<|im_end|>" and said.startswith(" ") == (" It is" in _written(plain))


def _written(plain):
    return plain._apply([Message("user", "?"), Message("assistant", "It is this.")])


def test_a_template_that_writes_before_a_reply(tiny_model):
    """As those do that put an empty line, or a closed thought, between the prompt and the reply."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
        "{% if m['role'] == 'assistant' %}<think>\n\n</think>\n{% endif %}{{ m['content'] }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    row = Encoder(ChatFormat(tokenizer), {IM_END}, longest=300).row(TALKS[0], "yes")
    assert tokenizer.decode(row.ids[row.start :]) == "<think>\n\n</think>\nyes<|im_end|>"


def test_a_prompt_that_opens_a_thought_has_it_closed_before_the_reply(tiny_model):
    """Else the reply would be learned as a thought."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.chat_template = TEMPLATES["opens"]
    row = Encoder(ChatFormat(tokenizer), {IM_END}, longest=300).row(TALKS[0], "yes")
    whole = tokenizer.decode(row.ids)
    assert whole.endswith("assistant\n<think>\n\n</think>\n\nyes<|im_end|>")


@pytest.mark.parametrize("template", ["leads", "opens"])
def test_a_closed_thought_is_not_counted_as_reply(tiny_model, template):
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.chat_template = TEMPLATES[template]
    row = Encoder(ChatFormat(tokenizer), {IM_END}, longest=300).row(TALKS[0], "y" * 50, most=7)
    assert tokenizer.decode(row.ids[row.start :]).endswith("</think>\n\n" + 7 * "y")


def test_courtesy_comes_before_each_row(tiny_loaded):
    seen = []
    encoder = Encoder(tiny_loaded.format, {IM_END}, longest=200, courtesy=lambda: seen.append(None))
    encoder.row(TALKS[0], "yes")
    encoder.row(TALKS[0], "yes", rejected="no")
    encoder.row(TALKS[0], "y" * 500)
    assert len(seen) == 4


def test_what_is_too_long_is_none(encoder, tiny_loaded):
    messages = [Message("user", "x" * 50)]
    room = 200 - len(tiny_loaded.format.encode(messages))
    assert len(encoder.row(messages, "y" * (room - 1)).ids) == 200
    assert encoder.row(messages, "y" * room) is None
    assert encoder.row([Message("user", "x" * 200)], "y") is None


def test_only_the_first_tokens_where_so_many_are_asked_for(encoder):
    row = encoder.row(TALKS[0], "y" * 500, most=7)
    assert row.learned == 7 and IM_END not in row.ids[row.start :]
    assert encoder.row(TALKS[0], "yes", most=7).ids[-1] == IM_END


def test_a_reply_that_was_cut_off_has_no_end(encoder):
    assert IM_END not in encoder.row(TALKS[0], "yes", ended=False).ids[-3:]
    assert encoder.row(TALKS[0], "", ended=False) is None
    assert encoder.row(TALKS[0], "").learned == 1


def test_the_rejected_reply_comes_with_the_same_prompt(encoder):
    row = encoder.row(TALKS[0], "yes", source="id", weight=3.0, rejected="no no")
    assert row.rejected.ids[: row.start] == row.ids[: row.start] and row.rejected.start == row.start
    assert (row.rejected.learned, row.learned) == (6, 4)
    assert (row.source, row.weight, row.kind) == ("id", 3.0, "lesson")
    assert encoder.row(TALKS[0], "yes", rejected="n" * 500).rejected is None
