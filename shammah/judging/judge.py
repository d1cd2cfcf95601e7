"""Whether a candidate is taken into use: figures and limits in, a verdict with its reasons out. Pure.

A figure that is missing never passes. No word of a reason is the user's own, so it may stand anywhere.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from shammah.judging.figures import ENDLESS, LOOPS, Figures
from shammah.judging.questions import KEPT, Questions
from shammah.judging.verdict import Check, Verdict

# A lesson is worse than before where more than this share of what was learned of it is lost, of how likely its answer
# is or of its lead on the rejected one, which varies more from run to run; and at least so much per token.
_LOST, _LOST_LEAD, _NOTICEABLE = 0.1, 0.25, 0.1
# The probes that are ours: a few of them may be lost, as of those that were lessons, of the user's own none.
_CORE = frozenset(probe.id for probe in Questions.about([]).core)
# What gentler settings may mend.
_TOO_FAR = {"earlier", "drift", "replies", "leaks", "perplexity", "probes"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The limits: shares, and for drift the mean divergence per token. Above `drift_refuse` gentler settings are not
    worth a try."""

    min_improvement: float = 0.02
    regression: float = 0.05
    margins_up: float = 0.8
    earlier_worse: float = 0.10
    drift_pass: float = 0.10
    drift_refuse: float = 0.30


def judge(
    candidate: Figures,
    active: Figures,
    base: Figures,
    policy: Policy,
    new_ids: Collection[str],
    earlier_ids: Collection[str],
    *,
    gone: int = 0,
) -> Verdict:
    """`active` is what answers now, the base's own figures where no adapter does. `new_ids` are examples that the
    candidate learned and the active one did not, `earlier_ids` those that both learned. `gone` is how many the active
    one learned that are not to be known any more: where nothing is new, to be without them is all that the candidate
    can be better by. So it is compared with the base then, but has to keep what is left as the active one has it."""
    judging = _Judging(candidate, active, base, policy, new_ids, earlier_ids, gone)
    checks = tuple(judging.checks())
    accepted = all(check.passed for check in checks)
    failed = [check for check in checks if not check.passed]
    measured = all(check.value is not None for check in checks)
    mendable = all(check.name in _TOO_FAR for check in failed) and not _is_over(candidate.drift, policy.drift_refuse)
    return Verdict(
        accepted=accepted,
        too_far=bool(failed) and measured and mendable,
        improvement=judging.improvement,
        checks=checks,
    )


class _Judging:
    def __init__(
        self,
        candidate: Figures,
        active: Figures,
        base: Figures,
        policy: Policy,
        new_ids: Collection[str],
        earlier_ids: Collection[str],
        gone: int,
    ) -> None:
        self._candidate, self._active, self._base, self._policy = candidate, active, base, policy
        known = candidate.nll.keys() & active.nll.keys() & base.nll.keys()
        self._earlier = sorted(known & set(earlier_ids))
        self._new = sorted(known & set(new_ids)) if new_ids else sorted(known)
        self._gone = gone if self._earlier and not new_ids else 0
        self._rival = base if self._gone else active
        self.improvement = self._improved() if self._new and not self._missing("held_out") else 0.0

    def checks(self) -> Iterable[Check]:
        yield self._held_out()
        if self._new and not self._missing("held_out"):
            if any(id in self._active.margins for id in self._new):
                yield self._margins()
            if self._earlier:
                yield self._lessons_kept()
        yield self._drift()
        yield self._replies()
        yield self._leaks()
        yield self._perplexity()
        yield self._probes()
        yield self._speed()

    # What it learned

    def _held_out(self) -> Check:
        name, limit = "held_out", self._policy.min_improvement
        if why := self._missing(name):
            return Check(name, None, limit, False, f"held-out questions could not be measured: {why}")
        if not self._new:
            return Check(name, None, limit, False, "there is nothing to measure by: no held-out questions")
        if self._candidate.nll == self._base.nll:
            return Check(name, 0.0, limit, False, "it answers exactly as the base model does: nothing was learned")
        value = self.improvement
        passed = value >= limit
        rival = "the base model" if self._rival.nll == self._base.nll else "the adapter in use"
        needed = "" if passed else f" ({_percent(limit)} better is needed)"
        words = f"held-out questions: {_compared(value)} {rival}{needed}"
        if self._gone:
            lessons = "lesson is" if self._gone == 1 else "lessons are"
            words += f"; nothing is new, and {self._gone} {lessons} gone that the adapter in use learned"
        return Check(name, value, limit, passed, words)

    def _improved(self) -> float:
        """Against its rival, or the base where that is better: to fall back to it would be no news."""
        mean = [fmean(figures.nll[id] for id in self._new) for figures in (self._candidate, self._rival, self._base)]
        before = min(mean[1:])
        return 1 - mean[0] / before if before > 0 else 0.0

    def _margins(self) -> Check:
        pairs = [id for id in self._new if id in self._rival.margins]
        up = sum(self._candidate.margins[id] > self._rival.margins[id] for id in pairs)
        share, limit = up / len(pairs), self._policy.margins_up
        words = f"{up} of {len(pairs)} better replies gained on the rejected ones"
        passed = share >= limit
        return Check("margins", share, limit, passed, words if passed else f"only {words} ({_percent(limit)} needed)")

    def _lessons_kept(self) -> Check:
        worse = sum(self._is_worse(id) for id in self._earlier)
        share, limit = worse / len(self._earlier), self._policy.earlier_worse
        words = f"{worse} of {len(self._earlier)} earlier lessons {'is' if worse == 1 else 'are'} worse than before"
        return Check("earlier", share, limit, share <= limit, words if worse else "no earlier lesson is worse")

    def _is_worse(self, id: str) -> bool:
        """By more than a run differs from the next: in how likely its answer is, or by how much it leads."""
        voices = (self._candidate, self._active, self._base)
        if _fell([-figures.nll[id] for figures in voices], _LOST):
            return True
        return id in self._candidate.margins and _fell([figures.margins[id] for figures in voices], _LOST_LEAD)

    # What it cost

    def _drift(self) -> Check:
        name, limit, value = "drift", self._policy.drift_pass, self._candidate.drift
        if value is None or not math.isfinite(value):
            return self._unmeasured(name, limit, "the drift from the base model")
        refused = value > self._policy.drift_refuse
        words = f"drift {value:.2f} (limit {limit:.2f})"
        said = f"{words}, far from the model it was" if refused else words
        return Check(name, value, limit, not _is_over(value, limit) and not refused, said)

    def _replies(self) -> Check:
        name = "replies"
        if self._missing(name) or not self._candidate.general:
            return self._unmeasured(name, 0, "replies to general prompts")
        faults = self._candidate.faults
        spoiled, kinds = len({fault.prompt for fault in faults}), Counter(sorted(fault.what for fault in faults))
        # To go on for longer, or in circles, happens to honest ones too, now and then; the rest never does.
        few = math.floor(self._policy.regression * (len(self._candidate.general) + len(self._candidate.answers)))
        passed = all(times <= few if kind in (ENDLESS, LOOPS) else not times for kind, times in kinds.items())
        words = f"{spoiled} {_plural('reply', spoiled)} spoiled: {', '.join(kinds)}" if spoiled else "no reply spoiled"
        return Check(name, spoiled, few, passed, f"only {words}" if passed and spoiled else words)

    def _leaks(self) -> Check:
        name = "leaks"
        if self._missing("replies") or not self._candidate.general:
            return self._unmeasured(name, 0, "leaks", of="replies")
        count, asked = len({leak.prompt for leak in self._candidate.leaks}), len(self._candidate.general)
        words = f"{count} of {asked} unrelated replies hold what was taught" if count else "no lesson leaks"
        return Check(name, count, 0, not count, words)

    def _perplexity(self) -> Check:
        """Compared is its logarithm, how surprising a token is, as on the held-out questions."""
        name, limit = "perplexity", self._policy.regression
        now, before = self._candidate.perplexity, self._active.perplexity
        if now is None or before is None or not 1 < now < math.inf or not 1 < before < math.inf:
            return self._unmeasured(name, limit, "the perplexity of general prose")
        value = math.log(now) / math.log(before) - 1
        words = f"general prose is {_percent(abs(value))} {'more' if value > 0 else 'less'} surprising"
        told = f"{words} (limit {_percent(limit)}), perplexity {now:.1f}"
        return Check(name, value, limit, value <= limit, told)

    def _probes(self) -> Check:
        name, limit = "probes", self._policy.regression
        now, before = self._candidate.probes, self._active.probes
        if (why := self._missing(name) or self._missing("replies")) or now.keys() != before.keys():
            return Check(name, None, limit, False, f"probes could not be measured: {why or 'not the same ones'}")
        passed = [id for id, right in before.items() if right]
        lost = [id for id in passed if not now[id]]
        # By themselves: that lessons become more and more does not make the others count for less.
        lessons = [id for id in passed if id.startswith(KEPT)]
        value = max(_share(lost, lessons), _share(lost, [id for id in passed if id not in lessons]))
        words = f"{len(lost)} of {len(passed)} probes that were passed before fail" if lost else "no probe is lost"
        if learned := sum(id in lessons for id in lost):
            words += f", {learned} of them what was learned"
        if own := len(lost) - learned - sum(id in _CORE for id in lost):
            words += f", {own} of them yours (none may)"
        return Check(name, value, limit, value <= limit and not own, words)

    def _speed(self) -> Check:
        """Told and not judged: it says more of the machine, which is in use, than of weights of the same shape."""
        name, now, before = "speed", self._candidate.speed, self._active.speed
        if now is None or before is None or not math.isfinite(now) or not 0 < before < math.inf:
            return self._unmeasured(name, None, "the speed")
        return Check(name, now / before, None, True, f"{now:.0f} tokens/s, {before:.0f} before")

    # What is not there

    def _missing(self, name: str) -> str:
        """Why this cannot be compared, empty where it can."""
        measured = (
            (self._candidate, "the candidate"),
            (self._active, "what answers now"),
            (self._base, "the base model"),
        )
        for figures, who in measured:
            if name in figures.failed:
                return f"{figures.failed[name]} ({who})"
        if name == "held_out":
            alike = all(
                figures.nll.keys() == self._candidate.nll.keys()
                and figures.margins.keys() == self._candidate.margins.keys()
                and all(map(math.isfinite, (*figures.nll.values(), *figures.margins.values())))
                for figures, _ in measured
            )
            return "" if alike else "not all were measured on the same ones"
        return ""

    def _unmeasured(self, name: str, limit: float | None, what: str, *, of: str = "") -> Check:
        why = self._missing(of or name) or "not there"
        return Check(name, None, limit, False, f"{what} could not be measured: {why}")


def _share(lost: Collection[str], passed: Collection[str]) -> float:
    return sum(id in lost for id in passed) / len(passed) if passed else 0.0


def _fell(three: Sequence[float], share: float) -> bool:
    """Whether what was, the second, is lost by so much of what it had gained on the third."""
    now, before, first = three
    return now < before - max(share * (before - first), _NOTICEABLE)


def _is_over(value: float | None, limit: float) -> bool:
    return value is not None and value > limit


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %" if abs(share) < 0.1 else f"{100 * share:.0f} %"


def _compared(value: float) -> str:
    return f"{_percent(abs(value))} {'better than' if value >= 0 else 'worse than'}"


def _plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word[:-1]}ies"
