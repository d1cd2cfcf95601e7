"""Adapters small enough to write by the hundred: real files, with weights that are safetensors of a few bytes."""

import json
import struct

import pytest

from shammah.adapters.bundle import CONFIG, README, WEIGHTS, write_bundle
from shammah.adapters.manifest import Manifest


@pytest.fixture
def safetensors():
    """Make the content of a file with one tensor of so many float32 zeros."""

    def make(numbers=4):
        size = 4 * numbers
        header = json.dumps({"a": {"dtype": "F32", "shape": [numbers], "data_offsets": [0, size]}}).encode()
        return struct.pack("<Q", len(header)) + header + bytes(size)

    return make


@pytest.fixture
def files(safetensors):
    return {WEIGHTS: safetensors(), CONFIG: b'{"peft_type": "LORA"}', README: b"# An adapter\n"}


@pytest.fixture
def a_manifest():
    """Make a manifest with some of its fields."""

    def make(name="lora_adapter_20260131_090500", **changes):
        fields = {
            "name": name,
            "version": 1,
            "created": "2026-01-31T09:05:00.000Z",
            "base": "some/model",
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

    return make


@pytest.fixture
def root(tmp_path):
    return tmp_path / "adapters"


@pytest.fixture
def put(root, files, a_manifest):
    """Write an adapter onto the shelf and return its folder."""

    def put(name="lora_adapter_20260131_090500", **changes):
        return write_bundle(root, name, files, a_manifest(name, **changes))

    return put
