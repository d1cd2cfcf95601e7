"""When enough has come together to learn from. One threshold starts one run, however often it is asked."""

from shammah.records import Buffer


def due(buffer: Buffer, threshold: int) -> bool:
    return missing(buffer, threshold) == 0


def missing(buffer: Buffer, threshold: int) -> int:
    """How many more examples a run waits for.

    What the last run was begun with does not count, whatever became of it: it was learned, or is in hand, or has shown
    that it alone is not worth another run.
    """
    return max(0, threshold - buffer.new)
