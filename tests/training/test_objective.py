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


class Product:
    """The plainest of heads."""

    vocabulary = VOCABULARY

    def __init__(self, weight, bias=None):
        self.weight, self.bias = weight, bias
        self.made = []

    def __call__(self, hidden):
        self.made.append(len(hidden))
        return linear(hidden, self.weight, self.bias)


def naive(hidden, head, wanted, base):
    logits = head(hidden)
    losses = cross_entropy(logits, wanted, reduction="none")
    if base is None:
        return losses
    anchored = ~base[:, 0].isnan()
    logs, base_logs = log_softmax(logits, -1), log_softmax(head(base.nan_to_num()), -1)
    kl = (base_logs.exp() * (base_logs - logs)).sum(-1)
    return torch.where(anchored, kl, losses)


def both(places, base, bias=True, dtype=torch.float32):
    """Losses and gradients for the hidden states, ours and the naive ones."""
    weight = numbers(VOCABULARY, WIDTH, seed=1).to(dtype)
    added = numbers(VOCABULARY, seed=2).to(dtype) if bias else None
    wanted = torch.randint(0, VOCABULARY, (places,), generator=torch.Generator().manual_seed(3))
    pull = numbers(places, seed=4)
    head = Product(weight, added)
    found = []
    for losses_of in (token_losses, naive):
        hidden = numbers(places, WIDTH).to(dtype).requires_grad_()
        losses = losses_of(hidden, head, wanted, base)
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
    monkeypatch.setattr(objective, "_ROWS", 7)
    for one, other in zip(whole, both(50, base)[0], strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)


def test_half_as_many_bits_come_close():
    (ours, our_grad), (theirs, their_grad) = both(40, None, dtype=torch.bfloat16)
    assert ours.dtype is torch.float32 and our_grad.dtype is torch.bfloat16
    torch.testing.assert_close(ours, theirs.float(), atol=0.1, rtol=0.05)
    torch.testing.assert_close(our_grad.float(), their_grad.float(), atol=0.1, rtol=0.05)


class Rounded(Product):
    """In float32 what float16 can hold of the logits, so that what comes of them can be compared."""

    def __call__(self, hidden):
        logits = super().__call__(hidden)
        return logits + (logits.detach().half().float() - logits.detach())


@pytest.mark.parametrize("kind", ["lessons", "anchors"])
def test_in_float16_tokens_that_are_all_but_certain_keep_their_gradients(kind):
    """They are smaller than float16 can hold until the loss is multiplied, which comes after the head."""
    scale, found = 2.0**13, []
    weight = (0.5 * numbers(VOCABULARY, WIDTH, seed=1)).half()
    weight[0] = 1.6
    hidden = (torch.ones(9, WIDTH) + 0.01 * numbers(9, WIDTH)).half()
    base = 0.98 * hidden if kind == "anchors" else None
    for dtype, head in ((torch.float16, Product), (torch.float32, Rounded)):
        states = hidden.clone().to(dtype).requires_grad_()
        against = None if base is None else base.to(dtype)
        losses = token_losses(states, head(weight.to(dtype)), torch.zeros(9, dtype=int), against)
        (losses.sum() * scale).backward()
        assert states.grad.dtype is dtype
        found.append(states.grad.float())
    narrow, wide = found
    assert 0 < (wide / scale).abs().max() < 2e-6
    assert float((narrow - wide).norm() / wide.norm()) < 0.01


def test_a_model_that_is_its_base_costs_nothing():
    hidden = numbers(9, WIDTH).requires_grad_()
    head = Product(numbers(VOCABULARY, WIDTH, seed=1))
    losses = token_losses(hidden, head, torch.zeros(9, dtype=int), hidden.detach())
    losses.sum().backward()
    assert losses.abs().max() < 1e-6 and hidden.grad.abs().max() < 1e-6


@pytest.mark.parametrize(("vocabulary", "rows"), [(37, 64), (49_152, 64), (1 << 18, 16), (1 << 30, 1)])
def test_a_wider_vocabulary_is_made_in_smaller_parts(vocabulary, rows):
    """However wide it is, the chat never waits longer than for one of them."""
    head = Product(numbers(VOCABULARY, WIDTH, seed=1))
    head.vocabulary = vocabulary
    token_losses(numbers(130, WIDTH), head, torch.zeros(130, dtype=int), None)
    assert max(head.made) == rows and sum(head.made) == 130


def test_what_is_only_measured_needs_no_gradient():
    hidden, head = numbers(9, WIDTH), Product(numbers(VOCABULARY, WIDTH, seed=1).requires_grad_())
    assert not token_losses(hidden, head, torch.zeros(9, dtype=int), None).requires_grad
