"""A second model of the same tensors: what answers and what trains must not be one object, and need not cost twice.

peft keeps the active adapter and the mode of training on the modules, so each of the two gets modules of its own. The
tensors of the base are the very same; nothing of a twin ever writes to them. That holds for quantised weights too, in
classes of their own: a module is copied, whatever it is, and what it holds is shared.
"""

import copy
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from shammah.errors import ModelError

_BYTES_OF_BFLOAT16 = 2
_UNCHANGING = {bool, int, float, str, type(None), torch.dtype, torch.device}
_TABLES = {dict, OrderedDict}


def twin_of(network: PreTrainedModel) -> PreTrainedModel:
    """Another model with the same tensors, frozen, in evaluation mode; it costs its modules and nothing more."""
    try:
        twin: PreTrainedModel = _copied(network, _shared(network))
    except (TypeError, RuntimeError) as error:  # a lock, a handle, a tensor in the middle of a graph
        raise ModelError(
            f"The model has a part that cannot be shared: {error}", hint="Train with another model."
        ) from error
    twin.eval().requires_grad_(False)
    twin.generation_config = network.generation_config
    return twin


def _copied(value: Any, memo: dict[int, Any]) -> Any:
    """What `copy.deepcopy` gives, in half of its time: most of a module are numbers, and tables that are empty."""
    kind = type(value)
    if id(value) not in memo:
        if kind in _TABLES and all(type(key) in _UNCHANGING for key in value):
            twin = memo[id(value)] = kind()
            twin.update(_copies(value, memo))
            return twin
        if isinstance(value, nn.Module) and _is_ordinary(kind):
            twin = memo[id(value)] = object.__new__(kind)
            state: dict[str, Any] = value.__getstate__()  # type: ignore[no-untyped-call]
            vars(twin).update(_copies(state, memo))
            return twin
    return copy.deepcopy(value, memo)


def _copies(values: dict[str, Any], memo: dict[int, Any]) -> dict[str, Any]:
    return {name: value if type(value) in _UNCHANGING else _copied(value, memo) for name, value in values.items()}


def _is_ordinary(kind: type) -> bool:
    """Whether its objects are copied by their attributes and nothing else."""
    return not hasattr(kind, "__deepcopy__") and all(
        getattr(kind, name) is getattr(nn.Module, name) for name in ("__reduce_ex__", "__getstate__", "__setstate__")
    )


def is_quantised(network: nn.Module) -> bool:
    return bool(getattr(network, "is_quantized", False))


def whole_bytes(network: PreTrainedModel) -> int:
    """What the weights would take in bfloat16, as they were before they were quantised."""
    config = copy.deepcopy(network.config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    with torch.device("meta"):
        whole: Any = type(network)(config)
    return _BYTES_OF_BFLOAT16 * int(sum(parameter.numel() for parameter in whole.parameters()))


def _shared(network: nn.Module) -> dict[int, Any]:
    """What is not copied, by its id: weights in whatever way a module holds them.

    Buffers that are not saved are scratch paper for some models (rotary tables that grow): each gets its own.
    """
    shared: list[Tensor] = []
    for module in network.modules():
        scratch = module._non_persistent_buffers_set
        shared += (parameter for parameter in module._parameters.values() if parameter is not None)
        shared += (buffer for name, buffer in module._buffers.items() if buffer is not None and name not in scratch)
        for value in list(vars(module).values()):
            # Some keep quantised weights in an object beside the module's own tables.
            inside = [value] if isinstance(value, Tensor) else getattr(value, "__dict__", {}).values()
            shared += (tensor for tensor in inside if isinstance(tensor, Tensor))
    return {id(tensor): tensor for tensor in shared}
