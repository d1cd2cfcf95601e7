"""A GGUF adapter put on the GGUF of its base, as llama.cpp does it, gives the GGUF of both merged."""

import gguf
import numpy
import pytest
import torch
from support.gguf_bases import save_base
from support.networks import gemma, granite
from support.peft_folders import move_to_the_head, save_adapter
from transformers import AutoModelForCausalLM

from shammah.errors import AdapterMisfit, ModelError
from shammah.model.gguf_adapter import write_gguf_lora
from shammah.model.gguf_model import write_gguf

pytestmark = pytest.mark.usefixtures("one_thread")


def read(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def tensors(file):
    return {tensor.name: tensor.data.astype(numpy.float32) for tensor in gguf.GGUFReader(file).tensors}


def written(base, adapter, tmp_path):
    write_gguf_lora(base, adapter, tmp_path / "adapter.gguf", name="mine", base_name="some/model")
    return tmp_path / "adapter.gguf"


def put_on(file, weights):
    """The weights with the adapter, by llama.cpp's own reckoning: alpha over the rank of each."""
    alpha = float(gguf.GGUFReader(file).fields["adapter.lora.alpha"].contents())
    parts, found = tensors(file), dict(weights)
    for name in {part.rpartition(".lora_")[0] for part in parts}:
        down, up = parts[f"{name}.lora_a"], parts[f"{name}.lora_b"]
        found[name] = weights[name] + alpha / up.shape[1] * up @ down
    return found


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        ("llama", {}),
        ("llama", {"use_rslora": True}),
        ("llama", {"rank_pattern": {"up_proj": 2}, "alpha_pattern": {"q_proj": 20}}),
        ("mistral", {}),
        ("qwen2", {}),
        ("qwen3", {"target_modules": ["q_proj", "k_proj"]}),
    ],
)
def test_on_its_base_it_is_the_merged_model(kind, shape, tmp_path):
    base = save_base(kind, tmp_path / "base")
    adapter = save_adapter(read(base), tmp_path / "adapter", **shape)
    for name, lora in (("plain.gguf", None), ("merged.gguf", adapter)):
        write_gguf(base, lora, tmp_path / name, name="", publish=lambda event: None)
    plain, wanted = tensors(tmp_path / "plain.gguf"), tensors(tmp_path / "merged.gguf")
    found = put_on(written(base, adapter, tmp_path), plain)
    assert found.keys() == wanted.keys()
    changed = [name for name in wanted if not numpy.array_equal(plain[name], wanted[name])]
    assert len(changed) == len(shape.get("target_modules", range(7))) * 2
    for name in wanted:
        numpy.testing.assert_allclose(found[name], wanted[name], atol=2e-3, rtol=1e-3, err_msg=name)


def test_what_llama_cpp_has_to_know(tmp_path):
    base = save_base("qwen2", tmp_path / "base")
    reader = gguf.GGUFReader(written(base, save_adapter(read(base), tmp_path / "adapter"), tmp_path))
    known = {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    assert known == {
        "general.architecture": "qwen2",
        "general.type": "adapter",
        "general.name": "mine",
        "general.base_model.count": 1,
        "general.base_model.0.name": "some/model",
        "adapter.type": "lora",
        "adapter.lora.alpha": 6.0,
    }
    assert {tensor.tensor_type.name for tensor in reader.tensors} == {"F32"}


def test_kinds_of_which_whole_models_are_not_written(tmp_path):
    gemma(vocab_size=128).save_pretrained(tmp_path / "base")
    adapter = save_adapter(gemma(vocab_size=128), tmp_path / "adapter")
    reader = gguf.GGUFReader(written(tmp_path / "base", adapter, tmp_path))
    assert reader.fields["general.architecture"].contents() == "gemma3"
    assert "blk.1.attn_q.weight.lora_a" in {tensor.name for tensor in reader.tensors}


def test_a_kind_that_is_not_known(tmp_path):
    granite().save_pretrained(tmp_path / "base")
    with pytest.raises(ModelError, match="'granite' cannot be written as GGUF"):
        written(tmp_path / "base", save_adapter(granite(), tmp_path / "adapter"), tmp_path)


@pytest.mark.parametrize("kind", ["llama", "llama tied"])
def test_a_head_is_changed_where_it_is_not_the_embedding_too(kind, tmp_path):
    base = save_base(kind, tmp_path / "base")
    adapter = move_to_the_head(save_adapter(read(base), tmp_path / "adapter"))
    if kind == "llama":
        assert set(tensors(written(base, adapter, tmp_path))) == {"output.weight.lora_a", "output.weight.lora_b"}
    else:
        with pytest.raises(AdapterMisfit, match="shares with its embeddings"):
            written(base, adapter, tmp_path)
