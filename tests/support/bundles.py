"""Adapters small enough to write by the hundred: real files, with weights that are safetensors of a few bytes."""

import json
import struct
from pathlib import Path
from typing import Any

from shammah.adapters.bundle import CONFIG, README, WEIGHTS, write_bundle
from shammah.adapters.manifest import Manifest

NAME, BASE = "lora_adapter_20260131_090500", "some/model"


def safetensors(numbers: int = 4) -> bytes:
    """The content of a file with one tensor of so many float32 zeros."""
    size = 4 * numbers
    header = json.dumps({"a": {"dtype": "F32", "shape": [numbers], "data_offsets": [0, size]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(size)


FILES = {WEIGHTS: safetensors(), CONFIG: b'{"peft_type": "LORA"}', README: b"# An adapter\n"}


def a_manifest(name: str = NAME, **changes: Any) -> Manifest:
    """A manifest with some of its fields."""
    fields: dict[str, Any] = {
        "name": name,
        "version": 1,
        "created": "2026-01-31T09:05:00.000Z",
        "base": BASE,
        "base_hash": "ba5e",
        "template_hash": "7e3b",
        "shape": {"r": 8, "alpha": 16, "targets": ["q_proj", "v_proj"], "dropout": 0.0},
        "recipe": {"learning_rate": 0.002, "steps": 60, "preset": "default", "warm": True},
        "seed": 7,
        "example_ids": ("one", "two"),
        "trigger": "threshold",
        "run_id": "run",
    }
    return Manifest(**(fields | changes))


def put(root: Path, name: str = NAME, **changes: Any) -> Path:
    """Write an adapter onto a shelf; its folder."""
    return write_bundle(root, name, FILES, a_manifest(name, **changes))
