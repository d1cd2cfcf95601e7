"""The product written by hand against peft's own, and against the layer it stands on."""

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import nn

from shammah.model.lean_lora import LeanLinear

WIDE, NARROW, RANK = 24, 16, 4


def layer(*, lean, bias=True, dtype=torch.float32, **changes):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(WIDE, NARROW, bias=bias)).to(dtype).requires_grad_(False)
    config = LoraConfig(r=RANK, lora_alpha=12, target_modules=["0"], **changes)
    if lean:
        config._register_custom_module({nn.Linear: LeanLinear})
    inject_adapter_in_model(config, model)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            seed = torch.Generator().manual_seed(len(name))
            parameter.data = torch.randn(parameter.shape, generator=seed) * 0.3
    return model


def numbers(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def outcome(model, x, mode="train"):
    """The output, and the gradients of the input and of the adapter's two matrices."""
    getattr(model, mode)()
    x = x.clone().requires_grad_()
    model.zero_grad()
    out = model(x)
    (out * numbers(*out.shape, seed=2).to(out.dtype)).sum().backward()
    grads = [parameter.grad for name, parameter in model.named_parameters() if "lora_" in name]
    assert len(grads) == 2 and all(grad is not None for grad in grads)
    return [out.detach(), x.grad, *grads]


@pytest.fixture
def x():
    return numbers(2, 7, WIDE)


class TestLeanLinear:
    def test_is_what_was_put_in(self):
        assert type(layer(lean=True)[0]) is LeanLinear

    @pytest.mark.parametrize("bias", [True, False])
    @pytest.mark.parametrize("shape", [(5, WIDE), (2, 7, WIDE), (1, 3, 4, WIDE)])
    def test_gives_what_peft_gives(self, bias, shape):
        ours, theirs = (outcome(layer(lean=lean, bias=bias), numbers(*shape)) for lean in (True, False))
        for one, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-5)

    def test_takes_its_scale_from_alpha_and_rank(self, x):
        model = layer(lean=True)
        plain = model[0].base_layer(x)
        down, up = (parameter for name, parameter in model.named_parameters() if "lora_" in name)
        torch.testing.assert_close(model(x) - plain, 3.0 * x @ down.T @ up.T, atol=1e-4, rtol=1e-5)

    def test_needs_no_gradient_of_its_input(self, x):
        model = layer(lean=True)
        model(x).sum().backward()
        assert all(p.grad.abs().max() > 0 for name, p in model.named_parameters() if "lora_" in name)

    @pytest.mark.parametrize("bias", [True, False])
    def test_switched_off_it_is_the_base_to_the_bit(self, x, bias):
        model = layer(lean=True, bias=bias)
        assert not torch.equal(model(x), model[0].base_layer(x))
        model[0].enable_adapters(False)
        assert torch.equal(model(x), model[0].base_layer(x))

    def test_drops_what_peft_drops(self, x):
        found = []
        for lean in (True, False):
            model = layer(lean=lean, lora_dropout=0.5)
            torch.manual_seed(11)
            found.append(outcome(model, x))
        for one, other in zip(*found, strict=True):
            torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-5)

    def test_drops_nothing_when_it_answers(self, x):
        with_dropout = outcome(layer(lean=True, lora_dropout=0.5), x, "eval")
        for one, other in zip(with_dropout, outcome(layer(lean=True), x), strict=True):
            assert torch.equal(one, other)

    def test_with_half_the_bits_it_comes_close(self, x):
        ours = outcome(layer(lean=True, dtype=torch.bfloat16), x.bfloat16())
        exact = outcome(layer(lean=False), x)
        assert ours[0].dtype is torch.bfloat16 and ours[2].dtype is torch.float32
        for one, other in zip(ours, exact, strict=True):
            error = (one.float() - other).norm() / other.norm()
            assert error < 0.02

    @pytest.mark.parametrize("change", [{"use_rslora": True}, {"use_dora": True}, {"lora_bias": True}])
    def test_what_is_out_of_the_ordinary_is_pefts_own(self, x, change):
        with torch.no_grad():
            ours, theirs = (layer(lean=lean, **change)(x) for lean in (True, False))
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
