"""What things look like, by name: for each style the codes that a terminal shows it with.

Only the sixteen colours that every terminal has and its user may have chosen, and none for ordinary text, so that a
theme reads well on the background that it is named after; a menu alone brings its own. Where a theme shows nothing for
a style of a reply, the marks that the model wrote stay: nothing is lost without colours.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass

Style = tuple[str, ...]
RESET = "\x1b[0m"


@dataclass(frozen=True)
class Theme:
    """`codes` are parameters of SGR sequences by style, `prompt` is what prompt_toolkit takes for the line editor."""

    name: str
    codes: Mapping[str, str]
    prompt: Mapping[str, str]

    def shows(self, style: str) -> bool:
        return bool(self.codes.get(style))

    def sgr(self, style: Style) -> str:
        """The sequence that begins a style; empty where it looks like any other text."""
        parameters = ";".join(filter(None, (self.codes.get(name, "") for name in style)))
        return f"\x1b[{parameters}m" if parameters else ""

    def paint(self, text: str, *style: str) -> str:
        begin = self.sgr(style)
        return f"{begin}{text}{RESET}" if begin and text else text


_ATTRIBUTES = {
    "strong": "1", "emphasis": "3", "strike": "9", "link": "4", "title": "1", "heading": "1;4", "dim": "2",
}  # fmt: skip
# A row that is always there must not be the brightest one.
_QUIET = {"mark": "bold", "bottom-toolbar": "noreverse dim"}


def _with_menu(ground: str, text: str, note: str, marked: str, bar: str) -> Mapping[str, str]:
    """A menu has to stand out from what it covers."""
    return {
        **_QUIET,
        "completion-menu": f"bg:{ground} {text}", "completion-menu.meta.completion": f"bg:{ground} {note}",
        "completion-menu.completion.current": f"noreverse bg:{marked} {text}",
        "completion-menu.meta.completion.current": f"bg:{marked} {text}",
        "scrollbar.background": f"bg:{ground}", "scrollbar.button": f"bg:{bar}",
    }  # fmt: skip


_DARK = {
    **_ATTRIBUTES,
    "heading": "1;95", "code": "36", "quote": "36", "link": "4;94", "good": "32", "bad": "31", "notice": "33",
    "keyword": "95", "string": "32", "comment": "2", "number": "36", "name": "94", "builtin": "36",
    "inserted": "32", "deleted": "31",
}  # fmt: skip
_LIGHT = {
    **_DARK,
    "heading": "1;35", "code": "34", "quote": "34", "link": "4;34", "notice": "35",
    "keyword": "35", "number": "34", "name": "34", "builtin": "34",
}  # fmt: skip
THEMES = {
    theme.name: theme
    for theme in (
        Theme("dark", _DARK, _with_menu("#303030", "#e4e4e4", "#949494", "#585858", "#6c6c6c")),
        Theme("light", _LIGHT, _with_menu("#e4e4e4", "#262626", "#626262", "#bcbcbc", "#9e9e9e")),
        Theme("plain", _ATTRIBUTES, _QUIET),
    )
}
# Where nothing but text is wanted.
COLOURLESS = Theme("none", {}, {"bottom-toolbar": "noreverse"})
# The backgrounds of COLORFGBG that are light: white, and the bright one of it.
_LIGHT_BACKGROUNDS = {"7", "15"}


def theme_named(name: str, environment: Mapping[str, str] = os.environ) -> Theme:
    """The theme of a setting; auto takes the terminal's word for its background, where it gives one."""
    if "NO_COLOR" in environment:
        return COLOURLESS
    if name == "auto":
        background = environment.get("COLORFGBG", "").rpartition(";")[2]
        name = "light" if background in _LIGHT_BACKGROUNDS else "dark"
    return THEMES[name]


def colours_forced(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether colours are wanted where no terminal is."""
    return environment.get("FORCE_COLOR", "") not in ("", "0") and environment.get("TERM") != "dumb"
