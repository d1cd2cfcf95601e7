"""LoRA modules of peft with the product written by hand: for training and for answering, fewer steps, less memory.

peft's own module widens the input to the adapter's float32, multiplies there and narrows the result again: on a CPU
that costs as much as the frozen weights do. Here the adapter is narrowed instead, which is a hundred times smaller, and
one autograd step does what five did, keeping nothing but its input.
"""

from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora.layer import Linear as PeftLinear
from torch import Tensor, nn

from shammah.model.twin import is_quantised


def put_on(config: LoraConfig, network: nn.Module) -> None:
    """Put an adapter on the layers of a network. Quantised ones have modules of peft's own, made for each kind."""
    if not is_quantised(network):
        config._register_custom_module({nn.Linear: LeanLinear})
    inject_adapter_in_model(config, network)


class LeanLinear(PeftLinear):
    """A frozen linear layer with its adapter. Whatever is out of the ordinary goes peft's own way."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if args or kwargs or self.disable_adapters or self.merged or len(self.active_adapters) != 1:
            return super().forward(x, *args, **kwargs)
        name = self.active_adapters[0]
        base = self.get_base_layer()
        if name not in self.lora_A or self.lora_variant or not is_plain(base) or self.lora_bias[name]:
            return super().forward(x)
        down, up = self.lora_A[name].weight, self.lora_B[name].weight
        dropped = x
        if self.training:
            dropped = self.lora_dropout[name](x)
        product: Tensor = _AdaptedProduct.apply(  # type: ignore[no-untyped-call]
            x, dropped, base.weight, base.bias, down, up, self.scaling[name]
        )
        return product


def is_plain(base: nn.Module) -> bool:
    """A product with numbers as they are, not with some that have to be widened first."""
    return type(base) is nn.Linear and type(base.weight) is nn.Parameter


def adapted_product(
    rows: Tensor, taken: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor
) -> tuple[Tensor, Tensor]:
    """What a layer gives with its adapter, which may be given other rows, and what the adapter has in between."""
    inner = taken @ a.T
    out = rows @ weight.T if bias is None else torch.addmm(bias, rows, weight.T)
    return out.addmm_(inner, b.T), inner


class _AdaptedProduct(torch.autograd.Function):
    """x W' + b + scaling (x A') B', with gradients for x, A and B: W is frozen."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        dropped: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        down: Tensor,
        up: Tensor,
        scaling: float,
    ) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        taken = rows if dropped is x else dropped.reshape(-1, x.shape[-1])
        a, b = down.to(x.dtype), (up * scaling).to(x.dtype)
        out, inner = adapted_product(rows, taken, weight, bias, a, b)
        ctx.save_for_backward(taken, inner, weight, a, b)
        ctx.scaling, ctx.shape, ctx.same = scaling, x.shape, dropped is x
        return out.view(*x.shape[:-1], weight.shape[0])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        taken, inner, weight, a, b = ctx.saved_tensors
        grad = grads[0].reshape(-1, weight.shape[0])
        inner_grad = grad @ b
        up_grad = (grad.T @ inner).float() * ctx.scaling
        down_grad = (inner_grad.T @ taken).float()
        x_grad = dropped_grad = None
        if ctx.needs_input_grad[0]:
            x_grad = grad @ weight
            if ctx.same:
                x_grad = x_grad.addmm_(inner_grad, a).view(ctx.shape)
            else:
                x_grad, dropped_grad = x_grad.view(ctx.shape), (inner_grad @ a).view(ctx.shape)
        return x_grad, dropped_grad, None, None, down_grad, up_grad, None
