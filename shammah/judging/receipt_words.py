"""What a receipt says, in sentences and numbers with their meaning: the same for a terminal and for a page. Pure.

Every function takes the body that `receipt.body` made.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shammah.excerpt import excerpt

Body = Mapping[str, Any]

NOTHING = "Nothing that was measured."
# A wanted reply is likelier or less likely from such a share on; less is noise.
_NOTICEABLE = 0.1
# A prompt is shown up to so many characters.
_LISTED = 240
# General prose surprises by so much more before it is worth a word.
_PROSE = 0.01
# The checks whose failure is a cost; what the others are about is told one by one.
_COSTS = ("drift", "perplexity", "speed")
# From here on seconds are told in minutes.
_LONG = 100
# Smaller shares are all the same.
_LEAST = 0.01


@dataclass(frozen=True, slots=True)
class Change:
    """What became of something, and the text of the user's that it became of."""

    what: str
    text: str = ""

    def __str__(self) -> str:
        return f"{self.what}: {self.text}" if self.text else self.what


@dataclass(frozen=True, slots=True)
class Number:
    """One figure of each voice as text, and what it means. None where it was not measured."""

    name: str
    base: str | None
    before: str | None
    after: str | None
    meaning: str


# What was decided


def title(body: Body) -> str:
    """What was done, how it came out, what follows."""
    if body["deployed"]:
        return "Trained, better, deployed"
    if body["verdict"]["accepted"]:
        return "Trained, better, not deployed yet"
    if _is_failed(body, "held_out"):
        return "Trained, not better, not deployed"
    if body["verdict"]["too_far"]:
        return "Trained, at too high a price, not deployed"
    return "Trained, not good enough, not deployed"


def name(body: Body) -> str:
    """The adapter, as short as it can be told."""
    version = body["adapter"]["version"]
    return str(body["adapter"]["name"]) if version is None else f"v{version}"


def holds(body: Body, answering: str | None) -> bool:
    """Whether what was decided is still so: the same one answers. None is the model itself."""
    told: str | None = body["adapter"]["name" if body["deployed"] else "before"]
    return told == answering


def answers_words(body: Body, *, holds: bool = True) -> str:
    """Who answers, or once did, since it was decided."""
    if body["deployed"] and holds:
        return f"{name(body)} is in use; it took the place of {_before(body)}."
    if body["deployed"]:
        return f"{name(body)} was taken into use then, in place of {_before(body)}; it is not any more."
    if holds:
        return f"What answered before still does: {_before(body)}."
    return f"What answered then went on: {_before(body)}; something else answers now."


def reasons(body: Body) -> list[str]:
    return list(body["verdict"]["reasons"])


def checks(body: Body) -> list[tuple[bool, str]]:
    """Everything that was looked at: whether it passed, and the words for it."""
    return [(check["passed"], check["words"]) for check in body["verdict"]["checks"]]


def obeyed(body: Body, *, holds: bool = True) -> str:
    """What is true of the rules that graduated."""
    when = "from now on" if body["deployed"] and holds else f"where {name(body)} answers"
    return f"is obeyed without being told {when}"


def going_back(body: Body, *, holds: bool = True, back: str = "") -> tuple[str, str]:
    """The command that undoes the decision, and what it does. `back` is who answers after a step back, where that is
    known: others may have answered since it was decided."""
    if not holds:
        return "/adapters list", f"shows what answers now; `/adapters load {name(body)}` takes this one into use."
    if body["deployed"]:
        return "/adapters rollback", f"goes back to {back or _before(body)}."
    if body["verdict"]["accepted"]:
        return f"/adapters load {name(body)}", "takes it into use, `/adapters rollback` goes back."
    return f"/adapters load {name(body)}", "tries it all the same; your examples are kept for the next training."


def _before(body: Body) -> str:
    return called(body["adapter"]["before"])


def called(adapter: str | None) -> str:
    """Who answers, as a sentence names it."""
    return adapter or "the model itself"


def _is_failed(body: Body, check: str) -> bool:
    return any(one["name"] == check and not one["passed"] for one in body["verdict"]["checks"])


# What it was made of


def learned_words(body: Body) -> str:
    told = body["learned_from"]
    ratings = ", ".join(f"{count} {level}" for level, count in told["ratings"].items() if count)
    new = "" if told["new"] in (0, told["examples"]) else f"; {told['new']} of them new"
    return f"{counted(told['examples'], 'example')}{f' ({ratings})' if ratings else ''}{new}"


def short_learned_words(body: Body) -> str:
    run = body["run"]
    return f"{name(body)}, from {counted(body['learned_from']['examples'], 'example')} in {_duration(run['seconds'])}"


def took_words(body: Body) -> str:
    run = body["run"]
    again = f", attempt {run['attempt']}" if run["attempt"] > 1 else ""
    return f"{_duration(run['seconds'])}, {counted(run['steps'], 'step')}, {run['tokens']:,} tokens{again}"


def loss_words(body: Body) -> str:
    """Empty where no step was written down."""
    first, last = body["loss"]["first"], body["loss"]["last"]
    return "" if first is None or last is None else f"{first:.2f} -> {last:.2f}"


# Before and after


def headings(body: Body, *, holds: bool = True) -> tuple[str, str]:
    """Over what was said until it was decided, and over what the new adapter says."""
    if body["deployed"]:
        return "Before", "After"
    return "Now" if holds else "Then", f"With {name(body)}"


def answered(body: Body) -> list[Mapping[str, Any]]:
    """The lessons whose prompts were put to both, those first that changed for the better."""
    both = [one for one in body["lessons"] if None not in (one["said"]["before"], one["said"]["after"])]
    return sorted(both, key=lambda one: (_rank(one["right"]), not one["new"]))


def asked(lesson: Mapping[str, Any]) -> str:
    """What the user asked, as far as one can take it in."""
    return excerpt(lesson["prompt"], _LISTED)


def said(lesson: Mapping[str, Any], voice: str) -> str:
    """A reply, with a sign where it went on."""
    text = str(lesson["said"][voice]).strip()
    return f"{text} ..." if lesson["cut_off"][voice] and text else text


def example_of(body: Body) -> Mapping[str, Any] | None:
    """The one that shows best what has changed."""
    changed = [one for one in answered(body) if one["said"]["before"] != one["said"]["after"]]
    return changed[0] if changed else None


def _rank(right: Mapping[str, bool]) -> int:
    order = ((False, True), (True, False), (False, False), (True, True))
    return order.index((bool(right["before"]), bool(right["after"])))


# What became better and what worse


def better(body: Body) -> list[Change]:
    changes = [Change("Answered rightly now", asked(one)) for one in answered(body) if _turned(one, right=True)]
    gained, _, measured = _moved(body)
    if gained:
        changes.append(Change(f"{len(gained)} of {measured} wanted replies are likelier, asked in other words too."))
    return changes + [Change("Passed now", excerpt(probe["prompt"], _LISTED)) for probe in body["probes"]["gained"]]


def worse(body: Body) -> list[Change]:
    lost = [one for one in answered(body) if _turned(one, right=False)]
    return [
        *(Change("No longer answered rightly", asked(one)) for one in lost),
        *(Change("Less sure than before", asked(one)) for one in _moved(body)[1]),
        *(Change("No longer passed", excerpt(probe["prompt"], _LISTED)) for probe in body["probes"]["lost"]),
        *(Change(f"A reply {fault['what']}", excerpt(fault["prompt"], _LISTED)) for fault in body["faults"]),
        *(
            Change(f"What was taught ({', '.join(leak['words'])}) came up where nobody asked", leak["prompt"])
            for leak in body["leaks"]
        ),
        *map(Change, _costs(body)),
    ]


def failing(body: Body) -> list[Change]:
    """The user's own probes that were not passed and still are not. Receipts from before this was told have none."""
    return [Change("Not passed yet", excerpt(probe["prompt"], _LISTED)) for probe in body["probes"].get("failing", ())]


def better_in_short(body: Body) -> str:
    """On one line, by numbers."""
    parts = []
    both = answered(body)
    if any(_turned(one, right=True) for one in both):
        was, now = (_right(both, voice) for voice in ("before", "after"))
        parts.append(f"{now} of {counted(len(both), 'prompt')} answered rightly, {was} before")
    gained, _, measured = _moved(body)
    if gained:
        parts.append(f"{len(gained)} of {measured} wanted replies likelier")
    if gains := len(body["probes"]["gained"]):
        parts.append(f"{counted(gains, 'probe')} more passed")
    return "; ".join(parts) or NOTHING


def worse_in_short(body: Body) -> str:
    lost = sum(_turned(one, right=False) for one in answered(body))
    counts = (
        (lost, "answer", "wrong now"),
        (len(_moved(body)[1]), "lesson", "less sure"),
        (len(body["probes"]["lost"]), "probe", "lost"),
        (len(failing(body)), "probe", "not passed yet"),
        (len({fault["prompt"] for fault in body["faults"]}), "prompt", "answered badly"),
        (len({leak["prompt"] for leak in body["leaks"]}), "prompt", "met with what was taught elsewhere"),
    )
    parts = [f"{counted(count, what)} {how}" for count, what, how in counts if count]
    parts += [cost.rstrip(".") for cost in _costs(body)]
    return "; ".join(parts) or NOTHING


def _costs(body: Body) -> list[str]:
    """What it does to things that have nothing to do with what was taught."""
    lines = []
    for check in body["verdict"]["checks"]:
        if check["name"] in _COSTS and not check["passed"]:
            lines.append(f"{check['words'][:1].upper()}{check['words'][1:]}.")
        elif check["name"] == "perplexity" and check["value"] > _PROSE:
            lines.append(f"General prose is {_percent(check['value'])} more surprising.")
    return lines


def _turned(lesson: Mapping[str, Any], *, right: bool) -> bool:
    return bool(lesson["right"]["after"]) is right and bool(lesson["right"]["before"]) is not right


def _moved(body: Body) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]], int]:
    """The lessons whose wanted replies became likelier, those where they became less likely, how many were measured."""
    measured = [one for one in body["lessons"] if one["chance"]["before"] and one["chance"]["after"] is not None]
    change = [(one["chance"]["after"] / one["chance"]["before"] - 1, one) for one in measured]
    likelier = [one for share, one in change if share > _NOTICEABLE]
    return likelier, [one for share, one in change if share < -_NOTICEABLE], len(measured)


def _right(lessons: Sequence[Mapping[str, Any]], voice: str) -> int:
    return sum(bool(one["right"][voice]) for one in lessons)


# The numbers


def numbers(body: Body) -> list[Number]:
    """Those that were measured, with what they mean."""
    each = [one for one in answered(body) if one["said"]["base"] is not None]
    drift = next((check["limit"] for check in body["verdict"]["checks"] if check["name"] == "drift"), None)
    at_most = "" if drift is None else f", {drift:.2f} the most that passes"
    rows = [
        _number(
            "Wanted replies",
            "the chance that it gives each piece of a wanted reply, asked in words that it was not trained on",
            lambda voice: _shown(body["figures"][voice]["chance"], _percent),
        ),
        _number(
            "Your prompts",
            "answered as they should be, in the words that you used",
            lambda voice: f"{_right(each, voice)} of {len(each)}" if each else None,
        ),
        _number(
            "Probes",
            "questions of yours and ours: what is passed once must not be lost",
            lambda voice: _passed(body["figures"][voice]),
        ),
        _number(
            "Drift",
            f"how far its replies to general prompts are from the model's own: 0 is not at all{at_most}",
            lambda voice: _shown(body["figures"][voice]["drift"], "{:.2f}".format),
        ),
        _number(
            "Perplexity",
            "how much general prose surprises it: the lower the better",
            lambda voice: _shown(body["figures"][voice]["perplexity"], "{:.1f}".format),
        ),
        _number("Speed", "tokens a second", lambda voice: _shown(body["figures"][voice]["speed"], "{:.0f}".format)),
    ]
    return [row for row in rows if row.before is not None or row.after is not None]


def _number(name: str, meaning: str, of: Callable[[str], str | None]) -> Number:
    return Number(name, of("base"), of("before"), of("after"), meaning)


def _shown(value: float | None, words: Callable[[float], str]) -> str | None:
    return None if value is None else words(value)


def _passed(figures: Mapping[str, Any]) -> str | None:
    return f"{figures['probes_passed']} of {figures['probes']}" if figures["probes"] else None


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < _LONG else f"{seconds / 60:.0f} min"


def _percent(share: float) -> str:
    if share < _LEAST:
        return f"under {100 * _LEAST:g} %"
    return f"{100 * share:.2g} %" if share < 10 * _LEAST else f"{100 * share:.0f} %"


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
