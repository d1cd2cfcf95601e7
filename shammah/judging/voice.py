"""What is asked of a model to judge it: one that answers, with an adapter or without. How it computes is its own."""

from collections.abc import Sequence
from typing import Protocol

from shammah.records import Message, Reply

# A prompt as the model is given it, and a reply to it.
Exchange = tuple[Sequence[Message], str]


class Voice(Protocol):
    def log_probabilities(self, exchanges: Sequence[Exchange]) -> list[float | None]:
        """Of each reply with its end, the mean per token; None for one that is too long for the model."""
        ...

    def replies(self, prompts: Sequence[Sequence[Message]], most_tokens: int) -> list[Reply]:
        """What it says by itself, greedily."""
        ...

    def drift(self, exchanges: Sequence[Exchange]) -> float:
        """How far it is from the base: mean KL(base || this) per token of these replies, which are the base's own."""
        ...

    def perplexity(self, texts: Sequence[str]) -> float: ...

    def tokens_per_second(self) -> float: ...
