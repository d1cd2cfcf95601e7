"""One reply on its way to the user: as text where only text is wanted, laid out where somebody looks at it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from shammah.records import Piece
from shammah.ui.reply.blocks import Blocks
from shammah.ui.reply.page import Page
from shammah.ui.reply.spinner import LastRow, Spinner
from shammah.ui.themes import Theme

Reasoning = Literal["show", "fold", "hide"]
_THOUSAND = 1000


@dataclass(frozen=True, slots=True)
class Look:
    """How a stream wants its replies. Without `rendered` they are the model's own letters; only with `moves` may
    something be shown that goes away again."""

    theme: Theme
    width: Callable[[], int]
    rendered: bool
    moves: bool
    ascii: bool
    reasoning: Reasoning = "hide"


class Stream(Protocol):
    def write(self, text: str, /) -> int: ...

    def flush(self) -> None: ...


class _Text(Protocol):
    @property
    def waiting(self) -> str:
        """What is collected, where it can't be shown yet."""
        ...

    def feed(self, text: str) -> str:
        """What is to be written now."""
        ...

    def end(self) -> str: ...


class ReplyView:
    """`begin` before the model is asked, `add` for each piece, `end` in any case."""

    def __init__(self, out: Stream, look: Look) -> None:
        self._out = out
        self._look = look
        self._row = LastRow(self._write)
        self._spinner = Spinner(self._row, ascii=look.ascii) if look.moves else None
        self._text: _Text | None = None
        self._kind = ""
        self._shown = ""
        self._thought = _Words()

    def go_on(self, shown: str) -> None:
        """The reply was begun before, and so much of it was shown."""
        self._shown = shown

    def begin(self) -> None:
        """Nothing is said yet."""
        if self._spinner is not None and not self._kind:
            self._spinner.start()

    def add(self, piece: Piece) -> None:
        """`piece` holds no control characters."""
        if piece.kind == "reasoning" and self._look.reasoning != "show":
            self._fold(piece.text)
            return
        if piece.kind != self._kind:
            self._change(piece.kind)
        if self._text is None:
            self._text = self._new_text(piece.kind)
        self._put(self._text.feed(piece.text), self._text.waiting)

    def end(self) -> None:
        """Close the reply with exactly one line end."""
        self._change("")
        self._out.flush()

    def _fold(self, text: str) -> None:
        if self._kind == "reply":
            self._change("")  # it thinks once more
        self._thought.add(text)
        if self._spinner is not None:
            self.begin()
            if self._look.reasoning == "fold":
                self._spinner.label = _thinking_words(self._thought.count)

    def _change(self, kind: str) -> None:
        if self._spinner is not None:
            self._spinner.stop()
            self._spinner.label = ""
        if self._text is not None:
            self._put(self._text.end())
            if self._kind == "reasoning":
                self._write("\n")
        elif self._thought.count and self._look.reasoning == "fold":
            words = "1 word" if self._thought.count == 1 else f"{self._thought.count:,} words"
            self._write(self._look.theme.paint(f"(thought for {words})", "dim") + "\n\n")
        self._thought = _Words()
        self._text, self._kind = None, kind

    def _new_text(self, kind: str) -> _Text:
        if not self._look.rendered:
            return _Plain()
        page = Page(self._look.theme, self._look.width)
        if kind == "reasoning":
            return _Thought(page)
        text, shown, self._shown = _Rendered(page, ascii=self._look.ascii), self._shown, ""
        if shown:
            text.go_on(shown)
        return text

    def _put(self, text: str, waiting: str = "") -> None:
        if text or not waiting:
            self._row.clear()
        if text:
            self._write(text)
        if waiting and self._look.moves:
            self._row.show(waiting)

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()


class _Plain:
    """Letter for letter, with a line end at the end."""

    waiting = ""

    def __init__(self) -> None:
        self._last = "\n"

    def feed(self, text: str) -> str:
        self._last = text[-1:] or self._last
        return text

    def end(self) -> str:
        return "" if self._last == "\n" else "\n"


class _Thought:
    """Reasoning: words in lines, dim, as they come."""

    waiting = ""

    def __init__(self, page: Page) -> None:
        self._page = page

    def feed(self, text: str) -> str:
        self._page.put(text, ("dim",))
        return self._page.take()

    def end(self) -> str:
        self._page.end_text()
        return self._page.take()


class _Rendered:
    """A reply's Markdown."""

    def __init__(self, page: Page, *, ascii: bool) -> None:
        self._page = page
        self._blocks = Blocks(page, ascii=ascii)
        self._follows = False  # nothing was written since the text that was shown before

    @property
    def waiting(self) -> str:
        return self._blocks.waiting

    def go_on(self, shown: str) -> None:
        """What comes is read as a part of the whole. It begins on a line of its own: text with what is new, a line of
        code or a table, which are written whole, once more from its beginning."""
        self._blocks.feed(shown)
        self._page.end_text()
        self._page.take()
        self._follows = True

    def feed(self, text: str) -> str:
        self._blocks.feed(text)
        return self._taken()

    def end(self) -> str:
        self._blocks.end()
        return self._taken()

    def _taken(self) -> str:
        text = self._page.take()
        if self._follows:
            text = text.lstrip("\n")  # blank lines would part it from nothing
            self._follows = not text
        return text


class _Words:
    """How many words came in pieces."""

    def __init__(self) -> None:
        self.count = 0
        self._within = False

    def add(self, text: str) -> None:
        for character in text:
            begins = not character.isspace() and not self._within
            self._within = not character.isspace()
            self.count += begins


def _thinking_words(count: int) -> str:
    if count < _THOUSAND:
        return f"thinking, {count} word" + "s" * (count != 1)
    return f"thinking, {count // _THOUSAND}k words"
