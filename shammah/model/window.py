"""Fitting a conversation into the context window.

The oldest turns leave whole, the system prompt and the last message never. Pure.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from shammah.errors import PromptTooLong
from shammah.records import Message

# Dropping a turn changes the start of the prompt and so costs the whole cache. Making room for several turns
# at once keeps that rare: those kept fill this part of what the system prompt and the last message leave to them.
_TARGET = 0.75


@dataclass(frozen=True, slots=True)
class Fitted:
    """What the model is given: the prompt's messages, their tokens, and how many of the turns were left out in all."""

    messages: tuple[Message, ...]
    ids: list[int]
    dropped: int


@dataclass(frozen=True, slots=True)
class Filling:
    """What the window holds before the next message, in tokens: what stands around the conversation, each turn of it
    (0 for one that left), and what is kept free for the reply."""

    window: int
    lead: int
    turns: tuple[int, ...]
    reserve: int

    @property
    def used(self) -> int:
        return self.lead + sum(self.turns)

    @property
    def free(self) -> int:
        return max(0, self.window - self.used - self.reserve)


def room_for_reply(window: int, max_tokens: int) -> int:
    """Tokens kept free for the reply: what it may take, but never more than a quarter of the window."""
    return max(1, min(max_tokens, window // 4))


def fit(
    system: Message | None,
    turns: Sequence[tuple[Message, Message]],
    last: Message,
    *,
    encode: Callable[[Sequence[Message]], list[int]],
    window: int,
    reserve: int,
    already_dropped: int = 0,
) -> Fitted:
    """The longest recent part of the conversation that fits, leaving out at least the turns left out before."""
    limit = window - reserve

    def attempt(dropped: int) -> Fitted:
        kept = [message for turn in turns[dropped:] for message in turn]
        messages = (*([system] if system else []), *kept, last)
        return Fitted(messages, encode(messages), dropped)

    dropped = min(already_dropped, len(turns))
    fitted = attempt(dropped)
    if len(fitted.ids) <= limit:
        return fitted
    bare = len(attempt(len(turns)).ids)
    if bare > limit:
        raise PromptTooLong(
            f"The prompt has {bare:,} tokens; the model's window of {window:,} leaves room for {limit:,}",
            hint="Shorten it, or use a model with a larger window (`shammah models list`).",
        )
    target = bare + _TARGET * (limit - bare)

    def is_short(dropped: int) -> bool:
        return len(attempt(dropped).ids) <= target

    # Halving finds the fewest turns to drop with few encodings: a long conversation has hundreds of turns.
    return attempt(bisect_left(range(len(turns)), True, lo=dropped + 1, key=is_short))


def fill(
    system: Message | None,
    turns: Sequence[tuple[Message, Message]],
    *,
    encode: Callable[[Sequence[Message]], list[int]],
    window: int,
    reserve: int,
    dropped: int = 0,
) -> Filling:
    """Each turn counts what the prompt is longer with it."""
    before, nothing = [system] if system else [], Message("user", "")
    lead = len(encode((*before, nothing)))
    sizes = [len(encode((*before, *turn, nothing))) - lead for turn in turns[dropped:]]
    return Filling(window, lead, (*[0] * min(dropped, len(turns)), *sizes), reserve)
