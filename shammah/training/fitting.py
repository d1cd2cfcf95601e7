"""How much is computed at once: from the memory that is free, then from what the first step really took, of memory
and of time. Pure.

Smaller parts take a little longer and give the same result, so a guess that is too low costs time and nothing else.
"""

from dataclasses import dataclass

from shammah.errors import DeviceError

_GIB = 1 << 30
# Free memory in GiB, rows at once, tokens of a row: the table this began with. Rows share their beginning, so the
# product is a bound on what is computed.
_TABLE = ((16, 8, 1024), (12, 4, 512), (8, 2, 512), (4, 1, 256))
# Of the free memory this share may be filled: the chat's own memory grows with its conversation.
_SHARE = 0.5
# And no more than this, however much is free, or than the model itself takes where that is more: to compute more at
# once is hardly faster, and others want the memory.
_MOST_BYTES = 400_000_000
# The chat waits for what is being computed. With a small model no part of a layer takes as long as this, however busy
# the machine is; a large one takes longer for its own first token.
_MOST_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Limits:
    """What one part of a step may be, so that it fits the memory."""

    rows: int
    tokens: int


_SMALLEST = Limits(1, 64)
# Where nobody looked at the memory.
AMPLE = Limits(64, 4096)


def first_limits(free: int, *, token_bytes: int, model_bytes: int = 0, rows: int = -1) -> Limits:
    """What to begin with where a token takes about so many bytes; `rows` is the user's own limit, -1 for none."""
    at_once, length = next(((rows_, tokens) for gib, rows_, tokens in _TABLE if free >= gib * _GIB), (1, 128))
    fitting = max(_SMALLEST.tokens, int(_room(free, model_bytes) / max(token_bytes, 1)))
    return Limits(rows if rows > 0 else max(at_once, 1) * 4, min(at_once * length, fitting))


def measured_limits(
    limits: Limits, *, free: int, taken: int, seconds: float, tokens: int, model_bytes: int = 0
) -> Limits:
    """After a step in which `tokens` computed at once took so many bytes, and the chat had to wait so long at once."""
    most = limits.tokens
    if taken > 0:
        most = min(most, int(_room(free, model_bytes) * tokens / taken))
    if seconds > _MOST_SECONDS:
        most = min(most, int(tokens * _MOST_SECONDS / seconds))
    return Limits(limits.rows, max(min(_SMALLEST.tokens, limits.tokens), most))


def _room(free: int, model_bytes: int) -> float:
    return min(_SHARE * free, max(_MOST_BYTES, model_bytes))


def halved(limits: Limits) -> Limits | None:
    """After memory ran out; None where it cannot be made smaller."""
    if limits.tokens <= _SMALLEST.tokens and limits.rows <= 1:
        return None
    return Limits(max(1, limits.rows // 2), max(_SMALLEST.tokens, limits.tokens // 2))


def too_little_memory() -> DeviceError:
    return DeviceError(
        "Not enough memory to train", hint="Close other programs, or set lora.training.max_length lower."
    )
