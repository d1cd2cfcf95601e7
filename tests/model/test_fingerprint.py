import json
import os
import shutil

import pytest

from shammah.errors import ModelDamaged
from shammah.model.device import Compute
from shammah.model.fingerprint import base_hash, template_hash, weights_hash
from shammah.model.loading import load


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model-1.safetensors").write_bytes(b"one" * 1000)
    (folder / "model-2.safetensors").write_bytes(b"two" * 1000)
    (folder / "config.json").write_text("{}")
    return folder


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def test_the_same_weights_elsewhere_are_the_same_model(folder, cache, tmp_path):
    other = tmp_path / "elsewhere"
    other.mkdir()
    for file in folder.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    (other / "config.json").write_text('{"changed": 1}')
    assert weights_hash(other, cache) == weights_hash(folder, cache)


def test_any_byte_of_any_file_makes_another_model(folder, cache):
    before = weights_hash(folder, cache)
    data = bytearray((folder / "model-2.safetensors").read_bytes())
    data[1500] ^= 1
    (folder / "model-2.safetensors").write_bytes(bytes(data))
    os.utime(folder / "model-2.safetensors", ns=(1, 1))
    assert weights_hash(folder, cache) != before


def test_files_are_read_once_for_each_state(folder, cache):
    before = weights_hash(folder, cache)
    status = (folder / "model-1.safetensors").stat()
    (folder / "model-1.safetensors").write_bytes(b"???" * 1000)
    os.utime(folder / "model-1.safetensors", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert weights_hash(folder, cache) == before  # as nobody would change a file: not read again
    (cache / "weights.json").unlink()
    assert weights_hash(folder, cache) != before


@pytest.mark.parametrize("text", ["", "[1]", "{", "null"])
def test_a_damaged_cache_is_made_anew(folder, cache, text):
    before = weights_hash(folder, cache)
    (cache / "weights.json").write_text(text)
    assert weights_hash(folder, cache) == before
    assert before in (cache / "weights.json").read_text()


def test_a_cache_that_cannot_be_written_does_without(folder, tmp_path):
    (tmp_path / "file").write_text("")
    assert weights_hash(folder, tmp_path / "file" / "cache") == weights_hash(folder, tmp_path / "other")


def test_weights_in_the_older_format_count_where_there_are_no_others(folder, cache):
    before = weights_hash(folder, cache)
    (folder / "pytorch_model.bin").write_bytes(b"old")
    assert weights_hash(folder, cache) == before
    for file in folder.glob("*.safetensors"):
        file.unlink()
    assert weights_hash(folder, cache) != before


def test_a_folder_that_is_gone_is_no_model(folder, cache, tmp_path):
    folder.rename(tmp_path / "moved")
    with pytest.raises(ModelDamaged, match="weights"):
        weights_hash(folder, cache)


def test_a_link_to_a_file_that_is_gone_is_no_model(folder, cache, tmp_path):
    (folder / "model-1.safetensors").unlink()
    (folder / "model-1.safetensors").symlink_to(tmp_path / "gone")
    with pytest.raises(ModelDamaged, match="weights"):
        weights_hash(folder, cache)


def test_templates_differ_by_a_byte():
    assert template_hash("a") == template_hash("a") != template_hash("a ")


class TestBase:
    """What an adapter is made for."""

    @pytest.fixture
    def hash_with(self, tiny_model, tmp_path, cache):
        def hash_with(dtype="float32", **changes):
            folder = shutil.copytree(tiny_model, tmp_path / "base", dirs_exist_ok=True)
            config = json.loads((folder / "config.json").read_text())
            (folder / "config.json").write_text(json.dumps(config | changes))
            return base_hash(load(folder, Compute("cpu", dtype, 1, "", {})), cache)

        return hash_with

    @pytest.mark.parametrize(
        "changes",
        [
            {"rope_parameters": {"rope_theta": 5e5, "rope_type": "default"}},
            {"rope_parameters": {"rope_theta": 1e4, "rope_type": "linear", "factor": 2.0}},
            {"rms_norm_eps": 1e-3},
            {"hidden_act": "gelu"},
        ],
    )
    def test_the_same_weights_computed_otherwise_are_another(self, hash_with, changes):
        assert hash_with(**changes) != hash_with()

    @pytest.mark.parametrize("changes", [{"dtype": "bfloat16"}, {"use_cache": False}, {"transformers_version": "6.0"}])
    def test_what_changes_no_number_does_not_matter(self, hash_with, changes):
        assert hash_with(**changes) == hash_with()

    def test_nor_the_format_that_it_is_computed_in(self, hash_with):
        assert hash_with("bfloat16") == hash_with()

    def test_other_weights_are_another(self, hash_with, tmp_path, tiny_model):
        before = hash_with()
        file = tmp_path / "base" / "model.safetensors"
        data = bytearray(file.read_bytes())
        data[-1] ^= 1
        file.write_bytes(bytes(data))
        loaded = load(tmp_path / "base", Compute("cpu", "float32", 1, "", {}))
        assert base_hash(loaded, tmp_path / "no cache") != before
