"""A small model that says what it is told, for conversations whose replies a test decides."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from shammah.config import GenerationSettings
from shammah.records import Begun, Message, Piece, Reply, StopReason


@dataclass
class Talker:
    """Says the next of its lines, or the last one again, a letter a piece. A piece is a token, and the tokens of a
    prompt are the letters of the messages."""

    says: list[str] = field(default_factory=lambda: ["Well."])
    name: str = "talker"
    adapter: str | None = None
    strength: float = 1.0
    window: int = 100_000
    parameters: int = 1_000
    bytes: int = 4_000
    reasons: str = ""
    stops: list[StopReason] = field(default_factory=list)
    prompts: list[str] = field(default_factory=list)
    settings: list[GenerationSettings] = field(default_factory=list)
    open_streams: int = 0

    def encode(self, messages: Sequence[Message], begun: Begun | None = None) -> list[int]:
        said = "".join(f"{message.role[0]}:{message.content}|" for message in messages)
        return list(map(ord, said + (begun.text if begun else "")))

    def count(self, text: str) -> int:
        return 2 * len(text)  # so that it can't be mistaken for another count

    def line(self) -> str:
        return self.says.pop(0) if len(self.says) > 1 else self.says[0]

    def pieces(self, line: str) -> Iterable[str]:
        return line

    @property
    def voice(self) -> "Talker":
        return self

    def reply(
        self,
        prompt: Sequence[int],
        settings: GenerationSettings,
        *,
        voice: "Talker | None" = None,
        begun: Begun | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Generator[Piece | Reply, None, None]:
        assert not self.open_streams, "the stream before this one was left open"
        self.open_streams += 1
        self.prompts.append("".join(map(chr, prompt)))
        self.settings.append(settings)
        try:
            for item in self.stream(len(prompt), cancelled):
                yield replace(item, text=begun.text + item.text) if begun and isinstance(item, Reply) else item
        finally:
            self.open_streams -= 1

    def stream(self, input_tokens: int, cancelled: Callable[[], bool]) -> Iterator[Piece | Reply]:
        line = self.line()
        stop_reason = self.stops.pop(0) if self.stops else "end"
        if self.reasons:
            yield Piece("reasoning", self.reasons)
        said: list[str] = []
        for piece in self.pieces(line):
            if cancelled():
                stop_reason = "cancelled"
                break
            said.append(piece)
            yield Piece("reply", piece)
        yield Reply(
            text="".join(said),
            reasoning=self.reasons,
            stop_reason=stop_reason,
            input_tokens=input_tokens,
            cached_tokens=3,
            output_tokens=len(said),
            first_token_ms=5.0,
            duration_ms=50.0,
        )


def words(line: str) -> Iterator[str]:
    """The line in pieces of a word each, with the space before it."""
    first, *more = line.split(" ")
    yield first
    yield from (f" {word}" for word in more)
