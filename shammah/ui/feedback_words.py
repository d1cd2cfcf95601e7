"""What is said about feedback, and how its commands are read. Pure."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from shammah.feedback.lessons import GIVEN
from shammah.records import Buffer, Example, Level, Rule
from shammah.ui.toolbar import counted

if TYPE_CHECKING:
    from shammah.feedback.desk import Outcome

PICTURES: dict[Level, str] = {"critical": "🔴", "medium": "🟡", "good": "🟢"}
ONLY_WHEN_ASKED = "lora.training.auto is false: only `/train now` and `shammah train` start it"
_INDENT = "   "

_NUMBER = re.compile(r"#([0-9]{1,9})(?::?\s+(.*)|:?$)", re.DOTALL)
_BARE_NUMBER = re.compile(r"([0-9]{1,9})(?::\s+(.*)|:?$)", re.DOTALL)

_ASKED = r"(?:when|if)\s+(?:i\s+ask|(?:you\s+are\s+|you're\s+)?asked|someone\s+asks)(?:\s+you)?[:\s]\s*"
_SAY = r"(?:then\s+)?(?:you\s+)?(?:say|answer|reply)(?:\s*:\s*|\s+)"
_LESSONS = (
    re.compile(rf"{_ASKED}(?P<question>.+?)\s*[,;]\s*{_SAY}(?P<reply>.+)", re.DOTALL | re.IGNORECASE),
    re.compile(rf"{_ASKED}(?P<question>.+?)\s+{_SAY}(?P<reply>.+)", re.DOTALL | re.IGNORECASE),
    re.compile(r"(?P<question>.+?)\s*=>\s*(?P<reply>.+)", re.DOTALL),
)
_MUST = (
    r"(?:(?:then\s+)?(?:it|you|the\s+reply|the\s+answer)\s+)?(?:must|should|has\s+to|have\s+to)\s+"
    r"(?:contain|include|mention|have|hold|say)(?:\s*:\s*|\s+)"
)
_PROBES = (
    re.compile(rf"{_ASKED}(?P<question>.+?)\s*[,;]\s*{_MUST}(?P<reply>.+)", re.DOTALL | re.IGNORECASE),
    re.compile(rf"{_ASKED}(?P<question>.+?)\s+{_MUST}(?P<reply>.+)", re.DOTALL | re.IGNORECASE),
    _LESSONS[-1],
)
_QUOTES = {'"': '"', "'": "'", "“": "”", "‘": "’", "«": "»"}
# Several texts, one of which is enough: "this" or "that", or this | that.
_QUOTED_ONES = re.compile(r'"[^"]+"(?:\s*(?:,|,?\s*or)\s*"[^"]+")+')


def read_reply_number(argument: str, *, bare: bool = True) -> tuple[int | None, str]:
    """The place of a reply that an argument begins with, and the rest.

    `#2 note`, and where bare numbers are read `2: note` and `2` alone: "2 + 2 is 4" is a note.
    """
    text = argument.strip()
    match = _NUMBER.match(text) or (_BARE_NUMBER.match(text) if bare else None)
    return (int(match[1]), (match[2] or "").strip()) if match else (None, text)


def read_lesson(text: str) -> tuple[str, str] | None:
    """Question and reply of `when asked X, say Y` or `X => Y`, with or without quotes; None where one is missing."""
    return _question_and_reply(text, _LESSONS)


def read_probe(text: str) -> tuple[str, tuple[str, ...]] | None:
    """The question of `when asked X it must contain Y` or `X => Y`, and the texts of which one must be in the reply."""
    found = _question_and_reply(text, _PROBES)
    if found is None:
        return None
    question, wanted = found
    quoted = _QUOTED_ONES.fullmatch(wanted)
    each = re.findall(r'"([^"]+)"', wanted) if quoted else map(unquoted, wanted.split("|"))
    contains = tuple(dict.fromkeys(one.strip() for one in each if one.strip()))
    return (question, contains) if contains else None


def _question_and_reply(text: str, forms: Sequence[re.Pattern[str]]) -> tuple[str, str] | None:
    text = text.strip()
    inner = text[1:-1].strip() if _QUOTES.get(text[:1]) == text[-1:] and len(text) > 1 else ""
    whole = inner and (re.match(_ASKED, inner, re.IGNORECASE) or not {text[0], text[-1]} & set(inner))
    for form in forms:
        match = form.fullmatch(inner if whole else text)
        if match:
            question, reply = unquoted(match["question"].strip(" ,;")), unquoted(match["reply"])
            return (question, reply) if question and reply else None
    return None


def unquoted(text: str) -> str:
    """Without the quotes around the whole of it."""
    text = text.strip()
    if len(text) > 1 and _QUOTES.get(text[0]) == text[-1] and not {text[0], text[-1]} & set(text[1:-1]):
        return text[1:-1].strip()
    return text


def rating_lines(
    outcome: "Outcome", sign: str, *, changed: bool, threshold: int, auto: bool, rules_given: bool
) -> list[str]:
    """`auto`: whether training begins by itself."""
    example = outcome.example
    return [
        f"{sign} Feedback {'changed' if changed else 'recorded'} (weight: {example.weight:g}x)",
        *([f"{_INDENT}Note: {indented(example.note)}"] if example.note else []),
        *state_lines(example, outcome.buffer, threshold, auto),
        *_given_lines(example),
        *rule_lines(outcome, rules_given=rules_given),
    ]


def _given_lines(example: Example) -> list[str]:
    """A reply that was mended before stays mended, even if it is called good now."""
    if example.level != "good" or example.source not in GIVEN:
        return []
    return [f"{_INDENT}The better reply that you gave stays the target; /unrate, then /good learns the model's own"]


def fix_lines(outcome: "Outcome", *, threshold: int, auto: bool) -> list[str]:
    example, stored = outcome.example, "Better reply stored"
    return [f"{stored} (weight: {example.weight:g}x)", *state_lines(example, outcome.buffer, threshold, auto)]


def lesson_lines(outcome: "Outcome", *, threshold: int, auto: bool) -> list[str]:
    example = outcome.example
    return [
        f"Lesson stored (weight: {example.weight:g}x)",
        f"{_INDENT}Asked: {indented(example.prompt)}",
        f"{_INDENT}Say: {indented(example.target or '')}",
        *state_lines(example, outcome.buffer, threshold, auto),
    ]


def rule_lines(outcome: "Outcome", *, rules_given: bool) -> list[str]:
    if outcome.rule is None:
        return []
    kept = "From now on a rule" if rules_given else "A rule, though none is given to the model (rules.active is false)"
    return [
        f"{_INDENT}{kept}: {indented(outcome.rule.text)}",
        *beaten_lines(outcome.muted),
    ]


def beaten_lines(muted: Sequence[Rule]) -> list[str]:
    return [f"{_INDENT}It contradicts, and mutes, the rule: {indented(rule.text)}" for rule in muted]


def state_lines(example: Example, buffer: Buffer, threshold: int, auto: bool) -> list[str]:
    """The buffer, and what keeps this example out of it."""
    lines = [f"Training buffer: {buffer_words(buffer)}", threshold_words(buffer, threshold, auto)]
    if example.state == "needs target":
        lines.append("It needs a better reply before it can be trained on")
    if example.secrets:
        secrets = counted(secrets_in(example), "secret")
        lines.append(f"{secrets} redacted ({', '.join(example.secrets)}): /review decides whether it is trained on")
    if example.hold:
        lines.append(f"It stands back: {example.hold}")
    return [_INDENT + line for line in lines]


def buffer_words(buffer: Buffer) -> str:
    return f"{counted(buffer.examples, 'example')} ({buffer.weighted:.1f} weighted)"


def threshold_words(buffer: Buffer, threshold: int, auto: bool) -> str:
    """How far it is to the next run."""
    if not auto:
        return f"{buffer.new} of {threshold} for training ({ONLY_WHEN_ASKED})"
    before = buffer.examples - buffer.new
    if buffer.new < threshold and before:  # it is under way, or did not learn them
        return f"{counted(threshold - buffer.new, 'new one')} until training, beside {before} of the latest run"
    if buffer.new < threshold:
        return f"{threshold - buffer.new} more until training"
    return f"Training threshold reached: {buffer.new} of {threshold}"


def secrets_in(example: Example) -> int:
    """How many were taken out of what is stored of this example."""
    texts = (*(message.content for message in example.messages), example.target, example.rejected, example.note)
    found = sum((text or "").count(f"[redacted {kind}]") for text in texts for kind in example.secrets)
    return max(found, len(example.secrets))


def indented(text: str) -> str:
    return text.strip().replace("\n", "\n" + _INDENT)
