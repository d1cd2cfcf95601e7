"""What a note is: a rule for every reply to come, or a remark on one; which rules exclude each other; how the model is
given them. Pure.

A rule tells what to do ("Use pathlib, not os") or what is so ("Staging uses port 8443"); "That is wrong" and "You
forgot the second part" are remarks. Told apart by word lists and by word order, for English only: notes in other
languages count as remarks, and so does what is in doubt, because a remark that became a rule would spoil every reply.
The same for contradictions: two rules that say opposite things in different words are not found out.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from shammah.feedback.wording import (
    ALSO_OTHERS,
    ARTICLES,
    BEING,
    DO,
    DOES,
    EXCLUSIVE,
    FILLING,
    LEARNING,
    LENGTH,
    MODALS,
    MOODS,
    NEUTRAL,
    NOUN_SIGNS,
    NUMBERS,
    ONCE,
    ORDERS,
    ORDINALS,
    OWN_HABITS,
    POINTERS,
    REMARK,
    REPLY_NOUNS,
    ROLES,
    TALK,
    UNLIKE_ORDERS,
    UNWANTED,
    VERDICT,
    VERDICTS,
)
from shammah.records import Message

# Longer notes are essays, not standing instructions.
_MOST_WORDS = 60

_FILLER = re.compile(
    r"^(?:(?:please|hey|hi|ok|okay|well|and|also|just|simply|kindly|next time|from now on|in (?:the )?future|remember"
    r"|going forward|remember that|note that|note:|btw|by the way|fyi|actually|in general|instead|thanks|thank you"
    r"|rule:|as a rule|for the record)(?=[\s,:!.])[,:!. -]*(?:but\b\s*)?)+"
)
_REMARK_FIRST = re.compile(
    r"^(?:no|nope|not quite|not really|almost|nearly|close|sorry|(?:(?:it|that|this) is )?(?:\w+ )?"
    rf"(?:too \w+|not true|{VERDICT})),\s+(?:but\s+)?"
)
_CIRCUMSTANCE = re.compile(
    r"^(?:when|whenever|if|unless|for|in|on|with|after|before|once|where|by|during|at|as)\b[^,]*,\s+"
    r"|^(?:for|in|on|with) (?:\S+ ){1,4}?(?=(?:use|write|prefer|add|say|answer|give|always|never|do not)\b)"
)
# Where a rule turns to what it does not want.
_OPPOSED = re.compile(
    r"(?<=[.!?;])\s+|;|(?:,| and| but|, and|, but) (?=(?:not|never|don't|don’t|do not|avoid)\b)"
    r"| (?=(?:instead of|rather than)\b)",
    re.IGNORECASE,
)
_VALUE = re.compile(r"[\d#@/_]|\w\.\w")
_NUMBER = re.compile(r"^\W?\d")
_SAME = {"reply": "answer", "respond": "answer", "speak": "answer", "prefer": "use", "using": "use"}
_ONE_END = re.compile(
    r"^(?:call|name|address) \S+(?: as)?$|^(?:sign|sign off|start|begin|end|close)(?: \S+){0,3} (?:with|as|by)$"
)
_SENTENCE_END = re.compile(r"(?<=[.!?;])\s+|\s+[-–—]+\s+|;|\n")
_WORD = re.compile(r"[^\s,;:!?()\"“”„«»]+")
_SHORT_FORMS = {"'re": " are", "'m": " am", "n't": " not", "'d like": " would like", "cannot": "can not"}


def is_rule(note: str) -> bool:
    """Whether a note holds for every reply to come, not only for the one it was given to."""
    return any(_is_order(clause) or _is_statement(clause) for clause in _clauses(note))


def is_fact(note: str) -> bool:
    """Whether it is a rule that says what is so, and gives no order."""
    clauses = _clauses(note)
    return any(map(_is_statement, clauses)) and not any(map(_is_order, clauses))


def speaks_of_length(note: str) -> bool:
    """Whether a note asks for more or fewer words."""
    return bool(LENGTH.search(_plain(note)))


def contradicts(one: str, other: str) -> bool:
    """Whether two rules can't both be kept: one forbids what the other says, or they differ in one value only."""
    return any(_exclude(this, that) for this in _claims(one) for that in _claims(other))


def as_rule(note: str) -> str:
    """The note on one line and without its "please"; its wording is left alone."""
    line = " ".join(note.split())
    bare = re.sub(r"^please\b[,:]?\s*", "", line, flags=re.IGNORECASE)
    if bare != line:
        bare = bare[:1].upper() + bare[1:]
    return re.sub(r",?\s*\bplease\b(?=[.!]*$)", "", bare, flags=re.IGNORECASE).strip()


def as_statement(note: str) -> str:
    """The note as a sentence of its own, with an end mark."""
    rule = as_rule(note)
    return rule if not rule or rule.rstrip("\"')]”’»").endswith((".", "!", "?", "…", "。")) else f"{rule}."


def with_rules(
    messages: Sequence[Message], rules: Sequence[str], *, place: Literal["question", "system"]
) -> tuple[Message, ...]:
    """The messages as the model is given them: the rules as plain statements before the last question, or as a list at
    the end of the system prompt. Where nothing was asked yet, they go into the system prompt."""
    said = [statement for statement in map(as_statement, rules) if statement]
    if not said:
        return tuple(messages)
    questions = [at for at, message in enumerate(messages) if message.role == "user"]
    if place == "question" and questions:
        at = questions[-1]
        asked = Message("user", "\n".join(said) + "\n\n" + messages[at].content)
        return (*messages[:at], asked, *messages[at + 1 :])
    listed = "\n".join(["Follow these rules:", *(f"- {statement}" for statement in said)])
    if messages and messages[0].role == "system":
        return (Message("system", f"{messages[0].content}\n\n{listed}"), *messages[1:])
    return (Message("system", listed), *messages)


def _plain(text: str) -> str:
    """In small letters, with straight apostrophes and without short forms."""
    plain = text.strip().lower().replace("’", "'")
    plain = re.sub(r"\b(it|that|this|there|what|he|she|here)'s\b", r"\1 is", plain)
    for short, full in _SHORT_FORMS.items():
        plain = plain.replace(short, full)
    return re.sub(r"\bcan not\b|\bca not\b", "can not", plain).replace("wo not", "will not").replace("dont ", "do not ")


def _clauses(note: str) -> list[str]:
    """Its sentences as they are judged: without questions, courtesies and what was thought of the reply."""
    if len(note.split()) > _MOST_WORDS:
        return []
    found = []
    for sentence in _SENTENCE_END.split(_plain(note)):
        if sentence.endswith("?") and not re.match(r"(?!can|could|would|will|what).*\bplease\?$", sentence):
            continue
        bare = _REMARK_FIRST.sub("", _FILLER.sub("", sentence.strip()))
        bare = _CIRCUMSTANCE.sub("", _FILLER.sub("", bare)).strip(" .!?,:")
        if len(bare.split()) > 1:
            found.append(bare)
    return found


def _words(clause: str) -> list[str]:
    return [word.rstrip(".") for word in _WORD.findall(clause)]


def _is_order(clause: str) -> bool:
    asks = clause.endswith(" please")
    words = _words(clause.removesuffix(" please"))
    if len(words) < 2 or ONCE.search(" ".join(words)):
        return False
    first, second, last = words[0], words[1], words[-1]
    judged = not VERDICTS.isdisjoint(words)
    match first:
        case "always":
            return second not in VERDICTS and second not in ("the", *DOES) and not second.endswith("ing")
        case "never":
            past = second.endswith("ed") or second in ("seen", "heard", "been", "said", "told")
            return second not in VERDICTS and second not in DOES and not past
        case "do":
            return (second == "not" and len(words) > 2 and words[2] not in UNLIKE_ORDERS) or second in ORDERS
        case "no":
            unwanted = len(words) <= 4 and (last.endswith("s") or last in UNWANTED)
            return not judged and (unwanted or second == "more")
        case "only" | "less" | "fewer" | "more":
            return not judged and len(words) <= 5 and not {"of", "or", "like", "than"} & set(words)
        case "let's":
            return second in ORDERS
        case "you":
            return _must(words, 1) and last not in ("better", "harder", "again")
    if first in ORDERS:
        is_noun = second in BEING | MODALS | NOUN_SIGNS
        about_it = len(words) <= 3 and last in VERDICTS and first not in ("be", "stay", "keep", "say", "sound")
        return not (is_noun or about_it) or _subject_must(words)
    return _subject_must(words) or _is_wish(words, asks, judged)


def _must(words: list[str], at: int) -> bool:
    """Whether what has to be done follows there; "should have said" is about what was not."""
    rest = words[at:]
    if len(rest) < 2 or rest[0] not in MODALS:
        return False
    if rest[0] in ("need", "have", "has", "ought"):
        return rest[1] == "to"
    return rest[1] != "have" or len(rest) < 3 or not re.search(r"(?:ed|en|said|told|put|got|had)$", rest[2])


def _subject_must(words: list[str]) -> bool:
    """Such as "Replies must ...", but not "The answer should ...", which is about one."""
    at = next((at for at, word in enumerate(words[:6]) if word in MODALS and at and _must(words, at)), 0)
    subject = words[:at]
    if not at or subject[0] in POINTERS - {"everything", "all", "each"} or {"you", "i", "that"} & set(subject):
        return False
    about_one = subject[0] in ("the", "your", "my") and subject[-1] in REPLY_NOUNS and not subject[-1].endswith("s")
    return not about_one or words[at + 1] in ("always", "never")


def _is_wish(words: list[str], asks: bool, judged: bool) -> bool:
    """An order without a verb: "In French", "Metric only", "pathlib, not os", "At most three lines"."""
    if judged or len(words) > 8 or not BEING.isdisjoint(words):
        return False
    said = " ".join(words)
    if re.match(r"(?:at most|at least|no more than|not more than|maximum|max|up to) ", said):
        return True
    if words[0] in (POINTERS - {"all"}) | ARTICLES | DOES | {"another", "next", "again", "try"}:
        return False
    if re.search(r"^\S+(?: \S+)?(?: not| instead of| rather than) \S+(?: \S+)?$", said):
        return words[0] not in ("of", "to", "with", "do", "does", "i", "we")
    if words[0] == "in":
        return len(words) <= 5 and words[1] not in ("general", "fact", "short", "the", "what", "my", "this", "that")
    return asks or words[-1] == "only"


def _is_statement(clause: str) -> bool:
    words = _words(clause)
    if len(words) < 3 or REMARK.search(" ".join(words)):
        return False
    match words[0]:
        case "we":
            return _speaks_of_habit(words[1:])
        case "i":
            return _speaks_of_self(words[1:])
        case "you":
            return _speaks_of_role(words[1:])
        case "our":
            return _verb_at(words) is not None
        case "my":
            return words[1] not in TALK and _verb_at(words) is not None
        case "your":
            return words[1] in ROLES and _verb_at(words) is not None
    verb = _verb_at(words)
    if verb is None or words[0] in POINTERS | VERDICTS or not POINTERS.isdisjoint(words[1:verb]):
        return False
    return not _is_of_reply(words[:verb])


def _verb_at(words: list[str]) -> int | None:
    """Where the finite verb of a statement stands: not first, not last."""
    for at, word in enumerate(words[1:-1], 1):
        if word in BEING or (word in DOES and words[at - 1] not in DOES):
            return at
        if (word in DO and words[at - 1].endswith("s")) or (word == "was" and words[at + 1].endswith("ed")):
            return at
    return None


def _is_of_reply(subject: list[str]) -> bool:
    """Such as "the code" and "the second part", but not "the door code"."""
    if subject[-1] not in REPLY_NOUNS or subject[0] in ("every", "each"):
        return False
    kind = [word for word in subject[:-1] if word not in ARTICLES]
    return not kind or any(word in ORDINALS or word in NUMBERS or word in REPLY_NOUNS for word in kind)


def _speaks_of_habit(words: list[str]) -> bool:
    """After "we"."""
    rest = [word for word in words if word not in ("do", "not", "always", "never", "only", "all", "also", "usually")]
    if not rest or rest[0] == "are":
        return len(rest) > 1 and not rest[1].endswith("ing") and rest[1] not in ("done", "back", "lost", "there")
    return len(rest) > 1 and rest[0] in ORDERS | DO | {"have"}


def _speaks_of_self(words: list[str]) -> bool:
    """After "I": what somebody is, does and likes, not what they make of the reply."""
    rest = [word for word in words if word not in ("do", "not", "would", "always", "never", "only", "also", "usually")]
    if len(rest) < 2:
        return False
    verb, thing = rest[0], rest[1]
    if verb == "am":
        return thing in LEARNING or not (thing.endswith("ing") or thing in VERDICTS or thing in MOODS)
    if verb == "have":
        return thing not in ("no", "to", "been", "seen", "told", "asked", "said", "doubts") and rest[-1] != "question"
    of_it = ("it", "this", "that", "these", "those", "your", "how", "what", "when", "more", "another", "something")
    if verb not in OWN_HABITS or thing in of_it or not VERDICTS.isdisjoint(rest):
        return False
    return verb == "prefer" or thing not in ("the", "to", "you") or rest[1:3] == ["you", "to"]


def _speaks_of_role(words: list[str]) -> bool:
    """After "you": who the model is, not how it did."""
    if not VERDICTS.isdisjoint(words) or len(words) < 2:
        return False
    verb, what = words[0], words[1]
    if verb == "are":
        what = words[2] if what == "not" and len(words) > 2 else what
        return not what.endswith("ing") and what not in MOODS | {"such", "just", "always", "only", "free"}
    return verb in ("work", "live", "speak", "belong", "serve", "help", "assist") and "too" not in words


@dataclass(frozen=True, slots=True)
class _Claim:
    """What one clause of a rule says or, where `holds` is false, forbids. `values` are its names and numbers."""

    words: tuple[str, ...]
    holds: bool
    verb: int | None
    values: frozenset[str]


def _claims(rule: str) -> list[_Claim]:
    text = re.sub(r"^(prefer .+?) (?:over|to) ", r"\1, not ", as_rule(rule), flags=re.IGNORECASE)
    return [claim for part in _OPPOSED.split(text) if (claim := _claim(part)).words]


def _claim(part: str) -> _Claim:
    values = frozenset(
        word.lower().rstrip(".")
        for at, word in enumerate(_WORD.findall(part))
        if _VALUE.search(word) or (at and word[0].isupper())
    )
    clause = re.sub(r"\bdo(?:es)? not\b|\bno longer\b", "not", _FILLER.sub("", _plain(part)))
    words = _words(re.sub(r"^(?:instead of|rather than|avoid|without|stop|no)\b", "not", clause))
    holds = "not" not in words and "never" not in words
    words = [word for word in words if word not in ("not", "never", "always", "only", "please")]
    verb = 1 if words[:1] and words[0] in ("we", "i", "you") else _verb_at(words) if _is_statement(clause) else None
    if verb is None:
        words = [_SAME.get(word, word) for word in words]
        words = words[1:] if words[:1] == ["use"] else ["answer", *words] if words[:1] == ["in"] else words
    return _Claim(tuple(words), holds, verb, values)


def _exclude(one: _Claim, other: _Claim) -> bool:
    if one.holds != other.holds:
        return bool(_core(one)) and _core(one) == _core(other)
    return one.holds and _differ_in_a_value(one, other)


def _core(claim: _Claim) -> frozenset[str]:
    """What a claim is about: no order, no endings."""
    words = [word for word in claim.words if word not in FILLING]
    words = words[1:] if words[:1] and words[0] in NEUTRAL else words
    return frozenset(re.sub(r"(?<=\w{2})(?:ing|es|s|e)$", "", word) for word in words)


def _differ_in_a_value(one: _Claim, other: _Claim) -> bool:
    """Whether they are the same but for one place, which only one value can take."""
    before = _shared(one.words, other.words)
    after = _shared(one.words[before:][::-1], other.words[before:][::-1])
    left, right = (claim.words[before : len(claim.words) - after] for claim in (one, other))
    if not (left and right) or max(len(left), len(right)) > 3:
        return False
    frame, suffix = one.words[:before], one.words[len(one.words) - after :]
    last = frame[-1] if frame else ""
    if one.verb != other.verb or (one.verb is not None and before <= one.verb):
        return False
    numbers = all(len(slot) == 1 and (_NUMBER.search(slot[0]) or slot[0] in NUMBERS) for slot in (left, right))
    if numbers:
        return any(word not in FILLING | NEUTRAL | BEING for word in (*frame, *suffix))
    if one.verb is not None and last in ALSO_OTHERS and last not in ("use", "uses"):
        return False
    for cells in EXCLUSIVE:
        places = [
            next((at for at, cell in enumerate(cells) if not cell.isdisjoint(slot)), None) for slot in (left, right)
        ]
        if places != [None, None]:
            return None not in places and places[0] != places[1]
    if one.verb is None:
        return _takes_one(" ".join(frame)) or (not frame and suffix[:1] in (("for",), ("when",), ("as",)))
    both_values = left[0] in one.values and right[0] in other.values
    return last in ("called", "named") or frame[-2:] == ("name", "is") or (last not in ALSO_OTHERS and both_values)


def _takes_one(frame: str) -> bool:
    """Whether an order that begins so can end in one way only: "Call me ...", "Send invoices to ..."."""
    frame = re.sub(r" (?:an?|the)$", "", frame)
    return bool(_ONE_END.search(frame)) or bool(re.search(r"^\S+ (?!me |us )\S+(?: \S+)? (?:in|as|to|at|from)$", frame))


def _shared(one: Sequence[str], other: Sequence[str]) -> int:
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
