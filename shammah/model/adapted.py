"""The model with an adapter: a twin of the base that holds the adapter's numbers beside the shared weights."""

import json
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from peft.tuners.lora.layer import LoraLayer
from peft.utils import set_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from transformers import PreTrainedModel

from shammah.errors import AdapterDamaged, AdapterMisfit, DeviceError
from shammah.model.answering import products, put_beside, put_into
from shammah.model.device import is_out_of_memory
from shammah.model.lean_lora import put_on
from shammah.model.twin import twin_of

_WEIGHTS, _CONFIG = "adapter_model.safetensors", "adapter_config.json"
_PREFIX = "base_model.model."
_HINT = "Choose another adapter, or --adapter none."
_UNMERGED = "Set adapters.merged = false."
# Ways to begin that leave the weights of the base as they are. Others take the adapter's share out of them first.
_BEGINNINGS = (True, False, "gaussian", "orthogonal", "eva")


def adapted(network: PreTrainedModel, folder: Path, *, strength: float = 1.0, merged: bool = False) -> PreTrainedModel:
    """A twin of the network that answers with the adapter in this folder. The network itself stays as it is.

    A strength from 0 to 1 says how much of the adapter counts. With `merged` it is added to the weights, which the twin
    then has of its own.
    """
    config, tensors = config_in(folder), tensors_in(folder)
    tensors = _without_copies(tensors, config, network, folder.name)
    twin = twin_of(network)
    try:
        found = products(config, tensors, twin)
        if found is None and merged:
            raise AdapterMisfit(f"{folder.name} can't be added to the weights of this model", hint=_UNMERGED)
        if found is None:
            _put_on_by_peft(twin, folder.name, config, tensors, strength)
        else:
            (put_into if merged else put_beside)(found, twin, strength)
    except (ValueError, RuntimeError, LookupError, TypeError, AttributeError) as error:
        if is_out_of_memory(error):
            raise DeviceError(f"Not enough memory for the adapter {folder.name}", hint=_HINT) from error
        raise AdapterMisfit(f"The adapter {folder.name} does not fit this model: {error}", hint=_HINT) from error
    twin.eval().requires_grad_(False)
    return twin


def _without_copies(
    tensors: dict[str, torch.Tensor], config: LoraConfig, network: PreTrainedModel, name: str
) -> dict[str, torch.Tensor]:
    """Without the weights of the base that peft saves beside an adapter on the head or the embedding. Other ones would
    be written where those of the base are, which the twin shares with it."""
    others = [key for key in tensors if ".lora_" not in key]
    known = network.state_dict() if others else {}
    for key in others:
        weight = known.get(key.replace(".base_layer.", "."))
        if weight is None or key.rpartition(".")[0].endswith(tuple(config.modules_to_save or ())):
            continue  # peft makes copies of the modules that were trained as a whole
        if weight.shape != tensors[key].shape or not torch.equal(weight, tensors[key].to(weight)):
            raise AdapterMisfit(f"The adapter {name} has a {key} that is not the base's", hint=_HINT)
        tensors = {other: tensor for other, tensor in tensors.items() if other != key}
    return tensors


def _put_on_by_peft(
    twin: PreTrainedModel, name: str, config: LoraConfig, tensors: dict[str, torch.Tensor], strength: float
) -> None:
    put_on(config, twin)
    _widen(twin)
    outcome: Any = set_peft_model_state_dict(twin, tensors)
    missing = [key for key in outcome.missing_keys if "lora_" in key]
    if missing or outcome.unexpected_keys:
        what = f"it lacks {missing[0]}" if missing else f"the model has no {outcome.unexpected_keys[0]}"
        raise AdapterMisfit(f"The adapter {name} does not fit this model: {what}", hint=_HINT)
    for layer in twin.modules():
        if isinstance(layer, LoraLayer):
            layer.scaling = {key: strength * scaling for key, scaling in layer.scaling.items()}


def config_in(folder: Path) -> LoraConfig:
    try:
        values = json.loads((folder / _CONFIG).read_bytes())
        config = LoraConfig(**{**values, "inference_mode": True})
    except (OSError, ValueError, TypeError) as error:
        raise AdapterDamaged(f"{folder.name}/{_CONFIG} cannot be used: {error}", hint=_HINT) from error
    if config.init_lora_weights not in _BEGINNINGS:
        raise AdapterMisfit(
            f"The adapter {folder.name} was begun with {config.init_lora_weights}, so it needs other weights",
            hint="Convert it to a plain LoRA with peft.",
        )
    return config


def tensors_in(folder: Path) -> dict[str, torch.Tensor]:
    try:
        tensors = load_file(folder / _WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise AdapterDamaged(f"{folder.name}/{_WEIGHTS} cannot be read: {error}", hint=_HINT) from error
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise AdapterDamaged(f"{folder.name}: {name} holds numbers that are not finite", hint=_HINT)
    return {name.removeprefix(_PREFIX): tensor for name, tensor in tensors.items()}


def _widen(network: nn.Module) -> None:
    """The adapter's numbers stay float32, as they were trained: else it would not give the logits that it had."""
    for name, parameter in network.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.float()
