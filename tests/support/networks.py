"""Untrained networks so small that they compute in no time, and what they are fed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import (
    CohereConfig,
    CohereForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GraniteConfig,
    GraniteForCausalLM,
    GraniteMoeHybridConfig,
    GraniteMoeHybridForCausalLM,
    Lfm2Config,
    Lfm2ForCausalLM,
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


def lfm2(**changes: Any) -> Lfm2ForCausalLM:
    """Every other layer mixes each token with the last few before it, and asks no mask."""
    torch.manual_seed(5)
    kinds = ["conv", "full_attention"]
    return Lfm2ForCausalLM(Lfm2Config(**SMALL, layer_types=kinds, **changes)).eval()


def granite_hybrid(**changes: Any) -> GraniteMoeHybridForCausalLM:
    """Its first layer keeps a state from token to token."""
    torch.manual_seed(5)
    mamba = {"mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 8, "mamba_chunk_size": 8}
    experts = {"num_local_experts": 0, "num_experts_per_tok": 0, "shared_intermediate_size": 48}
    kinds = ["linear_attention", "full_attention"]
    config = GraniteMoeHybridConfig(**SMALL, **mamba, **experts, layer_types=kinds, **changes)
    return GraniteMoeHybridForCausalLM(config).eval()


class Scales:
    """What a quantised layer keeps beside its own tables."""

    def __init__(self, scales: torch.Tensor) -> None:
        self.scales = scales


class QuantisedLinear(torch.nn.Module):
    """A product with weights of 8 bits, widened each time: in a class that nobody knows."""

    def __init__(self, linear: torch.nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        weight = linear.weight.detach()
        self.state = Scales(weight.abs().amax(dim=1, keepdim=True) / 127)
        self.register_buffer("narrow", (weight / self.state.scales).round().to(torch.int8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(x, self.narrow.to(x.dtype) * self.state.scales.to(x.dtype))


class QuantisedLikeTorch(torch.nn.Linear):
    """The same as a linear layer of torch's by its class, as bitsandbytes has them."""

    def __init__(self, linear: torch.nn.Linear) -> None:
        super().__init__(linear.in_features, linear.out_features, bias=False, device="meta")
        weight = linear.weight.detach()
        self.state = Scales(weight.abs().amax(dim=1, keepdim=True) / 127)
        narrow = (weight / self.state.scales).round().to(torch.int8)
        self.weight = torch.nn.Parameter(narrow, requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(x, self.weight.to(x.dtype) * self.state.scales.to(x.dtype))


def quantised(network: Any, *, like_torch: bool = False) -> Any:
    """The network with all linear layers inside its decoder layers quantised, as the library marks such networks."""
    kind = QuantisedLikeTorch if like_torch else QuantisedLinear
    for layer in network.get_decoder().layers:
        for name, module in list(layer.named_modules()):
            if isinstance(module, torch.nn.Linear):
                layer.set_submodule(name, kind(module))
    network.is_quantized = True
    return network.requires_grad_(False)


def gemma2(**changes: Any) -> Gemma2ForCausalLM:
    """What comes out is capped."""
    torch.manual_seed(5)
    config = Gemma2Config(**SMALL, head_dim=8, final_logit_softcapping=3.0, sliding_window=64, **changes)
    return Gemma2ForCausalLM(config).eval()


def granite(**changes: Any) -> GraniteForCausalLM:
    """What comes out is divided."""
    torch.manual_seed(5)
    return GraniteForCausalLM(GraniteConfig(**SMALL, logits_scaling=4.0, **changes)).eval()


def cohere(**changes: Any) -> CohereForCausalLM:
    """What comes out is multiplied."""
    torch.manual_seed(5)
    return CohereForCausalLM(CohereConfig(**SMALL, logit_scale=0.25, **changes)).eval()


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
