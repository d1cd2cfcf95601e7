"""Untrained models of the kinds that can be written as GGUF, so small that they are written and read in no time."""

import json
from pathlib import Path
from typing import Any

import torch
from support.networks import SPECIAL
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA3_TURNS = {
    "rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}  # fmt: skip
LINEAR_TURNS = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}
# Rows are whole blocks of Q8_0, and there are fewer heads for keys than for queries.
_SIZES: dict[str, Any] = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 128, "initializer_range": 0.2, "rms_norm_eps": 1e-6,
    "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2,
}  # fmt: skip
_KINDS: dict[str, Any] = {
    "llama": (LlamaConfig, LlamaForCausalLM, {}),
    "llama with biases": (LlamaConfig, LlamaForCausalLM, {"attention_bias": True}),
    "llama with heads of its own size": (LlamaConfig, LlamaForCausalLM, {"head_dim": 32}),
    "llama tied": (LlamaConfig, LlamaForCausalLM, {"tie_word_embeddings": True}),
    "llama 3": (LlamaConfig, LlamaForCausalLM, {"rope_parameters": LLAMA3_TURNS}),
    "llama linear": (LlamaConfig, LlamaForCausalLM, {"rope_parameters": LINEAR_TURNS}),
    "mistral": (MistralConfig, MistralForCausalLM, {"sliding_window": None}),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM, {}),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM, {"head_dim": 16}),
}
KINDS = tuple(_KINDS)


def a_tokenizer(pre: Any = None) -> Any:
    """Byte-level, with a few merges; text is split as by GPT-2 unless told otherwise."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre or pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = ["the cat sat on the mat in 2024", "the dog ate the hat 12 times", "a b c d\n\n\n\n1. one"] * 4
    tokenizer.train_from_iterator(texts, trainer)
    wrapped: Any = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token=SPECIAL[0],
        bos_token=SPECIAL[1],
        eos_token=SPECIAL[2],
        pad_token=SPECIAL[2],
    )
    wrapped.chat_template = TEMPLATE
    return wrapped


def save_base(kind: str, folder: Path, *, tokenizer: Any = None, spare: int = 6, **changes: Any) -> Path:
    """A whole model folder in float16, with room for some tokens more than the tokenizer has."""
    config, model, fields = _KINDS[kind]
    tokenizer = tokenizer or a_tokenizer()
    torch.manual_seed(7)
    network = model(config(**(_SIZES | fields | {"vocab_size": len(tokenizer) + spare} | changes)))
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "norm" in name or "bias" in name:
                parameter.add_(torch.randn_like(parameter), alpha=0.3)
    network.half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def change_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
