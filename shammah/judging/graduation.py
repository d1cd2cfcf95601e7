"""Which rules an adapter obeys without being told. Pure.

A rule is obeyed where its example's own prompt, which never holds the rule, is answered with what the target says, the
base model does not do so, and in other words too the target is likelier than the reply that was not good enough.
"""

import re
from collections.abc import Sequence

from shammah.feedback.notes import is_fact
from shammah.judging.everyday import JOINING
from shammah.judging.figures import Figures
from shammah.judging.leaks import in_order, marks, stems
from shammah.records import Example, Rule
from shammah.store.identity import same_reply

# Of a target's words a reply that says the same holds so many, where its names are there and where it has none.
_WITH_NAMES, _WITHOUT = 0.6, 0.8
_DENIAL = re.compile(r"no|not|cannot|never|none|nor|neither|nobody|nothing|without|.*n['’]t")
# What a denial denies goes no further than to the next of these.
_CLAUSE_END = re.compile(r"[,;:.!?]+(?=\s|$)|\n|\s[-–—]\s|\b(?:but|yet)\b", re.IGNORECASE)
# Joining words that say something by where they stand.
_BETWEEN = frozenset(("if", "than", "then", "when"))
# Parts of a sentence may change places where each has so many telling words; fewer are the sentence turned round.
_WHOLE_PART = 2


def graduated(
    rules: Sequence[Rule], examples: Sequence[Example], candidate: Figures, base: Figures, *, facts: bool = False
) -> tuple[str, ...]:
    """The ids of rules that this adapter needs not be given. Facts stay, unless they may go too."""
    by_turn: dict[str, list[Example]] = {}
    for example in examples:
        if example.turn_id:
            by_turn.setdefault(example.turn_id, []).append(example)
    return tuple(
        rule.id
        for rule in rules
        if (facts or not is_fact(rule.text))
        and (own := by_turn.get(rule.turn_id or "", []))
        and all(_obeys(example, candidate, base) for example in own)
    )


def _obeys(example: Example, candidate: Figures, base: Figures) -> bool:
    said, before = candidate.answers.get(example.id), base.answers.get(example.id)
    if said is None or before is None or not example.target or candidate.margins.get(example.id, 0.0) < 0:
        return False
    return says(said.text, example.target) and not says(before.text, example.target)


def says(reply: str, target: str) -> bool:
    """Whether a reply says what the target says, as far as its words can tell."""
    if same_reply(reply, target):
        return True
    wanted, said, names = stems(target) - JOINING, stems(reply), marks(target).names
    both = wanted & said
    return (
        bool(wanted)
        and names <= said
        and len(both) >= (_WITH_NAMES if names else _WITHOUT) * len(wanted)
        and _denied(reply, both) == _denied(target, both)
        and _in_one_order(reply, target, both)
    )


def _denied(text: str, words: frozenset[str]) -> frozenset[str] | None:
    """Which of these words a text says no to; None where it says no to nothing at all."""
    denied: set[str] = set()
    denies = False
    for clause in _CLAUSE_END.split(text):
        said = in_order(clause)
        first = next((place for place, word in enumerate(said) if _DENIAL.fullmatch(word)), None)
        if first is not None:
            denies = True
            denied |= words & set(said[first:])
    return frozenset(denied) if denies else None


def _in_one_order(reply: str, target: str, both: frozenset[str]) -> bool:
    """Whether the words that both hold come one after the other as in the target. Two whole parts may change places."""
    telling = both | (_BETWEEN & stems(reply) & stems(target))
    said, wanted = (list(dict.fromkeys(word for word in in_order(text) if word in telling)) for text in (reply, target))
    cut = said.index(wanted[0])
    return said[cut:] + said[:cut] == wanted and (cut == 0 or min(cut, len(said) - cut) >= _WHOLE_PART)
