"""Names of files as they are typed, for completion: begun in quotes, with backslashes before blanks, or with ~."""

import os
import re
from collections.abc import Iterator
from itertools import islice

from shammah.file_parts import unescaped

# Of a folder with more, more has to be typed.
_MOST = 200


def file_names(begun: str) -> list[str]:
    """What may be meant, as it would be typed on; folders end in a slash."""
    quote = begun[:1] if begun[:1] in ("'", '"') else ""
    folder, slash, last = (begun[1:] if quote else unescaped(begun)).rpartition("/")
    try:
        found = sorted(islice(_entries(os.path.expanduser(folder + slash) or ".", last), _MOST))
    except (OSError, ValueError):
        return []
    return [_typed(folder + slash + name, quote) for name in found]


def _entries(folder: str, begun: str) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            hidden = entry.name.startswith(".") and not begun.startswith(".")
            if entry.name.lower().startswith(begun.lower()) and not hidden:
                yield entry.name + "/" * entry.is_dir()


def _typed(path: str, quote: str) -> str:
    if quote:
        return quote + path + ("" if path.endswith("/") else quote)
    return re.sub(r"([\s\\\"'])", r"\\\1", path)
