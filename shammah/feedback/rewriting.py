"""Asking the model for a better reply than the one it gave, and the checks that a rewrite must pass.

Two ways of asking, in the order that they were measured to work: the note as a plain statement before the question,
with no word of a mistake; and the note as an objection after the bad reply. The model is handed in as a `Rewriter`.
"""

import math
import re
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Protocol

from shammah.config import GenerationSettings
from shammah.feedback.notes import as_rule, as_statement, is_fact, speaks_of_length, with_rules
from shammah.records import Message, Piece, Reply, StopReason
from shammah.repetition import loops, words
from shammah.store.identity import same_reply

_TEMPERATURE = 0.7
# The fourth try is the first that objects; from there on the two ways take turns.
_OBJECTS_FROM = 3
# How much of the rejected reply's length in words a rewrite may have. The upper bound takes a shorter reply for one of
# so many words: 2.5 times "Fixed a bug." is no sentence.
_SHORTEST, _LONGEST, _SHORT_REPLY = 0.3, 2.5, 12

# Said to the one who objected, not to the one who asked.
_TALK = re.compile(
    r"\bas (?:you|the user)(?:'ve| have)? (?:noted|mentioned|said|pointed|requested|asked|instructed|stated|wished)\b"
    r"|\bi(?:'m| am)? ?(?:\w+ly |so |very )?(?:apologi[sz]e|sorry)\b|\bmy apologies\b|\bapologies for\b"
    r"|\bthank(?:s| you) for (?:the|your|pointing|letting|correcting|clarifying|reminding)\b(?! question)"
    r"|\byou(?:'re| are) (?:\w+ly |quite )?(?:right|correct)\b(?!-)"
    r"|\bthe user (?:wants|asked|asks|said|says|prefers|noted|requested|mentioned|would like|wishes|has asked)\b"
    r"|\b(?:my (?:previous|earlier|last|first|original)|the previous) (?:reply|answer|response|message|mistake)\b"
    r"|\bi made (?:a|an) (?:mistake|error)\b|\bi(?:'ll| will) (?:make sure|keep that in mind|remember|try again)\b"
    r"|\b(?:corrected|revised|rewritten|improved) (?:reply|answer|response|version)\b"
    r"|\b(?:according to|based on|per|following) (?:your (?:note|rule|instruction|correction|feedback)s?"
    r"|the (?:note|correction|feedback))\b"
    r"|^(?:noted|understood|got it|i understand)\b|\bthat was not right\b|\banswer again\b"
)
_NOT_A_LETTER = re.compile(r"[^\w]+")


class Rewriter(Protocol):
    """What is used of a ChatModel."""

    @property
    def window(self) -> int: ...

    def encode(self, messages: Sequence[Message]) -> list[int]: ...

    def reply(
        self, prompt: Sequence[int], settings: GenerationSettings, *, cancelled: Callable[[], bool] = ...
    ) -> Generator[Piece | Reply, None, None]: ...

    def log_probability(self, messages: Sequence[Message], reply: str) -> float: ...


@dataclass(frozen=True, slots=True)
class Rewrite:
    """`failed` names the checks that it did not pass, in words for the user. `gain` is how much likelier the note makes
    it, asked only of what passed the others."""

    text: str
    failed: tuple[str, ...]
    stop_reason: StopReason
    gain: float | None = None


def rewrites(
    model: Rewriter,
    messages: Sequence[Message],
    rejected: str,
    note: str,
    settings: GenerationSettings,
    *,
    tries: int = 4,
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[Rewrite]:
    """Rewrites as they are made, no two alike, good and bad ones: at most `tries`, of at most twice as many replies.

    `messages` is the prompt without the rules. Each reply is ended as soon as it is longer than a rewrite may be.
    """
    longest = _longest(rejected, note)
    seen: list[str] = []
    for prompt, how in _attempts(model, messages, rejected, note, settings, 2 * tries):
        if len(seen) == tries or cancelled():
            return
        reply = _said(model, prompt, how, longest, cancelled)
        if reply.stop_reason == "cancelled":
            return
        text = reply.text.strip()
        if not any(same_reply(text, earlier) for earlier in seen):
            seen.append(text)
            yield _checked(model, messages, rejected, note, text, reply.stop_reason)


def best(candidates: Iterable[Rewrite]) -> Rewrite | None:
    """The one that the note explains best, of those that passed: for a target that nobody looks at."""
    passed = [(rewrite.gain, rewrite) for rewrite in candidates if not rewrite.failed and rewrite.gain is not None]
    return max(passed, key=lambda pair: pair[0])[1] if passed else None


def explains(model: Rewriter, messages: Sequence[Message], note: str, text: str) -> bool:
    """Whether the note makes this reply likelier than it is without: else it has something else to say."""
    return _gain(model, messages, note, text) > 0


def checks(text: str, *, rejected: str, note: str, prompt: str, stop_reason: StopReason = "end") -> tuple[str, ...]:
    """What is wrong with a rewrite of the rejected reply, nothing if it passes. `prompt` is the user's question."""
    if not text.strip():
        return ("it is empty",)
    said = len(words(text))
    found = {
        "it was cut off": stop_reason in ("length", "window"),
        "it goes round in circles": loops(text) or stop_reason == "loop",
        "it is the rejected reply again": same_reply(text, rejected),
        "it only repeats the question": _letters(text) == _letters(prompt),
        "it repeats the note": _repeats_note(text, note),
        "it talks about the correction": _talks(text, prompt),
        "it is much longer than the reply was": said > _longest(rejected, note),
        "it is much shorter than the reply was": said < _shortest(rejected, note),
    }
    return tuple(what for what, is_so in found.items() if is_so)


def _attempts(
    model: Rewriter, messages: Sequence[Message], rejected: str, note: str, settings: GenerationSettings, most: int
) -> Iterator[tuple[list[int], GenerationSettings]]:
    """What to ask next, and how: a prompt greedily the first time, by other random numbers after that."""
    plain = model.encode(with_rules(messages, [as_rule(note)], place="question"))
    objecting = plain
    if rejected.strip():
        objection = f"That was not right. {as_statement(note)} Answer again."
        objecting = model.encode([*messages, Message("assistant", rejected), Message("user", objection)])
    greedy = replace(settings, temperature=0.0, stop_loops=True)
    asked: list[list[int]] = []
    for number in range(most):
        prompt = objecting if number >= _OBJECTS_FROM and number % 2 else plain
        seed = (max(settings.seed, 0) + number) % 2**63
        if len(prompt) < model.window:
            yield prompt, replace(greedy, temperature=_TEMPERATURE, seed=seed) if prompt in asked else greedy
        asked.append(prompt)


def _said(
    model: Rewriter,
    prompt: Sequence[int],
    settings: GenerationSettings,
    longest: float,
    cancelled: Callable[[], bool],
) -> Reply:
    text, enough = "", False
    with closing(model.reply(prompt, settings, cancelled=lambda: enough or cancelled())) as stream:
        for item in stream:
            if isinstance(item, Reply):
                by_length = enough and item.stop_reason == "cancelled" and not cancelled()
                return replace(item, stop_reason="length") if by_length else item
            if item.kind == "reply":
                text += item.text
                enough = len(text.split()) > longest
    raise RuntimeError("the model's stream ended without a reply")


def _checked(
    model: Rewriter, messages: Sequence[Message], rejected: str, note: str, text: str, stop_reason: StopReason
) -> Rewrite:
    prompt = next((message.content for message in reversed(messages) if message.role == "user"), "")
    failed = checks(text, rejected=rejected, note=note, prompt=prompt, stop_reason=stop_reason)
    if failed:
        return Rewrite(text, failed, stop_reason)
    gain = _gain(model, messages, note, text)
    return Rewrite(text, () if gain > 0 else ("the note does not explain it",), stop_reason, gain)


def _gain(model: Rewriter, messages: Sequence[Message], note: str, text: str) -> float:
    noted = with_rules(messages, [as_rule(note)], place="question")
    return model.log_probability(noted, text) - model.log_probability(messages, text)


def _longest(rejected: str, note: str) -> float:
    return math.inf if speaks_of_length(note) else _LONGEST * max(len(words(rejected)), _SHORT_REPLY)


def _shortest(rejected: str, note: str) -> float:
    return 0 if speaks_of_length(note) else _SHORTEST * len(words(rejected))


def _talks(text: str, prompt: str) -> bool:
    """Talk to the one who objected. What the question itself speaks of, such as an apology to write, is none."""
    asked = _letters(prompt)
    if "apolog" in asked or "sorry" in asked:
        asked += " sorry apologise apologies"
    for phrase in _TALK.finditer(text.casefold().replace("’", "'").strip()):
        topics = [word for word in _letters(phrase.group()).split() if len(word) > 3]
        if not topics or not all(word[:4] in asked for word in topics):
            return True
    return False


def _repeats_note(text: str, note: str) -> bool:
    """A fact may be all that a reply has to say, unless it speaks of one of the two who talk; an instruction said back
    is no answer."""
    said, noted = f"{_letters(text)} ", f"{_letters(as_rule(note))} "
    if is_fact(note) and not noted.startswith(("you ", "your ", "i ", "my ")):
        return False
    return bool(noted.strip()) and f" {noted}" in f" {said}"


def _letters(text: str) -> str:
    return _NOT_A_LETTER.sub(" ", text.casefold()).strip()
