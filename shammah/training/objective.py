"""What is minimised, per token of a reply: how surprising the token is, or how far the model has moved from the base.

The vocabulary is by far the widest layer, so logits are made only where there is a loss, a few rows at a time, and none
are kept: each chunk leaves behind its losses and their gradients with respect to the hidden states.
"""

from typing import Any

import torch
from torch import Tensor

from shammah.training.head import Head

# Rows of the whole vocabulary at a time, and about how many numbers: between two chunks the chat may go first.
_ROWS, _NUMBERS = 64, 1 << 22


def token_losses(hidden: Tensor, head: Head, wanted: Tensor, base: Tensor | None) -> Tensor:
    """The loss at each place in float32: -log p(wanted), or KL(base || model) where `base` has a hidden state.

    `hidden` and `base` are [places, width]; a row of `base` that is all NaN stands for none.
    """
    losses: Tensor = _TokenLosses.apply(hidden, head, wanted, base)  # type: ignore[no-untyped-call]
    return losses


class _TokenLosses(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head: Head, wanted: Tensor, base: Tensor | None) -> Tensor:
        learns = ctx.needs_input_grad[0]
        rows = max(1, min(_ROWS, _NUMBERS // head.vocabulary))
        losses: list[Tensor] = []
        gradients: list[Tensor] = []
        for at in range(0, len(hidden), rows):
            part = slice(at, at + rows)
            states = hidden[part].detach().requires_grad_(learns)
            with torch.set_grad_enabled(learns):
                logits = head(states)
            loss, pull = _chunk(logits.detach(), head, wanted[part], None if base is None else base[part])
            losses.append(loss)
            if learns:
                gradients.append(_through_the_head(logits, states, pull))
        if learns:
            ctx.save_for_backward(torch.cat(gradients))
            ctx.format = hidden.dtype
        return torch.cat(losses)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return (gradient * grads[0][:, None]).to(ctx.format), None, None, None


def _through_the_head(logits: Tensor, states: Tensor, pull: Tensor) -> Tensor:
    """The gradients with respect to the hidden states.

    Where a token is all but certain they are smaller than float16 can hold: there each place goes through in a size of
    its own, and stays in float32 until the scale of the loss is on it.
    """
    if logits.dtype is not torch.float16:
        return torch.autograd.grad(logits, states, pull.to(logits.dtype))[0]
    size = pull.abs().amax(dim=-1, keepdim=True).clamp(min=torch.finfo(pull.dtype).tiny)
    return torch.autograd.grad(logits, states, (pull / size).to(logits.dtype))[0].float() * size


def _chunk(logits: Tensor, head: Head, wanted: Tensor, base: Tensor | None) -> tuple[Tensor, Tensor]:
    """Losses and their gradients with respect to the logits: p - q, where q is what is wanted."""
    logs = torch.log_softmax(logits.float(), dim=-1)
    losses = -logs.gather(1, wanted[:, None])[:, 0]
    gradient = logs.exp()
    anchored = None if base is None else ~base[:, 0].isnan()
    if anchored is None or not anchored.any():
        gradient.scatter_add_(1, wanted[:, None], gradient.new_full((len(wanted), 1), -1.0))
        return losses, gradient
    assert base is not None
    base_logs = torch.log_softmax(head(base[anchored]).float(), dim=-1)
    share = base_logs.exp()
    losses[anchored] = (share * (base_logs - logs[anchored])).sum(-1)
    gradient[anchored] -= share
    free = ~anchored
    gradient[free] = gradient[free].scatter_add(1, wanted[free][:, None], gradient.new_full((int(free.sum()), 1), -1.0))
    return losses, gradient
