"""What was found when a candidate was judged, as it is written down and read again: quick, as lists read a thousand."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. `value` is None where it could not be measured, `limit` where there is none."""

    name: str
    value: float | None
    limit: float | None
    passed: bool
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`too_far`: it learned, at a price that is too high, and gentler settings may lower it. `improvement` is the share
    by which the held-out answers became less surprising than they are to what it was compared with."""

    accepted: bool
    too_far: bool
    improvement: float
    checks: tuple[Check, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it was refused; where it was not, all that speaks for it."""
        return tuple(check.words for check in self.checks if check.passed == self.accepted)

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "checks": [asdict(check) for check in self.checks], "reasons": list(self.reasons)}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> "Verdict":
        checks = tuple(Check(**check) for check in told["checks"])
        return cls(accepted=told["accepted"], too_far=told["too_far"], improvement=told["improvement"], checks=checks)
