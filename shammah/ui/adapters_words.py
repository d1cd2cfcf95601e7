"""What is said about adapters, and what their JSON is. Pure."""

import textwrap
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from shammah.excerpt import excerpt
from shammah.records import Activation
from shammah.ui.toolbar import counted

if TYPE_CHECKING:
    from shammah.deployment.roster import Entry
    from shammah.judging.verdict import Verdict
    from shammah.store.comparisons import Score
    from shammah.store.statistics import Use

PREFIX = "lora_adapter_"
_BASE = "base"
_INDENT = "    "
_HEADINGS = ("", "name", "state", "age", "examples", "verdict", "used", "rated", "size", "model")
_TO_THE_RIGHT = (3, 4, 6, 8)  # ages and counts
_FACT = 9
_CELL = 24
_DAY = 86_400


def short_name(name: str) -> str:
    return name.removeprefix(PREFIX)


def titled(entry: "Entry") -> str:
    """An adapter as a sentence names it."""
    version = f"v{entry.summary.version}" if entry.summary else ""
    also = ", ".join(filter(None, (version, entry.label)))
    return f"{entry.name} ({also})" if also else entry.name


def strength_words(strength: float) -> str:
    return "" if strength == 1 else f" at strength {strength:g}"


def answers_words(entry: "Entry | None", strength: float = 1.0) -> str:
    """What answers from now on; None is the model itself."""
    if entry is None:
        return "From the next message on the model itself answers, without an adapter."
    at = "" if strength == 1 else f", at strength {strength:g}"
    return f"From the next message on {titled(entry)} answers{at}."


def label_words(entry: "Entry") -> str:
    return f"{entry.name} is called {entry.label}." if entry.label else f"{entry.name} has no label any more."


def pin_words(entry: "Entry") -> str:
    kept = "is kept, however old it grows" if entry.pinned else "is kept no longer than the others"
    return f"{titled(entry)} {kept}."


def archived_words(entry: "Entry", command: str) -> str:
    """`command` is where it is typed."""
    return f"{titled(entry)} is archived: `{command} restore {short_name(entry.name)}` fetches it back."


def restored_words(entry: "Entry") -> str:
    return f"{titled(entry)} is back on the shelf."


def tags_words(entry: "Entry") -> str:
    return f"{titled(entry)} is tagged {', '.join(entry.tags)}." if entry.tags else f"{titled(entry)} has no tags."


def learned_lines(entries: Sequence["Entry"], gone: Collection[str], command: str) -> list[str]:
    """Which of them learned from examples that are gone, and what takes those away; `command` is where it is typed."""
    told = []
    for entry in entries:
        manifest = entry.manifest
        if manifest is not None and not manifest.known_ids.isdisjoint(gone):
            first = f"`{command} unload`, then " if entry.state == "active" else ""
            where = ", in the archive," if entry.state == "archived" else ""
            told.append(f"{titled(entry)}{where} has learned from it: {first}`{command} delete {entry.name}`.")
    return told


def leaving_lines(entries: Sequence["Entry"], *, put_away: bool) -> list[str]:
    """Before they leave: which, and where to."""
    what = "go to the archive, from where `load` fetches them back" if put_away else "are deleted off the disk"
    return [f"These {what}:", *(f"{_INDENT}{titled(entry)}, {verdict_words(entry)}" for entry in entries)]


def list_lines(
    entries: Sequence["Entry"],
    current: Activation | None,
    base: str,
    *,
    answering: str | None,
    now: str,
    columns: int,
) -> tuple[str, list[str]]:
    """The line of headings, and a line for each adapter; where they do not fit, a few lines for each and no headings.

    `current` says who is in use for this base, `answering` who answers: another one where that was asked for.
    """
    strength = current.strength if current else 1.0
    rows = [_cells(entry, entry.name == answering, strength, base, now) for entry in entries]
    shown = [place for place, _ in enumerate(_HEADINGS) if any(row[place] for row in rows)]
    widths = {at: max(len(row[at]) for row in [_HEADINGS, *rows]) for at in shown}

    def line(row: Sequence[str]) -> str:
        cells = (f"{row[at]:>{widths[at]}}" if at in _TO_THE_RIGHT else f"{row[at]:<{widths[at]}}" for at in shown)
        return "  ".join(cells).rstrip()

    lines = [line(row) for row in rows]
    if max(map(len, lines), default=0) <= columns:
        return line(_HEADINGS), lines
    return "", [
        each for entry in entries for each in _block(entry, entry.name == answering, strength, base, now, columns)
    ]


def _cells(entry: "Entry", answers: bool, strength: float, base: str, now: str) -> tuple[str, ...]:
    said, uses = entry.summary, entry.uses
    mark = "*" if answers else " "
    called = entry.label or short_name(entry.name)
    if said is None:
        why = excerpt(entry.broken.removeprefix(f"The adapter {entry.name} is damaged: "), _CELL)
        return (mark, called, "broken", "", "", why, "", "", size_words(entry.size), "")
    return (
        f"{mark} v{said.version}",
        called,
        _state_words(entry, strength),
        age_words(said.created, now),
        str(said.examples),
        excerpt(verdict_words(entry), _CELL),
        f"{uses.turns}x" if uses.turns else "-",
        " ".join(f"{count}{level[0]}" for level, count in _ratings(uses).items() if count) or "-",
        size_words(entry.size),
        "" if said.base == base else said.base,
    )


def _block(entry: "Entry", answers: bool, strength: float, base: str, now: str, columns: int) -> list[str]:
    """The same for a narrow screen."""
    said = entry.summary
    mark = "*" if answers else " "
    if said is None:
        first, parts = f"{mark} {entry.name}", [f"broken: {entry.broken}"]
    else:
        label = f" ({entry.label})" if entry.label else ""
        first = f"{mark} v{said.version} {short_name(entry.name)}{label}"
        parts = [
            f"{_state_words(entry, strength)}, {age_words(said.created, now)} old, {size_words(entry.size)}",
            f"{counted(said.examples, 'example')}, {verdict_words(entry)}",
            use_words(entry.uses),
            *([f"for {said.base}"] if said.base != base else []),
        ]
    wrapped = (textwrap.wrap(part, columns, initial_indent=_INDENT, subsequent_indent=_INDENT) for part in parts)
    return [first, *(line for part in wrapped for line in part)]


def _state_words(entry: "Entry", strength: float) -> str:
    at = strength_words(strength) if entry.state == "active" else ""
    broken = ", broken" if entry.broken else ""
    return f"{entry.state}{at}{', pinned' if entry.pinned else ''}{broken}"


def verdict_words(entry: "Entry") -> str:
    """The verdict in a few words."""
    verdict = verdict_of(entry)
    if verdict is None:
        return "imported" if entry.imported else "not judged"
    if verdict.accepted:
        return f"{100 * verdict.improvement:.0f} % better"
    return f"fails {', '.join(check.name for check in verdict.checks if not check.passed)}".replace("_", " ")


def verdict_of(entry: "Entry") -> "Verdict | None":
    """None where none was given, or one that this version can't read."""
    from shammah.judging.verdict import Verdict

    try:
        return None if entry.verdict is None else Verdict.from_json(entry.verdict)
    except (LookupError, TypeError, AttributeError):
        return None


def use_words(uses: "Use") -> str:
    if not uses.turns:
        return "not used yet"
    rated = ", ".join(_rated(uses))
    return f"{counted(uses.turns, 'reply').replace('replys', 'replies')}, {rated or 'none rated'}"


def score_words(score: "Score") -> str:
    """How a voice did where it was compared blind."""
    undecided = f", {score.draws} undecided" if score.draws else ""
    return f"preferred {counted(score.wins, 'time')}, the other one {counted(score.losses, 'time')}{undecided}"


def age_words(created: str, now: str) -> str:
    """How long ago that was, in one unit."""
    try:
        seconds = (datetime.fromisoformat(now) - datetime.fromisoformat(created)).total_seconds()
    except (ValueError, TypeError):
        return "?"  # whoever made it wrote another date, or none
    for size, unit in ((365 * _DAY, "y"), (_DAY, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def size_words(size: int) -> str:
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size} B"


def show_lines(entry: "Entry", current: Activation | None, score: "Score | None", *, now: str) -> list[str]:
    """All that is known of one, as facts with their names."""
    manifest, verdict = entry.manifest, verdict_of(entry)
    in_use = current is not None and current.adapter == entry.name
    strength = current.strength if current and in_use else 1.0
    facts = [("Adapter", titled(entry)), ("State", _state_words(entry, strength))]
    if current and in_use:
        since = f"{current.time[:16].replace('T', ' ')} by {current.actor}"
        facts.append(("Since", since + (f": {current.cause}" if current.cause else "")))
    if entry.tags:
        facts.append(("Tags", ", ".join(entry.tags)))
    if manifest is None:
        return _facts(
            [*facts, ("Broken", entry.broken), ("Size", size_words(entry.size)), ("Folder", str(entry.folder))]
        )
    made = f"{manifest.created[:16].replace('T', ' ')} ({age_words(manifest.created, now)} ago)"
    facts += [
        ("Made", made + (" and imported" if entry.imported else "")),
        *([("Broken", entry.broken)] if entry.broken else []),
        ("Parent", manifest.parent or "none: trained from the model itself"),
        ("Model", manifest.base),
        ("Learned", f"from {counted(len(manifest.example_ids), 'example')}"),
        ("Shape", _numbers(manifest.shape)),
        ("Recipe", _numbers(manifest.recipe)),
        ("Used", use_words(entry.uses)),
        *([("Compared", score_words(score))] if score else []),
        ("Size", size_words(entry.size)),
        ("Folder", str(entry.folder)),
        ("Verdict", verdict_words(entry)),
    ]
    return _facts(facts) + [
        f"{_INDENT}{'' if check.passed else 'fails: '}{check.words}" for check in (verdict.checks if verdict else ())
    ]


def compare_lines(one: "Entry | None", other: "Entry | None", scores: "Mapping[str | None, Score]") -> list[str]:
    """Two of them side by side: the figures of their verdicts, and what was made of their replies. None is the model
    itself."""

    def row(name: str, told: "Callable[[Entry], object]") -> tuple[str, str, str]:
        first, second = ("-" if each is None else str(told(each)) for each in (one, other))
        return name, first, second

    def picks(name: str, told: "Callable[[Score], int]") -> tuple[str, str, str]:
        first, second = (scores.get(each.name if each else None) for each in (one, other))
        return name, str(told(first)) if first else "-", str(told(second)) if second else "-"

    rows = [
        ("", *_distinct(one, other)),
        row("verdict", verdict_words),
        *(_measured(*figure) for figure in figures(one, other)),
        row("examples", lambda each: each.summary.examples if each.summary else "?"),
        row("replies", lambda each: each.uses.turns),
        row("rated", lambda each: " ".join(_rated(each.uses)) or "-"),
        picks("preferred", lambda score: score.wins),
        picks("not preferred", lambda score: score.losses),
    ]
    widths = [max(len(row[at]) for row in rows) for at in (0, 1)]
    return ["  ".join((f"{a:<{widths[0]}}", f"{b:<{widths[1]}}", c)).rstrip() for a, b, c in rows]


def figures(one: "Entry | None", other: "Entry | None") -> list[tuple[str, float | None, float | None]]:
    """What both were measured by; None where one was not."""
    measured = [
        {check.name: check.value for check in verdict.checks} if entry and (verdict := verdict_of(entry)) else {}
        for entry in (one, other)
    ]
    return [(name, measured[0].get(name), measured[1].get(name)) for name in {**measured[0], **measured[1]}]


def _distinct(one: "Entry | None", other: "Entry | None") -> tuple[str, str]:
    first, second = map(_brief, (one, other))
    if first and second and first != second:
        return first, second
    first, second = (_BASE if entry is None else short_name(entry.name) for entry in (one, other))
    return first, second


def _brief(entry: "Entry | None") -> str:
    if entry is None:
        return _BASE
    return entry.label or (f"v{entry.summary.version}" if entry.summary else "")


def _measured(name: str, one: float | None, other: float | None) -> tuple[str, str, str]:
    """A figure of both, called by what it says."""
    called, told = _CALLED.get(name, (name.replace("_", " "), "{:.3g}".format))
    first, second = ("-" if value is None else told(value) for value in (one, other))
    return called, first, second


def _share(value: float) -> str:
    return f"{100 * value:.3g} %" if abs(value) < 0.1 else f"{100 * value:.0f} %"


def _change(value: float) -> str:
    return f"{'+' if value > 0 else ''}{_share(value)}"


# What the figures of a verdict are, each in few words.
_CALLED: dict[str, tuple[str, Callable[[float], str]]] = {
    "held_out": ("better by", _share),
    "margins": ("pairs gained", _share),
    "earlier": ("lessons lost", _share),
    "replies": ("spoiled", "{:.0f}".format),
    "perplexity": ("prose surprise", _change),
    "probes": ("probes lost", _share),
    "speed": ("speed kept", lambda value: f"{100 * value:.0f} %"),
}


def _rated(uses: "Use") -> list[str]:
    return [f"{count} {level}" for level, count in _ratings(uses).items() if count]


def _ratings(uses: "Use") -> dict[str, int]:
    return {"good": uses.good, "medium": uses.medium, "critical": uses.critical}


def _numbers(values: Mapping[str, Any]) -> str:
    told = {name: f"{value:.4g}" if isinstance(value, float) else value for name, value in values.items()}
    return ", ".join(
        f"{name} {'+'.join(map(str, value)) if isinstance(value, list | tuple) else value}"
        for name, value in told.items()
    )


def _facts(facts: Sequence[tuple[str, str]]) -> list[str]:
    return [f"{name:<{_FACT}} {text}" for name, text in facts]


def entry_json(entry: "Entry", current: Activation | None, answering: str | None) -> dict[str, Any]:
    """The stable object of `--json`. `current` says who is in use, `answering` who answers."""
    said, answers = entry.summary, entry.name == answering
    in_use = current is not None and current.adapter == entry.name
    return {
        "name": entry.name,
        "version": said and said.version,
        "label": entry.label,
        "state": entry.state,
        "answers": answers,
        "strength": (current.strength if current and in_use else 1.0) if answers else None,
        "base": said and said.base,
        "parent": said and said.parent,
        "created": said and said.created,
        "examples": said.examples if said else None,
        "verdict": verdict_json(entry),
        "uses": entry.uses._asdict(),
        "bytes": entry.size,
        "pinned": entry.pinned,
        "tags": list(entry.tags),
        "imported": entry.imported,
        "broken": entry.broken,
        "path": str(entry.folder),
    }


def verdict_json(entry: "Entry") -> dict[str, Any] | None:
    verdict = verdict_of(entry)
    if verdict is None:
        return None
    return {
        "accepted": verdict.accepted,
        "improvement": verdict.improvement,
        "reasons": list(verdict.reasons),
        "metrics": {check.name: check.value for check in verdict.checks},
    }


def full_verdict_json(entry: "Entry") -> dict[str, Any] | None:
    """The same with each check: how it came out, its limit, and the words for it."""
    verdict, brief = verdict_of(entry), verdict_json(entry)
    if verdict is None or brief is None:
        return None
    return {**brief, "too_far": verdict.too_far, "checks": [asdict(check) for check in verdict.checks]}
