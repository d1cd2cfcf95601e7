"""Choosing the next token from logits: repetition penalty, temperature, top_k, top_p, in that order, then one draw.

A Sampler belongs to one reply and owns its random numbers, so the same seed gives the same reply alone or in a batch.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from shammah.config import GenerationSettings

# Sorting a whole vocabulary costs milliseconds; the likeliest few hundred nearly always hold all of top_p.
_SHORT_LIST = 256


class Sampler:
    def __init__(self, settings: GenerationSettings, prompt: Iterable[int]) -> None:
        self._settings = settings
        self._random = torch.Generator()
        if settings.seed >= 0:
            self._random.manual_seed(settings.seed)
        else:
            self._random.seed()
        self._seen: Tensor | None = None
        if settings.repetition_penalty != 1:
            self._seen = torch.tensor(sorted(set(prompt)), dtype=torch.long)

    def choose(self, logits: Tensor) -> int:
        """The next token, from the logits [vocabulary] of one row."""
        if self._seen is not None:
            logits = self._penalised(logits, self._seen)
        token = self._draw(logits) if self._settings.temperature > 0 else int(logits.argmax())
        if self._seen is not None and token not in self._seen:
            self._seen = torch.cat([self._seen, torch.tensor([token])])
        return token

    def _penalised(self, logits: Tensor, seen: Tensor) -> Tensor:
        index = seen.to(logits.device)
        scores = logits[index]
        penalty = self._settings.repetition_penalty
        logits = logits.clone()
        logits[index] = torch.where(scores < 0, scores * penalty, scores / penalty)
        return logits

    def _draw(self, logits: Tensor) -> int:
        scores, tokens = logits.float().cpu(), None
        if 0 < self._settings.top_k < len(scores):
            scores, tokens = torch.topk(scores, self._settings.top_k)
        # The likeliest token stands at 0, so that no temperature, however small, takes it out of the numbers.
        probabilities = torch.softmax((scores - scores.max()) / self._settings.temperature, dim=-1)
        if self._settings.top_p < 1:
            probabilities, order = self._likeliest(probabilities)
            tokens = order if tokens is None else tokens[order]
        drawn = torch.multinomial(probabilities, 1, generator=self._random)
        return int(drawn if tokens is None else tokens[drawn])

    def _likeliest(self, probabilities: Tensor) -> tuple[Tensor, Tensor]:
        """The fewest that sum to top_p, in falling order, and their places."""
        found, places = torch.topk(probabilities, min(_SHORT_LIST, len(probabilities)))
        if found.sum() < self._settings.top_p:
            found, places = torch.sort(probabilities, descending=True)
        before = found.cumsum(0) - found
        keep = int((before < self._settings.top_p).sum())
        return found[:keep], places[:keep]
