"""What a line of Markdown begins: a heading, an item, a fence, a row, or only text. Pure.

`read_line` is asked again with each character until it can tell, given what is open above the line. It follows
CommonMark but where small models don't: an item is nested that is indented by two or more, and code goes on until its
fence is closed.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal[
    "text", "blank", "heading", "rule", "underline", "fence", "code", "fence end", "indented", "row", "delimiter",
    "html",
]  # fmt: skip
Leaf = Literal["", "paragraph", "fence", "indented", "header", "table", "html"]

# Nothing that is meant is nested deeper.
_DEEPEST = 12
_INDENT = re.compile(r"[ \t]*")
_FENCE = re.compile(r"(`{3,}|~{3,})[ \t]*(.*)", re.DOTALL)
_HEADING = re.compile(r"(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*", re.DOTALL)
_RULE = re.compile(r"([-*_])[ \t]*(?:\1[ \t]*){2,}")
_RULE_BEGUN = re.compile(r"([-*_])[ \t]*(?:\1[ \t]*)*")
_UNDERLINE = re.compile(r"(=+|-+)[ \t]*")
_BULLET = re.compile(r"([-*+])([ \t]+|$)")
_NUMBER = re.compile(r"(\d{1,9}[.)])([ \t]+|$)")
_NUMBER_BEGUN = re.compile(r"\d{1,9}[.)]?")
_TASK = re.compile(r"\[[ xX]\] ")
_TASK_BEGUN = re.compile(r"\[(?:[ xX]\]?)?")
_DELIMITER = re.compile(r"\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*")
_TAG = re.compile(r"</?([a-zA-Z][a-zA-Z0-9]*)(?=[\s/>]|$)|<!--")
_TAG_BEGUN = re.compile(r"<(?:!-?|/?[a-zA-Z]?[a-zA-Z0-9]*)")
_BLOCK_TAGS = frozenset(
    """address article aside blockquote body center col colgroup dd details dialog div dl dt fieldset figcaption figure
    footer form h1 h2 h3 h4 h5 h6 head header hr html li link main menu meta nav ol optgroup option p pre script section
    style summary svg table tbody td textarea tfoot th thead title tr ul video""".split()
)


@dataclass(frozen=True, slots=True, eq=False)
class Quote:
    pass


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """`indent` is where its mark stands, `content` where its text begins, from where what holds it begins."""

    mark: str
    indent: int
    content: int


Container = Quote | Item


@dataclass(frozen=True, slots=True)
class Fence:
    mark: str
    info: str
    indent: int


@dataclass(frozen=True, slots=True)
class Found:
    """`matched` of the open containers go on, `opened` begin on this line."""

    kind: Kind
    matched: int
    text: str = ""
    opened: list[Container] = field(default_factory=list)
    level: int = 0
    fence: Fence | None = None


class Undecided:
    """The line as far as it is there can be several things. `whole` if nothing but its end will tell."""

    def __init__(self, *, whole: bool) -> None:
        self.whole = whole


OPEN, WHOLE = Undecided(whole=False), Undecided(whole=True)


def read_line(
    line: str, complete: bool, stack: Sequence[Container], leaf: Leaf, fence: Fence | None = None
) -> Found | Undecided:
    if fence is not None:
        return _read_code(line, stack, fence) if complete else WHOLE
    indent = _INDENT.match(line)
    assert indent is not None
    rest = indent[0].expandtabs(4) + line[indent.end() :]
    matched = 0
    for container in stack:
        after = _within(container, rest, complete)
        if isinstance(after, Undecided):
            return after
        if after is None:
            break
        rest, matched = after, matched + 1
    if leaf == "html" and rest.strip() and matched == len(stack):
        return Found("html", matched, rest) if complete else WHOLE
    in_list = any(isinstance(container, Item) for container in stack[:matched])
    return _read_rest(rest, complete, _Above(matched, len(stack), leaf, in_list))


@dataclass(frozen=True, slots=True)
class _Above:
    """What stands above the line, and how much of it goes on."""

    matched: int
    containers: int
    leaf: Leaf
    in_list: bool

    @property
    def paragraph(self) -> bool:
        return self.leaf in ("paragraph", "header")


def _within(container: Container, rest: str, complete: bool) -> str | Undecided | None:
    """What is left of the line in this container; None where the line is outside of it."""
    body = rest.lstrip(" ")
    indent = len(rest) - len(body)
    if not body and not complete:
        return OPEN
    if isinstance(container, Quote):
        return _after_quote(body) if body.startswith(">") and indent < 4 else None
    if not body:
        return ""
    if indent >= container.content:
        return rest[container.content :]
    if indent >= container.indent + 2:
        marked = _begins_item(body, complete)
        if marked is None:
            return OPEN
        if marked:
            return body
    return None


def _after_quote(body: str) -> str:
    return body[1:].removeprefix(" ")


def _begins_item(body: str, complete: bool) -> bool | None:
    """None where it can't be told yet."""
    if _RULE.fullmatch(body) and complete:
        return False
    if not complete and (_RULE_BEGUN.fullmatch(body) or _NUMBER_BEGUN.fullmatch(body) or body == "+"):
        return None
    return bool(_BULLET.match(body) or _NUMBER.match(body))


def _read_rest(rest: str, complete: bool, above: _Above) -> Found | Undecided:
    """What the line is behind the containers that go on."""
    opened: list[Container] = []
    while True:
        body = rest.lstrip(" ")
        indent = len(rest) - len(body)
        if not body:
            return Found("blank", above.matched, opened=opened) if complete else OPEN
        goes_on = above.paragraph and not opened
        if above.matched + len(opened) >= _DEEPEST:
            return Found("text", above.matched, body, opened)
        if indent >= 4:
            marked = _begins_item(body, complete) if above.in_list else False
            if marked is None:
                return OPEN
            if not marked and goes_on:
                return Found("text", above.matched, body, opened)
            if not marked:
                return Found("indented", above.matched, rest[4:], opened) if complete else WHOLE
        if body[0] == ">":
            opened.append(Quote())
            rest = _after_quote(body)
            continue
        leaf = _read_leaf(body, indent, complete, above, opened)
        if leaf is not None:
            return leaf
        item = _read_item(body, indent, complete, goes_on and above.matched == above.containers)
        if isinstance(item, Undecided):
            return item
        if item is None:
            return Found("text", above.matched, body, opened)
        opened.append(item[0])
        rest = item[1]


def _read_leaf(
    body: str, indent: int, complete: bool, above: _Above, opened: list[Container]
) -> Found | Undecided | None:
    """None where it may still be an item, or is text."""
    here = above.matched == above.containers and not opened
    if above.leaf == "header" and here and not body.strip("|:- \t"):
        if not complete:
            return OPEN
        if _DELIMITER.fullmatch(body):
            return Found("delimiter", above.matched, body, opened)
    if above.paragraph and here and complete and _UNDERLINE.fullmatch(body):
        return Found("underline", above.matched, body.strip(), opened)
    if not complete:
        return _leaf_begun(body, above.paragraph and here)
    if (fence := _FENCE.fullmatch(body)) and not (fence[1][0] == "`" and "`" in fence[2]):
        return Found("fence", above.matched, opened=opened, fence=Fence(fence[1], fence[2].strip(), indent))
    if heading := _HEADING.fullmatch(body):
        return Found("heading", above.matched, heading[2] or "", opened, len(heading[1]))
    if _RULE.fullmatch(body):
        return Found("rule", above.matched, opened=opened)
    if body[0] == "|":
        return Found("row", above.matched, body, opened)
    if (tag := _TAG.match(body)) and (tag[1] is None or tag[1].lower() in _BLOCK_TAGS):
        return Found("html", above.matched, " " * indent + body, opened)
    return None


def _leaf_begun(body: str, paragraph: bool) -> Undecided | None:
    """None where it is neither of those that take a line of their own."""
    if body[0] == "|" or _FENCE.match(body) or re.match(r"#{1,6}[ \t]", body):
        return WHOLE
    if (tag := _TAG.match(body)) and (tag[1] is None or (tag[1].lower() in _BLOCK_TAGS and tag.end() < len(body))):
        return WHOLE
    begun = body in ("`", "``", "~", "~~") or not body.strip("#")
    if begun or _RULE_BEGUN.fullmatch(body) or (paragraph and not body.strip("=")) or _TAG_BEGUN.fullmatch(body):
        return OPEN
    return None


def _read_item(body: str, indent: int, complete: bool, interrupts: bool) -> tuple[Item, str] | Undecided | None:
    """An item with what follows its mark; None where there is none. Within a paragraph only 1 begins a list."""
    if not complete and (_NUMBER_BEGUN.fullmatch(body) or body == "+"):
        return OPEN
    match = _BULLET.match(body) or _NUMBER.match(body)
    if match is None:
        return None
    mark, blanks = match[1], match[2].expandtabs(4)
    rest = body[match.end() :]
    if not rest and not complete:
        return OPEN
    if interrupts and (not rest or (mark[0].isdigit() and int(mark[:-1]) != 1)):
        return None
    wide = len(blanks) if 1 <= len(blanks) <= 4 and rest else 1
    rest = " " * (len(blanks) - wide) + rest
    content = indent + len(mark) + wide
    if not complete and _TASK_BEGUN.fullmatch(rest):
        return OPEN
    if task := _TASK.match(rest):
        return Item(task[0].strip(), indent, content), rest[task.end() :]
    return Item(mark, indent, content), rest


def _read_code(line: str, stack: Sequence[Container], fence: Fence) -> Found | Undecided:
    """A line while a fence is open. Only its end closes it, or that of a quote around it."""
    rest = line
    for matched, container in enumerate(stack):
        if isinstance(container, Quote):
            if not rest.lstrip(" ").startswith(">"):
                return read_line(line, True, stack[:matched], "")
            rest = _after_quote(rest.lstrip(" "))
        else:
            rest = _outdented(rest, container.content)
    closing = rest.strip()
    if closing and not closing.strip(fence.mark[0]) and len(closing) >= len(fence.mark):
        return Found("fence end", len(stack))
    return Found("code", len(stack), _outdented(rest, fence.indent))


def _outdented(line: str, cells: int) -> str:
    """Without as many leading blanks, as far as there are."""
    indent = _INDENT.match(line)
    assert indent is not None
    if not cells or not indent[0]:
        return line
    return indent[0].expandtabs(4)[cells:] + line[indent.end() :]
