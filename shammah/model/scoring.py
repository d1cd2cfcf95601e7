"""How likely a model finds a reply that is already written: token ids in, a mean log probability out.

A pass of its own, without a cache: it reads the weights and nothing else, so it is safe beside a reply that another
thread streams, and leaves the sequence that the next reply goes on from as it was.
"""

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from shammah.model.engine import Engine

# Rows of a whole vocabulary in float32 are large: so many at a time.
_ROWS = 128


@torch.inference_mode()
def mean_log_probability(
    engine: Engine, prompt: Sequence[int], reply: Sequence[int], end_tokens: Collection[int]
) -> float:
    """Per token of the reply and its end, which is any of the tokens that end a reply.

    Without `end_tokens` the reply counts as one that goes on.
    """
    if not prompt or not (reply or end_tokens):
        raise ValueError("nothing to follow the prompt, or no prompt")
    ids = torch.tensor([*prompt, *reply], device=engine.device)
    said = len(reply)
    logits = engine.logits(ids, said + 1)
    chosen = _chosen(logits[:said], ids[len(prompt) :])
    if end_tokens:
        ends = torch.tensor(sorted(end_tokens), device=engine.device)
        chosen = [*chosen, float(_normalised(logits[said:])[0, ends].logsumexp(0))]
    return sum(chosen) / len(chosen)


def _chosen(logits: Tensor, tokens: Tensor) -> list[float]:
    """What each token was worth where it stands."""
    parts: list[float] = []
    for rows, wanted in zip(torch.split(logits, _ROWS), torch.split(tokens, _ROWS), strict=True):
        parts += _normalised(rows).gather(1, wanted[:, None])[:, 0].tolist()
    return parts


def _normalised(logits: Tensor) -> Tensor:
    return torch.log_softmax(logits.float(), dim=-1)
