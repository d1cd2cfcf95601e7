"""Code with its syntax in colours, a line at a time and letter for letter."""

from typing import TYPE_CHECKING

from shammah.ui.reply.spans import Run

if TYPE_CHECKING:
    from pygments.lexer import Lexer
    from pygments.token import _TokenType

# So many lines before the one that is shown tell what it is part of; with more, long code would take ever longer. With
# fewer it may begin anew where the code does: at the margin below a blank line, unless that is within a text.
_MOST, _ENOUGH = 60, 20
_STYLES = {
    "Keyword": "keyword", "Literal.String": "string", "Comment": "comment", "Literal.Number": "number",
    "Name.Function": "name", "Name.Class": "name", "Name.Tag": "keyword", "Name.Decorator": "builtin",
    "Name.Builtin": "builtin", "Name.Attribute": "name", "Generic.Inserted": "inserted", "Generic.Deleted": "deleted",
    "Generic.Heading": "heading", "Generic.Subheading": "heading", "Generic.Prompt": "dim", "Operator.Word": "keyword",
}  # fmt: skip


class CodeLines:
    """One block. Code of a language that nobody knows is in one colour."""

    def __init__(self, info: str, *, coloured: bool) -> None:
        self._lexer = _lexer_for(info) if coloured else None
        self._lines: list[str] = []
        self._within_text = False

    def runs(self, line: str) -> list[Run]:
        if self._lexer is None:
            return [(line, ("code",))]
        begins = line[:1].strip() and not self._within_text and len(self._lines) >= _ENOUGH and not self._lines[-1]
        self._lines = [line] if begins else [*self._lines[1 - _MOST :], line]
        runs = self._lexed(self._lexer)
        # A lexer may leave something out, or put something in: what is shown is always the code itself.
        return runs if "".join(text for text, _ in runs) == line else [(line, ())]

    def _lexed(self, lexer: "Lexer") -> list[Run]:
        """The last line, understood with those before it."""
        lines: list[list[Run]] = [[]]
        for token, text in lexer.get_tokens("\n".join(self._lines) + "\n"):
            style = _style_of(token)
            first, *more = text.split("\n")
            lines[-1].append((first, style))
            lines += ([(part, style)] for part in more)
            self._within_text = style in (("string",), ("comment",))
        return [run for run in lines[-2] if run[0]] if len(lines) > 1 else []


def language_of(info: str) -> str:
    """What the words behind a fence call the language: "python", also of `{.python}` and of `js title="x"`."""
    return (info.split() or [""])[0].strip("{}.").partition("{")[0].lower()


def _lexer_for(info: str) -> "Lexer | None":
    language = language_of(info)
    if not language:
        return None
    from pygments.lexers import get_lexer_by_name  # not needed before a reply has code
    from pygments.util import ClassNotFound

    try:
        lexer: Lexer = get_lexer_by_name(language, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return None
    return None if lexer.name == "Text only" else lexer


def _style_of(token: "_TokenType") -> tuple[str, ...]:
    name = str(token).removeprefix("Token.")
    while name:
        if name in _STYLES:
            return (_STYLES[name],)
        name = name.rpartition(".")[0]
    return ()
