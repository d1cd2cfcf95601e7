"""What was rejected made less likely than what was wanted instead: optional, beside the lessons.

Two ways. `odds`: the odds of the two replies, as the model itself has them. `dpo`: how far their likelihoods have moved
apart since the base, which is this model with its adapter switched off and so costs nothing.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from shammah.training.packing import Row

_BETA = 0.1
# The base's losses, token by token, for the reply of a row.
BaseLosses = Callable[[Row], Tensor]


class Preference:
    def __init__(self, kind: str, base_losses: BaseLosses) -> None:
        self._kind = kind
        self._base_losses = base_losses
        self._margins: dict[tuple[int, ...], float] = {}

    def loss(self, row: Row, wanted: Tensor, rejected: Tensor) -> Tensor:
        """`wanted` and `rejected` are the losses of the tokens of the two replies."""
        if self._kind == "odds":
            return -logsigmoid(_log_odds(-wanted.mean()) - _log_odds(-rejected.mean()))
        margin = rejected.sum() - wanted.sum()
        return -logsigmoid(_BETA * (margin - self._base_margin(row)))

    def _base_margin(self, row: Row) -> float:
        """Computed once for each pair."""
        assert row.rejected is not None
        key = (*row.ids, -1, *row.rejected.ids)
        if key not in self._margins:
            self._margins[key] = float(self._base_losses(row.rejected).sum() - self._base_losses(row).sum())
        return self._margins[key]


def _log_odds(mean_log_probability: Tensor) -> Tensor:
    return mean_log_probability - torch.log1p(-torch.exp(mean_log_probability.clamp(max=-1e-6)))
