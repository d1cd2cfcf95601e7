"""Rows into batches that fit: sorted by length, so many tokens each. Pure."""

from collections.abc import Sequence

from shammah.training.packing import Row, shared_beginning


def micro_batches(rows: Sequence[Row], most_rows: int, most_tokens: int) -> list[list[Row]]:
    """The rows of one step in parts that are computed one after the other. The result is the same for any parts.

    A row that is longer than the budget by itself is a part of its own.
    """
    parts: list[list[Row]] = []
    for row in sorted(rows, key=lambda row: (-len(row.ids), row.ids)):
        last = parts[-1] if parts else None
        if last is not None and len(last) < most_rows and cost([*last, row]) <= most_tokens:
            last.append(row)
        else:
            parts.append([row])
    return parts


def cost(rows: Sequence[Row]) -> int:
    """How many tokens are computed for these rows together, with what they are weighed against."""
    rows = with_rejected(rows)
    shared = shared_beginning(rows)
    return shared + sum(len(row.ids) - shared for row in rows)


def with_rejected(rows: Sequence[Row]) -> list[Row]:
    """The rows, and after them the rejected replies that some of them have."""
    return [*rows, *(row.rejected for row in rows if row.rejected is not None)]
