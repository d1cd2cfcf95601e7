"""A loaded model as the rest of the program uses it: a name, a way to write prompts, one reply or many."""

from collections.abc import Generator as Stream
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from transformers import PreTrainedModel

from shammah.config import GenerationSettings
from shammah.errors import PromptTooLong
from shammah.model.batching import BatchGenerator
from shammah.model.engine import TransformersEngine
from shammah.model.generation import Cancelled, Generator, raise_if_out_of_memory
from shammah.model.loading import LoadedModel
from shammah.model.right_of_way import RightOfWay
from shammah.model.scoring import mean_log_probability
from shammah.model.thread_team import dismiss_team
from shammah.records import Message, Piece, Reply


class ChatModel:
    """`speaking` is the network that answers where that is not the base itself but a twin with an adapter."""

    def __init__(
        self,
        name: str,
        loaded: LoadedModel,
        *,
        adapter: str | None = None,
        speaking: PreTrainedModel | None = None,
        right_of_way: RightOfWay | None = None,
    ) -> None:
        self.speaking = speaking or loaded.network
        engine = TransformersEngine(self.speaking)
        self.name = name
        self.adapter = adapter
        self._right_of_way = right_of_way or RightOfWay()
        self._loaded = loaded
        self._engine = engine
        self._format = loaded.format
        self._generator = Generator(engine, loaded.speech)
        self._batch = BatchGenerator(engine, loaded.speech)

    @property
    def loaded(self) -> LoadedModel:
        """The base, as it came from its folder."""
        return self._loaded

    @property
    def window(self) -> int:
        return self._loaded.speech.window

    @property
    def parameters(self) -> int:
        return self._loaded.parameters

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
        with self._computing():
            yield from self._generator.stream(
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
        with self._computing():
            yield from self._batch.replies(prompts, settings, rows=rows, reasoning_opened=opened, cancelled=cancelled)

    @contextmanager
    def _computing(self) -> Iterator[None]:
        """Before training, with all cores; and then they are training's."""
        with self._right_of_way.taken():
            try:
                yield
            finally:
                dismiss_team()

    def log_probability(self, messages: Sequence[Message], reply: str) -> float:
        """How likely the model finds this reply to these messages: the mean log probability of its tokens and its end.

        What does not fit the window any more is left out. Safe while another thread streams a reply.
        """
        prompt = self._format.encode(messages)
        tokens = self._format.tokens(reply)
        room = self.window - len(prompt)
        if room < 1:
            raise PromptTooLong(
                f"The conversation has {len(prompt):,} tokens, the context window holds {self.window:,}",
                hint="Start afresh with /clear.",
            )
        whole = len(tokens) <= room
        ends = self._loaded.speech.end_tokens if whole else ()
        try:
            with self._computing():
                return mean_log_probability(self._engine, prompt, tokens[:room], ends)
        except RuntimeError as error:
            raise_if_out_of_memory(error)
            raise
