"""A receipt as lines of a terminal: a few of them for above the prompt, all of them for whoever asks. Pure.

The texts are taken to be free of control characters; cells are counted as terminals count them.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from wcwidth import clip, ljust, width, wrap

from shammah.judging import receipt_words as words
from shammah.judging.receipt_words import Body
from shammah.records import Receipt

Style = Literal["", "title", "heading", "good", "bad", "dim"]
# A text with its heading, and how it is meant.
Cell = tuple[str, str, Style]

# Lines longer than this are hard to read; two columns narrower than this together are too.
_WIDEST, _SIDE_BY_SIDE = 100, 60
_LABEL = 8
# More lines than this above the prompt would take the place of the conversation.
_MOST_SHORT = 10
_INDENT, _GAP = "  ", "   "
_SHOWN_BEFORE_CUT = "..."


@dataclass(frozen=True, slots=True)
class Line:
    """Stretches of text, each with how it is meant."""

    parts: tuple[tuple[str, Style], ...] = ()

    @property
    def text(self) -> str:
        return "".join(text for text, _ in self.parts).rstrip()


def short_lines(body: Body, *, columns: int, curve: str, holds: bool = True) -> list[str]:
    """What stands above the prompt when a run was judged. `curve` are the losses as a picture of characters, `holds`
    says whether what was decided is still so."""
    facts = [("Why", "; ".join(words.reasons(body)))]
    if loss := words.loss_words(body):
        facts.insert(0, ("Loss", f"{loss}  {curve}"))
    facts += [("Better", words.better_in_short(body)), ("Worse", words.worse_in_short(body))]
    if shown := words.example_of(body):
        before, after = words.headings(body, holds=holds)
        facts += [
            ("Asked", words.asked(shown)),
            (before, words.said(shown, "before")),
            (after, words.said(shown, "after")),
        ]
    if rules := [rule["text"] for rule in body["graduated"]]:
        facts.append(("Rule", f"{words.obeyed(body, holds=holds)}: {'; '.join(rules)}"))
    back = words.going_back(body, holds=holds)[0] if body["verdict"]["accepted"] else "your examples are kept"
    facts.append(("Back" if body["deployed"] and holds else "Next", f"{back}, /report shows all of it"))
    head = f"{words.title(body)}: {words.short_learned_words(body)}"
    first, *rest = wrap(head, columns)
    heads = [first, _cut(" ".join(rest), columns)] if rest else [first]
    if len(heads) + len(facts) > _MOST_SHORT:
        facts = [fact for fact in facts if fact[0] != "Loss"]
    label = min(max(_LABEL, *(width(name) + 2 for name, _ in facts)), columns // 2)
    names = (f"{ljust(clip(name, 0, label - 1), label - 1)} " for name, _ in facts)
    texts = (_cut(text or "(nothing)", columns - label) for _, text in facts)
    return [*heads, *(name + text for name, text in zip(names, texts, strict=True))]


def report_lines(
    receipt: Receipt, *, columns: int | None, curve: str, ascii: bool, holds: bool = True, back: str = ""
) -> list[Line]:
    """All of it. Without columns nothing is wrapped, nor set side by side: a program reads it. `holds` says whether
    what was decided is still so, `back` who answers after a step back."""
    body = receipt.body
    room = None if columns is None else min(columns, _WIDEST)
    return [
        *_told([_title(receipt)], room, indent=""),
        *_told([words.answers_words(body, holds=holds)], room, indent=""),
        *_facts(body, room, curve),
        *_section("Why", _checks(body, room, ascii), room),
        *_section("Your prompts, before and after", _prompts(body, room, ascii, holds), room),
        *_section("What got better", _listed(words.better(body), "+", "good", room), room),
        *_section("What got worse", _listed(words.worse(body), "-", "bad", room), room),
        *_section("Your probes", _listed(words.failing(body), "-", "", room), room),
        *_section("The numbers", _numbers(body, room), room),
        *_section(
            f"What {words.obeyed(body, holds=holds)}",
            _listed([rule["text"] for rule in body["graduated"]], "*", "", room),
            room,
        ),
        *_section(
            "Going back" if body["deployed"] and holds else "What you can do", _back(body, room, holds, back), room
        ),
        Line(),
        *_told([f"Run {body['run']['id']}. As a page: `{_page_call(body)}`"], room, indent="", style="dim"),
    ]


def _page_call(body: Body) -> str:
    return f"shammah report {body['run']['id']} --html receipt.html"


def _title(receipt: Receipt) -> tuple[str, Style]:
    when = receipt.time[:16].replace("T", " ")
    return f"{words.title(receipt.body)}: {words.name(receipt.body)}, {when}", "title"


def _facts(body: Body, room: int | None, curve: str) -> Iterator[Line]:
    facts = [("Learned from", words.learned_words(body)), ("Took", words.took_words(body))]
    if loss := words.loss_words(body):
        facts.append(("Loss", f"{loss}  {curve}"))
    yield Line()
    for name, text in facts:
        yield from _hanging(f"{name:<14}", text, room, mark_style="dim")


def _section(heading: str, lines: Iterable[Line], room: int | None) -> list[Line]:
    """Nothing where there is nothing to say."""
    content = list(lines)
    return [Line(), *_told([(heading, "heading")], room, indent=""), *content] if content else []


def _checks(body: Body, room: int | None, ascii: bool) -> Iterator[Line]:
    for passed, text in words.checks(body):
        yield from _hanging(_mark(passed, ascii), text, room, mark_style="good" if passed else "bad")


def _mark(passed: bool, ascii: bool) -> str:
    if ascii:
        return "ok  " if passed else "NO  "
    return "✓ " if passed else "✗ "


def _prompts(body: Body, room: int | None, ascii: bool, holds: bool) -> Iterator[Line]:
    before, after = words.headings(body, holds=holds)
    for place, lesson in enumerate(words.answered(body)):
        if place:
            yield Line()
        level = f"  ({lesson['level']})" if lesson["level"] else ""
        yield from _hanging("", f"{words.asked(lesson)}{level}", room, text_style="title")
        mark = _mark(lesson["right"]["after"], ascii).rstrip()
        cells: tuple[Cell, Cell] = (
            (before, words.said(lesson, "before"), "dim"),
            (f"{after} {mark}", words.said(lesson, "after"), ""),
        )
        yield from _two(cells, room)
        if not lesson["right"]["after"]:
            yield from _hanging(f"{_INDENT}Wanted: ", lesson["wanted"], room, mark_style="dim", text_style="dim")


def _two(cells: Sequence[Cell], room: int | None) -> Iterator[Line]:
    """Two texts with their headings, side by side where there is room."""
    inner = _INDENT * 2
    if room is None or room < _SIDE_BY_SIDE:
        for heading, text, style in cells:
            yield from _hanging(f"{_INDENT}{heading}: ", text or "(nothing)", room, mark_style="dim", text_style=style)
        return
    each = (room - len(inner) - len(_GAP)) // 2
    (left_heading, left, left_style), (right_heading, right, right_style) = cells
    yield Line(((inner + ljust(left_heading, each) + _GAP + right_heading, "dim"),))
    lefts, rights = _wrapped(left or "(nothing)", each), _wrapped(right or "(nothing)", each)
    for row in range(max(len(lefts), len(rights))):
        one, other = (side[row] if row < len(side) else "" for side in (lefts, rights))
        yield Line(((inner + ljust(one, each) + _GAP, left_style), (other, right_style)))


def _numbers(body: Body, room: int | None) -> Iterator[Line]:
    rows = words.numbers(body)
    name = max((width(row.name) for row in rows), default=0) + 2
    figures = [f"{row.before or '?'} -> {row.after or '?'}" for row in rows]
    figure = max(map(width, figures), default=0) + 2
    for row, change in zip(rows, figures, strict=True):
        if room is not None and room < _SIDE_BY_SIDE:
            yield from _hanging("", f"{row.name}: {change}", room)
            yield from _hanging(_INDENT, row.meaning, room, text_style="dim")
        else:
            yield from _hanging(f"{ljust(row.name, name)}{ljust(change, figure)}", row.meaning, room, text_style="dim")


def _back(body: Body, room: int | None, holds: bool, back: str) -> Iterator[Line]:
    command, does = words.going_back(body, holds=holds, back=back)
    yield from _hanging("", f"`{command}` {does}", room)


def _listed(texts: Sequence[object], mark: str, style: Style, room: int | None) -> Iterator[Line]:
    for text in texts or ([words.NOTHING] if style else []):
        yield from _hanging(f"{mark} " if texts else "", str(text), room, mark_style=style)


def _told(texts: Sequence[str | tuple[str, Style]], room: int | None, *, indent: str, style: Style = "") -> list[Line]:
    lines: list[Line] = []
    for told in texts:
        text, how = (told, style) if isinstance(told, str) else told
        lines += _hanging("", text, room, indent=indent, text_style=how)
    return lines


def _hanging(
    mark: str, text: str, room: int | None, *, indent: str = _INDENT, mark_style: Style = "", text_style: Style = ""
) -> Iterator[Line]:
    """A mark and a text behind it, whose further lines stand below its first."""
    begin = indent + mark
    lines = _wrapped(text, None if room is None else max(room - width(begin), 8))
    for place, line in enumerate(lines):
        before = begin if place == 0 else " " * width(begin)
        yield Line(((before, mark_style), (line, text_style)))


def _wrapped(text: str, cells: int | None) -> list[str]:
    """At least one line. Where its own lines end is kept, but for empty ones."""
    if cells is None:
        return [_one_line(text)]
    own = [line for line in text.splitlines() if line.strip()]
    return [part for line in own for part in wrap(line, cells)] or [""]


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _cut(text: str, cells: int) -> str:
    """By cells, not by words: there are scripts and addresses without a space."""
    line = _one_line(text) if "\n" in text else text
    if width(line) <= cells:
        return line
    return clip(line, 0, cells - width(_SHOWN_BEFORE_CUT)).rstrip() + _SHOWN_BEFORE_CUT
