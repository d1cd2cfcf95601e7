"""The one rule, in one place: a reply that was rated medium or critical is never a training target. Pure."""

from dataclasses import dataclass

from shammah.records import Example, Level, State
from shammah.store.identity import same_reply


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a piece of feedback teaches. Without a target it says in `reason` what is missing."""

    target: str | None
    rejected: str | None
    state: State
    reason: str = ""


def lesson(level: Level, *, reply: str | None, better: str | None, note: str | None) -> Lesson:
    """`reply` is what the model said, `better` what it should have said; either may be missing or blank.

    A second try that was rated good is a lesson of level good whose `better` it is, with the first try as `reply`.
    """
    reply, better = _said(reply), _said(better)
    if better is not None and not same_reply(better, reply):
        return Lesson(better, reply, "ready")
    if level == "good":
        return Lesson(reply, None, "ready") if reply else Lesson(None, None, "needs target", "there is no reply")
    if reply is None:
        return Lesson(None, None, "needs target", "there is neither a reply nor a better one")
    if better is not None:
        return Lesson(None, reply, "needs target", "the better reply is the one that was rejected")
    if _said(note) is not None:
        return Lesson(None, reply, "needs review", "nobody has seen a better reply yet")
    return Lesson(None, reply, "needs target", "it is not known what the reply should have been")


def relearned(
    example: Example, *, target: str | None, rejected: str | None, note: str | None, level: Level | None = None
) -> Lesson:
    """What an example teaches when a text of it, or its level, has changed."""
    simply_good = example.level == "good" and example.rejected is None
    reply, better = (target, None) if simply_good else (rejected, target)
    return lesson(level or example.level, reply=reply, better=better, note=note)


def _said(text: str | None) -> str | None:
    return text if text and text.strip() else None
