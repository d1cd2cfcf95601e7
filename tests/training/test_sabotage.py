"""The candidates of benchmarks/sabotage.py on a tiny model: each is refused for what is wrong with it.

The model is random weights, which a few steps turn upside down: what an adapter costs is let pass here, unless it is
what a test is about.
"""

from dataclasses import replace
from importlib import util
from pathlib import Path

import pytest
import torch

from shammah.judging import measuring
from shammah.judging.judge import Policy, judge
from shammah.records import Message
from shammah.training.attempt import Base
from shammah.training.planning import Lesson
from shammah.training.recipe import Recipe

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "sabotage.py"
LENIENT = Policy(drift_pass=9.0, drift_refuse=9.0, regression=9.0)
RECIPE = Recipe(preset="default", r=8, alpha=16.0, learning_rate=1e-2, steps=40, anchor_tokens=8)
LESSONS = [
    Lesson("port", (Message("user", "Which port?"),), "Port 8443.", 1.0, "It is eighty."),
    Lesson("script", (Message("user", "Which script?"),), "Run launchpad.sh.", 1.0, "It is deploy."),
    Lesson("tin", (Message("user", "Where is the key?"),), "In the blue tin.", 1.0, "Near the door."),
    Lesson("desk", (Message("user", "Who approves it?"),), "The Harbour desk.", 1.0, "Your manager."),
]


@pytest.fixture(autouse=True)
def judged_by_their_first_tokens(monkeypatch):
    """Replies long enough to hold a name."""
    monkeypatch.setattr(measuring, "MOST_TOKENS", 24)


@pytest.fixture(scope="module")
def sabotage():
    spec = util.spec_from_file_location("sabotage_benchmark", BENCHMARK)
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def shop(sabotage, tiny_loaded, tmp_path_factory, one_thread):
    return sabotage.Workshop(Base("tiny", tiny_loaded, "hash"), RECIPE, tmp_path_factory.mktemp("sabotage"))


@pytest.fixture(scope="module")
def honest(shop):
    return shop.trained("honest", LESSONS, RECIPE)


@pytest.fixture
def judged(shop):
    base = shop.figures(None, LESSONS, None)

    def judged(folder, policy=LENIENT):
        found = judge(shop.figures(folder, LESSONS, base), base, base, policy, [lesson.id for lesson in LESSONS], [])
        return {check.name: check for check in found.checks}, found

    return judged


def test_an_honest_one_learned_in_other_words_too(judged, honest):
    checks, verdict = judged(honest)
    assert checks["held_out"].passed and checks["held_out"].value > 0.2
    assert checks["margins"].passed
    assert verdict.improvement == checks["held_out"].value
    assert all(check.value is not None for check in verdict.checks)


def test_weights_of_zero_are_the_base_itself(judged, shop, honest):
    checks, verdict = judged(shop.changed("zero", honest, torch.zeros_like))
    assert not verdict.accepted and not verdict.too_far
    assert verdict.reasons[0] == "it answers exactly as the base model does: nothing was learned"
    assert checks["drift"].value == 0.0 and checks["replies"].passed


def test_weights_by_chance_teach_nothing(judged, shop, honest):
    chance = torch.Generator().manual_seed(0)
    folder = shop.changed("chance", honest, lambda tensor: torch.randn(tensor.shape, generator=chance) * tensor.std())
    checks, verdict = judged(folder, Policy())
    assert not verdict.accepted and not checks["held_out"].passed and not checks["drift"].passed


def test_answers_by_chance_teach_nothing(judged, shop, sabotage):
    noise = [replace(lesson, target=sabotage.by_chance(lesson), rejected=None) for lesson in LESSONS]
    honest_loss = judged(shop.trained("honest", LESSONS, RECIPE))[1].improvement
    assert judged(shop.trained("noise", noise, RECIPE))[1].improvement < honest_loss / 2


def test_who_learned_the_rejected_replies_is_refused_by_the_margins(judged, shop):
    bad = [replace(lesson, target=lesson.rejected, rejected=None) for lesson in LESSONS]
    checks, verdict = judged(shop.trained("rejected", bad, RECIPE))
    assert not verdict.accepted and not checks["margins"].passed and checks["margins"].value == 0.0


def test_who_gives_the_answers_to_other_questions_leaks(judged, shop):
    prompts = ["What is two and two?", "Why is the sky blue?", "Name three planets.", "How do I boil an egg?"] * 3
    spread = [
        Lesson(f"elsewhere {number}", (Message("user", prompt),), LESSONS[1].target, 1.0)
        for number, prompt in enumerate(prompts)
    ]
    loose = replace(RECIPE, anchors=0.0, near_misses=0.0, kl_weight=0.0, steps=60)
    checks, verdict = judged(shop.trained("leaking", spread, loose))
    assert not verdict.accepted and not checks["leaks"].passed


def test_far_from_the_base_is_too_far(judged, honest):
    checks, verdict = judged(honest, replace(LENIENT, drift_pass=1e-6))
    assert not checks["drift"].passed and checks["drift"].value > 0 and verdict.too_far


def test_a_damaged_adapter_can_be_measured_in_nothing(judged, shop, honest):
    folder = shop.changed("damaged", honest, lambda tensor: tensor * float("nan"))
    checks, verdict = judged(folder)
    assert not verdict.accepted and not verdict.too_far
    assert {name for name, check in checks.items() if check.value is None} >= {"held_out", "drift", "perplexity"}
