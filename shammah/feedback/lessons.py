"""The one rule, in one place: a reply that was rated medium or critical is never a training target. Pure."""

from dataclasses import dataclass

from shammah.records import Example, Level, Source, State
from shammah.store.identity import same_reply

# Targets that somebody wrote, or took when they were shown: no rating of the reply is one of them.
GIVEN: tuple[Source, ...] = ("fix", "rewrite", "teach")


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
    """What an example teaches when a text of it, or its level, has changed.

    Where a reply was rated good, that reply is the target: rated down it becomes the rejected one. A better reply that
    somebody wrote or took stays the target at every level.
    """
    level = level or example.level
    was_good = example.level == "good" and example.source not in GIVEN
    reply, better = (target, None) if was_good and (rejected is None or level != "good") else (rejected, target)
    return lesson(level, reply=reply, better=better, note=note)


def _said(text: str | None) -> str | None:
    return text if text and text.strip() else None
