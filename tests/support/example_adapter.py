"""What `adapters.example` is made of, and how: `PYTHONPATH=.:tests python -m support.example_adapter` makes it anew.

No number in it was drawn or learned: all follow from where they stand, so that it comes out the same everywhere.
"""

import json
import shutil
import struct
import sys
from collections.abc import Iterable
from math import prod
from pathlib import Path
from typing import Any

from shammah.adapters.bundle import CONFIG, README, WEIGHTS, write_bundle
from shammah.adapters.card import card_of
from shammah.adapters.manifest import Manifest
from shammah.adapters.peft_config import plain

NAME = "lora_adapter_20260131_090500"
FOLDER = Path(__file__).parents[2] / "adapters.example"
BASE_NAME = "tiny-example"
TARGETS = ("q_proj", "v_proj")
RANK, ALPHA = 2, 4
# Its base: a Llama whose weights are made by `base_weights`.
BASE: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "vocab_size": 32,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-05,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
    "tie_word_embeddings": True,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "dtype": "float32",
}
_LAYER = "model.layers.0"
_SHAPES = {
    "model.embed_tokens.weight": (32, 16),
    f"{_LAYER}.input_layernorm.weight": (16,),
    f"{_LAYER}.mlp.down_proj.weight": (16, 24),
    f"{_LAYER}.mlp.gate_proj.weight": (24, 16),
    f"{_LAYER}.mlp.up_proj.weight": (24, 16),
    f"{_LAYER}.post_attention_layernorm.weight": (16,),
    f"{_LAYER}.self_attn.k_proj.weight": (8, 16),
    f"{_LAYER}.self_attn.o_proj.weight": (16, 16),
    f"{_LAYER}.self_attn.q_proj.weight": (16, 16),
    f"{_LAYER}.self_attn.v_proj.weight": (8, 16),
    "model.norm.weight": (16,),
}


def safetensors(tensors: dict[str, tuple[tuple[int, ...], Iterable[float]]]) -> bytes:
    """The format written by hand: the header's length, the header, and the numbers end to end."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, (shape, numbers) in tensors.items():
        start, data = len(data), data + struct.pack(f"<{prod(shape)}f", *numbers)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [start, len(data)]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def numbers(count: int, seed: int) -> list[float]:
    """Between -0.5 and 0.5, and as good as random."""
    return [((place * 7919 + seed * 104_729 + place * place * 31) % 1024 - 512) / 1024 for place in range(count)]


def base_weights() -> bytes:
    """model.safetensors of the base."""
    return safetensors({name: (shape, numbers(prod(shape), len(name))) for name, shape in _SHAPES.items()})


def adapter_weights() -> bytes:
    tensors: dict[str, tuple[tuple[int, ...], Iterable[float]]] = {}
    for target in TARGETS:
        outputs, inputs = _SHAPES[f"{_LAYER}.self_attn.{target}.weight"]
        stem = f"base_model.model.{_LAYER}.self_attn.{target}"
        tensors[f"{stem}.lora_A.weight"] = ((RANK, inputs), numbers(RANK * inputs, 1))
        tensors[f"{stem}.lora_B.weight"] = ((outputs, RANK), numbers(outputs * RANK, 2))
    return safetensors(tensors)


def write_base(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(BASE, indent=2) + "\n")
    (folder / "model.safetensors").write_bytes(base_weights())
    return folder


def write_example(root: Path, manifest: Manifest) -> Path:
    config = plain({"r": RANK, "lora_alpha": ALPHA}, modules=TARGETS, base=BASE_NAME)
    files = {
        WEIGHTS: adapter_weights(),
        CONFIG: json.dumps(config, indent=2, sort_keys=True).encode() + b"\n",
        README: card_of(manifest, BASE_NAME).encode(),
    }
    return write_bundle(root, NAME, files, manifest)


def example_manifest(base_hash: str, template_hash: str) -> Manifest:
    return Manifest(
        name=NAME,
        version=7,
        parent=None,
        created="2026-01-31T09:05:00.000Z",
        base=BASE_NAME,
        base_hash=base_hash,
        template_hash=template_hash,
        shape={"r": RANK, "alpha": ALPHA, "dropout": 0.0, "targets": list(TARGETS)},
        recipe={"preset": "default", "learning_rate": 0.002, "batch_size": 6},
        seed=7,
        example_ids=("0d6f1c2e9a7b4f53", "5b8e3a1d7c2f4960"),
        trigger="threshold",
        run_id="8c41e7d29b3a4f06",
        metrics={"steps": 60, "tokens": 9120, "seconds": 41.5, "loss_first": 3.21, "loss_last": 0.42},
        verdict=None,
        libraries={"shammah": "0.1.0", "torch": "2.13.0", "transformers": "5.23.0", "peft": "0.21.2"},
    )


def base_hashes(folder: Path, cache_folder: Path) -> tuple[str, str]:
    """The hashes of the base and of its chat template, as Shammah takes them of a model that is loaded."""
    from types import SimpleNamespace

    from transformers import AutoModelForCausalLM

    from shammah.model.chat_format import PLAIN_TEMPLATE
    from shammah.model.fingerprint import base_hash, template_hash

    loaded: Any = SimpleNamespace(network=AutoModelForCausalLM.from_pretrained(folder), folder=folder)
    return base_hash(loaded, cache_folder), template_hash(PLAIN_TEMPLATE)


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        hashes = base_hashes(write_base(place / "base"), place / "cache")
    shutil.rmtree(FOLDER / NAME, ignore_errors=True)
    sys.stdout.write(f"{write_example(FOLDER, example_manifest(*hashes))}\n")
