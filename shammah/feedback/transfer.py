"""Whole files of examples: in with a report, row by row, and out with a count of what was left behind.

What is done with a draft is the caller's: `take` stores it and says whether it was new. Secrets are taken out before,
so that nothing else has to see them.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, NoReturn, TypeVar

from shammah.config import WeightSettings
from shammah.errors import RowError
from shammah.feedback.formats import Draft, Format, Row, read_row, why_not, write_row
from shammah.feedback.levels import weight_of
from shammah.feedback.secrets import redact
from shammah.records import Example, Level, Message

LONGEST_ROW = 2**20
Change = Callable[[str], str]
_Record = TypeVar("_Record", Draft, Example)
_LONGEST_PASSWORD = 200
_LINE = LONGEST_ROW + len(b"\r\n")
# Brackets, and the texts that may hold some.
_BRACKETS = re.compile(r'[\[\]{}]|"(?:[^"\\]|\\.)*+"')
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What an import came to: examples that are new, that were there already, and rows with the reason they are not.

    `weighted` is the sum of the new ones' weights, `redacted` how many of them had secrets.
    """

    taken: int
    known: int
    skipped: list[tuple[int, str]]
    weighted: float
    redacted: int


def import_lines(
    lines: Iterable[tuple[int, bytes]],
    format: Format,
    *,
    take: Callable[[Draft], bool],
    weights: WeightSettings,
    rating: Level = "good",
    redacting: bool = True,
) -> Report:
    """Give each row's draft to `take`, which answers whether it was new. A RowError from there skips the row too."""
    taken = known = redacted = 0
    weighted = 0.0
    skipped = list[tuple[int, str]]()
    for number, line in lines:
        if not line.strip():
            continue
        try:
            draft = read_row(format, _parsed(line), rating=rating)
            clean = without_secrets(draft) if redacting else draft
            new = take(clean)
        except RowError as error:
            skipped.append((number, error.message))
            continue
        if new:
            taken += 1
            weighted += weight_of(draft.level, weights) if draft.weight is None else draft.weight
            redacted += clean is not draft
        else:
            known += 1
    return Report(taken=taken, known=known, skipped=skipped, weighted=weighted, redacted=redacted)


def numbered_rows(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """The rows of a file with their numbers: its lines, or the items of the one array that it is.

    A line that is too long for a row is cut off. An array is read whole.
    """
    number, line = 1, stream.readline(_LINE).removeprefix(_BOM)
    while line and not line.strip():
        number, line = number + 1, stream.readline(_LINE)
    if line.lstrip().startswith(b"["):
        whole = line + stream.read()
        # A row that is a list, among others, is only a wrong row.
        if whole.rstrip().endswith(b"]") and not _is_json(line, unless=whole):
            yield from _items(whole)
        else:
            yield from enumerate(whole.split(b"\n"), number)
        return
    while line:
        yield number, line
        while line and not line.endswith(b"\n"):
            line = stream.readline(_LINE)
        number, line = number + 1, stream.readline(_LINE)


def export_rows(examples: Sequence[Example], format: Format) -> tuple[list[Row], dict[str, int]]:
    """The rows of the examples that the form can hold, and how many it cannot, by the reason."""
    as_messages = any(len(example.messages) > 1 for example in examples)
    left_out = Counter(why_not(format, example) for example in examples)
    rows = [write_row(format, example, as_messages=as_messages) for example in examples]
    return [row for row in rows if row is not None], {reason: count for reason, count in left_out.items() if reason}


def without_secrets(draft: Draft) -> Draft:
    """The draft with its secrets redacted: itself if it has none. What is redacted now was seen by nobody."""
    clean, learned, others = redacted(draft)
    if learned:
        return replace(clean, secrets=tuple(dict.fromkeys((*draft.secrets, *learned))), secrets_seen=False)
    return clean if others else draft


def redacted(record: _Record) -> tuple[_Record, tuple[str, ...], tuple[str, ...]]:
    """A draft or an example without secrets, the kinds in what is learned from it, and those in all the rest of it.

    Only the first have to be looked at: nothing is trained on tags, names of models and what came along.
    """
    learned, rest = Cleaner(), Cleaner()
    return rewritten(record, learned.clean, rest.clean), tuple(learned.kinds), tuple(rest.kinds)


class Cleaner:
    """Takes the secrets out of texts, and keeps in mind what kinds they were."""

    def __init__(self) -> None:
        self.kinds: dict[str, None] = {}

    def clean(self, text: str) -> str:
        found = redact(text)
        self.kinds |= dict.fromkeys(found.kinds)
        return found.text


def rewritten(record: _Record, learned: Change, rest: Change) -> _Record:
    """Pass every text of a draft or an example through `learned` where it has a part in training, else through
    `rest`."""
    ours = [name for name in ("reply", "better", "target", "rejected", "note") if hasattr(record, name)]
    texts: dict[str, Any] = {name: each_text(getattr(record, name), learned) for name in ours}
    texts |= {name: each_text(getattr(record, name), rest) for name in ("reason", "model", "adapter", "extra")}
    return replace(
        record,
        messages=tuple(Message(message.role, learned(message.content)) for message in record.messages),
        rules=tuple(map(learned, record.rules)),
        tags=tuple(map(rest, record.tags)),
        **texts,
    )


def each_text(value: Any, change: Change) -> Any:
    """Every text in a value of JSON, the names in it too. A number as long as a card's counts as a text."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, int | float) and abs(value) >= 10**12 and abs(value) < 10**19 and value == int(value):
        digits = str(abs(int(value)))
        clean = change(digits)
        return value if clean == digits else clean
    if isinstance(value, dict):
        items: dict[str, Any] = {}
        for name, item in value.items():
            name = change(name)
            item = _named(name, item, change) if isinstance(item, str) else each_text(item, change)
            # Two names may become one; neither value may be lost by that.
            items[name if name not in items else f"{name} ({len(items) + 1})"] = item
        return items
    if isinstance(value, list):
        parts = []
        for item in value:
            parts.append(each_text(item, change))  # a comprehension would take twice the stack
        return parts
    return value


def _named(name: str, text: str, change: Change) -> str:
    """A text under its name, which may be all that tells a password from a word."""
    text, before = change(text), f'{name}: "'
    whole = change(f'{before}{text}"') if len(text) <= _LONGEST_PASSWORD else ""
    return whole[len(before) : -1] if whole.startswith(before) and whole.endswith('"') else text


def _parsed(line: bytes) -> object:
    if len(line.rstrip(b"\r\n")) > LONGEST_ROW:
        raise RowError("longer than 1 MB")
    try:
        return json.loads(line.decode("utf-8"), parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise RowError("not UTF-8") from None
    except json.JSONDecodeError as error:
        raise RowError(f"not JSON: {error.msg} at character {error.pos + 1}") from None
    except RecursionError:
        raise RowError("nested too deeply") from None
    except ValueError as error:
        raise RowError(f"not JSON: {error}") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number there")


def _is_json(line: bytes, *, unless: bytes) -> bool:
    """Whether a line is JSON by itself, and not all there is."""
    if line.strip() == unless.strip():
        return False
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _items(array: bytes) -> Iterator[tuple[int, bytes]]:
    """The items of a JSON array, numbered from 1. What cannot be read ends it, as an item of its own."""
    text = array.decode("utf-8", "surrogateescape").strip()[1:-1]
    decoder = json.JSONDecoder()
    number, at = 1, 0
    while rest := text[at:].lstrip(" \t\r\n,"):
        start = len(text) - len(rest)
        try:
            _, at = decoder.raw_decode(text, start)
        except RecursionError:
            at = _end_of_nested(text, start)
        except ValueError:
            at = len(text)
        yield number, text[start:at].encode("utf-8", "surrogateescape")
        number += 1


def _end_of_nested(text: str, start: int) -> int:
    """Where a value ends that is nested too deeply to be read: after the bracket that closes its first."""
    depth = 0
    for part in _BRACKETS.finditer(text, start):
        depth += (part[0] in "[{") - (part[0] in "]}")
        if depth == 0 and part[0] in "]}":
            return part.end()
    return len(text)
