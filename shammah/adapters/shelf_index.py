"""What a list says of the adapters of a large shelf, read in one go: a thousand small files take longer to read.

The index is never the last word: an adapter counts as the index has it while its folder and its manifest are the very
ones that were looked at then, and before an adapter is loaded its own manifest is read. Where the index is damaged, or
can't be written, all is looked at anew. It holds nothing of the user's.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from shammah.adapters.bundle import MANIFEST
from shammah.adapters.manifest import IMPORT, Manifest
from shammah.durable import write_file
from shammah.errors import DiskFull, HomeError

FILE = ".index.json"
# So many folders are looked at anew before the index is written anew: small shelves have none.
_MANY = 50
# What was written just now may change once more without its time showing it.
_SETTLED = 2.0  # seconds
_FORM = 1


@dataclass(frozen=True, slots=True)
class Summary:
    """What a list says of an adapter. `examples` counts them, `size` is in bytes, `lacks` the first file that its
    manifest names and the folder has not; `told` is the verdict in its manifest, as JSON."""

    name: str
    version: int
    parent: str | None
    created: str
    base: str
    trigger: str
    examples: int
    size: int
    lacks: str
    told: str

    @property
    def verdict(self) -> dict[str, Any] | None:
        verdict: dict[str, Any] | None = json.loads(self.told)
        return verdict

    @property
    def approved(self) -> bool:
        """Whether its manifest says that it was accepted, or brought here by the user."""
        return self.trigger == IMPORT or bool((self.verdict or {}).get("accepted"))

    @classmethod
    def of(cls, folder: Path, manifest: Manifest) -> "Summary":
        sizes = sizes_in(folder)
        return cls(
            name=manifest.name,
            version=manifest.version,
            parent=manifest.parent,
            created=manifest.created,
            base=manifest.base,
            trigger=manifest.trigger,
            examples=len(manifest.example_ids),
            size=sum(sizes.values()),
            lacks=next((name for name in manifest.files if name not in sizes), ""),
            told=json.dumps(manifest.verdict),
        )


# What tells a folder and its manifest from any others of these names: when each was changed, and which files they are.
State = tuple[int, ...]
Known = dict[str, tuple[State, Summary]]


class ShelfIndex:
    def __init__(self, root: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._path = root / FILE
        self._clock = clock

    def read(self) -> Known:
        """By the names of the adapters; empty where there is no index, or none of this form."""
        try:
            head, _, body = self._path.read_bytes().partition(b"\n")
        except OSError:
            return {}
        if head != hashlib.sha256(body).hexdigest().encode():
            return {}
        values = json.loads(body)
        if values["form"] != _FORM:
            return {}
        return {said[0]: (tuple(state), Summary(*said)) for state, said in values["adapters"]}

    def renew(self, known: Known, found: Known) -> None:
        """Write down what was found, where that is much that was not known, or much is gone."""
        new = sum(known.get(name) is not entry for name, entry in found.items())
        if max(new, len(known.keys() - found.keys())) < _MANY:
            return
        settled = (self._clock() - _SETTLED) * 1e9
        adapters = [
            [state, list(asdict(summary).values())] for state, summary in found.values() if max(state[:2]) < settled
        ]
        body = json.dumps({"form": _FORM, "adapters": adapters}).encode("ascii")
        try:
            write_file(self._path, hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
        except (DiskFull, HomeError):
            pass  # looked at one by one again next time


def state_of(folder: str) -> State | None:
    """None where there is no such folder with a manifest."""
    try:
        inside, file = os.stat(folder), os.stat(f"{folder}/{MANIFEST}")
    except OSError:
        return None
    return inside.st_mtime_ns, file.st_mtime_ns, file.st_size, inside.st_ino, file.st_ino


def sizes_in(folder: Path) -> dict[str, int]:
    """The bytes of each file in a folder; none where it is gone."""
    try:
        with os.scandir(folder) as inside:
            return {each.name: each.stat(follow_symlinks=False).st_size for each in inside}
    except OSError:
        return {}
