"""An adapter that answers, and the folders that none is loaded from."""

import json
import math

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.networks import llama, quantised, some_ids
from support.peft_folders import save_adapter, with_adapter

from shammah.errors import AdapterDamaged, AdapterMisfit
from shammah.model.adapted import adapted
from shammah.training.learner import Learner
from shammah.training.recipe import Recipe

pytestmark = pytest.mark.usefixtures("one_thread")
IDS = torch.tensor([some_ids(24, 4)])
WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


@pytest.fixture
def network():
    return llama(vocab_size=128)


@pytest.fixture
def folder(network, tmp_path):
    learner = Learner(network, Recipe(preset="default", r=4))
    noise = torch.randn(learner.flat.values.shape, generator=torch.Generator().manual_seed(3))
    learner.flat.load(learner.flat.values.detach() + 0.05 * noise)
    return write(learner, tmp_path)


def write(learner, folder):
    save_file(learner.tensors(), folder / WEIGHTS)
    values = learner.config.to_dict()
    plain = {name: sorted(value) if isinstance(value, set) else value for name, value in values.items()}
    (folder / CONFIG).write_text(json.dumps(plain))
    return folder


def logits(network):
    with torch.no_grad():
        return network(IDS).logits


def test_it_answers_otherwise_and_the_base_as_before(network, folder):
    before = logits(network)
    speaking = adapted(network, folder)
    assert not torch.equal(logits(speaking), before) and torch.equal(logits(network), before)
    assert not speaking.training and not any(p.requires_grad for p in speaking.parameters())
    theirs, ours = dict(network.named_parameters()), dict(speaking.named_parameters())
    assert {name: p.data_ptr() for name, p in ours.items()} == {name: p.data_ptr() for name, p in theirs.items()}


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rows", [1, 3])
def test_it_answers_to_the_bit_as_what_was_trained(tmp_path, kind, rows):
    network = llama(vocab_size=128).to(kind)
    learner = Learner(network, Recipe(preset="default", r=4, alpha=7.0))
    learner.flat.load(learner.flat.values.detach() + 0.05)
    write(learner, tmp_path)
    ids = IDS.expand(rows, -1)
    with torch.no_grad():
        assert torch.equal(adapted(network, tmp_path)(ids).logits, learner.network(ids).logits)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"use_rslora": True},
        {"alpha_pattern": {"q_proj": 3, "layers.1.mlp.up_proj": 11}, "rank_pattern": {"down_proj": 2}},
        {"target_modules": ["q_proj", "lm_head"]},
        {"target_modules": r".*\.1\.(self_attn|mlp)\.[qu]p?_proj"},
        {"target_modules": ["up_proj"], "layers_to_transform": [1], "layers_pattern": "layers"},
        {"target_modules": ["embed_tokens", "q_proj"]},
        {"use_dora": True},
        {"target_modules": ["q_proj"], "lora_bias": True},
        {"target_modules": ["q_proj"], "modules_to_save": ["norm"]},
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_it_answers_as_peft_has_it_answer(tmp_path, changes):
    save_adapter(llama(vocab_size=128, attention_bias=True), tmp_path, **changes)
    with torch.no_grad():
        theirs = with_adapter(llama(vocab_size=128, attention_bias=True), tmp_path)(IDS).logits
    network = llama(vocab_size=128, attention_bias=True)
    before = logits(network)
    torch.testing.assert_close(logits(adapted(network, tmp_path)), theirs, rtol=1e-4, atol=1e-4)
    assert torch.equal(logits(network), before) and not torch.allclose(theirs, before)


class TestStrength:
    def test_none_of_it_is_the_base(self, network, folder):
        torch.testing.assert_close(logits(adapted(network, folder, strength=0)), logits(network), rtol=0, atol=0)

    def test_half_of_it_is_an_adapter_half_as_large(self, network, folder):
        half = logits(adapted(network, folder, strength=0.5))
        tensors = load_file(folder / WEIGHTS)
        save_file({name: t * (0.5 if "lora_B" in name else 1) for name, t in tensors.items()}, folder / WEIGHTS)
        assert torch.equal(half, logits(adapted(network, folder)))

    @pytest.mark.filterwarnings("ignore::UserWarning")
    @pytest.mark.parametrize("strength", [0, 0.3, 1])
    def test_it_counts_on_quantised_layers_too(self, tmp_path, strength):
        save_adapter(llama(vocab_size=128), tmp_path)
        network = quantised(llama(vocab_size=128), like_torch=True)
        whole, weaker = (logits(adapted(network, tmp_path, strength=by)) for by in (1, strength))
        base = logits(network)
        assert torch.allclose(weaker, base, atol=1e-5) == (strength == 0)
        assert torch.allclose(weaker, whole, atol=1e-5) == (strength == 1)


class TestMerged:
    @pytest.mark.parametrize("tied", [False, True])
    @pytest.mark.parametrize("strength", [0.5, 1.0])
    def test_it_answers_as_the_adapter_beside_the_weights(self, tmp_path, tied, strength):
        network = llama(vocab_size=128, tie_word_embeddings=tied)
        targets = ["q_proj", "down_proj", "lm_head"]
        save_adapter(llama(vocab_size=128, tie_word_embeddings=tied), tmp_path, target_modules=targets)
        before, embedding = logits(network), network.get_input_embeddings().weight.clone()
        merged = adapted(network, tmp_path, strength=strength, merged=True)
        beside = adapted(network, tmp_path, strength=strength)
        torch.testing.assert_close(logits(merged), logits(beside), rtol=1e-4, atol=1e-4)
        assert torch.equal(logits(network), before)
        assert torch.equal(merged.get_input_embeddings().weight, embedding)
        assert merged.lm_head.weight is not network.lm_head.weight
        assert {type(module) for module in merged.modules()} == {type(module) for module in network.modules()}
        own = {name for name, p in merged.named_parameters() if p.data_ptr() != network.get_parameter(name).data_ptr()}
        assert own - {"lm_head.weight"} == {
            name for name, _ in network.named_parameters() if "q_" in name or "down_" in name
        }

    def test_it_is_rounded_once(self, tmp_path):
        network = llama(vocab_size=128).to(torch.bfloat16)
        save_adapter(llama(vocab_size=128), tmp_path, target_modules=["q_proj"])
        merged = adapted(network, tmp_path, merged=True)
        name = "model.layers.0.self_attn.q_proj.weight"
        weight, tensors = network.get_parameter(name), load_file(tmp_path / WEIGHTS)
        down, up = (tensors[f"base_model.{'model.' + name.removesuffix('weight')}lora_{part}.weight"] for part in "AB")
        exact = weight.float() + 1.5 * (up @ down)
        assert torch.equal(merged.get_parameter(name), exact.to(torch.bfloat16))

    @pytest.mark.filterwarnings("ignore::UserWarning")
    def test_not_into_weights_that_are_quantised(self, tmp_path):
        save_adapter(llama(vocab_size=128), tmp_path)
        network = quantised(llama(vocab_size=128), like_torch=True)
        before = logits(network)
        with pytest.raises(AdapterMisfit, match="can't be added") as caught:
            adapted(network, tmp_path, merged=True)
        assert "adapters.merged = false" in caught.value.hint
        assert torch.equal(logits(network), before)


@pytest.mark.parametrize("name", ["lm_head.weight", "lm_head.base_layer.weight", "model.norm.weight"])
@pytest.mark.parametrize("plain", [True, False])
def test_one_with_other_weights_for_the_base(network, tmp_path, name, plain):
    save_adapter(llama(vocab_size=128), tmp_path, target_modules=["q_proj", "lm_head"], use_dora=not plain)
    tensors = load_file(tmp_path / WEIGHTS)
    weight = network.get_parameter(name.replace(".base_layer", ""))
    save_file({**tensors, f"base_model.model.{name}": weight.detach() + 1}, tmp_path / WEIGHTS)
    before = logits(network)
    with pytest.raises(AdapterMisfit, match="not the base's"):
        adapted(network, tmp_path)
    assert torch.equal(logits(network), before)


@pytest.mark.parametrize("beginning", ["pissa", "olora"])
def test_one_that_takes_its_share_out_of_the_base_first(network, folder, beginning):
    values = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(values | {"init_lora_weights": beginning}))
    before = logits(network)
    with pytest.raises(AdapterMisfit, match=beginning):
        adapted(network, folder)
    assert torch.equal(logits(network), before)


def test_one_of_a_model_with_other_shapes(folder):
    with pytest.raises(AdapterMisfit, match="does not fit"):
        adapted(llama(vocab_size=128, head_dim=16), folder)


def test_one_of_a_deeper_model(network, folder):
    tensors = load_file(folder / WEIGHTS)
    name = "base_model.model.model.layers.1.mlp.up_proj.lora_A.weight"
    tensors[name.replace("layers.1", "layers.7")] = tensors[name].clone()
    save_file(tensors, folder / WEIGHTS)
    with pytest.raises(AdapterMisfit, match=r"layers\.7"):
        adapted(network, folder)


def test_one_that_lacks_a_part(network, folder):
    tensors = load_file(folder / WEIGHTS)
    del tensors["base_model.model.model.layers.1.mlp.up_proj.lora_B.weight"]
    save_file(tensors, folder / WEIGHTS)
    with pytest.raises(AdapterMisfit, match=r"lacks .*layers\.1\.mlp\.up_proj"):
        adapted(network, folder)


def test_one_for_layers_that_the_model_has_not(network, folder):
    values = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(values | {"target_modules": ["c_attn"]}))
    with pytest.raises(AdapterMisfit, match="c_attn"):
        adapted(network, folder)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_numbers_that_are_not_finite(network, folder, bad):
    tensors = load_file(folder / WEIGHTS)
    next(iter(tensors.values()))[0, 0] = bad
    save_file(tensors, folder / WEIGHTS)
    with pytest.raises(AdapterDamaged, match="not finite"):
        adapted(network, folder)


@pytest.mark.parametrize("content", [None, b"", b"garbage"])
@pytest.mark.parametrize("file", [WEIGHTS, CONFIG])
def test_files_that_are_damaged(network, folder, file, content):
    (folder / file).unlink()
    if content is not None:
        (folder / file).write_bytes(content)
    with pytest.raises(AdapterDamaged, match=file):
        adapted(network, folder)


@pytest.mark.parametrize("text", ["[]", "null", '{"nonsense": 1}', '{"r": 0}'])
def test_a_config_that_says_nothing_of_use(network, folder, text):
    (folder / CONFIG).write_text(text)
    with pytest.raises((AdapterDamaged, AdapterMisfit)):
        adapted(network, folder)
