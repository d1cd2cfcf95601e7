"""The probation of a new adapter: rated worse than what answered before it, it is taken back.

An adapter is on probation from its first activation on, for so many rated replies. A pick between it and one that
answered before is a rating of both: the reply that was picked was good, the other was not. One that somebody loads
again later is wanted, whatever was thought of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shammah.deployment.activation import Helm
from shammah.errors import AdapterOvertaken
from shammah.records import Activation
from shammah.store.activations import Activations
from shammah.store.comparisons import Comparisons, Score
from shammah.store.database import Database
from shammah.store.statistics import Use, uses

# How much larger the share of replies rated medium or critical may be before it counts as worse.
_WORSE = 0.25


@dataclass(frozen=True, slots=True)
class Ratings:
    """How replies were rated. Those that are not good are medium or critical."""

    good: int = 0
    not_good: int = 0

    @property
    def all(self) -> int:
        return self.good + self.not_good

    @property
    def share(self) -> float:
        """Of those that are not good."""
        return self.not_good / self.all if self.all else 0.0

    def __add__(self, other: "Ratings") -> "Ratings":
        return Ratings(self.good + other.good, self.not_good + other.not_good)


def worse(under: Ratings, before: Sequence[Ratings], *, rated: int, fewest: int, how: str = "rated") -> str:
    """Why an adapter is taken back, empty where it stays: by the ratings under it and under those before it, the
    nearest first. A few ratings tell nothing, so earlier ones count where the nearest was hardly rated. `how` says what
    the ratings come from."""
    if not fewest <= under.all <= rated:
        return ""
    known = Ratings()
    for ratings in before:
        known += ratings
        if known.all >= fewest:
            break
    else:
        return ""
    if under.share - known.share < _WORSE - 1e-9:
        return ""
    return (
        f"{under.not_good} of {under.all} {how} replies under it were not good, "
        f"before it {known.not_good} of {known.all}"
    )


class Probation:
    def __init__(self, database: Database, activations: Activations, helm: Helm, *, rated: int, fewest: int) -> None:
        """It lasts for so many rated replies, 0 for none, and ends after `fewest` of them at the earliest."""
        self._database, self._activations, self._helm = database, activations, helm
        self._rated, self._fewest = rated, fewest

    def after_rating(self, base: str) -> Activation | None:
        """Who answers from now on, where the adapter that did was rated worse; its cause says so."""
        current = self._on_probation(base)
        if current is None or current.adapter is None or not self._rated:
            return None
        under, before, how = self._ratings_of(current, base)
        reason = worse(under, before, rated=self._rated, fewest=self._fewest, how=how)
        if not reason:
            return None
        try:
            return self._helm.rollback(base, 1, actor="probation", cause=reason, left=current)
        except AdapterOvertaken:  # training has just found a better one
            return None

    def progress(self, base: str) -> tuple[int, int] | None:
        """How many replies were rated under the adapter that is on probation, and of how many; None where none is."""
        current = self._on_probation(base)
        if current is None or current.adapter is None or not self._rated:
            return None
        under, _, _ = self._ratings_of(current, base)
        return (under.all, self._rated) if under.all < self._rated else None

    def _ratings_of(self, current: Activation, base: str) -> tuple[Ratings, list[Ratings], str]:
        """Those under it, those under each before it, and what they come from."""
        from shammah.model.catalog import name_to_share

        adapter = current.adapter
        assert adapter is not None, "the base is never on probation"
        given = uses(self._database, is_base=lambda model: name_to_share(model) == base)
        since = uses(self._database, since=current.time)
        under, before = _ratings(since, adapter), []
        picked = Comparisons(self._database).against(base, adapter, since=current.time)
        way = [each.adapter for each in self._activations.way_back(base)]
        for earlier in way:
            wins, losses, _ = picked.get(earlier, Score())
            under += Ratings(wins, losses)
            before.append(_ratings(given, earlier) + Ratings(losses, wins))
        return under, before, "rated or compared" if picked.keys() & set(way) else "rated"

    def _on_probation(self, base: str) -> Activation | None:
        """What answers, where it never did before for this base."""
        current = self._activations.current(base)
        if current is None:
            return None
        times = [each.adapter for each in self._activations.all(base)].count(current.adapter)
        return current if times == 1 else None


def _ratings(given: Mapping[str | None, Use], adapter: str | None) -> Ratings:
    use = given.get(adapter)
    return Ratings(use.good, use.medium + use.critical) if use else Ratings()
