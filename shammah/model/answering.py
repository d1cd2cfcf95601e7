"""An adapter on the layers of a network that only answers. Nothing of it learns, so all that can be is done once.

peft makes a dozen modules of each layer, which takes it longer than a swap between two turns may. Here it is one, and
the adapter's numbers are scaled and narrowed when it is made instead of for every token: they come to the same. What is
out of the ordinary goes peft's own way (adapted).
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import sqrt

from peft import LoraConfig
from peft.tuners.tuners_utils import check_target_module_exists
from peft.utils.other import get_pattern_key
from torch import Tensor, nn

from shammah.model.lean_lora import adapted_product, is_plain
from shammah.model.twin import is_quantised

_DOWN, _UP = ".lora_A.weight", ".lora_B.weight"
# What may be as it likes in the config of an adapter that is nothing but a product: where it came from, how it was
# trained, and what is read here.
_ORDINARY = {
    "task_type", "peft_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision", "inference_mode",
    "lora_dropout", "init_lora_weights", "megatron_core", "r", "rank_pattern", "lora_alpha", "alpha_pattern",
    "use_rslora", "target_modules", "exclude_modules", "layers_to_transform", "layers_pattern",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Product:
    """What an adapter adds to one layer: scale times up @ down."""

    down: Tensor
    up: Tensor
    scale: float


def products(config: LoraConfig, tensors: Mapping[str, Tensor], network: nn.Module) -> dict[str, Product] | None:
    """By the names of the layers; None unless the adapter is nothing else, and fits the network to the last layer."""
    ordinary = LoraConfig()
    others = (field.name for field in fields(config) if field.name not in _ORDINARY)
    if is_quantised(network) or any(getattr(config, name) != getattr(ordinary, name) for name in others):
        return None
    if config.target_modules is None or config.target_modules == "all-linear":
        return None
    layers = {name: layer for name, layer in network.named_modules() if check_target_module_exists(config, name)}
    if tensors.keys() != {name + end for name in layers for end in (_DOWN, _UP)}:
        return None
    found = {}
    for name, layer in layers.items():
        down, up = tensors[name + _DOWN], tensors[name + _UP]
        rank = _of_pattern(config.rank_pattern, name, config.r)
        if not (isinstance(layer, nn.Linear) and is_plain(layer)):
            return None
        if down.shape != (rank, layer.in_features) or up.shape != (layer.out_features, rank):
            return None
        alpha = _of_pattern(config.alpha_pattern, name, config.lora_alpha)
        found[name] = Product(down, up, alpha / (sqrt(rank) if config.use_rslora else rank))
    return found


def _of_pattern(pattern: dict[str, float] | None, name: str, otherwise: float) -> float:
    """As peft finds it."""
    known = pattern or {}
    return known.get(get_pattern_key(list(known), name), otherwise)


def put_beside(found: Mapping[str, Product], network: nn.Module, strength: float) -> None:
    """Add the products to what the layers give."""
    for name, product in found.items():
        network.set_submodule(name, AnsweringLinear(network.get_submodule(name), product, strength))


def put_into(found: Mapping[str, Product], network: nn.Module, strength: float) -> None:
    """Add the products to the weights, in new ones: those that are there are shared with the base, and that of the
    embedding often with the head. Added up in the adapter's float32 and rounded once."""
    for name, product in found.items():
        layer = network.get_submodule(name)
        weight = layer.get_parameter("weight").detach()
        added = (product.up.float() @ product.down.float()).mul_(strength * product.scale).to(weight.device)
        layer.register_parameter("weight", nn.Parameter(added.add_(weight).to(weight.dtype), requires_grad=False))


class AnsweringLinear(nn.Module):
    """A frozen linear layer with its adapter."""

    weight: Tensor
    bias: Tensor | None
    down: Tensor
    up: Tensor

    def __init__(self, layer: nn.Module, product: Product, strength: float) -> None:
        super().__init__()
        self.register_parameter("weight", layer.get_parameter("weight"))
        self.register_parameter("bias", layer._parameters["bias"])
        weight = layer.get_parameter("weight")
        self.register_buffer("down", product.down.to(weight))
        self.register_buffer("up", (product.up * (strength * product.scale)).to(weight))

    def forward(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        out, _ = adapted_product(rows, rows, self.weight, self.bias, self.down, self.up)
        return out.view(*x.shape[:-1], out.shape[-1])
