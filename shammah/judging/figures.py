"""What was measured on one voice, as numbers and as texts."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Said:
    """A greedy reply; `ended` where it came to its end within what was asked for, `tokens` with its end."""

    text: str
    ended: bool
    tokens: int


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with the reply to a prompt to which the base model's own reply is right in this."""

    prompt: str
    what: str


# What is wrong with a reply that goes on where the base's own came to its end, or that says the same again and again.
ENDLESS, LOOPS = "does not end", "goes round in circles"


@dataclass(frozen=True, slots=True)
class Leak:
    """Words of what one example teaches, in the reply to a prompt that has nothing to do with it."""

    prompt: str
    example: str
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Numbers are finite or not there. What could not be measured stands in `failed`, by its name with the reason.

    `nll` (how surprising the target is, per token) and `margins` (how much likelier than the rejected reply, per token)
    are by example, over its held-out questions. `answers` are replies to the examples' own prompts, by example,
    `general` those to general prompts, by prompt. `drift` is how far it is from the base, `probes` what it passed by
    their ids, `speed` in tokens per second, `seconds` what measuring took.
    """

    nll: Mapping[str, float] = field(default_factory=dict)
    margins: Mapping[str, float] = field(default_factory=dict)
    drift: float | None = None
    perplexity: float | None = None
    answers: Mapping[str, Said] = field(default_factory=dict)
    general: Mapping[str, Said] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()
    leaks: tuple[Leak, ...] = ()
    probes: Mapping[str, bool] = field(default_factory=dict)
    speed: float | None = None
    seconds: float = 0.0
    failed: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> "Figures":
        texts = {name: {key: Said(**said) for key, said in told[name].items()} for name in ("answers", "general")}
        faults = tuple(Fault(**fault) for fault in told["faults"])
        leaks = tuple(Leak(leak["prompt"], leak["example"], tuple(leak["words"])) for leak in told["leaks"])
        return cls(**{**told, **texts, "faults": faults, "leaks": leaks})
