"""Choosing tokens: the same candidates and the same odds as transformers' own processors, repeatable by seed."""

from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from shammah.config import GenerationSettings
from shammah.model.sampling import Sampler

DRAWS = 4_000


def some_logits(size: int = 50, *, seed: int = 3, spread: float = 2.0) -> Tensor:
    return spread * torch.randn(size, generator=torch.Generator().manual_seed(seed))


def sampler(*, prompt: tuple[int, ...] = (), **settings: Any) -> Sampler:
    return Sampler(GenerationSettings(**{"temperature": 1.0, "top_p": 1.0, "top_k": 0, "seed": 11} | settings), prompt)


def theirs(logits: Tensor, **settings: Any) -> Tensor:
    """The probabilities that transformers would draw from."""
    processors = LogitsProcessorList()
    if "repetition_penalty" in settings:
        processors.append(RepetitionPenaltyLogitsProcessor(settings["repetition_penalty"]))
    if "temperature" in settings:
        processors.append(TemperatureLogitsWarper(settings["temperature"]))
    if "top_k" in settings:
        processors.append(TopKLogitsWarper(settings["top_k"]))
    if "top_p" in settings:
        processors.append(TopPLogitsWarper(settings["top_p"]))
    prompt = torch.tensor([settings.get("prompt", ())], dtype=torch.long)
    return torch.softmax(processors(prompt, logits[None].clone()), dim=-1)[0]


def chi_square(counts: Counter[int], probabilities: Tensor) -> float:
    """How far the counts are from the probabilities, in standard deviations of the chi-square statistic.

    Rare tokens are counted together, so that every class is expected at least five times.
    """
    total = counts.total()
    common = [token for token in range(len(probabilities)) if probabilities[token] * total >= 5]
    classes = [(counts[token], float(probabilities[token]) * total) for token in common]
    rare = total - sum(expected for _, expected in classes)
    if rare > 1:
        classes.append((total - sum(seen for seen, _ in classes), rare))
    statistic = sum((seen - expected) ** 2 / expected for seen, expected in classes)
    freedom = max(1, len(classes) - 1)
    return float((statistic - freedom) / (2 * freedom) ** 0.5)


def drawn(logits: Tensor, **settings: Any) -> Counter[int]:
    one = sampler(**settings)
    return Counter(one.choose(logits) for _ in range(DRAWS))


def test_temperature_0_takes_the_likeliest_whatever_else_is_set() -> None:
    logits = some_logits()
    for seed in range(5):
        assert sampler(temperature=0, seed=seed, top_k=5, top_p=0.5).choose(logits) == int(logits.argmax())


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"temperature": 0.5},
        {"temperature": 3.0},
        {"top_k": 1},
        {"top_k": 7},
        {"top_k": 49},
        {"top_k": 5_000},
        {"top_p": 0.01},
        {"top_p": 0.5},
        {"top_p": 0.95},
        {"top_k": 10, "top_p": 0.8},
        {"temperature": 1.7, "top_k": 20, "top_p": 0.6},
        {"temperature": 0.7, "top_p": 0.9, "repetition_penalty": 1.5, "prompt": (1, 4, 4, 9, 30)},
    ],
    ids=str,
)
def test_the_draws_have_the_odds_of_transformers(settings: dict[str, Any]) -> None:
    logits = some_logits()
    # A sampler remembers what it has drawn: for a fixed distribution every draw needs a new one.
    if "repetition_penalty" in settings:
        counts = Counter(sampler(**{**settings, "seed": seed}).choose(logits) for seed in range(DRAWS))
    else:
        counts = drawn(logits, **settings)
    expected = theirs(logits, **settings)
    candidates = {int(token) for token in expected.nonzero()}
    assert set(counts) <= candidates
    if len(candidates) < 12:
        assert set(counts) == candidates
    assert chi_square(counts, expected) < 4


@pytest.mark.parametrize("top_p", [0.9, 0.2], ids=["far beyond the short list", "within it"])
def test_top_p_over_a_large_flat_vocabulary(top_p: float) -> None:
    """The likeliest few hundred tokens don't hold top_p here, so that all must be sorted; or do, but not nearly 1."""
    logits = some_logits(3_000, spread=1.0)
    expected = theirs(logits, top_p=top_p)
    candidates = {int(token) for token in expected.nonzero()}
    assert (len(candidates) > 256) == (top_p == 0.9)
    counts = drawn(logits, top_p=top_p)
    assert set(counts) <= candidates
    assert chi_square(counts, expected) < 4


def test_the_same_seed_gives_the_same_tokens_and_another_gives_others() -> None:
    logits = some_logits()
    one, same, other = (sampler(seed=seed) for seed in (5, 5, 6))
    first = [one.choose(logits) for _ in range(50)]
    assert [same.choose(logits) for _ in range(50)] == first
    assert [other.choose(logits) for _ in range(50)] != first


def test_without_a_seed_every_sampler_draws_its_own() -> None:
    logits = some_logits()
    assert len({tuple(one.choose(logits) for _ in range(20)) for one in (sampler(seed=-1) for _ in range(3))}) == 3


def test_sampling_leaves_the_program_s_other_random_numbers_alone() -> None:
    before = torch.get_rng_state()
    sampler(seed=1).choose(some_logits())
    assert torch.equal(torch.get_rng_state(), before)


def test_the_logits_are_left_as_they_were() -> None:
    logits = some_logits()
    copy = logits.clone()
    sampler(repetition_penalty=2.0, prompt=(0, 1, 2)).choose(logits)
    assert torch.equal(logits, copy)


@pytest.mark.parametrize("penalty", [1.3, 0.7])
def test_the_repetition_penalty_is_that_of_transformers_step_by_step(penalty: float) -> None:
    """Prompt and reply both count, each token once, below zero as above."""
    prompt = (3, 3, 17, 49)
    processor = RepetitionPenaltyLogitsProcessor(penalty)
    ours, ids = sampler(temperature=0, repetition_penalty=penalty, prompt=prompt), list(prompt)
    for step in range(60):
        logits = some_logits(seed=step, spread=0.3) + 0.05 * some_logits(seed=1_000)
        token = int(processor(torch.tensor([ids]), logits[None].clone()).argmax())
        assert ours.choose(logits) == token
        ids.append(token)
    assert len(set(ids)) < len(ids)


def test_an_empty_prompt_may_be_penalised_too() -> None:
    assert sampler(temperature=0, repetition_penalty=1.5).choose(torch.tensor([0.0, 2.0, 1.0])) == 1


@pytest.mark.parametrize("temperature", [1e-40, 1e-6, 10.0])
def test_any_temperature_draws(temperature: float) -> None:
    logits = 40 * some_logits()
    token = sampler(temperature=temperature).choose(logits)
    assert temperature == 10.0 or token == int(logits.argmax())


def test_logits_of_a_model_in_half_precision() -> None:
    logits = torch.tensor([1.0, 30.0, 2.0], dtype=torch.bfloat16)
    assert sampler(top_p=0.9).choose(logits) == 1
