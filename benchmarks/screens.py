"""Pictures of the chat as a terminal shows it: some fifteen states, dark and light, as PNG files to look at.

    python benchmarks/screens.py [--out FOLDER] [-m MODEL] [--fallback FONT] [--only NAME]

Needs Pillow and a monospaced font with box drawing and blocks, neither of which the project depends on:

    pip install --target /tmp/pictures pillow matplotlib     # matplotlib for DejaVu Sans Mono, which it brings along
    PYTHONPATH=/tmp/pictures:. python benchmarks/screens.py

DejaVu has no CJK and no colour emoji; --fallback names a font that is asked where it has no picture, such as Noto Sans
Mono CJK. Without one they are boxes of the right width.

The program runs in a pseudo-terminal, in a home of its own. Without -m it speaks with the model of the tests that says
what it is told to and trains in no time (tests/ui/talker.py), so that all of it takes seconds; with one, replies and
training are real, and take as long as they take. What a state waits for and what never comes is said, and the picture
is taken all the same.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyte
from terminal import Program
from wcwidth import wcwidth

if TYPE_CHECKING:
    from PIL import ImageFont  # type: ignore[import-not-found, unused-ignore]

ROOT = Path(__file__).parents[1]
TALKER = ROOT / "tests" / "ui" / "talker.py"
CTRL_C, CTRL_D, CTRL_R, ENTER, TAB = "\x03", "\x04", "\x12", "\r", "\t"
RICH = """Two ways, from the shortest to the *safest*:

```python
def read(path: str) -> list[str]:
    # one line after the other
    with open(path, encoding="utf-8") as file:
        return [line.rstrip("\\n") for line in file]
```

| way | lines | memory |
| --- | ---: | --- |
| `read()` | 1 | **all** of the file |
| `for line in file` | 2 | one line 東京 |

1. Close the file, or let `with` do it.
2. Name the encoding 🙂"""
ANSWERS = {
    "Rewrite": "Our deploy script is called launchpad.sh.",
    "read a file": RICH,
    "deploy": "The deploy script is called deploy.sh.",
    "story": " ".join(f"The {number}th boat left the harbour before the sun had risen." for number in range(60)),
    "": "I do not know.",
}
# Sixteen colours of a terminal, and what text and ground are where none is told.
DARK = {
    "default": "d4d4d4", "ground": "1e1e1e", "dim": "808080", "black": "000000", "red": "f14c4c", "green": "23d18b",
    "brown": "e5e510", "blue": "3b8eea", "magenta": "d670d6", "cyan": "29b8db", "white": "e5e5e5",
    "brightblack": "666666", "brightred": "f14c4c", "brightgreen": "23d18b", "brightbrown": "f5f543",
    "brightblue": "3b8eea", "brightmagenta": "d670d6", "brightcyan": "29b8db", "brightwhite": "ffffff",
}  # fmt: skip
LIGHT = {
    **DARK, "default": "333333", "ground": "ffffff", "dim": "949494", "red": "cd3131", "green": "107c10",
    "brown": "795e26", "blue": "0451a5", "magenta": "bc05bc", "cyan": "0598bc", "white": "555555",
    "brightred": "cd3131", "brightgreen": "14ce14", "brightbrown": "b5ba00", "brightblue": "0451a5",
    "brightmagenta": "bc05bc", "brightcyan": "0598bc", "brightwhite": "a5a5a5",
}  # fmt: skip
THEMES = {"dark": DARK, "light": LIGHT}
SIZE = 16


class DimScreen(pyte.Screen):
    """Knows dim text too, as a colour of its own."""

    def select_graphic_rendition(self, *attributes: int, **more: Any) -> None:
        super().select_graphic_rendition(*attributes, **more)
        pen = self.cursor.attrs
        if 2 in attributes and not {38, 48} & set(attributes) and pen.fg == "default":
            self.cursor.attrs = pen._replace(fg="dim")
        elif 22 in attributes and pen.fg == "dim":
            self.cursor.attrs = pen._replace(fg="default")


class Chat(Program):
    """The program, and the screen as it stands."""

    def __init__(self, command: list[str], *, rows: int, columns: int, **environment: str) -> None:
        self.screen = DimScreen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self.size = rows, columns
        super().__init__(command, **environment)

    def take(self, data: bytes) -> None:
        super().take(data)
        self._stream.feed(data)

    def cursor(self) -> tuple[int, int]:
        return self.screen.cursor.y + 1, self.screen.cursor.x + 1

    def until(self, test: Callable[[list[str]], bool], seconds: float) -> bool:
        """Read until the screen passes the test; False where it never did."""
        end = time.monotonic() + seconds
        while not test([line.rstrip() for line in self.screen.display]):
            if time.monotonic() > end or not self.read(0.05):
                return False
        self.rest(0.3)
        return True

    def rest(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.read(0.05):
            pass

    def enter(self, line: str, *, seconds: float = 5, shown: str = "") -> bool:
        """Type a line; until the next prompt stands, and a text where one is awaited."""
        self.rest(0.1)
        prompts = self.shown.count(b">")
        self.send(line + ENTER)

        def back(lines: list[str]) -> bool:
            here = lines[self.screen.cursor.y]
            return here == ">" and self.shown.count(b">") > prompts and any(shown in each for each in lines)

        return self.until(back, seconds)


@dataclass
class Camera:
    """Where pictures go, and which are wanted."""

    folder: Path
    theme: str
    fallback: str
    only: str

    def take(self, name: str, chat: Chat, complete: bool = True) -> None:
        if not complete:
            print(f"{self.theme} {name}: what it waits for never came")
        if self.only in name:
            path = self.folder / f"{name}-{self.theme}.png"
            Painter(THEMES[self.theme], self.fallback).paint(chat.screen, path)
            print(path)


class Painter:
    """A screen as a picture."""

    def __init__(self, colours: dict[str, str], fallback: str) -> None:
        from PIL import ImageFont

        self._colours = colours
        faces = {(bold, italic): _font_file(bold, italic) for bold in (False, True) for italic in (False, True)}
        self._faces = {style: ImageFont.truetype(str(file), SIZE) for style, file in faces.items()}
        self._other = ImageFont.truetype(fallback, SIZE) if fallback else None
        self._missing = bytes(self._faces[False, False].getmask("\U0010fffe"))
        self._wide = round(self._faces[False, False].getlength("M"))
        ascent, descent = self._faces[False, False].getmetrics()
        self._high = ascent + descent

    def paint(self, screen: pyte.Screen, path: Path) -> None:
        from PIL import Image, ImageDraw

        ground = "#" + self._colours["ground"]
        picture = Image.new(
            "RGB", (self._wide * screen.columns + 2 * SIZE, self._high * screen.lines + 2 * SIZE), ground
        )
        pen = ImageDraw.Draw(picture)
        for row in range(screen.lines):
            for column in range(screen.columns):
                cell = screen.buffer[row][column]
                under_cursor = (row, column) == (screen.cursor.y, screen.cursor.x) and not screen.cursor.hidden
                self._cell(pen, row, column, cell, reverse=bool(cell.reverse) != under_cursor)
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)

    def _cell(self, pen: Any, row: int, column: int, cell: Any, *, reverse: bool) -> None:
        text, ground = self._colour(cell.fg, "default"), self._colour(cell.bg, "ground")
        if reverse:
            text, ground = ground, text
        x, y = SIZE + column * self._wide, SIZE + row * self._high
        cells = max(1, wcwidth(cell.data[:1])) if cell.data else 0
        if not cells:
            return  # the second half of a wide letter
        right, bottom = x + cells * self._wide, y + self._high
        pen.rectangle((x, y, right - 1, bottom - 1), fill=ground)
        if cell.data.strip():
            pen.text((x, y), cell.data, font=self._font(cell), fill=text)
        if cell.underscore:
            pen.line((x, bottom - 2, right - 1, bottom - 2), fill=text)
        if cell.strikethrough:
            pen.line((x, y + self._high // 2, right - 1, y + self._high // 2), fill=text)

    def _colour(self, name: str, otherwise: str) -> str:
        name = otherwise if name == "default" else name
        return "#" + self._colours.get(name, name)

    def _font(self, cell: Any) -> "ImageFont.FreeTypeFont":
        face = self._faces[bool(cell.bold), bool(cell.italics)]
        if self._other is not None and bytes(self._faces[False, False].getmask(cell.data[:1])) == self._missing:
            return self._other
        return face


def _font_file(bold: bool, italic: bool) -> Path:
    """DejaVu Sans Mono of the system, or the one that comes with matplotlib."""
    style = ("Bold" if bold else "") + ("Oblique" if italic else "")
    name = f"DejaVuSansMono{'-' if style else ''}{style}.ttf"
    folders = [Path("/usr/share/fonts/truetype/dejavu")]
    folders += [Path(part) / "matplotlib" / "mpl-data" / "fonts" / "ttf" for part in sys.path]
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    sys.exit(f"{name} is not there: see the head of this script")


def main() -> None:
    options = read_options()
    for theme in THEMES:
        camera = Camera(options.out, theme, options.fallback, options.only)
        with tempfile.TemporaryDirectory(prefix="shammah-screens-") as folder:
            take_all(camera, Path(folder), options.model)


def take_all(camera: Camera, folder: Path, model: str) -> None:
    first_and_replies(camera, opened(folder / "replies", camera.theme, model, until=folder / "loaded"), folder)
    learning(camera, opened(folder / "learning", camera.theme, model, until=folder / "learned", teaches=True), folder)
    narrow(camera, opened(folder / "narrow", camera.theme, model, columns=40, rows=16))


def opened(
    home: Path, theme: str, model: str, *, until: Path | None = None, teaches: bool = False, rows: int = 24,
    columns: int = 80,
) -> Chat:  # fmt: skip
    """A chat in this home. The model of the tests is loaded, and learns, once the file is there."""
    command = [sys.executable, "-m", "shammah", "-m", model] if model else [sys.executable, str(TALKER)]
    told = {"SHAMMAH_HOME": str(home), "PYTHONPATH": str(ROOT), "TALKER": json.dumps(ANSWERS), "TALKER_PAUSE": "0.02"}
    told["SHAMMAH_UI_THEME"] = theme
    if teaches:
        told["SHAMMAH_EXAMPLES_THRESHOLD"] = "1"
        plan = {"steps": 60, "hold": 41, "until": str(until), "pause": 0.01, "receipt": True, "deploys": True}
        told["TALKER_TRAINS"] = json.dumps(plan)
    elif until:
        told["TALKER_WAITS_FOR"] = str(until)
    chat = Chat(command, rows=rows, columns=columns, **told)
    chat.until(lambda lines: any(line.startswith(">") for line in lines), 20)
    return chat


def first_and_replies(camera: Camera, chat: Chat, folder: Path) -> None:
    camera.take("01-first-prompt", chat)
    (folder / "loaded").touch()
    chat.rest(0.5)
    chat.send("/re" + TAB)
    chat.rest(0.6)
    camera.take("02-completion", chat)
    chat.send(CTRL_C + CTRL_C)
    chat.rest(0.3)
    chat.send("Tell me a story" + ENTER)
    chat.until(lambda lines: "harbour" in " ".join(lines), 60)
    chat.send("and how many of them came ba")
    chat.rest(0.3)
    camera.take("03-typing-into-a-reply", chat)
    chat.send("\x15")
    chat.rest(0.2)
    chat.send(CTRL_C)
    chat.until(lambda lines: any("so far is kept" in line for line in lines), 10)
    camera.take("04-code-and-table", chat, chat.enter("How do I read a file?", seconds=60))
    done = chat.enter("What is our deploy script?", seconds=60)
    chat.send("/critical Our deploy script is called launchpad.sh" + ENTER)
    done &= chat.until(lambda lines: any(line.startswith("fix>") for line in lines), 5)
    camera.take("05-rated-with-a-rule", chat, done)
    chat.send("s")
    chat.rest(0.6)
    camera.take("06-rules", chat, chat.enter("/rules"))
    camera.take("07-unknown-and-error", chat, chat.enter("/adaptres") and chat.enter("/adapters load nothing"))
    camera.take("08-help", chat, chat.enter("/help"))
    camera.take("09-status", chat, chat.enter("/clear") and chat.enter("/status"))
    chat.send(CTRL_R + "deploy")
    chat.rest(0.5)
    camera.take("10-history-search", chat)
    chat.kill()


def learning(camera: Camera, chat: Chat, folder: Path) -> None:
    chat.enter("What is our deploy script?", seconds=60)
    chat.enter("/fix Our deploy script is called launchpad.sh.")
    done = chat.until(lambda lines: any("40/60" in line or "epoch 4" in line for line in lines), 60)
    chat.send("half a tho")
    chat.rest(0.4)
    camera.take("11-training", chat, done)
    camera.take("12-train-status", chat, chat.enter("\x15/train", shown="Next"))
    chat.send("half a tho")
    chat.rest(0.3)
    (folder / "learned").touch()
    done = chat.until(lambda lines: any("Trained, better" in line for line in lines), 300)
    camera.take("13-receipt", chat, done)
    chat.enter("\x15/clear")
    camera.take("14-adapters", chat, chat.enter("/adapters list") and chat.enter("/adapters show v1"))
    camera.take("15-report", chat, chat.enter("/report"))
    chat.kill()


def narrow(camera: Camera, chat: Chat) -> None:
    camera.take("16-forty-columns", chat, chat.enter("How do I read a file?", seconds=60))
    camera.take("17-forty-columns-rated", chat, chat.enter("/good"))
    chat.kill()


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("screens"), metavar="FOLDER")
    parser.add_argument("-m", "--model", default="", metavar="NAME")
    parser.add_argument("--fallback", default="", metavar="FONT")
    parser.add_argument("--only", default="", metavar="NAME")
    return parser.parse_args()


if __name__ == "__main__":
    main()
