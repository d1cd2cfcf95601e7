"""Attention over packed rows on a CPU: three products written out, where the library's fused one is made for long rows.

Some hundred places and a mask of their own make the fused one twice as slow, backwards above all. Whatever is
anything else than that goes the library's way.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "shammah_packed"
# Above this the written-out product takes more memory than it saves time.
_MOST_PLACES = 1024


def use_packed_attention(network: PreTrainedModel) -> None:
    """For a network on a CPU that uses the library's default; any other keeps its own."""
    if network.device.type == "cpu" and network.config._attn_implementation == "sdpa":
        AttentionInterface.register(NAME, _attention)
        AttentionMaskInterface.register(NAME, sdpa_mask)
        network.set_attn_implementation(NAME)


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **more: Any,
) -> tuple[Tensor, Tensor | None]:
    rows, heads, places, width = query.shape
    packed = (
        attention_mask is not None
        and attention_mask.dtype == query.dtype
        and rows == 1
        and key.shape[2] == places
        and places <= _MOST_PLACES
    )
    if not packed or dropout or more.get("softcap"):
        result: tuple[Tensor, Tensor | None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **more
        )
        return result
    assert attention_mask is not None
    groups = key.shape[1]
    scale = width**-0.5 if scaling is None else scaling
    # Heads that share their keys are one matrix, so that keys and values are never copied for them.
    asked = (query * scale).reshape(groups, heads // groups * places, width)
    scores = torch.bmm(asked, key[0].transpose(1, 2)).view(heads, places, places)
    mask = attention_mask[0]
    shares = torch.softmax(scores + mask, dim=-1)
    told = torch.bmm(shares.view(groups, heads // groups * places, places), value[0])
    return told.view(heads, places, width).transpose(0, 1)[None], None
