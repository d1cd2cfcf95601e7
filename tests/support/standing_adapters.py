"""Adapters on the shelf of a home: those of the tiny model, which speak otherwise than it does, and others that need
only lie there."""

import copy
import json
from functools import lru_cache
from pathlib import Path

from shammah.adapters.bundle import CONFIG, README, WEIGHTS, write_bundle
from shammah.adapters.manifest import Manifest

FIRST, SECOND, THIRD = (f"lora_adapter_20261121_13010{second}" for second in (1, 2, 3))
ACCEPTED = {
    "accepted": True,
    "too_far": False,
    "improvement": 0.34,
    "checks": [
        {"name": "improvement", "value": 0.34, "limit": 0.02, "passed": True, "words": "wanted replies 34 % likelier"},
        {"name": "drift", "value": 0.05, "limit": 0.1, "passed": True, "words": "hardly changed elsewhere"},
    ],
    "reasons": ["wanted replies 34 % likelier", "hardly changed elsewhere"],
}
REFUSED = {
    "accepted": False,
    "too_far": True,
    "improvement": 0.5,
    "checks": [
        {"name": "improvement", "value": 0.5, "limit": 0.02, "passed": True, "words": "wanted replies 50 % likelier"},
        {"name": "drift", "value": 0.25, "limit": 0.1, "passed": False, "words": "it drifted too far: 0.25 of 0.10"},
    ],
    "reasons": ["it drifted too far: 0.25 of 0.10"],
}


def put_speaking(home: Path, model: Path, name: str = FIRST, *, version: int = 1, seed: int = 3, **changes) -> str:
    """An adapter that the tiny model can speak with; by its seed it speaks otherwise."""
    files, hashes = _speaking(model, seed)
    base = {"base": model.name, "base_hash": hashes[0], "template_hash": hashes[1]}
    return _put(home, name, files, version=version, **base, **changes)


def put_silent(home: Path, name: str = FIRST, *, version: int = 1, **changes) -> str:
    """A folder that is whole, and whose weights are nothing."""
    return _put(home, name, _NOTHING, version=version, **changes)


def _put(home: Path, name: str, files: dict[str, bytes], **changes) -> str:
    fields = {
        "name": name,
        "created": "2026-11-21T13:01:02.000Z",
        "base": "smollm2-135m",
        "base_hash": "ba5e-c0de",
        "template_hash": "7e3b",
        "shape": {"r": 4, "alpha": 6, "targets": ["q_proj", "v_proj"]},
        "recipe": {"learning_rate": 0.002, "steps": 60},
        "seed": 7,
        "example_ids": ("one", "two"),
        "trigger": "threshold",
        "run_id": "run",
    }
    return write_bundle(home / "adapters", name, files, Manifest(**(fields | changes))).name


def _tensor_file() -> bytes:
    header = json.dumps({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(16)


_NOTHING = {WEIGHTS: _tensor_file(), CONFIG: b'{"peft_type": "LORA"}', README: b"# An adapter\n"}


@lru_cache
def _speaking(model: Path, seed: int) -> tuple[dict[str, bytes], tuple[str, str]]:
    import tempfile

    from support.peft_folders import save_adapter

    from shammah.model.device import Compute
    from shammah.model.fingerprint import base_hash, template_hash
    from shammah.model.loading import load

    loaded = load(model, Compute("cpu", "float32", 1, "", {}))
    with tempfile.TemporaryDirectory() as folder:
        save_adapter(copy.deepcopy(loaded.network), Path(folder), seed=seed, by=0.5)
        files = {name: (Path(folder) / name).read_bytes() for name in (WEIGHTS, CONFIG)}
        hashes = base_hash(loaded, Path(folder)), template_hash(loaded.format.template)
    return {**files, README: b"# An adapter\n"}, hashes
