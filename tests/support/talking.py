"""A small model that says what it is told, for conversations whose replies a test decides."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field

from shammah.config import GenerationSettings
from shammah.records import Message, Piece, Reply


@dataclass
class Talker:
    """Says the next of its lines, or the last one again. Its tokens are the letters of the messages."""

    says: list[str] = field(default_factory=lambda: ["Well."])
    name: str = "talker"
    window: int = 100_000
    parameters: int = 1_000
    prompts: list[str] = field(default_factory=list)

    def encode(self, messages: Sequence[Message]) -> list[int]:
        return [ord(letter) for message in messages for letter in f"{message.role[0]}:{message.content}|"]

    def count(self, text: str) -> int:
        return len(text)

    def reply(
        self, prompt: Sequence[int], settings: GenerationSettings, *, cancelled: Callable[[], bool] = lambda: False
    ) -> Generator[Piece | Reply, None, None]:
        self.prompts.append("".join(map(chr, prompt)))
        text = self.says.pop(0) if len(self.says) > 1 else self.says[0]
        if text:
            yield Piece("reply", text)
        yield Reply(
            text=text,
            reasoning="",
            stop_reason="end",
            input_tokens=len(prompt),
            cached_tokens=0,
            output_tokens=len(text),
            first_token_ms=1.0,
            duration_ms=2.0,
        )
