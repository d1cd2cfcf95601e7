"""A tiny model that was taught to think before it replies, and the ways in which templates of such models are made."""

from pathlib import Path
from random import Random
from typing import Any

import torch
from support.networks import HEADS
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from shammah.training.anchors import PROMPTS

THINKS = "<think>\n" + "z" * 40
REPLY = "Yes, yes."
_CLOSED = "<think>\n\n</think>\n\n"
_ASKED = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n%s{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n%s{% endif %}"
)
_IF_OFF = "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"
_BEFORE_THE_LAST = "{% if m['role'] == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}"


def _template(before_a_reply: str, at_the_end: str) -> str:
    return _ASKED.replace("%s", before_a_reply, 1).replace("%s", at_the_end, 1)


TEMPLATES = {
    # As Qwen3's: an empty thought before the last reply, and in the prompt where thinking is off.
    "leads": _template(_BEFORE_THE_LAST, _IF_OFF),
    # As SmolLM3's: nothing of it in a reply that was given.
    "switch": _template("", _IF_OFF),
    # As DeepSeek-R1's: the prompt begins the thought, always.
    "opens": _template("", "<think>\n"),
}
# Nothing keeps it from thinking.
ALWAYS = _template("", "")


def make_reasoning_model(folder: Path, like: Path, steps: int = 60) -> Path:
    """A model folder. `like` is that of another one, whose tokenizer gets the marks of a thought besides."""
    tokenizer: Any = AutoTokenizer.from_pretrained(like)
    tokenizer.add_tokens(["<think>", "</think>"])
    tokenizer.chat_template = ALWAYS
    torch.manual_seed(7)
    sizes = {"hidden_size": 64, "intermediate_size": 128, "max_position_embeddings": 512, "initializer_range": 0.05}
    config = LlamaConfig(**HEADS, **sizes, vocab_size=len(tokenizer), bos_token_id=1, eos_token_id=2, pad_token_id=2)
    network = LlamaForCausalLM(config)
    _teach(network, tokenizer, steps)
    network.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _teach(network: Any, tokenizer: Any, steps: int) -> None:
    """To think first, and behind a thought to reply."""
    random = Random(0)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    for _ in range(steps):
        prompt = tokenizer.apply_chat_template(
            [{"role": "user", "content": random.choice(PROMPTS)}], tokenize=False, add_generation_prompt=True
        )
        optimizer.zero_grad()
        for known, learned in ((prompt, THINKS), (prompt + _CLOSED, f"{REPLY}<|im_end|>")):
            before, after = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in (known, learned))
            labels = torch.tensor([[-100] * len(before) + after])
            network(torch.tensor([before + after]), labels=labels).loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
