"""/compare: two voices answer the same, and who is who is told only when the user has picked. The pick is kept."""

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from random import Random, SystemRandom
from typing import TYPE_CHECKING, Literal

from wcwidth import ljust, width, wrap

from shammah.errors import AdapterError, UsageError
from shammah.events import Progress
from shammah.records import Turn
from shammah.store.identity import same_reply
from shammah.ui.adapters_words import score_words, strength_words, titled
from shammah.ui.commands import registry
from shammah.ui.prompt import Pressed, Typed
from shammah.ui.render import columns, ending_words, printable
from shammah.ui.shelf_commands import entry_or_base
from shammah.ui.talk import require_kept

if TYPE_CHECKING:
    from shammah.app import App
    from shammah.model.speaking import Voice
    from shammah.ui.repl import Repl

MARK = "compare> "
_KEYS = "12="
_USAGE = "/compare, /compare MESSAGE, or /compare A B: MESSAGE with two of `/adapters list`, or base."
_AS_MESSAGE = "A message that looks like two names goes behind them: /compare latest base: MESSAGE."
_TWO_NAMES = re.compile(r"(\S+)\s+([^\s:]+)\s*(?::\s*(.*))?", re.DOTALL)
_SEEDS = 2**31
# On a terminal so wide both replies stand beside each other, when both are there; elsewhere each is shown as it comes.
_SIDE_BY_SIDE = 100
_GAP = "   "


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two: an adapter with its strength, or the model itself."""

    adapter: str | None
    strength: float = 1.0


@registry.command(
    "compare", group="learn", arguments="[A B:] [message]",
    help="let two voices answer and pick one without knowing which is which", takes={"": "adapter"},
)  # fmt: skip
def compare(repl: "Repl", argument: str) -> None:
    require_kept(repl.app, "a pick can't be kept")
    if not repl.prompt.asks:
        raise UsageError("To compare needs a terminal, where you can pick", hint="`shammah adapters compare A B`.")
    names, message = read_comparison(repl.app, argument)
    sides = _sides(repl.app, repl.talk.model().voice, names)
    turns = repl.talk.turns
    question, before = (message, turns) if message else (repl.talk.turn(None).query, turns[:-1])
    Comparing(repl, SystemRandom()).go(sides, question, before)


def read_comparison(app: "App", argument: str) -> tuple[tuple[str, str] | None, str]:
    """The two voices that an argument names, if it does, and the message. Words that name none are the message;
    where one of two does, or a colon follows them, the other is a slip that must not be sent."""
    match = _TWO_NAMES.fullmatch(argument.strip())
    if match is None:
        return None, argument.strip()
    names = match[1], match[2]
    missing = [error for name in names if (error := _missing(app, name)) is not None]
    if not missing:
        return names, (match[3] or "").strip()
    if len(missing) < len(names) or match[3] is not None:
        raise AdapterError(missing[0].message, hint=f"{missing[0].hint} {_AS_MESSAGE}".strip())
    return None, argument.strip()


def _missing(app: "App", name: str) -> AdapterError | None:
    try:
        entry_or_base(app, name)
    except AdapterError as error:
        return error
    return None


def _sides(app: "App", voice: "Voice", names: tuple[str, str] | None) -> tuple[Side, Side]:
    """Those named; else who answers now and the model itself, or the newest adapter where that is who answers."""
    if names is not None:
        first, second = (_named(app, voice, name) for name in names)
        if first == second:
            raise UsageError(f"{names[0]} and {names[1]} are the same", hint=_USAGE)
        return first, second
    if voice.adapter is not None:
        return Side(voice.adapter, voice.strength), Side(None)
    return Side(app.roster.find("latest", base=app.base).name), Side(None)


def _named(app: "App", voice: "Voice", name: str) -> Side:
    found = entry_or_base(app, name)
    if found is None:
        return Side(None)
    return Side(found.name, voice.strength if found.name == voice.adapter else 1.0)


def side_by_side(left: str, right: str, cells: int) -> list[str]:
    """Two texts in two columns. What has room keeps its lines as they are."""
    each = (cells - len(_GAP)) // 2
    lefts, rights = (_fitted(text, each) for text in (left, right))
    return [f"{ljust(one, each)}{_GAP}{other}".rstrip() for one, other in zip_longest(lefts, rights, fillvalue="")]


def _fitted(text: str, cells: int) -> list[str]:
    lines = text.expandtabs(4).splitlines()
    return [part for line in lines for part in (wrap(line, cells) if width(line) > cells else [line])]


def _with_ending(turn: Turn) -> str:
    return "\n".join(filter(None, (turn.response.strip("\n"), ending_words(turn))))


class Comparing:
    def __init__(self, repl: "Repl", random: Random) -> None:
        self._repl = repl
        self._random = random

    def go(self, sides: tuple[Side, Side], question: str, before: Sequence[Turn]) -> None:
        """Both answer, in an order that chance decides, and one may be picked."""
        first, second = self._random.sample(sides, 2)
        # By the same chance, so that they differ in nothing but the voice.
        seed = self._random.randrange(_SEEDS)
        room = 0 if self._repl.screen.is_plain(sys.stdout) else columns(sys.stdout)
        beside = room >= _SIDE_BY_SIDE
        turns: list[Turn] = []
        for number, side in enumerate((first, second), 1):
            turns.append(self._answer(number, side, question, before, seed, shown=not beside))
            if turns[-1].stop_reason == "cancelled":
                self._repl.screen.tell("Stopped; nothing was picked.")
                return
        if beside:
            left, right = (f"{number}\n{printable(_with_ending(turn))}" for number, turn in enumerate(turns, 1))
            self._repl.screen.line("\n".join(["", *side_by_side(left, right, room)]))
        if same_reply(*(turn.response for turn in turns)):
            self._repl.screen.tell(f"They say the same. {self._who(first, second)}")
            return
        self._ask(first, second)

    def _answer(
        self, number: int, side: Side, question: str, before: Sequence[Turn], seed: int, *, shown: bool
    ) -> Turn:
        """What is not shown as it comes is waited for with a word."""
        app, talk = self._repl.app, self._repl.talk
        voice = app.voice(side.adapter, side.strength)
        if shown:
            self._repl.screen.tell(f"\n{number}")
        else:
            self._repl.screen.progress.show(Progress(f"{number} of 2 answers"))
        settings = replace(app.config.generation, seed=seed)
        return talk.ask_beside(question, settings, before=before, voice=voice, shown=shown)

    def _ask(self, first: Side, second: Side) -> None:
        repl = self._repl
        repl.screen.tell("\n" + repl.screen.joined("Which is better? 1", "2", "=: alike", "Enter: neither"))
        match repl.prompt.offer(MARK, _KEYS):
            case None:
                repl.screen.tell(f"Nothing was picked. {self._who(first, second)}")
            case Typed(text) if len(key := text.strip()) == 1 and key in _KEYS:
                self._keep(first, second, key)
            case Typed(text):
                repl.screen.tell(f"Nothing was picked. {self._who(first, second)}")
                repl.take_next(text)
            case Pressed(key):
                self._keep(first, second, key)

    def _keep(self, first: Side, second: Side, key: str) -> None:
        picks: dict[str, Literal["first", "second"]] = {"1": "first", "2": "second"}
        app = self._repl.app
        app.comparisons.add(app.base, first.adapter, second.adapter, picks.get(key))
        scores = app.comparisons.tally(app.base)
        lines = [self._who(first, second)]
        lines += [f"   {self._title(side)}: {score_words(scores[side.adapter])}" for side in (first, second)]
        self._repl.screen.tell("\n".join(lines))
        self._repl.end_probation()

    def _who(self, first: Side, second: Side) -> str:
        return f"1 was {self._title(first)}, 2 was {self._title(second)}."

    def _title(self, side: Side) -> str:
        if side.adapter is None:
            return "the model itself"
        return titled(self._repl.app.roster.find(side.adapter)) + strength_words(side.strength)
