"""Which examples of one and the same prompt stand back, and why. Pure.

A reply that was rated medium or critical is never a target, whoever else called it good and whenever. Of what is left
the newest target counts, because the user's last word does.
"""

from collections.abc import Mapping, Sequence

from shammah.records import Example
from shammah.store.identity import reply_hash


def settle(examples: Sequence[Example], gone: Mapping[str, str] | None = None) -> dict[str, str]:
    """The `hold` of each example of a prompt by its id, empty where it counts. They come oldest first.

    `gone` holds what was rejected by examples that have left since: the level by the hash of the reply.
    """
    rejected = {**(gone or {}), **_rejected(examples)}
    holds = dict.fromkeys((example.id for example in examples), "")
    counts: Example | None = None
    for example in reversed(examples):
        level = rejected.get(reply_hash(example.target)) if example.target else None
        if level is not None:
            holds[example.id] = f"{_RATED} {level} elsewhere"
        elif _answers(example):
            if counts is None:
                counts = example
            else:
                holds[example.id] = f"a newer example of the same prompt has another target ({counts.id[:10]})"
        elif counts is not None and not example.target and example.state != "disabled":
            holds[example.id] = f"a newer example answers the same prompt ({counts.id[:10]})"
    return holds


def is_of_a_rejected_reply(hold: str) -> bool:
    """Whether an example stands back because its target must never be learned."""
    return hold.startswith(_RATED)


_RATED = "its reply was rated"


def _rejected(examples: Sequence[Example]) -> dict[str, str]:
    """The replies that must not be learned, each with the worst that was said of it. Disabled examples have a say."""
    levels: dict[str, str] = {}
    for example in examples:
        if example.rejected and example.level != "good" and levels.get(reply_hash(example.rejected)) != "critical":
            levels[reply_hash(example.rejected)] = example.level
    return levels


def _answers(example: Example) -> bool:
    return bool(example.target) and example.state == "ready" and not example.secrets
