"""A table laid out to the width of the screen. Pure.

Where it is too wide the widest columns are wrapped, and where that would leave them no room each row becomes lines of
"header: value".
"""

import re
from collections.abc import Sequence
from typing import Literal

from shammah.ui.reply.spans import Run
from shammah.ui.reply.wrapping import cells_of, wrapped

Align = Literal["left", "right", "center"]
Cell = list[Run]
Line = list[Run]
# A column that has less than that is no column.
_LEAST = 8
_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)


def cells_in(row: str) -> list[str]:
    """The texts of a row's cells."""
    row = row.strip().removeprefix("|")
    parts = re.split(r"(?<!\\)\|", row)
    if len(parts) > 1 and not parts[-1].strip():
        parts.pop()
    return [_BREAK.sub("\n", part.strip().replace("\\|", "|")) for part in parts]


def alignments(delimiter: str) -> list[Align]:
    found: list[Align] = []
    for cell in cells_in(delimiter):
        right, both = cell.endswith(":"), cell.startswith(":") and cell.endswith(":")
        found.append("center" if both else "right" if right else "left")
    return found


def lay_out(rows: Sequence[Sequence[Cell]], aligns: Sequence[Align], room: int, *, ascii: bool = False) -> list[Line]:
    """The lines of a table whose first row is its header."""
    count = max(map(len, rows))
    full = [[*row, *([[]] * (count - len(row)))] for row in rows]
    sides = [*aligns, *(["left"] * count)][:count]
    natural = [max(_natural(row[column]) for row in full) for column in range(count)]
    widths = _shared(natural, room - 3 * (count - 1))
    if widths is None:
        return _stacked(full, room)
    rule, between = ("-", " | ") if ascii else ("─", " │ ")
    joint = between.replace(" ", rule).replace("│", "┼").replace("|", "+")
    ruled: Line = [(joint.join(rule * width for width in widths), ("dim",))]
    tall = False
    blocks: list[list[Line]] = []
    for row in full:
        parts = [wrapped(cell, width) for cell, width in zip(row, widths, strict=True)]
        tall = tall or (bool(blocks) and max(map(len, parts)) > 1)
        blocks.append(_row_lines(parts, widths, sides, between))
    lines = [*blocks[0], ruled]
    for number, block in enumerate(blocks[1:]):
        lines += [ruled, *block] if tall and number else block
    return lines


def _row_lines(parts: list[list[Line]], widths: list[int], sides: Sequence[str], between: str) -> list[Line]:
    lines: list[Line] = []
    for number in range(max(map(len, parts))):
        line: Line = []
        for column, (part, width) in enumerate(zip(parts, widths, strict=True)):
            runs = part[number] if number < len(part) else []
            free = width - sum(cells_of(text) for text, _ in runs)
            left = {"right": free, "center": free // 2}.get(sides[column], 0)
            line += [(between, ("dim",))] if column else []
            line += [(" " * left, ()), *runs, (" " * (free - left), ())]
        lines.append(_stripped(line))
    return lines


def _stripped(line: Line) -> Line:
    while line and not line[-1][0].strip():
        line = line[:-1]
    return [*line[:-1], (line[-1][0].rstrip(), line[-1][1])] if line else line


def _natural(cell: Cell) -> int:
    """How wide a cell would be with all the room it wants."""
    return max(1, *(cells_of(line) for line in "".join(text for text, _ in cell).split("\n")))


def _shared(natural: list[int], room: int) -> list[int] | None:
    """What each column gets: the narrow ones what they want, the others the same share of the rest."""
    widths = list(natural)
    left, waiting = room, sorted(range(len(natural)), key=lambda column: natural[column])
    while waiting:
        share = left // len(waiting)
        column = waiting.pop(0)
        if natural[column] > share < _LEAST:
            return None
        widths[column] = min(natural[column], share)
        left -= widths[column]
    return widths


def _stacked(rows: Sequence[Sequence[Cell]], room: int) -> list[Line]:
    header, *body = rows
    if not body:
        return [line for cell in header for line in wrapped(cell, room)]
    lines: list[Line] = []
    for number, row in enumerate(body):
        lines += [[]] if number else []
        for name, value in zip(header, row, strict=True):
            named: Cell = [*name, (": ", ())] if name else []
            first, *more = wrapped([*named, *value], max(room - 2, 1))
            lines += [first, *([("  ", ()), *line] for line in more)]
    return lines
