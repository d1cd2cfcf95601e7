"""Who speaks: the base, or a twin of it with an adapter."""

from transformers import PreTrainedModel

from shammah.model.batching import BatchGenerator
from shammah.model.engine import TransformersEngine
from shammah.model.generation import Generator, Speech


class Voice:
    """Never changed once it is made: another one takes its place.

    What was computed for earlier replies lives in its generator. So it goes with the voice, and no other one meets it.
    """

    __slots__ = ("__weakref__", "adapter", "batch", "engine", "generator", "network", "strength")

    def __init__(
        self, network: PreTrainedModel, speech: Speech, adapter: str | None = None, strength: float = 1.0
    ) -> None:
        self.adapter = adapter
        self.strength = strength
        self.network = network
        self.engine = TransformersEngine(network)
        self.generator = Generator(self.engine, speech)
        self.batch = BatchGenerator(self.engine, speech)
