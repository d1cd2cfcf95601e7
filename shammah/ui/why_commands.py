"""/why: what stands behind a reply: the adapter, the rules that it was given, and the lessons it is nearest to."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shammah.errors import AdapterError, UsageError
from shammah.excerpt import excerpt
from shammah.records import Example, Turn
from shammah.ui.adapters_words import strength_words, titled
from shammah.ui.commands import registry
from shammah.ui.feedback_words import read_reply_number
from shammah.ui.talk import require_kept
from shammah.ui.toolbar import counted

if TYPE_CHECKING:
    from shammah.app import App
    from shammah.ui.repl import Repl

_SHOWN = 3
_SHOWN_WORDS = 6
_PLURAL_FROM = 4


@dataclass(frozen=True, slots=True)
class Near:
    """An example that may be behind a reply, and the words that say so."""

    example: Example
    shared: tuple[str, ...]


@registry.command(
    "why", group="learn", arguments="[n]", help="what is behind a reply: adapter, rules, and the examples nearest to it"
)
def why(repl: "Repl", argument: str) -> None:
    require_kept(repl.app, "nothing can be looked up")
    number, rest = read_reply_number(argument)
    if rest:
        raise UsageError(f"{rest!r} is not the number of a reply", hint="/replies lists them.")
    repl.screen.tell("\n".join(why_lines(repl.app, repl.talk.turn(number))))


def why_lines(app: "App", turn: Turn) -> list[str]:
    lines = [f"Reply    {excerpt(turn.query)}"]
    if turn.adapter is None:
        lines.append("Adapter  none: the model answered as it is")
    else:
        lines += _adapter_lines(app, turn, turn.adapter)
    rules = [*turn.rules, *(f"{rule} (obeyed untold)" for rule in _obeyed_untold(app, turn))]
    lines += [f"Rule     {excerpt(rule)}" for rule in rules] or ["Rules    none were given with it"]
    return lines


def _obeyed_untold(app: "App", turn: Turn) -> list[str]:
    """The rules that the reply's adapter had learned to obey, as they are worded now. At another strength than the
    full one it is told all."""
    graduated = app.desk.rules.graduated() if _strength_then(app, turn) == 1 else {}
    return [
        rule.text
        for rule in app.desk.rules.all()
        if turn.adapter in graduated.get(rule.id, ()) and not rule.muted and rule.time <= turn.time
        if rule.text not in turn.rules
    ]


def nearest(turn: Turn, examples: Sequence[Example], most: int = _SHOWN) -> list[Near]:
    """Those that share most words with question and reply; a word counts the more, the fewer examples have it."""
    from shammah.training.variants import telling_words

    def words(*texts: str | None) -> dict[str, str]:
        return {_stem(word): word for text in texts for word in telling_words(text or "")}

    said = words(turn.response, turn.query)
    held = [(example, words(example.prompt, example.target)) for example in examples]
    spread = Counter(word for _, having in held for word in having)
    found = []
    for example, having in held:
        shared = sorted(said.keys() & having.keys(), key=lambda word: (spread[word], word))
        if shared:
            weight = sum(1 / spread[word] for word in shared)
            found.append((weight, Near(example, tuple(said[word] for word in shared))))
    return [near for _, near in sorted(found, key=lambda each: -each[0])[:most]]


def _stem(word: str) -> str:
    folded = word.casefold().removesuffix("'s").removesuffix("’s")
    return folded.removesuffix("s") if len(folded) >= _PLURAL_FROM else folded


def _adapter_lines(app: "App", turn: Turn, name: str) -> list[str]:
    at = strength_words(_strength_then(app, turn))
    try:
        entry = app.roster.find(name)
    except AdapterError:
        return [f"Adapter  {name}{at}, which is no longer on the shelf: what it learned from is not known"]
    lines = [f"Adapter  {titled(entry)}{at}"]
    manifest = entry.manifest
    if manifest is None:
        return [*lines, f"Learned  cannot be read: {entry.broken}"]
    learned = app.desk.examples.find(ids=manifest.example_ids, limit=None)
    near = nearest(turn, learned)
    lines.append(_learned_words(len(manifest.example_ids), len(learned), len(near)))
    for one in near:
        lines.append(f"   Asked: {excerpt(one.example.prompt)}")
        lines.append(f"   Learned: {excerpt(one.example.target or '(a rewrite by its note)')}")
        lines.append(f"   Shares: {', '.join(one.shared[:_SHOWN_WORDS])}")
    return lines


def _learned_words(all: int, kept: int, near: int) -> str:
    gone = f" ({all - kept} of them deleted since)" if kept < all else ""
    if not all:
        return "Learned  elsewhere: it names no example"
    if not near:
        return f"Learned  from {counted(all, 'example')}{gone}, none of which shares a telling word with this reply"
    return f"Learned  from {counted(all, 'example')}{gone}; nearest to this reply:"


def _strength_then(app: "App", turn: Turn) -> float:
    """How strongly the reply's adapter answered at its time."""
    activations = (one for one in app.activations.all() if one.adapter == turn.adapter)
    return next((one.strength for one in activations if one.time <= turn.time), 1.0)
