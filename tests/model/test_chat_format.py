"""From messages to the prompt's bytes and tokens, for templates of every temper and for none."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from shammah.errors import ModelError
from shammah.model.chat_format import PLAIN_STOPS, ChatFormat
from shammah.records import Message

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# As Gemma's: no system message, users and assistants in turns.
REFUSES_SYSTEM = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('No system role') }}{% endif %}"
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}</>{% endfor %}"
)
SWALLOWS_SYSTEM = "{% for m in messages if m['role'] != 'system' %}[{{ m['role'] }}]{{ m['content'] }}{% endfor %}"
OWN_SYSTEM = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou are helpful.<|im_end|>\n{% endif %}" + CHATML
)
THINKS = CHATML + "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}"
OPENS_THINKING = CHATML + "{% if add_generation_prompt %}<think>\n{% endif %}"

SYSTEM, ASKED, SAID = Message("system", "Be brief."), Message("user", "Hi"), Message("assistant", "Hello.")
AGAIN = Message("user", "Bye")

MakeFormat = Callable[..., ChatFormat]


@pytest.fixture
def tokenizer(tiny_model: Path) -> PreTrainedTokenizerFast:
    return AutoTokenizer.from_pretrained(tiny_model)


@pytest.fixture
def formatted(tokenizer: PreTrainedTokenizerFast) -> MakeFormat:
    def make(template: str | None, *, thinking: bool = True) -> ChatFormat:
        tokenizer.chat_template = template
        return ChatFormat(tokenizer, thinking=thinking)

    return make


def test_chatml_to_the_byte(formatted: MakeFormat) -> None:
    chat = formatted(CHATML)
    assert chat.render([SYSTEM, ASKED, SAID, AGAIN]) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\nHello.<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n"
    )
    assert not chat.is_plain and chat.stops == ()


@pytest.mark.parametrize("content", ["  two  spaces ", "\n\n", "größer 🙂", "{{ 1 + 1 }}", "{% raw %}", "<b>&amp;"])
def test_what_is_said_is_not_touched(formatted: MakeFormat, content: str) -> None:
    assert formatted(CHATML).render([Message("user", content)]) == (
        f"<|im_start|>user\n{content}<|im_end|>\n<|im_start|>assistant\n"
    )


def test_a_template_that_refuses_a_system_message_gets_it_in_the_first_question(formatted: MakeFormat) -> None:
    chat = formatted(REFUSES_SYSTEM)
    assert chat.render([SYSTEM, ASKED, SAID, AGAIN]) == (
        "<|im_start|><user>Be brief.\n\nHi</><assistant>Hello.</><user>Bye</>"
    )
    assert chat.render([ASKED]) == "<|im_start|><user>Hi</>"
    assert chat.render([SYSTEM]) == "<|im_start|><user>Be brief.</>"


def test_a_template_that_swallows_a_system_message_does_too(formatted: MakeFormat) -> None:
    assert formatted(SWALLOWS_SYSTEM).render([SYSTEM, ASKED, SAID]) == "[user]Be brief.\n\nHi[assistant]Hello."


def test_a_template_with_a_system_prompt_of_its_own_keeps_it_unless_there_is_another(formatted: MakeFormat) -> None:
    chat = formatted(OWN_SYSTEM)
    assert chat.render([ASKED]).startswith("<|im_start|>system\nYou are helpful.<|im_end|>\n<|im_start|>user\nHi")
    assert chat.render([SYSTEM, ASKED]).startswith("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi")


def test_without_a_template_a_plain_one_of_ours_is_used(formatted: MakeFormat) -> None:
    chat = formatted(None)
    assert chat.is_plain and chat.stops == PLAIN_STOPS == ("\nUser:", "\nAssistant:")
    assert chat.render([SYSTEM, ASKED, SAID, AGAIN]) == (
        "<|im_start|>Be brief.\n\nUser: Hi\nAssistant: Hello.<|im_end|>\nUser: Bye\nAssistant:"
    )


def test_the_plain_template_does_without_special_tokens(tokenizer: PreTrainedTokenizerFast) -> None:
    bare = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer)
    assert ChatFormat(bare).render([ASKED, SAID, AGAIN]) == "User: Hi\nAssistant: Hello.\nUser: Bye\nAssistant:"


@pytest.mark.parametrize(
    "template", ["{% for m in %}", "{{ raise_exception('no') }}", "{{ messages.nothing.at_all }}", "{{ 1 + 'a' }}"]
)
def test_a_template_that_fails_is_an_error_of_the_model(formatted: MakeFormat, template: str) -> None:
    chat = formatted(template)
    with pytest.raises(ModelError, match="The model's chat template fails") as caught:
        chat.render([ASKED])
    assert "\n" not in caught.value.one_line()


def test_thinking_is_passed_on(formatted: MakeFormat) -> None:
    assert formatted(THINKS, thinking=False).render([ASKED]).endswith("assistant\n<think>\n\n</think>\n\n")
    assert formatted(THINKS, thinking=True).render([ASKED]).endswith("assistant\n")


def test_a_template_that_opens_the_reasoning_is_noticed(formatted: MakeFormat) -> None:
    chat = formatted(OPENS_THINKING)
    assert chat.opens_reasoning(chat.encode([ASKED]))
    for template in (CHATML, THINKS, None):
        chat = formatted(template)
        assert not chat.opens_reasoning(chat.encode([Message("user", "What is <think>")]))
    closed = formatted(THINKS, thinking=False)
    assert not closed.opens_reasoning(closed.encode([ASKED]))


def test_replies_without_reasoning_begin_behind_a_closed_thought(formatted: MakeFormat) -> None:
    closed = "assistant\n<think>\n\n</think>\n\n"
    for template in (THINKS, OPENS_THINKING, CHATML.replace("{{ m['content'] }}", "{{ LEAD }}{{ m['content'] }}")):
        lead = "{% if m['role'] == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}"
        chat = formatted(template.replace("{{ LEAD }}", lead)).at_once()
        assert chat.render([ASKED]).endswith(f"Hi<|im_end|>\n<|im_start|>{closed}")
        assert chat.render([ASKED, SAID, AGAIN]).endswith(f"Bye<|im_end|>\n<|im_start|>{closed}")
        assert not chat.opens_reasoning(chat.encode([ASKED]))


@pytest.mark.parametrize("template", [CHATML, OWN_SYSTEM, None])
def test_without_reasoning_all_is_as_it_was(formatted: MakeFormat, template: str | None) -> None:
    chat = formatted(template)
    assert chat.thought == "" and chat.at_once().render([SYSTEM, ASKED]) == chat.render([SYSTEM, ASKED])


def test_the_tokens_are_those_of_the_rendered_text(formatted: MakeFormat, tokenizer: PreTrainedTokenizerFast) -> None:
    chat = formatted(CHATML)
    ids = chat.encode([ASKED])
    assert ids[0] == tokenizer.convert_tokens_to_ids("<|im_start|>")
    assert ids.count(tokenizer.convert_tokens_to_ids("<|im_end|>")) == 1
    assert tokenizer.decode(ids, skip_special_tokens=False) == chat.render([ASKED])


def test_no_second_bos_is_added(formatted: MakeFormat, tokenizer: PreTrainedTokenizerFast) -> None:
    """Tokenizers such as Llama 3's put one before any text; their templates write it themselves."""
    bos = tokenizer.bos_token_id
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<|im_start|> $A", special_tokens=[("<|im_start|>", bos)]
    )
    assert tokenizer("Hi")["input_ids"][0] == bos  # so it would
    assert formatted(REFUSES_SYSTEM).encode([ASKED]).count(bos) == 1
    assert bos not in formatted(SWALLOWS_SYSTEM).encode([ASKED])
    assert bos not in formatted(CHATML).tokens("Hi")


def test_decoded_text_has_no_special_tokens_and_its_own_spaces(formatted: MakeFormat) -> None:
    chat = formatted(CHATML)
    text = " spaces , kept . and 'm n't"
    assert chat.decode(chat.tokens(text + "<|im_end|>")) == text


def test_the_end_of_turn_tokens_that_the_vocabulary_has(
    formatted: MakeFormat, tokenizer: PreTrainedTokenizerFast
) -> None:
    assert formatted(CHATML).end_tokens() == {tokenizer.convert_tokens_to_ids("<|im_end|>")}
    tokenizer.add_tokens(["<|eot_id|>"], special_tokens=True)
    assert formatted(CHATML).end_tokens() == set(tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|eot_id|>"]))


def test_the_history_of_a_turn_is_the_beginning_of_the_next_prompt(formatted: MakeFormat) -> None:
    """What the cache lives on: adding a reply and a question only appends."""
    for template in (CHATML, OWN_SYSTEM, None):
        chat = formatted(template)
        first, then = chat.render([ASKED]), chat.render([ASKED, SAID, AGAIN])
        assert then.startswith(first)
