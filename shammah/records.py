"""The words of the program as values: what passes between its parts. No behaviour, no I/O, no clock."""

from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["system", "user", "assistant"]
PieceKind = Literal["reply", "reasoning"]
StopReason = Literal["end", "length", "stop", "window", "loop", "cancelled"]


@dataclass(frozen=True, slots=True)
class Message:
    """One line of a conversation as the model is given it."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of streamed text, complete in its characters."""

    kind: PieceKind
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a generation came to.

    `input_tokens` counts the whole prompt, `cached_tokens` the part that was not paid for.
    """

    text: str
    reasoning: str
    stop_reason: StopReason
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    first_token_ms: float
    duration_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One exchange as the usage log keeps it: prompt, reply, who spoke, at what cost, and what was thought of it."""

    id: str
    conversation_id: str
    number: int
    time: str
    query: str
    response: str
    reasoning: str = ""
    model: str
    adapter: str | None = None
    expert: str | None = None
    system: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    stop_reason: StopReason
    latency_ms: float
    first_token_ms: float
    input_tokens: int
    cached_tokens: int = 0
    output_tokens: int
    quality: float | None = None
    feedback: str | None = None
    note: str | None = None
    context_hash: str
    dedupe_hash: str

    @property
    def tokens_per_second(self) -> float:
        """Decoding speed: the tokens after the first one over the time after it."""
        seconds = (self.latency_ms - self.first_token_ms) / 1000
        return (self.output_tokens - 1) / seconds if self.output_tokens > 1 and seconds > 0 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    id: str
    title: str
    model: str
    system: str
    created: str
    updated: str
    turns: int
