"""The model with an adapter: a twin of the base that holds the adapter's numbers beside the shared weights."""

import json
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from peft.utils import set_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from transformers import PreTrainedModel

from shammah.errors import AdapterDamaged, AdapterMisfit
from shammah.model.lean_lora import put_on
from shammah.model.twin import twin_of

_WEIGHTS, _CONFIG = "adapter_model.safetensors", "adapter_config.json"
_PREFIX = "base_model.model."
_HINT = "Choose another adapter, or --adapter none."


def adapted(network: PreTrainedModel, folder: Path) -> PreTrainedModel:
    """A twin of the network that answers with the adapter in this folder. The network itself stays as it is."""
    twin = twin_of(network)
    config = config_in(folder)
    tensors = tensors_in(folder)
    try:
        put_on(config, twin)
        _widen(twin)
        outcome: Any = set_peft_model_state_dict(twin, tensors)
    except (ValueError, RuntimeError, KeyError) as error:
        raise AdapterMisfit(f"The adapter {folder.name} does not fit this model: {error}", hint=_HINT) from error
    missing = [name for name in outcome.missing_keys if "lora_" in name]
    if missing or outcome.unexpected_keys:
        what = f"it lacks {missing[0]}" if missing else f"the model has no {outcome.unexpected_keys[0]}"
        raise AdapterMisfit(f"The adapter {folder.name} does not fit this model: {what}", hint=_HINT)
    twin.eval().requires_grad_(False)
    return twin


def config_in(folder: Path) -> LoraConfig:
    try:
        values = json.loads((folder / _CONFIG).read_bytes())
        return LoraConfig(**{**values, "inference_mode": True})
    except (OSError, ValueError, TypeError) as error:
        raise AdapterDamaged(f"{folder.name}/{_CONFIG} cannot be used: {error}", hint=_HINT) from error


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
