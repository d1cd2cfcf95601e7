"""Against the naive way: all logits at once, torch's own losses, gradients by autograd."""

import math

import pytest
import torch
from torch.nn.functional import cross_entropy, linear, log_softmax

from shammah.training import objective
from shammah.training.objective import token_losses

WIDTH, VOCABULARY = 12, 37


def numbers(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def naive(hidden, weight, bias, wanted, base):
    logits = linear(hidden, weight, bias)
    losses = cross_entropy(logits, wanted, reduction="none")
    if base is None:
        return losses
    anchored = ~base[:, 0].isnan()
    logs, base_logs = log_softmax(logits, -1), log_softmax(linear(base.nan_to_num(), weight, bias), -1)
    kl = (base_logs.exp() * (base_logs - logs)).sum(-1)
    return torch.where(anchored, kl, losses)


def both(places, base, bias=True, dtype=torch.float32):
    """Losses and gradients for the hidden states, ours and the naive ones."""
    weight = numbers(VOCABULARY, WIDTH, seed=1).to(dtype)
    added = numbers(VOCABULARY, seed=2).to(dtype) if bias else None
    wanted = torch.randint(0, VOCABULARY, (places,), generator=torch.Generator().manual_seed(3))
    pull = numbers(places, seed=4)
    found = []
    for losses_of in (token_losses, naive):
        hidden = numbers(places, WIDTH).to(dtype).requires_grad_()
        losses = losses_of(hidden, weight, added, wanted, base)
        (losses * pull).sum().backward()
        found.append((losses.detach(), hidden.grad))
    return found


def some_base(places, *, every):
    """Hidden states of a base for some places, none for the others."""
    base = numbers(places, WIDTH, seed=5)
    base[[place for place in range(places) if place % every]] = math.nan
    return base


@pytest.mark.parametrize("places", [1, 63, 64, 65, 130])
@pytest.mark.parametrize("kind", ["lessons", "mixed", "anchors"])
def test_losses_and_gradients(places, kind):
    base = {"lessons": None, "mixed": some_base(places, every=3), "anchors": some_base(places, every=1)}[kind]
    (ours, our_grad), (theirs, their_grad) = both(places, base)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(our_grad, their_grad, atol=1e-5, rtol=1e-5)


def test_a_base_of_nothing_but_gaps_is_none():
    (ours, our_grad), (theirs, their_grad) = both(20, torch.full((20, WIDTH), math.nan), bias=False)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(our_grad, their_grad, atol=1e-6, rtol=1e-5)


def test_the_size_of_the_chunks_changes_nothing(monkeypatch):
    base = some_base(50, every=2)
    whole = both(50, base)[0]
    monkeypatch.setattr(objective, "_CHUNK", 7)
    for one, other in zip(whole, both(50, base)[0], strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)


def test_half_as_many_bits_come_close():
    (ours, our_grad), (theirs, their_grad) = both(40, None, dtype=torch.bfloat16)
    assert ours.dtype is torch.float32 and our_grad.dtype is torch.bfloat16
    torch.testing.assert_close(ours, theirs.float(), atol=0.1, rtol=0.05)
    torch.testing.assert_close(our_grad.float(), their_grad.float(), atol=0.1, rtol=0.05)


def test_a_model_that_is_its_base_costs_nothing():
    hidden = numbers(9, WIDTH).requires_grad_()
    losses = token_losses(hidden, numbers(VOCABULARY, WIDTH, seed=1), None, torch.zeros(9, dtype=int), hidden.detach())
    losses.sum().backward()
    assert losses.abs().max() < 1e-6 and hidden.grad.abs().max() < 1e-6
