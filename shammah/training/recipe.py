"""The numbers of a run: a preset, fitted to the size of the model, with what the user set in its place. Pure.

`default` is what the benchmark shows to work; `light` costs half of it; `seed` is the published recipe of this
idea, kept to be compared with: seven steps that teach nothing.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from math import ceil, sqrt
from typing import Any

from shammah.config import LoraSettings

ALL_LINEAR = "all"
_ATTENTION = "q_proj,v_proj"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Every number of a run. What the settings call 0 or -1, "by the recipe", has its value here."""

    preset: str
    strategy: str = "rebuild"
    r: int = 8
    alpha: float = 16.0
    dropout: float = 0.0
    targets: str = ALL_LINEAR
    learning_rate: float = 2e-3
    steps: int = 0
    epochs: float = 0.0
    meetings: float = 100.0
    batch_size: int = 6
    warmup: float = 0.1
    clip: float = 1.0
    weight_decay: float = 0.0
    cap: float = 1.5
    weight_power: float = 0.25
    exact: float = 0.25
    word_dropout: float = 0.2
    key_words: float = 0.25
    own_variants: float = 0.0
    anchors: float = 0.34
    near_misses: float = 0.25
    kl_weight: float = 2.5
    anchor_tokens: int = 24
    preference: str = "none"
    preference_weight: float = 0.1
    ewc: float = 1.0
    patience: int = 0
    check_every: int = 10
    max_length: int = 1024
    checkpointing: str = "auto"
    seed: int = 0

    def warmup_steps(self, steps: int) -> int:
        """Never as long as the run."""
        return min(steps - 1, round(self.warmup * steps))

    def lessons_per_step(self) -> int:
        return max(1, self.batch_size - self.anchors_per_step())

    def anchors_per_step(self) -> int:
        return min(self.batch_size - 1, round(self.anchors * self.batch_size))

    def steps_for(self, examples: int, epoch: float) -> int:
        """As set, or by epochs, or else so many that each example is met often enough: the more there are the less
        often, since they have more in common, but all of them once at least."""
        if self.steps:
            return self.steps
        if self.epochs:
            return max(1, ceil(self.epochs * epoch / self.lessons_per_step()))
        meetings = max(self.meetings * sqrt(examples), epoch)
        return max(_FEWEST_STEPS, ceil(meetings / self.lessons_per_step()))

    def gentler(self) -> "Recipe":
        """What to try after this one failed or went too far: slower, and held closer to the base."""
        return replace(self, learning_rate=self.learning_rate / 2, kl_weight=self.kl_weight * 1.5)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


_FEWEST_STEPS = 20

_PRESETS = {
    "default": Recipe(preset="default"),
    "light": Recipe(preset="light", r=4, alpha=8.0, meetings=50.0),
    "seed": Recipe(
        preset="seed", r=16, alpha=32.0, dropout=0.1, targets=_ATTENTION, learning_rate=1e-4, epochs=3.0,
        batch_size=4, warmup=0.0, cap=1000.0, weight_power=0.0, exact=1.0, word_dropout=0.0, key_words=0.0,
        anchors=0.0, near_misses=0.0, kl_weight=0.0,
    ),
}  # fmt: skip
# Up to so many parameters: the share of the learning rate, since larger models move further by the same step, and that
# of prompts which the model re-phrases by itself, which smaller ones cannot.
_BY_SIZE = ((400_000_000, 1.0, 0.0), (1_200_000_000, 0.5, 0.0), (4_500_000_000, 0.25, 0.3), (10**15, 0.15, 0.3))


def recipe_for(settings: LoraSettings, parameters: int) -> Recipe:
    """The preset that is set, for a model of this size, with all that is set otherwise."""
    preset = _PRESETS[settings.preset]
    if preset.preset != "seed":
        rate, own = next((rate, own) for limit, rate, own in _BY_SIZE if parameters < limit)
        preset = replace(preset, learning_rate=preset.learning_rate * rate, own_variants=own)
    given = {**_given(settings), **_given(settings.training)}
    given["seed"] = given.pop("run_seed", preset.seed)
    return replace(preset, **{name: value for name, value in given.items() if name in _NAMES})


def recipes_for(settings: LoraSettings) -> Iterator[Recipe]:
    """What is set, for models of every size: for where the size is not known."""
    return (recipe_for(settings, limit - 1) for limit, _, _ in _BY_SIZE)


def _given(section: Any) -> dict[str, Any]:
    """What the user set: numbers below zero, and texts without letters, leave it to the recipe."""
    values = {field.name: getattr(section, field.name) for field in fields(section)}
    return {name: value for name, value in values.items() if value not in ("", -1, -1.0)}


_NAMES = {field.name for field in fields(Recipe)} - {"preset"}
