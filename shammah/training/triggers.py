"""When enough has come together to learn from. One threshold starts one run, however often it is asked."""

from shammah.records import Buffer, Run


def due(buffer: Buffer, threshold: int, last: Run | None) -> bool:
    return missing(buffer, threshold, last) == 0


def missing(buffer: Buffer, threshold: int, last: Run | None) -> int:
    """How many more examples a run waits for.

    What a finished run learned is out of the buffer. What any other run was begun with still lies in it: that run has
    them in hand, or has shown that they alone are not worth another one. So as many again have to come.
    """
    in_hand = 0 if last is None or last.state == "finished" else last.waiting
    return max(0, in_hand + threshold - buffer.examples)
