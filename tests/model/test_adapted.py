"""An adapter that answers, and the folders that none is loaded from."""

import json
import math

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.networks import llama, some_ids

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
    save_file(learner.tensors(), tmp_path / WEIGHTS)
    values = learner.config.to_dict()
    plain = {name: sorted(value) if isinstance(value, set) else value for name, value in values.items()}
    (tmp_path / CONFIG).write_text(json.dumps(plain))
    return tmp_path


def logits(network):
    with torch.no_grad():
        return network(IDS).logits


def test_it_answers_otherwise_and_the_base_as_before(network, folder):
    before = logits(network)
    speaking = adapted(network, folder)
    assert not torch.equal(logits(speaking), before) and torch.equal(logits(network), before)
    assert not speaking.training and not any(p.requires_grad for p in speaking.parameters())
    theirs, ours = dict(network.named_parameters()), dict(speaking.named_parameters())
    shared = {name.replace(".base_layer", ""): p for name, p in ours.items() if "lora_" not in name}
    assert {name: p.data_ptr() for name, p in shared.items()} == {name: p.data_ptr() for name, p in theirs.items()}


def test_its_numbers_stay_as_wide_as_they_were_saved(network, folder):
    narrow = adapted(network.to(torch.bfloat16), folder)
    kinds = {("lora_" in name, p.dtype) for name, p in narrow.named_parameters()}
    assert kinds == {(True, torch.float32), (False, torch.bfloat16)}
    saved = load_file(folder / WEIGHTS)
    for name, parameter in narrow.named_parameters():
        if "lora_" in name:
            assert torch.equal(parameter, saved["base_model.model." + name.replace(".default", "")])


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
