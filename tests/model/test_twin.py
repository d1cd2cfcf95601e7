"""A second model of the very same tensors, and what training it leaves as it was."""

import copy
import threading

import pytest
import torch
from support.networks import gemma, llama, mistral, quantised, some_ids
from transformers import GPT2Config, GPT2LMHeadModel

from shammah.errors import ModelError
from shammah.model.twin import twin_of, whole_bytes
from shammah.training.learner import Learner
from shammah.training.packing import Row
from shammah.training.recipe import Recipe

pytestmark = pytest.mark.usefixtures("one_thread")


def gpt2():
    torch.manual_seed(5)
    return GPT2LMHeadModel(GPT2Config(n_layer=2, n_head=4, n_embd=32, vocab_size=128, n_positions=64)).eval()


NETWORKS = {
    "llama": lambda: llama(vocab_size=128),
    "tied": lambda: llama(vocab_size=128, tie_word_embeddings=True),
    "bfloat16": lambda: llama(vocab_size=128).to(torch.bfloat16),
    "yarn": lambda: llama(vocab_size=128, rope_parameters={"rope_type": "yarn", "factor": 4.0, "rope_theta": 10000.0}),
    "mistral": lambda: mistral(8, vocab_size=128),
    "gemma": lambda: gemma(vocab_size=128),
    "gpt2": gpt2,
    "quantised": lambda: quantised(llama(vocab_size=128)),
    "quantised, torch's own kind": lambda: quantised(llama(vocab_size=128), like_torch=True),
}
IDS = torch.tensor([some_ids(20)])


@pytest.fixture(params=NETWORKS)
def network(request):
    return NETWORKS[request.param]()


def logits(network):
    with torch.no_grad():
        return network(IDS).logits


def contents(network):
    return {name: tensor.clone() for name, tensor in (*network.named_parameters(), *network.named_buffers())}


def test_every_parameter_is_the_very_same_memory(network):
    twin = twin_of(network)
    theirs, ours = dict(network.named_parameters()), dict(twin.named_parameters())
    assert theirs.keys() == ours.keys()
    assert all(theirs[name].data_ptr() == ours[name].data_ptr() for name in theirs)
    assert not any(parameter.requires_grad for parameter in ours.values())
    assert type(twin) is type(network) and twin is not network and not twin.training


def test_it_is_what_a_copy_is_in_every_part(network):
    network.parts = {"first": network.lm_head, "counts": {1: 2}}
    network.hears = network.get_input_embeddings
    network.register_forward_hook(lambda *_: None)
    twin, copied = twin_of(network), copy.deepcopy(network).requires_grad_(False)
    assert twin.parts["first"] is twin.lm_head and twin.hears.__self__ is twin
    for (name, one), (_, other), (_, own) in zip(
        twin.named_modules(), copied.named_modules(), network.named_modules(), strict=True
    ):
        assert [(key, type(part)) for key, part in vars(one).items()] == [
            (key, type(part)) for key, part in vars(other).items()
        ]
        for key, part in vars(own).items():
            if not isinstance(part, (torch.Tensor, bool)) and key != "generation_config":
                assert (vars(one)[key] is part) == (vars(other)[key] is part), (name, key)


def test_it_says_the_very_same(network):
    assert torch.equal(logits(twin_of(network)), logits(network))


def test_buffers_that_are_not_saved_are_equal_and_its_own(network):
    theirs, ours = dict(network.named_buffers()), dict(twin_of(network).named_buffers())
    assert theirs.keys() == ours.keys()
    theirs = {name: buffer for name, buffer in theirs.items() if name not in network.state_dict()}
    assert theirs or isinstance(network, GPT2LMHeadModel)  # the others have rotary tables
    for name, buffer in theirs.items():
        assert torch.equal(buffer, ours[name]) and buffer.data_ptr() != ours[name].data_ptr()
        assert buffer.dtype is ours[name].dtype


def test_tied_embeddings_stay_tied():
    twin = twin_of(llama(vocab_size=128, tie_word_embeddings=True))
    assert twin.get_input_embeddings().weight is twin.get_output_embeddings().weight


def test_it_has_settings_of_its_own():
    network = llama(vocab_size=128)
    twin = twin_of(network)
    twin.set_attn_implementation("eager")
    twin.config.use_cache = False
    assert network.config._attn_implementation == "sdpa" and network.config.use_cache is True


@pytest.mark.parametrize("name", ["llama", "tied", "bfloat16", "gemma", "quantised, torch's own kind"])
def test_training_it_leaves_the_network_as_it_was(name):
    network = NETWORKS[name]()
    before, said = contents(network), logits(network)
    learner = Learner(network, Recipe(preset="default", r=4))
    optimizer = torch.optim.AdamW([learner.flat.values], lr=0.05)
    learner.network.train()
    rows = [Row(ids=tuple(some_ids(12, seed)), start=6) for seed in range(3)]
    for _ in range(3):
        learner.flat.clear_grad()
        learner.hidden(rows).float().pow(2).mean().backward()
        optimizer.step()
    assert not torch.equal(logits(learner.network), said)
    after = contents(network)
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(logits(network), said) and not network.training
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not any("lora" in name for name, _ in network.named_modules())


def test_two_twins_do_not_meddle():
    network = llama(vocab_size=128)
    one, other = (Learner(network, Recipe(preset="default", r=4)) for _ in range(2))
    one.flat.load(one.flat.values + 0.1)
    assert torch.equal(logits(other.network), logits(network))
    assert not torch.equal(logits(one.network), logits(network))


def held(network):
    """Every tensor by where it lies: parameters, buffers that are saved, and what modules keep beside them."""
    found = dict(network.named_parameters())
    found |= {name: tensor for name, tensor in network.state_dict().items() if tensor.dtype is torch.int8}
    for name, module in network.named_modules():
        state = getattr(module, "state", None)
        if state is not None:
            found[f"{name}.state"] = state.scales
    return {name: tensor.data_ptr() for name, tensor in found.items()}


@pytest.mark.parametrize("like_torch", [True, False])
def test_quantised_weights_are_shared_in_whatever_way_they_are_held(like_torch):
    network = quantised(llama(vocab_size=128), like_torch=like_torch)
    theirs = held(network)
    assert len([name for name in theirs if name.endswith("state")]) == 14 and held(twin_of(network)) == theirs


def test_what_they_would_take_as_they_were_before():
    plain = llama(vocab_size=128)
    assert whole_bytes(quantised(llama(vocab_size=128))) == 2 * sum(p.numel() for p in plain.parameters())


def test_a_part_of_its_own_comes_along():
    network = llama(vocab_size=128)
    network.model.extra = torch.nn.Linear(2, 2)
    assert twin_of(network).model.extra.weight is network.model.extra.weight


def test_a_part_that_cannot_be_copied_is_refused():
    network = llama(vocab_size=128)
    network.model.guard = threading.Lock()
    with pytest.raises(ModelError, match="cannot be shared"):
        twin_of(network)
