"""A loaded model as the rest of the program uses it: a name, a way to write prompts, one reply or many."""

from collections.abc import Generator as Stream
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from shammah.config import GenerationSettings
from shammah.errors import PromptTooLong
from shammah.model.generation import Cancelled, raise_if_out_of_memory
from shammah.model.loading import LoadedModel
from shammah.model.right_of_way import RightOfWay
from shammah.model.scoring import mean_log_probability
from shammah.model.speaking import Voice
from shammah.model.thread_team import dismiss_team
from shammah.records import Begun, Message, Piece, Reply


class ChatModel:
    """It begins with the voice of the base. Which one speaks may change at any moment, and on any thread: each reply
    takes its voice once, when it begins, and keeps it to its last token."""

    def __init__(self, name: str, loaded: LoadedModel, *, right_of_way: RightOfWay | None = None) -> None:
        self.name = name
        self._right_of_way = right_of_way or RightOfWay()
        self._loaded = loaded
        self._format = loaded.format
        self._voice = self.base_voice()

    @property
    def voice(self) -> Voice:
        """Who speaks from the next reply on."""
        return self._voice

    def speak_as(self, voice: Voice) -> None:
        """The one before is freed when nobody speaks with it any more."""
        self._voice = voice

    def base_voice(self) -> Voice:
        return Voice(self._loaded.network, self._loaded.speech)

    @property
    def adapter(self) -> str | None:
        return self._voice.adapter

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
    def bytes(self) -> int:
        """The memory that its numbers take, without those of adapters."""
        return sum(part.nbytes for part in self._loaded.network.parameters())

    @property
    def has_template(self) -> bool:
        return not self._format.is_plain

    def encode(self, messages: Sequence[Message], begun: Begun | None = None) -> list[int]:
        return self._format.encode(messages, begun)

    def count(self, text: str) -> int:
        """How many tokens a text is."""
        return len(self._format.tokens(text))

    def reply(
        self,
        prompt: Sequence[int],
        settings: GenerationSettings,
        *,
        voice: Voice | None = None,
        begun: Begun | None = None,
        cancelled: Cancelled = lambda: False,
    ) -> Stream[Piece | Reply, None, None]:
        """With another voice, where one is given, and nothing else is changed by that. The prompt ends with the reply
        that was `begun`; only what is new of it comes in pieces."""
        speaking = voice or self._voice
        with self._computing():
            yield from speaking.generator.stream(
                prompt,
                settings,
                cancelled=cancelled,
                reasoning_opened=self._format.opens_reasoning(prompt),
                begun=begun.text if begun else None,
            )

    def replies(
        self,
        prompts: Sequence[Sequence[int]],
        settings: GenerationSettings,
        *,
        rows: int,
        voice: Voice | None = None,
        cancelled: Cancelled = lambda: False,
    ) -> Iterator[tuple[int, Reply]]:
        speaking = voice or self._voice
        opened = bool(prompts) and self._format.opens_reasoning(prompts[0])
        with self._computing():
            yield from speaking.batch.replies(
                prompts, settings, rows=rows, reasoning_opened=opened, cancelled=cancelled
            )

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
                return mean_log_probability(self._voice.engine, prompt, tokens[:room], ends)
        except RuntimeError as error:
            raise_if_out_of_memory(error)
            raise
