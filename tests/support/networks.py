"""Untrained networks so small that they compute in no time, and what they are fed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedTokenizerFast,
)

HEADS: dict[str, Any] = {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
SMALL: dict[str, Any] = {**HEADS, "hidden_size": 32, "intermediate_size": 48, "initializer_range": 0.3}
SPECIAL = ["<unk>", "<|im_start|>", "<|im_end|>"]


def llama(**changes: Any) -> LlamaForCausalLM:
    torch.manual_seed(5)
    return LlamaForCausalLM(LlamaConfig(**SMALL, **changes)).eval()


def mistral(sliding_window: int, **changes: Any) -> MistralForCausalLM:
    """Every layer sees the last few tokens only."""
    torch.manual_seed(5)
    return MistralForCausalLM(MistralConfig(**SMALL, sliding_window=sliding_window, **changes)).eval()


def gemma(**changes: Any) -> Gemma3ForCausalLM:
    """Layers of both kinds in turns."""
    torch.manual_seed(5)
    kinds = ["sliding_attention", "full_attention"]
    config = Gemma3TextConfig(**SMALL, head_dim=8, sliding_window=8, layer_types=kinds, **changes)
    return Gemma3ForCausalLM(config).eval()


def some_ids(length: int, seed: int = 0, *, below: int = 128) -> list[int]:
    return torch.randint(3, below, (length,), generator=torch.Generator().manual_seed(seed)).tolist()


def ascii_text(ids: Sequence[int]) -> str:
    return "".join(map(chr, ids))


def save_chat_model(folder: Path, tokenizer: Tokenizer, template: str | None, dtype: torch.dtype, **sizes: Any) -> Path:
    """A whole model folder: a Llama of 2 layers and the tokenizer, which has the special tokens first."""
    torch.manual_seed(7)
    config = LlamaConfig(
        **HEADS,
        **sizes,
        vocab_size=tokenizer.get_vocab_size(),
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    LlamaForCausalLM(config).to(dtype).save_pretrained(folder)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token=SPECIAL[0], bos_token=SPECIAL[1], eos_token=SPECIAL[2]
    )
    if template:
        wrapped.chat_template = template
    wrapped.save_pretrained(folder)
    return folder
