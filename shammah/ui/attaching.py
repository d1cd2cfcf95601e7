"""Files before a message: `-f FILE` of the command line, /read and @file in the chat."""

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from shammah.durable import expand
from shammah.errors import UsageError
from shammah.file_parts import FIRST, MENTION, composed, named_by, part, unescaped

# What may follow a name in a sentence, and is no part of it.
_PUNCTUATION = ".,;:!?)]}>\"'"
# Where no such file is there, an ending tells a misspelt name from a mention or a decorator of pasted code.
_ENDINGS = frozenset(
    "bash bat c cc cfg conf cpp cs css csv dart diff docx env ex go gz h hpp hs htm html ini ipynb java jl jpeg jpg js "
    "json jsonl jsx kt lock log lua m md ml mp3 odt patch pdf php pl png proto ps1 py r rb rs rst scala sh sql svg "
    "swift tex toml ts tsv tsx txt vue xlsx xml yaml yml zip zsh".split()
)
_OF_CODE = set("()'\"<>{}=")


@dataclass(frozen=True, slots=True)
class Attached:
    """A file as it stands in a prompt."""

    name: str
    part: str


@dataclass(frozen=True, slots=True)
class WithFiles:
    """What is sent, and the files that are a part of it."""

    text: str
    files: tuple[Attached, ...] = ()


def file_part(path: Path, *, called: str) -> str:
    """The file's text under its name. `called` is what errors call it."""
    try:
        text = expand(str(path)).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{called}: not UTF-8 text", hint="Give a text file.") from None
    except OSError as error:
        reason = (error.strerror or "unreadable").lower()
        raise UsageError(f"{called}: {reason}", hint="Give a file that can be read.") from None
    return part(path.name, text)


def read_message(typed: str, *, limit: int) -> WithFiles:
    """A message with the files that it names by @file. What only looks like one, such as @ada or a mail address, stays
    as it is, and so does all of a message that begins with a blank."""
    found = [] if typed[:1].isspace() else list(_mentions(typed))
    if not found:
        return WithFiles(typed)
    files = {path: attach(path, limit=limit) for _, _, path in found}
    text, around, at = "", "", 0
    for start, end, path in found:
        around += typed[at:start]
        text += typed[at:start] + path.name
        at = end
    asked = [text + typed[at:]] if (around + typed[at:]).strip() else []
    return WithFiles(composed([*(one.part for one in files.values()), *asked]), (*files.values(),))


def read_first(typed: str, *, limit: int, usage: str) -> WithFiles:
    """The file that a text begins with, before the message that is the rest of it."""
    match = FIRST.match(typed)
    if match is None:
        raise UsageError("Which file?", hint=usage)
    first = attach(Path(named_by(match)), limit=limit)
    rest = read_message(typed[match.end() :], limit=limit)
    parts = [first.part, *([rest.text] if rest.text.strip() else [])]
    return WithFiles(composed(parts), (first, *rest.files))


def attach(path: Path, *, limit: int) -> Attached:
    """A file for a prompt; UsageError for what is none that can be read as text, or is too large."""
    place, called = expand(str(path)), str(path)
    try:
        about = place.stat()
        if stat.S_ISDIR(about.st_mode):
            raise UsageError(f"{called} is a folder", hint="Name a file in it.")
        if not stat.S_ISREG(about.st_mode):
            raise UsageError(f"{called} is no ordinary file", hint="Give a text file.")
        if about.st_size > limit:
            raise UsageError(
                f"{called} has {about.st_size:,} bytes, more than {limit:,}",
                hint="Attach a part of it, or raise the limit: /set files.max_bytes BYTES",
            )
        with place.open("rb") as file:
            if b"\0" in file.read(limit):
                raise UsageError(f"{called} is not a text file", hint="Nothing was sent.")
    except FileNotFoundError:
        raise UsageError(f"There is no file {called}", hint="Nothing was sent.") from None
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or "unreadable").lower()
        raise UsageError(f"{called}: {reason}", hint="Give a file that can be read.") from None
    return Attached(path.name, file_part(path, called=called))


def _mentions(typed: str) -> Iterator[tuple[int, int, Path]]:
    """Where files are named, and which; those that are not there are met by whoever reads them."""
    for match in MENTION.finditer(typed):
        if match["bare"] is None:
            path = Path(named_by(match))
            if _there(path) or _looks_like_file(str(path)):  # a string of Objective-C or C# is quoted so too
                yield match.start(), match.end(), path
            continue
        name = _without_punctuation(match["bare"])
        path = Path(unescaped(name))
        if any(map(str.isalnum, name)) and (_meant(name, path) or _looks_like_file(name)):
            yield match.start(), match.start() + len("@") + len(name), path


def _without_punctuation(name: str) -> str:
    """Without what follows the name in a sentence."""
    while name and name[-1] in _PUNCTUATION and not _there(Path(unescaped(name))):
        name = name[:-1]
    return name


def _there(path: Path) -> bool:
    try:
        return expand(str(path)).exists()
    except (OSError, ValueError, UsageError):
        return False


def _meant(name: str, path: Path) -> bool:
    """Whether something is there, and was meant: @test above a Java method is no folder called so, @test/ is."""
    return _there(path) and ("/" in name or not expand(str(path)).is_dir())


def _looks_like_file(name: str) -> bool:
    """Whether a name that is not there was meant to be one."""
    path = Path(unescaped(name))
    if _OF_CODE & set(name):
        return False
    if name.startswith(("/", "~", "./", "../")) or path.suffix[1:].lower() in _ENDINGS:
        return True
    return path.parent != Path(".") and _there(path.parent)  # @org/package is a mention too
