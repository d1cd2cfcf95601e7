"""A loaded model as the rest of the program uses it: a name, a way to write prompts, one reply or many."""

from collections.abc import Generator as Stream
from collections.abc import Iterator, Sequence

from shammah.config import GenerationSettings
from shammah.model.batching import BatchGenerator
from shammah.model.engine import TransformersEngine
from shammah.model.generation import Cancelled, Generator
from shammah.model.loading import LoadedModel
from shammah.records import Message, Piece, Reply


class ChatModel:
    def __init__(self, name: str, loaded: LoadedModel) -> None:
        engine = TransformersEngine(loaded.network)
        self.name = name
        self._loaded = loaded
        self._format = loaded.format
        self._generator = Generator(engine, loaded.speech)
        self._batch = BatchGenerator(engine, loaded.speech)

    @property
    def window(self) -> int:
        return self._loaded.speech.window

    @property
    def has_template(self) -> bool:
        return not self._format.is_plain

    def encode(self, messages: Sequence[Message]) -> list[int]:
        return self._format.encode(messages)

    def count(self, text: str) -> int:
        """How many tokens a text is."""
        return len(self._format.tokens(text))

    def reply(
        self, prompt: Sequence[int], settings: GenerationSettings, *, cancelled: Cancelled = lambda: False
    ) -> Stream[Piece | Reply, None, None]:
        return self._generator.stream(
            prompt, settings, cancelled=cancelled, reasoning_opened=self._format.opens_reasoning(prompt)
        )

    def replies(
        self,
        prompts: Sequence[Sequence[int]],
        settings: GenerationSettings,
        *,
        rows: int,
        cancelled: Cancelled = lambda: False,
    ) -> Iterator[tuple[int, Reply]]:
        opened = bool(prompts) and self._format.opens_reasoning(prompts[0])
        return self._batch.replies(prompts, settings, rows=rows, reasoning_opened=opened, cancelled=cancelled)
