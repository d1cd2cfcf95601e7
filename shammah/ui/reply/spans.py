"""What stands within a line of Markdown: emphasis, code, links, escapes. Pure.

`read_span` reads the one thing that begins at a place, or says that it can't tell yet. A mark that is not closed within
`LIMIT` characters is no mark.
"""

import html
import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from html.entities import html5

from wcwidth import wcwidth

from shammah.ui.themes import Style

Run = tuple[str, Style]
LIMIT = 200
# Characters that may begin something. All others are text.
SPECIAL = frozenset("\\`*_~[!<&hH")
# Those after a backslash that would mean something without it; of the others some are LaTeX, and stay.
_ESCAPABLE = frozenset("\\`*_~#|<>&!$+-.")
_STYLES: dict[tuple[str, int], Style] = {
    ("*", 1): ("emphasis",), ("*", 2): ("strong",), ("*", 3): ("strong", "emphasis"), ("~", 2): ("strike",),
    ("_", 1): ("emphasis",), ("_", 2): ("strong",), ("_", 3): ("strong", "emphasis"),
}  # fmt: skip
# An address ends before a blank, a bracket of a tag and the letters of languages that put no blank behind it.
_ADDRESS = re.compile(r"https?://[^\s<>\u3000-\u30ff\u3400-\u9fff\uac00-\ud7af\uff00-\uffef]*", re.IGNORECASE)
_SCHEMES = ("http://", "https://")
_AFTER_ADDRESS = ".,;:!?\"'*_~"
_LABEL = re.compile(r"!?\[((?:\\.|`[^`]*`|[^\[\]\\]|\[[^\[\]]*\])*+)\]", re.DOTALL)
_TARGET = re.compile(r"\(\s*(<[^<>\n]*>|(?:[^\s()]|\([^\s()]*\))*+)(\s+(?:\"[^\"]*\"|'[^']*'))?\s*\)")
_TARGET_BEGUN = re.compile(
    r"\(\s*(?:<[^<>\n]*>?|(?:[^\s()]|\([^\s()]*\))*+(?:\([^\s()]*)?)(?:\s+(?:\"[^\"]*\"?|'[^']*'?)?\s*)?"
)
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_ENTITY_BEGUN = re.compile(r"&(?:#?[0-9A-Za-z]{0,31})")
_AUTOLINK = re.compile(r"<((?:https?|ftp|mailto):[^\s<>]*)>", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Waiting:
    """What it is can't be told before one of these characters came; before any other, where there is none."""

    awaited: str = ""


@dataclass(frozen=True, slots=True)
class Span:
    """It ends before `end`, and is shown so."""

    end: int
    runs: list[Run]


def runs_of(text: str, style: Style = (), *, marked: Collection[str] = (), before: str = "\n") -> list[Run]:
    """A whole text. The marks of styles in `marked` stay, for those that are not shown otherwise."""
    runs: list[Run] = []
    at = 0
    while at < len(text):
        plain = at
        while plain < len(text) and text[plain] not in SPECIAL:
            plain += 1
        if plain > at:
            runs.append((text[at:plain], style))
            before, at = text[plain - 1], plain
            continue
        span = read_span(text, at, before, final=True, style=style, marked=marked)
        assert isinstance(span, Span), "all of the text is there"
        runs += span.runs
        before, at = text[span.end - 1], span.end
    return runs


def read_span(text: str, at: int, before: str, *, final: bool, style: Style, marked: Collection[str]) -> Span | Waiting:
    """What begins at this place of a text, behind the character `before`; `final` where no more of the text comes."""
    first = text[at]
    match first:
        case "\\":
            return _escape(text, at, final, style)
        case "`":
            return _code(text, at, final, style, marked)
        case "*" | "_" | "~":
            return _emphasis(text, at, before, final, style, marked)
        case "[" | "!":
            return _link(text, at, final, style, marked)
        case "<":
            return _tag(text, at, final, style)
        case "&":
            return _entity(text, at, final, style)
        case "h" | "H" if _begins_word(before):
            return _address(text, at, final, style)
    return Span(at + 1, [(first, style)])


def _escape(text: str, at: int, final: bool, style: Style) -> Span | Waiting:
    following = text[at + 1 : at + 2]
    if not following and not final:
        return Waiting()
    if following == "\n":
        return Span(at + 1, [])  # the line ends either way
    if following and following in _ESCAPABLE:
        return Span(at + 2, [(following, style)])
    return Span(at + 1, [("\\", style)])


def _code(text: str, at: int, final: bool, style: Style, marked: Collection[str]) -> Span | Waiting:
    length = _run_length(text, at)
    if at + length == len(text) and not final:
        return Waiting()
    end = _code_end(text, at, final)
    if end is None:
        if not final:
            return Waiting("" if text.endswith("`") else "`")
        return Span(at + length, [(text[at : at + length], style)])
    if "code" in marked:
        return Span(end, [(text[at:end], style)])
    inner = text[at + length : end - length].replace("\n", " ")
    if len(inner) > 1 and inner[0] == inner[-1] == " " and inner.strip():
        inner = inner[1:-1]
    return Span(end, [(inner, (*style, "code"))])


def _code_end(text: str, at: int, final: bool) -> int | None:
    """Where the code ends that begins with the run of backticks at this place."""
    length = _run_length(text, at)
    place = text.find("`", at + length, at + LIMIT)
    while place >= 0:
        here = _run_length(text, place)
        if here == length and (final or place + here < len(text)):
            return place + here
        place = text.find("`", place + here, at + LIMIT)
    return None


def _emphasis(text: str, at: int, before: str, final: bool, style: Style, marked: Collection[str]) -> Span | Waiting:
    mark, length = text[at], _run_length(text, at)
    end = at + length
    if end == len(text) and not final:
        return Waiting()
    names = _STYLES.get((mark, length))
    if names is None or not _opens(mark, length, before, text[end : end + 1]):
        return Span(end, [(text[at:end], style)])
    close = _closing(text, at, final)
    if close is None:
        if not final:
            return Waiting("" if text.endswith((mark, "`")) else mark + "`")
        return Span(end, [(text[at:end], style)])
    shown = [name for name in names if name not in marked]
    inner = runs_of(text[end:close], (*style, *shown), marked=marked, before=mark)
    if len(shown) < len(names):
        inner = [(text[at:end], style), *inner, (text[at:end], style)]
    return Span(close + length, inner)


def _closing(text: str, at: int, final: bool) -> int | None:
    """Where the run begins that closes the one at this place; None where there is none, or none yet."""
    mark, length = text[at], _run_length(text, at)
    inner: list[int] = []  # the lengths of those that were opened within
    place, stop = at + length, min(len(text), at + LIMIT)
    while place < stop:
        step = _passed_over(text, place, final)
        if step is None:
            return None
        if step:
            place += step
            continue
        if text[place] != mark:
            place += 1
            continue
        here = _run_length(text, place)
        before, after = text[place - 1], text[place + here : place + here + 1]
        if not after and not final:
            return None
        if _closes(mark, here, before, after):
            if here in inner:
                del inner[inner.index(here) :]
            elif here == length:
                return place
            elif here == 3 and length < 3:
                return place + here - length if 3 - length in inner else place
        elif _opens(mark, here, before, after):
            inner.append(here)
        place += here
    return None


def _passed_over(text: str, place: int, final: bool) -> int | None:
    """How many characters stand here in which no mark counts; None where it can't be told yet."""
    match text[place]:
        case "\\":
            return 2
        case "`":
            end = _code_end(text, place, final)
            if end is None:
                return _run_length(text, place) if final else None
            return end - place
        case "]":
            target = _TARGET.match(text, place + 1)
            return target.end() - place if target else 0
        case "h" | "H" if _begins_word(text[place - 1]):
            return _address_end(text, place) - place
    return 0


def _opens(mark: str, length: int, before: str, after: str) -> bool:
    if mark == "*" and length == 1 and _in_word(before, after):
        return False
    left = _left(before, after)
    return left and (not _right(before, after) or _is_punctuation(before)) if mark == "_" else left


def _closes(mark: str, length: int, before: str, after: str) -> bool:
    if mark == "*" and length == 1 and _in_word(before, after):
        return False
    right = _right(before, after)
    return right and (not _left(before, after) or _is_punctuation(after)) if mark == "_" else right


def _in_word(before: str, after: str) -> bool:
    """A product such as a*b*c, or a pointer, is no emphasis."""
    return before.isascii() and before.isalnum() and after.isascii() and after.isalnum()


def _left(before: str, after: str) -> bool:
    return not _is_space(after) and (not _is_punctuation(after) or _is_edge(before))


def _right(before: str, after: str) -> bool:
    return not _is_space(before) and (not _is_punctuation(before) or _is_edge(after))


def _is_space(character: str) -> bool:
    return not character or character.isspace()


def _is_punctuation(character: str) -> bool:
    return bool(character) and unicodedata.category(character)[0] in "PS"


def _begins_word(before: str) -> bool:
    return not before.isalnum() or wcwidth(before) == 2


def _is_edge(character: str) -> bool:
    """A word can end here: also where a language has no blanks."""
    return _is_space(character) or _is_punctuation(character) or wcwidth(character) == 2


def _link(text: str, at: int, final: bool, style: Style, marked: Collection[str]) -> Span | Waiting:
    """[text](address), or a picture of which only the words can be shown."""
    literal = Span(at + 1, [(text[at], style)])
    if text[at] == "!" and text[at + 1 : at + 2] != "[":
        return literal if final or at + 1 < len(text) else Waiting()
    label = _LABEL.match(text, at)
    if label is None:
        return literal if final else Waiting("]")
    if label.end() == len(text):
        return literal if final else Waiting()
    if text[label.end()] != "(":
        return literal
    target = _TARGET.match(text, label.end())
    if target is None:
        return literal if final or not _TARGET_BEGUN.fullmatch(text, label.end()) else Waiting()
    if "link" in marked:
        return Span(target.end(), [(text[at : target.end()], style)])
    address, title = target[1].strip("<>"), target[2] or ""
    shown = runs_of(label[1], (*style, "link"), marked=marked, before="[")
    told = [] if label[1] == address or not address + title else [(f" ({address}{title})", (*style, "dim"))]
    return Span(target.end(), [*shown, *told])


def _tag(text: str, at: int, final: bool, style: Style) -> Span | Waiting:
    """An address in angle brackets; anything else is shown as it is."""
    link = _AUTOLINK.match(text, at)
    if link is not None:
        return Span(link.end(), [(link[1], _linked(style))])
    begun = text[at + 1 :]
    could_be = re.fullmatch(r"[A-Za-z]{0,6}(?::[^\s<>]*)?", begun) is not None
    return Waiting() if could_be and not final else Span(at + 1, [("<", style)])


def _entity(text: str, at: int, final: bool, style: Style) -> Span | Waiting:
    found = _ENTITY.match(text, at)
    if found is not None:
        meant = html.unescape(found[0]) if found[0][1] == "#" else html5.get(found[0][1:], found[0])
        meant = meant.replace("\xa0", " ")
        # What a terminal would obey is no letter, however it is spelled.
        return Span(found.end(), [(meant if meant and meant.isprintable() else found[0], style)])
    if not final and _ENTITY_BEGUN.fullmatch(text, at):
        return Waiting()
    return Span(at + 1, [("&", style)])


def _address(text: str, at: int, final: bool, style: Style) -> Span | Waiting:
    begun = text[at : at + 8].lower()
    if not begun.startswith(_SCHEMES):
        could_be = any(scheme.startswith(begun) for scheme in _SCHEMES)
        return Waiting() if could_be and not final else Span(at + 1, [(text[at], style)])
    found = _ADDRESS.match(text, at)
    assert found is not None
    if found.end() == len(text) and not final:
        return Waiting()
    end = _address_end(text, at)
    return Span(end, [(text[at:end], _linked(style))])


def _linked(style: Style) -> Style:
    return style if "link" in style else (*style, "link")


def _address_end(text: str, at: int) -> int:
    """Where a bare address ends, without what rather belongs to the sentence; its beginning where there is none."""
    found = _ADDRESS.match(text, at)
    if found is None:
        return at
    address = found[0].rstrip(_AFTER_ADDRESS)
    while address.endswith(")") and address.count(")") > address.count("("):
        address = address[:-1].rstrip(_AFTER_ADDRESS)
    return at + max(len(address), 1)


def _run_length(text: str, at: int) -> int:
    end = at
    while end < len(text) and text[end] == text[at]:
        end += 1
    return end - at
