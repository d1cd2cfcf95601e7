"""Which example is drawn when, and how its weight is spent. Pure and seeded: the same seed gives the same rows.

A weight is a budget. Up to `cap` times the lightest example it buys draws; drawn more often than that, one example
would be most of what is seen, and be learned by heart. What is left of it makes each of its draws count more.
"""

from collections.abc import Mapping, Sequence
from random import Random


def draw_shares(weights: Mapping[str, float], cap: float) -> dict[str, float]:
    """How often each is drawn in one epoch: the lightest once, none more than `cap` times."""
    lightest = min(weights.values(), default=1.0)
    return {id: min(weight / lightest, max(1.0, cap)) for id, weight in weights.items()}


def loss_weights(weights: Mapping[str, float], cap: float, power: float) -> dict[str, float]:
    """What a draw of each counts: the part of its weight that bought no draws, tempered by `power`.

    Normalised so that all draws of an epoch together count as many.
    """
    shares = draw_shares(weights, cap)
    lightest = min(weights.values(), default=1.0)
    left = {id: (weight / lightest / shares[id]) ** power for id, weight in weights.items()}
    mean = sum(shares[id] * left[id] for id in left) / max(sum(shares.values()), 1e-9)
    return {id: value / mean for id, value in left.items()}


def draws(weights: Mapping[str, float], count: int, cap: float, random: Random) -> list[str]:
    """The ids in the order in which they are drawn: epoch after epoch, each of which holds every one of them."""
    if not weights:
        return []
    shares = draw_shares(weights, cap)
    credit = dict.fromkeys(weights, 0.0)
    drawn: list[str] = []
    while len(drawn) < count:
        epoch: list[str] = []
        for id, share in shares.items():
            credit[id] += share
            times = int(credit[id] + 1e-9)
            credit[id] -= times
            epoch += [id] * times
        drawn += spread(epoch, random)
    return drawn[:count]


def spread(ids: Sequence[str], random: Random) -> list[str]:
    """Shuffled, but the repeats of one id stay apart: each falls into its own stretch of the whole."""
    repeats: dict[str, int] = {}
    for id in ids:
        repeats[id] = repeats.get(id, 0) + 1
    places = [((turn + random.random()) / times, id) for id, times in repeats.items() for turn in range(times)]
    return [id for _, id in sorted(places)]


def epoch_length(weights: Mapping[str, float], cap: float) -> float:
    """How many draws make an epoch, on average."""
    return sum(draw_shares(weights, cap).values())
