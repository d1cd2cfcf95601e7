"""Adapters as peft itself makes, saves and loads them."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def save_adapter(network: Any, folder: Path, *, seed: int = 3, by: float = 0.2, **changes: Any) -> Path:
    """Put a LoRA with numbers that are not zero on the network, save it, and leave the network with it."""
    fields: dict[str, Any] = {"r": 4, "lora_alpha": 6, "target_modules": ALL, "task_type": "CAUSAL_LM"}
    torch.manual_seed(seed)
    with _its_own_warnings():
        wrapped = get_peft_model(network, LoraConfig(**(fields | changes)))
        with torch.no_grad():
            for name, parameter in wrapped.named_parameters():
                if "lora_B" in name:
                    parameter.normal_(0, by)
        wrapped.save_pretrained(folder)
    return folder


def move_to_the_head(folder: Path) -> Path:
    """Have the adapter change nothing but the head, with what it had for one layer."""
    file, one = folder / "adapter_model.safetensors", "model.layers.0.self_attn.o_proj."
    tensors = load_file(file)
    save_file({name.replace(one, "lm_head."): tensor for name, tensor in tensors.items() if one in name}, file)
    return folder


def with_adapter(network: Any, folder: Path) -> Any:
    """The network as peft has it answer with the adapter in this folder."""
    with _its_own_warnings():
        return PeftModel.from_pretrained(network, folder).eval()


@contextmanager
def _its_own_warnings() -> Iterator[None]:
    """peft asks transformers for what will be called otherwise some day."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
