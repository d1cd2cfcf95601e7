"""Several rows as one sequence without filler: what they begin with in common once, then each row's own tokens.

Most chat templates open every prompt with the same words, and most rows are short. Computed side by side
and filled up to the longest they cost about twice the tokens that are different. Here a row sees the common beginning
and itself, and its places are counted as if it stood alone: the same numbers, fewer of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

# A lesson teaches its reply; an anchor holds the model to what the base says.
Kind = Literal["lesson", "anchor"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A prompt and its reply as tokens. The reply begins at `start`; only it is learned.

    `source` is the id of the example it was made of, empty for an anchor. `rejected` is the same prompt with the reply
    that the user did not want, where there is one: never learned, at most weighed against this one.
    """

    ids: tuple[int, ...]
    start: int
    weight: float = 1.0
    kind: Kind = "lesson"
    source: str = ""
    rejected: "Row | None" = None

    @property
    def learned(self) -> int:
        """How many tokens of it carry a loss."""
        return len(self.ids) - self.start


@dataclass(frozen=True, slots=True)
class Packed:
    """`segments` tells which row a token belongs to, 0 being the beginning they share. At the places of `predictors`
    the tokens of the rows' replies are predicted, row after row."""

    ids: list[int]
    positions: list[int]
    segments: list[int]
    predictors: list[int]


def pack(rows: Sequence[Row]) -> Packed:
    shared = shared_beginning(rows)
    ids, positions = list(rows[0].ids[:shared]), list(range(shared))
    segments = [0] * shared
    predictors: list[int] = []
    for number, row in enumerate(rows):
        offset = len(ids) - shared
        ids += row.ids[shared:]
        positions += range(shared, len(row.ids))
        segments += [number + 1] * (len(row.ids) - shared)
        predictors += range(offset + row.start - 1, offset + len(row.ids) - 1)
    return Packed(ids, positions, segments, predictors)


def shared_beginning(rows: Sequence[Row]) -> int:
    """How many first tokens all rows have in common, short of the one that predicts the first reply."""
    most = min(row.start for row in rows) - 1
    first = rows[0].ids
    for place in range(most):
        if any(row.ids[place] != first[place] for row in rows):
            return place
    return most
