"""Which adapters stay: the newest, the best, and whatever is still needed or wanted. Pure.

Those that were refused are counted apart, so that a row of them drives out none that was good.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from shammah.errors import AdapterError

if TYPE_CHECKING:
    from shammah.deployment.roster import Entry
    from shammah.deployment.shelving import Shelving


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How many of the newest are kept for each base, and of those that improved most. With `max_days` whatever is older
    leaves too; 0 for any age."""

    keep_last: int = 5
    keep_best: int = 3
    max_days: int = 0


def leaving(entries: Iterable["Entry"], policy: Policy, *, now: str) -> list["Entry"]:
    """Those that are not kept, oldest first. What answers is, in use or named by the setting, what it was trained from,
    what is pinned, what waits for its verdict, and what can't be read: nobody knows what that was."""
    entries = [each for each in entries if each.summary is not None and each.state != "archived"]
    bases = dict.fromkeys(each.summary.base for each in entries if each.summary)
    gone = [each for base in bases for each in _leaving_one(_of(entries, base), policy, now)]
    return [each for each in entries if each in gone]


def prune(shelving: "Shelving", policy: Policy, *, now: str, put_away: bool = True) -> list["Entry"]:
    """Put those away that are not kept, or delete them. Returns who left."""
    left = []
    for entry in leaving(shelving.roster.entries(), policy, now=now):
        try:
            if put_away:
                shelving.archive(entry.name, actor="retention")
            else:
                shelving.delete(entry.name, actor="retention")
        except AdapterError:  # taken into use, or away, just now
            continue
        left.append(entry)
    return left


def _of(entries: Sequence["Entry"], base: str) -> list["Entry"]:
    return [each for each in entries if each.summary and each.summary.base == base]


def _leaving_one(entries: Sequence["Entry"], policy: Policy, now: str) -> list["Entry"]:
    """Of one base."""
    refused = [each for each in entries if each.refused]
    others = [each for each in entries if not each.refused]
    kept = {each.name for some in (refused, others) for each in sorted(some, key=_version)[-policy.keep_last :]}
    best = sorted(others, key=_improvement, reverse=True)[: policy.keep_best]
    kept |= {each.name for each in best if _improvement(each) > 0}
    if policy.max_days:
        kept -= {each.name for each in entries if _days(each, now) > policy.max_days}
    kept |= _needed(entries)
    return [each for each in entries if each.name not in kept]


def _needed(entries: Sequence["Entry"]) -> set[str]:
    answering = [each for each in entries if each.state == "active" or each.named]
    parents = {each.summary.parent for each in answering if each.summary and each.summary.parent}
    waiting = {each.name for each in entries if each.state == "candidate" and each.verdict is None}
    return {each.name for each in answering} | parents | waiting | {each.name for each in entries if each.pinned}


def _version(entry: "Entry") -> tuple[int, str]:
    return (entry.summary.version, entry.name) if entry.summary else (0, entry.name)


def _improvement(entry: "Entry") -> float:
    found = (entry.verdict or {}).get("improvement")
    return float(found) if isinstance(found, int | float) else 0.0


def _days(entry: "Entry", now: str) -> float:
    """How old it is. Where nobody can tell, it is new."""
    try:
        made = datetime.fromisoformat(entry.summary.created if entry.summary else now)
        return (datetime.fromisoformat(now) - made).total_seconds() / 86_400
    except (ValueError, TypeError):
        return 0.0
