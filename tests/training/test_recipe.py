"""The numbers of a run: what a preset says, what the model's size makes of it, what the user set instead."""

from dataclasses import replace

import pytest

from shammah.config import LoraSettings
from shammah.training.drawing import draws, epoch_length
from shammah.training.recipe import Recipe, recipe_for

SMALL, LARGE = 135_000_000, 3_000_000_000


def recipe(parameters=SMALL, preset="default", **training):
    settings = LoraSettings(preset=preset)
    return recipe_for(replace(settings, training=replace(settings.training, **training)), parameters)


@pytest.mark.parametrize("preset", ["default", "light", "seed"])
def test_what_is_set_stands_in_place_of_what_the_preset_says(preset):
    assert recipe(preset=preset, epochs=2.0, batch_size=5).steps_for(10, 15.0) == recipe(
        preset=preset, steps=0, epochs=2.0, batch_size=5
    ).steps_for(10, 15.0)
    assert recipe(preset=preset, learning_rate=0.5).learning_rate == 0.5
    assert recipe(preset=preset, run_seed=7).seed == 7
    assert recipe(preset=preset, steps=3).steps_for(10, 15.0) == 3


def test_light_costs_half():
    for examples in (5, 10, 40):
        heavy, light = (recipe(preset=name).steps_for(examples, 1.5 * examples) for name in ("default", "light"))
        assert light == pytest.approx(heavy / 2, abs=1)


def test_larger_models_take_smaller_steps_and_rephrase_by_themselves():
    assert recipe(LARGE).learning_rate < recipe(SMALL).learning_rate
    assert recipe(SMALL).own_variants == 0 < recipe(LARGE).own_variants
    assert recipe(SMALL, own_variants=0.5).own_variants == 0.5
    assert recipe(LARGE, own_variants=0.0).own_variants == 0
    assert recipe(LARGE, preset="seed").learning_rate == recipe(SMALL, preset="seed").learning_rate


@pytest.mark.parametrize("preset", ["default", "light"])
@pytest.mark.parametrize("examples", [1, 10, 300, 3000])
def test_every_example_is_drawn_however_many_there_are(preset, examples):
    from random import Random

    weights = {str(number): (1.0, 3.0, 10.0)[number % 3] for number in range(examples)}
    chosen = recipe(preset=preset)
    steps = chosen.steps_for(examples, epoch_length(weights, chosen.cap))
    drawn = draws(weights, steps * chosen.lessons_per_step(), chosen.cap, Random(0))
    assert set(drawn) == set(weights)


@pytest.mark.parametrize("steps", [1, 2, 10, 1000])
@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.9])
def test_warm_up_is_never_as_long_as_the_run(steps, warmup):
    assert 0 <= Recipe(preset="", warmup=warmup).warmup_steps(steps) < steps


def test_a_gentler_one_is_slower_and_held_closer():
    first = recipe()
    second = first.gentler()
    assert second.learning_rate < first.learning_rate and second.kl_weight > first.kl_weight
    assert replace(second, learning_rate=first.learning_rate, kl_weight=first.kl_weight) == first
