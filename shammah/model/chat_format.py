"""From messages to the text and the tokens that the model is given: its own chat template, or a plain one of ours.

The same rendering serves chat, training and measuring; a prompt that differs by a byte is a different prompt.
Pure but for the tokenizer that is handed in.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from shammah.errors import ModelError
from shammah.records import Begun, Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PLAIN_TEMPLATE = (
    "{{ bos_token or '' }}"
    "{% for message in messages %}"
    "{% if message.role == 'system' %}{{ message.content }}\n\n"
    "{% elif message.role == 'user' %}User: {{ message.content }}\n"
    "{% else %}Assistant: {{ message.content }}{{ eos_token or '' }}\n"
    "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
# A model that was never taught turns goes on with the next one by itself: its reply ends where that begins.
PLAIN_STOPS = ("\nUser:", "\nAssistant:")
_MARKER = "reply-marker"
# How a thought begins and ends; after a prompt that ends within one, nothing more of it.
_THOUGHT, _NO_THOUGHT = "<think>\n", "\n</think>\n\n"
_END_OF_TURN = ("<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|end|>", "<|endoftext|>", "<|return|>")


class ChatFormat:
    def __init__(self, tokenizer: "PreTrainedTokenizerBase", *, thinking: bool = True, at_once: bool = False) -> None:
        """`at_once` has prompts end where the reply itself begins, behind whatever stands before one."""
        self._tokenizer = tokenizer
        self.thinking = thinking
        self._at_once = at_once
        self.is_plain = not tokenizer.chat_template
        self.template = PLAIN_TEMPLATE if self.is_plain else str(tokenizer.chat_template)
        self.stops = PLAIN_STOPS if self.is_plain else ()
        self._takes_system = self._shows_system()

    def render(self, messages: Sequence[Message]) -> str:
        """The prompt as text, ending where the reply begins."""
        prompt = self._apply(self._for_template(messages))
        return prompt + self.thought if self._at_once else prompt

    def at_once(self) -> "ChatFormat":
        """The same format for replies without reasoning, as far as it has a way to ask for them."""
        return ChatFormat(self._tokenizer, thinking=False, at_once=True)

    @property
    def thought(self) -> str:
        """What stands between a prompt and a reply that came without reasoning; most often nothing."""
        lead, _ = self.around_a_reply
        return lead if lead.strip() else ""

    @cached_property
    def around_a_reply(self) -> tuple[str, str]:
        """What the template writes before a reply, beyond the prompt, and what it writes after one."""
        asked = [Message("user", "?")]
        prompt = self._apply(asked)
        before, _, after = self._apply([*asked, Message("assistant", _MARKER)]).partition(_MARKER)
        if before.startswith(prompt):
            return before[len(prompt) :], after
        return (_NO_THOUGHT if _ends_within_a_thought(prompt) else ""), after

    def encode(self, messages: Sequence[Message], begun: Begun | None = None) -> list[int]:
        """The prompt as tokens, with as much of its reply behind it as is there already. The template writes its own
        special tokens, so none are added."""
        prompt = self.render(messages)
        return self.tokens(prompt if begun is None else prompt + self._said(prompt, begun))

    def _said(self, prompt: str, begun: Begun) -> str:
        """What the model had said behind this prompt: a reply stands there as it came, without a letter before it."""
        opened = _ends_within_a_thought(prompt)
        if opened or begun.reasoning:
            return ("" if opened else _THOUGHT) + begun.reasoning + _NO_THOUGHT + begun.text
        return self._unseen_blank + begun.text

    @cached_property
    def _unseen_blank(self) -> str:
        """The blank that a reply begins with where the template has one, and that some tokenizers do not give back."""
        lead, _ = self.around_a_reply
        return lead if lead == " " and not self.decode(self.tokens(" ?")).startswith(" ") else ""

    def tokens(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        text = self._tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return str(text)

    def opens_reasoning(self, prompt: Sequence[int]) -> bool:
        """Whether the template has already opened the reasoning that the model goes on with."""
        end = self._tokenizer.decode(list(prompt[-8:]), skip_special_tokens=False)
        return _ends_within_a_thought(str(end))

    def end_tokens(self) -> set[int]:
        """The tokens that end a turn in the formats we know, as far as this vocabulary has them."""
        vocabulary = self._tokenizer.get_vocab()
        return {vocabulary[token] for token in _END_OF_TURN if token in vocabulary}

    def _for_template(self, messages: Sequence[Message]) -> Sequence[Message]:
        if self._takes_system or not messages or messages[0].role != "system":
            return messages
        # Templates such as Gemma's refuse a system message: it goes before the first question instead.
        system, *rest = messages
        if not rest:
            return [Message("user", system.content)]
        return [Message("user", f"{system.content}\n\n{rest[0].content}"), *rest[1:]]

    def _shows_system(self) -> bool:
        """Some templates refuse a system message, some swallow it: try one that can't be there by chance."""
        marker = "system-prompt-marker"
        try:
            return marker in self._apply([Message("system", marker), Message("user", "?")])
        except ModelError:
            return False

    def _apply(self, messages: Sequence[Message]) -> str:
        extra: dict[str, Any] = {"chat_template": PLAIN_TEMPLATE} if self.is_plain else {}
        try:
            text = self._tokenizer.apply_chat_template(
                [{"role": message.role, "content": message.content} for message in messages],
                tokenize=False,
                add_generation_prompt=True,
                enable_thinking=self.thinking,
                **extra,
            )
        except Exception as error:  # a template is the model's code, and fails in its own ways
            raise ModelError(
                f"The model's chat template fails: {error}", hint="Try another model: `shammah models list`."
            ) from error
        return str(text)


def _ends_within_a_thought(text: str) -> bool:
    return text.rstrip().endswith("<think>")
