"""From hidden states to logits by the network's own code: some do more there than one product.

Gemma caps what comes out, Granite and Cohere scale it, others cut it off. So the network is asked itself, with a
decoder that hands back the hidden states which are already known instead of computing any.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel


class Head:
    """`courtesy` is asked before each product over the vocabulary, forwards and backwards: it is the widest of all."""

    def __init__(self, network: PreTrainedModel, courtesy: Callable[[], None] = lambda: None) -> None:
        self._network: Any = network
        self._decoder: Any = network.get_decoder()
        self._courtesy = courtesy
        self.vocabulary = int(network.config.get_text_config(decoder=True).vocab_size)

    def __call__(self, hidden: Tensor) -> Tensor:
        """The logits [places, vocabulary] that follow from hidden states [places, width], in the network's format."""
        self._courtesy()
        nothing = torch.zeros(1, len(hidden), dtype=torch.long, device=hidden.device)
        with self._handing_back(hidden[None]):
            logits: Tensor = self._network(input_ids=nothing, use_cache=False).logits[0]
        if logits.requires_grad:
            logits.register_hook(self._backwards)  # type: ignore[no-untyped-call]
        return logits

    @contextmanager
    def _handing_back(self, states: Tensor) -> Iterator[None]:
        own = vars(self._decoder).get("forward")  # some libraries put one of theirs before that of the class
        self._decoder.forward = lambda *args, **kwargs: _Known(states)
        try:
            yield
        finally:
            if own is None:
                del self._decoder.forward  # what its class has is there again
            else:
                self._decoder.forward = own

    def _backwards(self, grad: Tensor) -> None:
        self._courtesy()


class _Known:
    """What a decoder gives, of which only the hidden states are there: by name or as the first of several."""

    def __init__(self, states: Tensor) -> None:
        self.last_hidden_state = states

    def __getitem__(self, place: int) -> Tensor:
        return (self.last_hidden_state,)[place]

    def __getattr__(self, name: str) -> None:
        return None
