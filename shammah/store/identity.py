"""Ids, hashes and times of what is stored. The clock is an argument: nanoseconds since 1970, like `time.time_ns`."""

import hashlib
import json
import os
import time
import unicodedata
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from shammah.records import Message

Clock = Callable[[], int]

# Crockford's base 32: in ASCII order, so that ids sort as their numbers do, and without i, l, o and u.
_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"
_TIME_DIGITS, _RANDOM_DIGITS = 11, 15


def new_id(clock: Clock = time.time_ns) -> str:
    """26 characters: the time in microseconds, then 75 random bits. Later ids sort after earlier ones."""
    moment = clock() // 1000
    chance = int.from_bytes(os.urandom(10), "big")
    return _in_base_32(moment, _TIME_DIGITS) + _in_base_32(chance, _RANDOM_DIGITS)


def utc_now(clock: Clock = time.time_ns) -> str:
    """Like 2026-01-31T09:05:00.042Z: texts of this form sort as their times do."""
    seconds, milliseconds = divmod(clock() // 1_000_000, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{milliseconds:03d}Z"


def dedupe_hash(query: str, response: str) -> str:
    """Equal for exchanges that a reader would call the same: case, white space and forms of a letter do not count."""
    return _digest([folded(query), folded(response)])


def prompt_hash(messages: Sequence[Message]) -> str:
    """Equal for prompts that a reader would call the same, said by the same roles."""
    return _digest([[message.role, folded(message.content)] for message in messages])


def example_hash(level: str, messages: Sequence[Message], target: str | None, rejected: str | None) -> str:
    """Equal for examples that teach the same: of one prompt and level, with the same replies."""
    said = [[message.role, folded(message.content)] for message in messages]
    replies = {"target": target, "rejected": rejected}
    told = ([name, words_of(reply)] for name, reply in replies.items() if reply is not None)
    return _digest([[level], *said, *told])


def context_hash(messages: Sequence[Message]) -> str:
    """Equal only for exactly the same messages in the same order."""
    return _digest([[message.role, message.content] for message in messages])


def folded(text: str) -> str:
    """The text without what a reader would not call a difference: case, white space, forms of a letter."""
    # Folding case can undo the normal form, so it is made again.
    return " ".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).split())


def words_of(reply: str | None) -> str:
    """What makes it this reply: not its white space, nor how its letters are put together.

    Case counts, since it may be all that was wrong.
    """
    return " ".join(unicodedata.normalize("NFC", reply or "").split())


def reply_hash(reply: str) -> str:
    """Equal for the same reply, in the sense of `same_reply`."""
    return _digest([words_of(reply)])


def same_reply(one: str | None, other: str | None) -> bool:
    """Whether two replies differ at most in white space."""
    return words_of(one) == words_of(other)


def days_before(moment: str, days: int) -> str:
    """The time so many days before another, in the form of `utc_now`; empty where the calendar does not reach."""
    try:
        earlier = datetime.fromisoformat(moment) - timedelta(days=days)
    except OverflowError:
        return ""
    return earlier.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _in_base_32(number: int, digits: int) -> str:
    return "".join(_DIGITS[number >> 5 * place & 31] for place in reversed(range(digits)))


def _digest(parts: list[str] | list[list[str]]) -> str:
    # JSON keeps the borders between the parts, and its ASCII form exists for every text, lone surrogates included.
    return hashlib.blake2b(json.dumps(parts).encode("ascii"), digest_size=16).hexdigest()
