"""A reply's Markdown, read a character at a time and put on a page block by block.

What is put depends on the characters alone, not on the pieces in which they come, and is final.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from shammah.ui.reply.code_lines import CodeLines
from shammah.ui.reply.inline import Inline
from shammah.ui.reply.line_starts import Container, Fence, Found, Item, Leaf, Quote, Undecided, read_line
from shammah.ui.reply.page import Page
from shammah.ui.reply.spans import Run, runs_of
from shammah.ui.reply.tables import Align, alignments, cells_in, lay_out
from shammah.ui.reply.wrapping import cells_of

_MARKABLE = ("strong", "emphasis", "strike", "code", "link")
_BULLETS = ("-", "*", "+")
_RULE = 40


@dataclass(frozen=True, slots=True)
class Signs:
    bullets: str = "•◦"
    bar: str = "▌"
    rule: str = "─"
    double: str = "═"


SIGNS, ASCII_SIGNS = Signs(), Signs("-", ">", "-", "=")


class Blocks:
    def __init__(self, page: Page, *, ascii: bool = False) -> None:
        self._page = page
        page.margin = self._margin
        self._ascii = ascii
        self._signs = ASCII_SIGNS if ascii else SIGNS
        # What the theme does not show keeps the marks that it has in the source.
        self._marked = frozenset(style for style in _MARKABLE if not page.theme.shows(style))
        self._line = ""  # of which it is not known yet what it is
        self._whole = False  # and will not be before its end
        self._in_text = False
        self._stack: list[Container] = []
        self._fresh: set[Container] = set()  # items whose mark is still to be written
        self._leaf: Leaf = ""
        self._inline: Inline | None = None
        self._fence: Fence | None = None
        self._code: CodeLines | None = None
        self._header = ""
        self._rows: list[list[list[Run]]] = []
        self._aligns: list[Align] = []
        self._blanks = 0  # lines since the last one that said something
        self._before: Sequence[Container] | None = None  # where the last block stands; None where there is none yet
        self._begun_at = 0  # lines of the page when it began

    @property
    def waiting(self) -> str:
        """What is collected at the moment and can't be shown yet; empty for nothing."""
        if self._leaf != "table":
            return ""
        count = len(self._rows) - 1
        return f"table, {count} row" if count == 1 else f"table, {count} rows"

    def feed(self, text: str) -> None:
        for character in text:
            if character == "\n":
                self._end_line()
            elif self._in_text:
                assert self._inline is not None
                self._inline.feed(character)
            else:
                self._line += character
                if not self._whole:
                    self._look(complete=False)

    def end(self) -> None:
        if self._line:
            self._look(complete=True)
        self._close_leaf()
        self._leave(0)
        self._page.end_text()

    def _margin(self) -> list[Run]:
        """What stands before the next line: bars, the mark of an item, blanks below it."""
        margin = self._margin_of(self._stack, self._fresh)
        self._fresh.clear()
        return margin

    def _margin_of(self, stack: Sequence[Container], fresh: Collection[Container] = ()) -> list[Run]:
        margin: list[Run] = []
        bullets = iter(self._signs.bullets)
        bullet = ""
        for container in stack:
            if isinstance(container, Quote):
                margin.append((f"{self._signs.bar} ", ("quote",)))
                continue
            mark = f"{container.mark} "
            if container.mark in _BULLETS:
                bullet = next(bullets, bullet)
                mark = f"{bullet} "
            margin.append((mark if container in fresh else " " * cells_of(mark), ()))
        return margin

    def _end_line(self) -> None:
        if self._in_text:
            assert self._inline is not None
            self._inline.feed("\n")
        else:
            self._look(complete=True)
        self._line, self._whole, self._in_text = "", False, False

    def _look(self, *, complete: bool) -> None:
        found = read_line(self._line, complete, self._stack, self._leaf, self._fence)
        if not isinstance(found, Undecided) and self._leaf == "header" and not self._is_table(found):
            self._release_header()
            found = read_line(self._line, complete, self._stack, self._leaf)
        if isinstance(found, Undecided):
            self._whole = found.whole
        else:
            self._take(found, complete)

    def _take(self, found: Found, complete: bool) -> None:
        match found.kind:
            case "blank":
                self._take_blank(found)
            case "text":
                self._take_text(found, complete)
            case "row" | "delimiter":
                self._take_row(found)
            case "code":
                assert self._code is not None
                self._page.line(self._code.runs(found.text))
            case "fence end":
                self._end_fence()
            case "fence":
                self._begin_fence(found)
            case "indented":
                self._take_indented(found)
            case "html":
                if self._enter(found, "html"):
                    self._separate()
                self._page.line([(found.text, ())])
            case "underline":
                self._take_underline(found)
            case "heading" | "rule":
                self._enter(found, "")
                self._separate()
                self._take_single(found)

    def _take_blank(self, found: Found) -> None:
        if found.opened:
            self._enter(found, "")
            return
        self._blanks += 1
        if self._leaf == "indented" and found.matched == len(self._stack):
            return
        self._close_leaf()
        quotes = (at for at, container in enumerate(self._stack) if isinstance(container, Quote))
        self._leave(next((at for at in quotes if at >= found.matched), len(self._stack)))

    def _take_text(self, found: Found, complete: bool) -> None:
        if self._leaf != "paragraph" or found.opened:
            self._enter(found, "paragraph")
            self._separate()
            self._inline = Inline(self._page.put, marked=self._marked)
        assert self._inline is not None
        for character in found.text + "\n" * complete:
            self._inline.feed(character)
        self._line, self._in_text = "", True

    def _take_single(self, found: Found) -> None:
        if found.kind == "rule":
            self._page.line([(self._signs.rule * min(_RULE, self._page.room()), ("dim",))])
            return
        if not self._page.theme.shows("heading"):
            self._page.put("#" * found.level + " ")
        for text, style in runs_of(found.text, ("heading",), marked=self._marked):
            self._page.put(text, style)
        self._page.end_text()

    def _take_underline(self, found: Found) -> None:
        """What stands above it is written, and stays as it is: the line below it is all that can be added."""
        self._close_leaf()
        sign = self._signs.double if found.text[0] == "=" else self._signs.rule
        self._page.line([(sign * max(self._page.cells, 1), ("dim",))])

    def _take_indented(self, found: Found) -> None:
        if self._enter(found, "indented"):
            self._separate()
            self._code = CodeLines("", coloured=False)
        else:
            for _ in range(self._blanks):
                self._page.line([])
            self._blanks = 0
        assert self._code is not None
        self._page.line(self._code.runs(found.text))

    def _begin_fence(self, found: Found) -> None:
        fence = found.fence
        assert fence is not None
        self._enter(found, "fence")
        self._fence = fence
        self._code = CodeLines(fence.info, coloured=self._page.theme.shows("keyword"))
        self._separate()
        if not self._page.theme.shows("code"):
            self._page.line([(f"{fence.mark}{fence.info}", ())])
        elif fence.info:
            self._page.line([(fence.info, ("dim",))])

    def _end_fence(self) -> None:
        assert self._fence is not None
        if not self._page.theme.shows("code"):
            self._page.line([(self._fence.mark, ())])
        self._close_leaf()

    def _is_table(self, found: Found) -> bool:
        if found.kind != "delimiter":
            return False
        return "|" in found.text or len(cells_in(self._header)) == 1

    def _take_row(self, found: Found) -> None:
        if found.kind == "delimiter":
            self._leaf = ""
            self._close_leaf()
            self._leaf = "table"
            self._separate()
            self._aligns = alignments(found.text)
            self._rows = [self._cells(self._header, ("strong",))]
        elif self._leaf == "table" and found.matched == len(self._stack) and not found.opened:
            self._rows.append(self._cells(found.text, ()))
        else:
            if self._leaf != "paragraph" or found.opened or found.matched < len(self._stack):
                self._enter(found, "header")
            self._leaf, self._header = "header", found.text

    def _cells(self, row: str, style: tuple[str, ...]) -> list[list[Run]]:
        return [runs_of(cell, style, marked=self._marked) for cell in cells_in(row)]

    def _release_header(self) -> None:
        """What could have been the header of a table is text."""
        text, self._header, self._leaf = self._header, "", "paragraph"
        if self._inline is None:
            self._separate()
            self._inline = Inline(self._page.put, marked=self._marked)
        for character in text + "\n":
            self._inline.feed(character)

    def _enter(self, found: Found, leaf: Leaf) -> bool:
        """Leave what the line is not part of, and open what it opens; whether another leaf begins."""
        goes_on = leaf == self._leaf and found.matched == len(self._stack) and not found.opened
        if goes_on and leaf in ("indented", "html"):
            return False
        self._close_leaf()
        self._leave(found.matched)
        self._stack += found.opened
        self._fresh.update(container for container in found.opened if isinstance(container, Item))
        self._leaf = leaf
        return True

    def _leave(self, containers: int) -> None:
        """Close all but the outer containers. An item with nothing in it still has its mark."""
        if containers < len(self._stack):
            self._close_leaf()
            if self._fresh.intersection(self._stack[containers:]):
                self._separate()
                self._page.line([])
            del self._stack[containers:]

    def _close_leaf(self) -> None:
        if self._leaf == "header":
            self._release_header()
        if self._inline is not None:
            self._inline.end()
            self._page.end_text()
        if self._leaf == "table":
            room = self._page.room()
            for line in lay_out(self._rows, self._aligns, room, ascii=self._ascii):
                self._page.line(line)
        self._leaf, self._inline, self._fence, self._code = "", None, None, None

    def _separate(self) -> None:
        """Between this block and the one before it: one blank line, but none in a list that has none."""
        if self._before is not None:
            self._page.end_text()
            shared = 0
            for old, new in zip(self._before, self._stack, strict=False):
                if old is not new:
                    break
                shared += 1
            empty = self._page.lines == self._begun_at  # nothing came of the block before
            if not empty and (self._blanks or not self._in_same_list(self._before, shared)):
                self._page.blank(self._margin_of(self._stack[:shared]))
        self._before, self._blanks, self._begun_at = tuple(self._stack), 0, self._page.lines

    def _in_same_list(self, before: Sequence[Container], shared: int) -> bool:
        if any(isinstance(container, Item) for container in before[:shared]):
            return True
        pair = [*before[shared : shared + 1], *self._stack[shared : shared + 1]]
        return len(pair) == 2 and all(isinstance(container, Item) for container in pair)
