"""Where examples go that leave the store: one file of JSON lines, only ever added to until something is forgotten.

Writers take turns by the database's write lock: call `append` and `forget` inside a transaction.
"""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from shammah.durable import explained, make_folder, sync_folder, touch_private, write_file
from shammah.records import Example
from shammah.store.rows import example_row, storable


class Archive:
    def __init__(self, folder: Path) -> None:
        """The folder is made when something goes into it."""
        self._folder = folder
        self.path = folder / "examples.jsonl"

    def append(self, examples: Sequence[Example]) -> None:
        """Write them at the end. When this returns they are on the disk."""
        lines = "".join(json.dumps(example_row(example), ensure_ascii=False) + "\n" for example in examples)
        make_folder(self._folder)
        touch_private(self.path)
        with explained(self.path), self.path.open("r+b") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
            # What a crash left without its end is a line of its own, and spoils no other.
            begin = "" if file.read(1) in (b"", b"\n") else "\n"
            file.write(storable(begin + lines).encode())
            file.flush()
            os.fsync(file.fileno())
            sync_folder(self._folder)

    def forget(self, matches: Callable[[str], bool], *, preview: bool = False) -> list[str]:
        """Write the file anew without the lines that match, and return these; with `preview` only find them. They are
        JSON, with the names of the fields in each."""
        if not self.path.exists():
            return []
        with explained(self.path):
            lines = self.path.read_bytes().splitlines(keepends=True)
        gone = {line: text for line in lines if matches(text := line.decode(errors="replace"))}
        if gone and not preview:
            write_file(self.path, b"".join(line for line in lines if line not in gone))
        return [gone[line] for line in lines if line in gone]
