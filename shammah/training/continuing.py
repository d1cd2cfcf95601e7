"""Going on from an adapter instead of from the base (strategy `continue`): where it starts, and what holds it there.

The hold is elastic weight consolidation with the diagonal of the Fisher information, measured on the adapter's own
numbers from the examples it learned. It is an approximation, and it is why `rebuild` is the default: from the base,
on all that is live, nothing old can be lost and what was forgotten is gone.
"""

import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from peft.utils import set_peft_model_state_dict
from torch import Tensor

from shammah.errors import AdapterDamaged, AdapterMisfit
from shammah.model.adapted import config_in, tensors_in
from shammah.training.learner import PREFIX, Learner
from shammah.training.loop import Trainer
from shammah.training.packing import Row

# So many rows tell about as much as all that was ever learned, each of which takes as long as one of a step.
_ENOUGH = 64
# What the numbers of an adapter are multiplied by, as its config has it.
_SCALING = ("lora_alpha", "use_rslora", "alpha_pattern", "rank_pattern")
_SETTING = {"lora_alpha": "lora.alpha"}
_ANEW = "Set lora.training.strategy = rebuild"
_TINY = torch.finfo(torch.float32).tiny


def start_from(learner: Learner, folder: Path) -> None:
    """Give the learner the numbers of an adapter of the same shape."""
    set_peft_model_state_dict(learner.network, alike(learner, folder))


def alike(learner: Learner, folder: Path) -> dict[str, Tensor]:
    """The numbers of an adapter that is shaped and counts as the learner's; AdapterMisfit where it does not."""
    try:
        tensors, config = tensors_in(folder), config_in(folder)
    except AdapterDamaged as error:
        raise AdapterDamaged(error.message, hint=f"{_ANEW}, or remove that adapter.") from error
    shapes = {name.removeprefix(PREFIX): tensor.shape for name, tensor in learner.tensors().items()}
    if {name: tensor.shape for name, tensor in tensors.items()} != shapes:
        raise AdapterMisfit(
            f"Training cannot go on from {folder.name}: it has another shape",
            hint=f"{_ANEW}, or the shape that it has.",
        )
    differs = [name for name in _SCALING if getattr(config, name) != getattr(learner.config, name)]
    if differs:
        raise AdapterMisfit(
            f"Training cannot go on from {folder.name}: it counts with another {_SETTING.get(differs[0], differs[0])}",
            hint=f"{_ANEW}, or lora.alpha = {config.lora_alpha}." if differs == ["lora_alpha"] else f"{_ANEW}.",
        )
    return tensors


def elastic_penalty(trainer: Trainer, learned: Sequence[Row], strength: float) -> Callable[[Tensor], Tensor]:
    """What moving away from here costs, dearest along what the rows that were learned depend on.

    What was learned well has small gradients, and so next to no Fisher information: only its shape is taken, with a
    mean of 1. Distances are counted in what steps of this run's size come to in random directions. So with a strength
    of 1 to wander that far costs a half, as much as a reply whose tokens are each a little less likely.
    """
    flat = trainer.learner.flat
    fisher = _fisher(trainer, learned)
    shape = fisher / fisher.mean().clamp(min=_TINY)
    here = flat.values.detach().clone()
    far = trainer.recipe.learning_rate * math.sqrt(len(trainer.plan))

    def penalty(values: Tensor) -> Tensor:
        return 0.5 * strength * (shape * ((values - here) / far) ** 2).mean()

    return penalty


def _fisher(trainer: Trainer, learned: Sequence[Row]) -> Tensor:
    """Of some of the rows where there are many, the same ones each time."""
    flat = trainer.learner.flat
    fisher = torch.zeros_like(flat.values)
    if len(learned) > _ENOUGH:
        learned = random.Random(trainer.recipe.seed).sample(learned, _ENOUGH)
    trainer.learner.learning(True, dropping=False)  # layers are computed again here too, where that is how they fit
    try:
        for row in learned:
            trainer.backward((row,))
            assert flat.values.grad is not None
            fisher += flat.values.grad**2
    finally:
        trainer.learner.learning(False)
        flat.clear_grad()
    return fisher
