"""A second model of the same tensors: what answers and what trains must not be one object, and need not cost twice.

peft keeps the active adapter and the mode of training on the modules, so each of the two gets modules of its own. The
tensors of the base are the very same; nothing of a twin ever writes to them.
"""

import copy

import torch
from torch import nn
from transformers import PreTrainedModel

from shammah.errors import ModelError


def shares_weights(network: PreTrainedModel) -> bool:
    """Quantised weights live in classes of their own, bound to their modules: they cannot be handed to another one."""
    return not getattr(network, "is_quantized", False)


def twin_of(network: PreTrainedModel) -> PreTrainedModel:
    """Another model with the same tensors, frozen, in evaluation mode; it costs its modules and nothing more."""
    if not shares_weights(network):
        raise ModelError(
            "Quantised weights cannot be shared between two models",
            hint="Use a model in bf16 or fp16, or let it be loaded twice.",
        )
    with torch.device("meta"):
        twin: PreTrainedModel = type(network)(copy.deepcopy(network.config))
    _share(network, twin)
    twin.eval().requires_grad_(False)
    twin.generation_config = network.generation_config
    return twin


def _share(network: nn.Module, twin: nn.Module) -> None:
    """Module by module, so that tied tensors stay tied and buffers that are not saved come along.

    Frozen parameters are shared as they are; the flag is theirs, and both want it off.
    """
    theirs = dict(twin.named_modules(remove_duplicate=False))
    for name, module in network.named_modules(remove_duplicate=False):
        other = theirs.get(name)
        if other is None:
            raise ModelError(f"The model has a part that a second one of its kind lacks: {name}")
        for key, parameter in module._parameters.items():
            other._parameters[key] = parameter
        for key, buffer in module._buffers.items():
            # Buffers are scratch paper for some models (rotary tables that grow): each gets its own.
            other._buffers[key] = None if buffer is None else buffer.clone()
    stray = [name for name, tensor in (*twin.named_parameters(), *twin.named_buffers()) if tensor.is_meta]
    if stray:
        raise ModelError(f"The model's {stray[0]} could not be shared", hint="Train with another model.")
