"""An adapter worked into the base's weights: the same replies without peft, and nothing merged that would not be."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.networks import llama, some_ids
from support.peft_folders import move_to_the_head, save_adapter, with_adapter
from transformers import AutoModelForCausalLM, AutoTokenizer

from shammah.errors import AdapterMisfit, ModelDamaged, ModelError
from shammah.events import Progress
from shammah.model.chat_format import PLAIN_TEMPLATE
from shammah.model.merging import MergedWeights, changes_in, write_merged

pytestmark = pytest.mark.usefixtures("one_thread")
IDS = torch.tensor([some_ids(24, 4)])


def ignore(event):
    pass


def read(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def logits(network):
    with torch.no_grad():
        return network(IDS).logits


@pytest.fixture
def base(tiny_model, tmp_path):
    """A copy of the tiny model, to be spoilt at will."""
    return Path(shutil.copytree(tiny_model, tmp_path / "base"))


@pytest.fixture
def adapter(base, tmp_path):
    return save_adapter(read(base), tmp_path / "adapter")


def merged(base, adapter, tmp_path):
    target = tmp_path / "merged"
    target.mkdir()
    write_merged(base, adapter, target, ignore)
    return target


SHAPES = [
    {},
    {"use_rslora": True},
    {"target_modules": ["q_proj", "v_proj"]},
    {"rank_pattern": {"up_proj": 2}, "alpha_pattern": {"q_proj": 20, "layers.1.mlp.up_proj": 3}},
]


@pytest.mark.parametrize("shape", SHAPES, ids=["plain", "rslora", "two targets", "patterns"])
def test_it_answers_as_peft_does(base, tmp_path, shape):
    adapter = save_adapter(read(base), tmp_path / "adapter", **shape)
    wanted = logits(with_adapter(read(base), adapter))
    assert not torch.allclose(wanted, logits(read(base)), atol=0.1)
    torch.testing.assert_close(logits(read(merged(base, adapter, tmp_path))), wanted, atol=1e-4, rtol=1e-4)


def test_a_model_in_several_files(tmp_path, base):
    network = read(base)
    network.save_pretrained(base, max_shard_size="100KB")
    (base / "model.safetensors").unlink()
    adapter = save_adapter(read(base), tmp_path / "adapter")
    target = merged(base, adapter, tmp_path)
    assert {path.name for path in target.glob("*.safetensors")} == {path.name for path in base.glob("*.safetensors")}
    assert len(list(target.glob("*.safetensors"))) > 2
    wanted = logits(with_adapter(network, adapter))
    torch.testing.assert_close(logits(read(target)), wanted, atol=1e-4, rtol=1e-4)


def test_weights_that_lie_there_twice_by_other_names_stay_behind(base, adapter, tmp_path):
    stored = load_file(base / "model.safetensors")
    save_file({f"their.{name}": tensor for name, tensor in stored.items()}, base / "consolidated.safetensors")
    weights = MergedWeights(base, {})
    assert set(weights) == set(stored) and weights.files == [base / "model.safetensors"]
    assert [path.name for path in merged(base, adapter, tmp_path).glob("*.safetensors")] == ["model.safetensors"]


def test_numbers_keep_their_kind_and_the_rest_of_the_model_its_bytes(base, adapter, tmp_path):
    read(base).to(torch.bfloat16).save_pretrained(base)
    before = load_file(base / "model.safetensors")
    after = load_file(merged(base, adapter, tmp_path) / "model.safetensors")
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == set(changes_in(adapter))
    assert {tensor.dtype for tensor in after.values()} == {torch.bfloat16}
    exact = MergedWeights(base, changes_in(adapter)).exact("model.layers.1.mlp.up_proj.weight")
    assert torch.equal(after["model.layers.1.mlp.up_proj.weight"], exact.to(torch.bfloat16))


def test_tokenizer_and_template_come_along(base, adapter, tmp_path):
    (base / "shammah-model.json").write_text("{}")
    (base / "modeling_own.py").write_text("raise SystemExit")
    (base / "LICENSE").write_text("Apache")
    target = merged(base, adapter, tmp_path)
    messages = [{"role": "user", "content": "hi"}]
    tokenizers = [AutoTokenizer.from_pretrained(folder) for folder in (base, target)]
    texts = [tokenizer.apply_chat_template(messages, tokenize=False) for tokenizer in tokenizers]
    assert texts[0] == texts[1] == "<|im_start|>user\nhi<|im_end|>\n"
    names = {path.name for path in target.iterdir()}
    assert names == {path.name for path in base.iterdir()} - {"shammah-model.json", "modeling_own.py"}


def test_a_model_without_a_template_gets_the_one_it_was_used_with(base, adapter, tmp_path):
    (base / "chat_template.jinja").unlink()
    tokenizer = AutoTokenizer.from_pretrained(merged(base, adapter, tmp_path))
    assert tokenizer.chat_template == PLAIN_TEMPLATE


def test_a_template_of_the_old_place_is_not_covered_by_another(base, adapter, tmp_path):
    (base / "chat_template.jinja").unlink()
    config = json.loads((base / "tokenizer_config.json").read_text())
    (base / "tokenizer_config.json").write_text(json.dumps(config | {"chat_template": "{{ 'mine' }}"}))
    assert AutoTokenizer.from_pretrained(merged(base, adapter, tmp_path)).chat_template == "{{ 'mine' }}"


def test_progress_counts_the_tensors(base, adapter, tmp_path):
    events = []
    (tmp_path / "merged").mkdir()
    write_merged(base, adapter, tmp_path / "merged", events.append)
    count = len(load_file(base / "model.safetensors"))
    assert events == [Progress("Merging", number, count) for number in range(1, count + 1)]


class TestRefusals:
    def test_another_shape(self, adapter, tmp_path):
        llama(vocab_size=128).save_pretrained(tmp_path / "other")
        with pytest.raises(AdapterMisfit, match=r"of this model has \(32, 48\)"):
            MergedWeights(tmp_path / "other", changes_in(adapter))

    def test_layers_that_the_model_has_not(self, base, adapter):
        tensors = load_file(adapter / "adapter_model.safetensors")
        deeper = {name.replace("layers.1.", "layers.7."): tensor for name, tensor in tensors.items()}
        save_file(deeper, adapter / "adapter_model.safetensors")
        with pytest.raises(AdapterMisfit, match=r"changes model\.layers\.7.* no weight of that name"):
            MergedWeights(base, changes_in(adapter))

    def test_a_head_that_is_the_embedding_too(self, base, adapter):
        with pytest.raises(AdapterMisfit, match=r"lm_head\.weight, which this model shares with its embeddings"):
            MergedWeights(base, changes_in(move_to_the_head(adapter)))

    def test_quantised_weights(self, base, adapter):
        config = json.loads((base / "config.json").read_text())
        (base / "config.json").write_text(json.dumps(config | {"quantization_config": {"quant_method": "gptq"}}))
        with pytest.raises(ModelError, match="quantised") as caught:
            MergedWeights(base, changes_in(adapter))
        assert "--to peft" in caught.value.hint

    def test_weights_that_are_no_safetensors(self, base, adapter):
        (base / "model.safetensors").unlink()
        with pytest.raises(ModelError, match="no safetensors"):
            MergedWeights(base, changes_in(adapter))

    def test_weights_that_are_damaged(self, base, adapter):
        (base / "model.safetensors").write_bytes(b"short")
        with pytest.raises(ModelDamaged, match="cannot be read"):
            MergedWeights(base, changes_in(adapter))

    @pytest.mark.parametrize("content", ["[", "[]", '{"weight_map": {"a": 1}}'])
    def test_a_list_of_weights_that_is_damaged(self, base, adapter, content):
        (base / "model.safetensors").unlink()
        (base / "model.safetensors.index.json").write_text(content)
        with pytest.raises(ModelDamaged, match=r"index\.json cannot be read"):
            MergedWeights(base, changes_in(adapter))

    @pytest.mark.parametrize("shape", [{"use_dora": True}, {"modules_to_save": ["lm_head"]}])
    def test_more_than_a_product(self, base, tmp_path, shape):
        adapter = save_adapter(read(base), tmp_path / "adapter", **shape)
        with pytest.raises(AdapterMisfit, match="only peft can use"):
            changes_in(adapter)

    def test_half_of_a_pair(self, adapter):
        tensors = load_file(adapter / "adapter_model.safetensors")
        del tensors["base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight"]
        save_file(tensors, adapter / "adapter_model.safetensors")
        with pytest.raises(AdapterMisfit, match=r"lacks a half of model\.layers\.0\.self_attn\.q_proj"):
            changes_in(adapter)
