"""The engine: what it remembers equals what the library's own cache would hold, also after a cut or a row's leaving."""

from functools import partial
from pathlib import Path

import pytest
import torch
from support import networks
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    DynamicCache,
    Gemma3ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaForCausalLM,
    MistralForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
)
from transformers.cache_utils import DynamicLayer

from shammah.model.engine import GrowingLayer, TransformersEngine

SIZES = {"vocab_size": 60, "max_position_embeddings": 256, "pad_token_id": 0}


@pytest.fixture(scope="module")
def llama(tiny_model: Path) -> LlamaForCausalLM:
    return AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def mistral() -> MistralForCausalLM:
    return networks.mistral(8, **SIZES)


@pytest.fixture(scope="module")
def gemma() -> Gemma3ForCausalLM:
    return networks.gemma(**SIZES)


@torch.inference_mode()
def whole(model: PreTrainedModel, ids: list[int]) -> Tensor:
    """The logits after these tokens, computed at once and without any cache."""
    return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1]


@pytest.fixture(scope="module")
def gpt2() -> GPT2LMHeadModel:
    """Positions are learned one by one, so that a shift of them is another text."""
    torch.manual_seed(5)
    config = GPT2Config(vocab_size=60, n_positions=256, n_embd=32, n_layer=2, n_head=4, initializer_range=0.3)
    return GPT2LMHeadModel(config).eval()


some_ids = partial(networks.some_ids, below=60)


def row(ids: list[int]) -> Tensor:
    return torch.tensor([ids])


def close(ours: Tensor, theirs: Tensor) -> bool:
    return torch.allclose(ours, theirs, atol=2e-4, rtol=1e-4)


def states(tokens: int, *, rows: int = 2, seed: int = 0) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    return torch.randn(rows, 3, tokens, 4, generator=random), torch.randn(rows, 3, tokens, 4, generator=random)


def test_a_growing_layer_gives_exactly_what_the_library_s_layer_gives() -> None:
    ours, theirs = GrowingLayer(), DynamicLayer()
    for step, tokens in enumerate([5, 1, 1, 300, 1, 700, 1, 1]):  # over the first room and over the second
        for mine, other in zip(
            ours.update(*states(tokens, seed=step)), theirs.update(*states(tokens, seed=step)), strict=True
        ):
            assert torch.equal(mine, other)
        assert ours.get_seq_length() == theirs.get_seq_length()
        assert ours.get_mask_sizes(1) == theirs.get_mask_sizes(1)


def test_a_growing_layer_does_not_move_what_it_holds_for_every_token() -> None:
    layer = GrowingLayer()
    keys, _ = layer.update(*states(10))
    places = {layer.update(*states(1, seed=step))[0].data_ptr() for step in range(200)}
    assert places == {keys.data_ptr()}


def test_a_growing_layer_goes_on_after_a_rewind() -> None:
    ours, theirs = GrowingLayer(), DynamicLayer()
    ours.update(*states(20))
    ours.rewind(7)
    theirs.update(*(part[:, :, :7] for part in states(20)))
    assert ours.get_seq_length() == 7
    for mine, other in zip(ours.update(*states(4, seed=9)), theirs.update(*states(4, seed=9)), strict=True):
        assert torch.equal(mine, other)
    ours.rewind(50)  # longer than it is: nothing to forget
    assert ours.get_seq_length() == 11


def test_a_growing_layer_takes_a_larger_room_after_a_rewind() -> None:
    ours, theirs = GrowingLayer(), DynamicLayer()
    ours.update(*states(200))
    ours.rewind(7)
    theirs.update(*(part[:, :, :7] for part in states(200)))
    for mine, other in zip(ours.update(*states(600, seed=9)), theirs.update(*states(600, seed=9)), strict=True):
        assert torch.equal(mine, other)


def test_a_growing_layer_goes_on_with_fewer_rows() -> None:
    ours, theirs = GrowingLayer(), DynamicLayer()
    rows = torch.tensor([3, 1])
    for layer in (ours, theirs):
        layer.update(*states(6, rows=4))
        layer.batch_select_indices(rows)
    for mine, other in zip(ours.update(*states(1, seed=2)), theirs.update(*states(1, seed=2)), strict=True):
        assert torch.equal(mine, other)


def test_an_empty_layer_can_be_cut() -> None:
    GrowingLayer().rewind(0)


@pytest.mark.parametrize("name", ["llama", "gpt2", "mistral", "gemma"])
def test_tokens_fed_in_parts_give_the_logits_of_the_whole(name: str, request: pytest.FixtureRequest) -> None:
    model, ids = request.getfixturevalue(name), some_ids(40)
    sequence = TransformersEngine(model).open()
    at = 0
    for part in (13, 1, 9, 1, 1, 15):
        logits = sequence.extend(row(ids[at : at + part]))
        at += part
        assert sequence.length == at
        assert logits.dtype == torch.float32 and logits.shape == (1, model.config.vocab_size)
        assert close(logits[0], whole(model, ids[:at]))


def test_a_sequence_can_be_cut_back_and_goes_on_differently(llama: LlamaForCausalLM) -> None:
    sequence = TransformersEngine(llama).open()
    first, other = some_ids(30), some_ids(10, seed=1)
    sequence.extend(row(first))
    assert sequence.rewind(12) == 12 == sequence.length
    assert close(sequence.extend(row(other))[0], whole(llama, first[:12] + other))
    assert sequence.rewind(99) == 22 == sequence.length


@pytest.mark.parametrize("name", ["mistral", "gemma"])
def test_a_model_that_forgets_by_itself_starts_anew_instead_of_being_cut(
    name: str, request: pytest.FixtureRequest
) -> None:
    model = request.getfixturevalue(name)
    sequence = TransformersEngine(model).open()
    first, other = some_ids(30), some_ids(20, seed=1)
    sequence.extend(row(first))
    assert sequence.rewind(30) == 30  # nothing to forget: goes on
    assert close(sequence.extend(row(other[:5]))[0], whole(model, first + other[:5]))
    assert sequence.rewind(12) == 0 == sequence.length
    assert close(sequence.extend(row(first[:12] + other))[0], whole(model, first[:12] + other))


def test_full_attention_is_known_where_the_config_could_have_windows() -> None:
    torch.manual_seed(5)
    model = Qwen2ForCausalLM(Qwen2Config(**networks.SMALL, **SIZES, use_sliding_window=False)).eval()
    sequence = TransformersEngine(model).open()
    sequence.extend(row(some_ids(9)))
    assert sequence.rewind(4) == 4


@pytest.mark.parametrize("name", ["llama", "gpt2", "mistral", "gemma"])
def test_padded_rows_are_what_they_would_be_alone(name: str, request: pytest.FixtureRequest) -> None:
    model = request.getfixturevalue(name)
    prompts = [some_ids(length, seed=length) for length in (3, 11, 1, 7)]
    longest = max(map(len, prompts))
    padding = torch.tensor([longest - len(prompt) for prompt in prompts])
    sequence = TransformersEngine(model).open(padding)
    logits = sequence.extend(torch.tensor([[5] * (longest - len(prompt)) + prompt for prompt in prompts]))
    for step in range(12):
        for alone, prompt in zip(logits, prompts, strict=True):
            assert close(alone, whole(model, prompt))
        if step == 5:  # two of them leave, and the others change places
            sequence.keep(torch.tensor([3, 1]))
            prompts, logits = [prompts[3], prompts[1]], logits[[3, 1]]
        chosen = logits.argmax(-1)
        prompts = [[*prompt, int(token)] for prompt, token in zip(prompts, chosen, strict=True)]
        logits = sequence.extend(chosen[:, None])


def test_what_stands_in_the_padding_does_not_matter(llama: LlamaForCausalLM) -> None:
    prompts = [some_ids(2), some_ids(9)]

    def logits(filler: int) -> Tensor:
        sequence = TransformersEngine(llama).open(torch.tensor([7, 0]))
        return sequence.extend(torch.tensor([[filler] * 7 + prompts[0], prompts[1]]))

    assert torch.equal(logits(4), logits(31))


def test_logits_come_in_full_precision_from_a_model_in_half() -> None:
    torch.manual_seed(5)
    model = Qwen2ForCausalLM(Qwen2Config(**networks.SMALL, **SIZES)).to(torch.bfloat16).eval()
    assert TransformersEngine(model).open().extend(row([4])).dtype == torch.float32


def test_nothing_is_kept_for_gradients(llama: LlamaForCausalLM) -> None:
    logits = TransformersEngine(llama).open().extend(row([4, 5]))
    assert not logits.requires_grad and logits.is_inference()


def test_the_cache_class_of_the_library_is_the_one_our_layers_stand_in(llama: LlamaForCausalLM) -> None:
    """A new library version that makes other layers for plain attention would cost the reuse silently."""
    assert all(type(layer) is DynamicLayer for layer in DynamicCache(config=llama.config).layers)
