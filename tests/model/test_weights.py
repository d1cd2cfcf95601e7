"""Whether files of weights are whole, told from their headers."""

import json
import struct
from pathlib import Path

import pytest

from shammah.errors import ModelDamaged
from shammah.model.weights import check_folder, check_safetensors, missing_from, parameters_in


def weights(*shape: int) -> bytes:
    size = 4 * shape[0] * shape[1]
    header = json.dumps({"w": {"dtype": "F32", "shape": shape, "data_offsets": [0, size]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(size)


def fill(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "model.safetensors").write_bytes(weights(2, 4))


@pytest.mark.parametrize(
    "data", [b"", b"123", struct.pack("<Q", 2**60), struct.pack("<Q", 4) + b"[{]}", weights(2, 4)[:-1]]
)
def test_a_broken_safetensors_file_is_found(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.safetensors").write_bytes(data)
    with pytest.raises(ModelDamaged, match=r"m\.safetensors is damaged"):
        check_safetensors(tmp_path / "m.safetensors", "")


def test_a_whole_folder_passes(tmp_path: Path) -> None:
    fill(tmp_path)
    # The index of weights that were not fetched, since safetensors replaced them.
    (tmp_path / "pytorch_model.bin.index.json").write_text('{"weight_map": {"a": "pytorch_model-1.bin"}}')
    check_folder(tmp_path, "")


@pytest.mark.parametrize(
    ("index", "missing"),
    [
        ('{"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}', "model-2.safetensors is missing"),
        ("{", "model.safetensors.index.json cannot be read"),
    ],
)
def test_every_shard_must_be_there(index: str, missing: str, tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text(index)
    with pytest.raises(ModelDamaged, match=missing):
        check_folder(tmp_path, "")


def test_what_a_folder_lacks(tmp_path: Path) -> None:
    assert missing_from(tmp_path) == "config.json is missing"
    (tmp_path / "config.json").write_text("{}")
    assert missing_from(tmp_path) == "there are no weights (*.safetensors)"
    (tmp_path / "pytorch_model.bin").touch()
    assert missing_from(tmp_path) == ""
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {"a": "model-1.safetensors"}}')
    assert missing_from(tmp_path) == "model-1.safetensors is missing"


def test_parameters_are_counted_from_the_header(tmp_path: Path) -> None:
    fill(tmp_path)
    assert parameters_in(tmp_path / "model.safetensors") == 8
    (tmp_path / "model.safetensors").write_bytes(b"nothing of the kind")
    assert parameters_in(tmp_path / "model.safetensors") == 0
