"""A list to pick from on a terminal that can redraw: words narrow it down, the arrow keys move, Enter takes."""

import os
from collections.abc import Callable, Sequence

from prompt_toolkit.application import Application
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.input import Input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.layout import Layout, Window
from prompt_toolkit.layout.controls import FormattedTextControl
from prompt_toolkit.output import Output

from shammah.ui.render import printable
from shammah.ui.session_words import cut

_MOST_ROWS = 10
_HELP = "Words narrow it down, Enter takes, Esc leaves"


class Picker:
    """Which rows are shown, and which one of them Enter would take."""

    def __init__(self, rows: Sequence[str], title: str) -> None:
        self._rows = rows
        self._title = title
        self.words = ""
        self._at = 0

    @property
    def found(self) -> list[int]:
        """The places of the rows that hold every word, in the order of all; where a number is typed, its row first."""
        words = self.words.casefold().split()
        found = [at for at, row in enumerate(self._rows) if all(word in row.casefold() for word in words)]
        number = int(words[0]) if len(words) == 1 and words[0].isdecimal() else 0
        return sorted(found, key=lambda at: at + 1 != number)

    @property
    def taken(self) -> int | None:
        """The place of the row that is marked; None where no row is left."""
        found = self.found
        return found[self._at] if found else None

    def type(self, words: str) -> None:
        self.words, self._at = words, 0

    def move(self, by: int) -> None:
        self._at = max(0, min(len(self.found) - 1, self._at + by))

    def shown(self, columns: int, lines: int, *, styled: bool = True) -> StyleAndTextTuples:
        """The title with what was typed, the rows about the marked one, and how many there are beside them."""
        found = self.found
        room = max(1, min(_MOST_ROWS, lines - 2))
        first = max(0, min(self._at - room // 2, len(found) - room))
        parts: StyleAndTextTuples = [("", cut(f"{self._title} {self.words}", columns - 1)), ("[SetCursorPosition]", "")]
        for place in range(first, min(first + room, len(found))):
            marked = place == self._at
            line = cut(("> " if marked else "  ") + self._rows[found[place]], columns - 1)
            parts.append(("reverse" if marked and styled else "", f"\n{line}"))
        beside = len(found) - room
        told = "\n  nothing holds these words" if not found else f"\n  {beside} more" if beside > 0 else f"\n  {_HELP}"
        return [*parts, ("", cut(told, columns - 1))]


def pick(input: Input, output: Output, rows: Sequence[str], title: str) -> int | None:
    """The place of the row that the user takes; None where they leave. Nothing of the list stays on the screen."""
    picker = Picker(rows, title)

    def shown() -> StyleAndTextTuples:
        size = output.get_size()
        return picker.shown(size.columns, size.rows, styled="NO_COLOR" not in os.environ)

    window = Window(FormattedTextControl(shown, focusable=True), dont_extend_height=True, wrap_lines=False)
    app: Application[int | None] = Application(
        Layout(window), key_bindings=_keys(picker), erase_when_done=True, input=input, output=output
    )
    app.ttimeoutlen = 0.05
    return app.run()


def _keys(picker: Picker) -> KeyBindings:
    keys = KeyBindings()

    def take(event: KeyPressEvent) -> None:
        if picker.taken is not None:
            event.app.exit(result=picker.taken)

    def leave(event: KeyPressEvent) -> None:
        event.app.exit(result=None)

    def write(event: KeyPressEvent) -> None:
        key = event.key_sequence[0].key
        if key == Keys.BracketedPaste:
            picker.type(picker.words + " ".join(printable(event.data).split()))
        elif len(key) == 1:  # and not one that has no letter
            picker.type(picker.words + printable(event.data))

    acts: dict[tuple[str, ...], Callable[[KeyPressEvent], None]] = {
        ("enter", "c-j"): take,
        ("escape", "c-c", "c-d"): leave,
        (Keys.Any, Keys.BracketedPaste): write,
        ("up", "c-p", "s-tab"): lambda event: picker.move(-1),
        ("down", "c-n", "tab"): lambda event: picker.move(1),
        ("pageup",): lambda event: picker.move(-_MOST_ROWS),
        ("pagedown",): lambda event: picker.move(_MOST_ROWS),
        ("backspace",): lambda event: picker.type(picker.words[:-1]),
        ("c-w",): lambda event: picker.type(picker.words.rstrip().rpartition(" ")[0]),
        ("c-u",): lambda event: picker.type(""),
    }
    for names, act in acts.items():
        for name in names:
            keys.add(name)(act)
    return keys
