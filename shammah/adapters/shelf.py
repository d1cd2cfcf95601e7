"""All adapters of a folder, and the one that a user means.

Only what can be read counts. To list them reads their manifests and nothing else; whether the files are what these say
is for `verify`, before one is loaded.
"""

import os
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Protocol

from shammah.adapters.bundle import read_bundle
from shammah.adapters.manifest import Manifest
from shammah.adapters.shelf_index import Known, ShelfIndex, Summary, state_of
from shammah.durable import explained
from shammah.errors import AdapterDamaged, AdapterError

PREFIX = "lora_adapter_"
LATEST = "latest"
_VERSION = re.compile(r"v?(\d{1,9})", re.ASCII | re.IGNORECASE)
# What can't be used, with the reason.
Broken = tuple[Path, str]


class Named(Protocol):
    """What tells one adapter from another."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def created(self) -> str: ...


class Shelf:
    def __init__(self, root: Path) -> None:
        """The folder of adapters; it need not be there yet."""
        self.root = root
        self._index = ShelfIndex(root)

    def all(self) -> list[Manifest]:
        """Oldest first."""
        found = (self._read(name, is_link) for name, is_link in self._names())
        return sorted((each for each in found if isinstance(each, Manifest)), key=_age)

    def listed(self) -> tuple[list[Summary], list[Broken]]:
        """What a list says of those that can be read, oldest first, and those that can't. Quick, however many."""
        known, found = self._index.read(), Known()
        broken: list[Broken] = []
        for name, is_link in self._names():
            state, entry = state_of(f"{self.root}/{name}"), known.get(name)
            if entry is not None and entry[0] == state and not is_link:
                found[name] = entry
                continue
            read = self._read(name, is_link)
            if isinstance(read, str):
                broken.append((self.root / name, read))
            elif read is not None and state is not None:
                found[name] = state, Summary.of(self.root / name, read)
        self._index.renew(known, found)
        return sorted((summary for _, summary in found.values()), key=_age), broken

    def find(self, name: str, labels: Mapping[str, str] | None = None) -> Manifest:
        """The one that a user means, by any of the names that `meant` takes."""
        whole, broken = self.listed()
        for folder, why in broken:
            if folder.name in (name.strip(), PREFIX + name.strip()):
                raise AdapterDamaged(why, hint="Put back a whole copy of the folder, or choose another adapter.")
        latest = next((each.name for each in reversed(whole) if each.approved), None)
        return read_bundle(self.root / meant(name, whole, labels or {}, latest))

    def next_version(self) -> int:
        return max((summary.version for summary in self.listed()[0]), default=0) + 1

    def _read(self, name: str, is_link: bool) -> Manifest | str | None:
        """What an adapter says about itself, or why it can't be used; None where it is gone."""
        folder = self.root / name
        try:
            manifest = read_bundle(folder)
        except AdapterDamaged as error:
            return error.message if folder.exists() else None  # deleted since it was listed
        if is_link:
            return f"The adapter {name} is a link, not a folder"
        return manifest if manifest.name == name else f"The manifest in {name} is that of {manifest.name}"

    def _names(self) -> list[tuple[str, bool]]:
        """Of all folders that are finished, so that they are not hidden; each with whether it is a link."""
        with explained(self.root):
            try:
                with os.scandir(self.root) as inside:
                    folders = [each for each in inside if not each.name.startswith(".") and each.is_dir()]
                    return sorted((each.name, each.is_symlink()) for each in folders)
            except FileNotFoundError:
                return []


def meant(name: str, whole: Sequence[Named], labels: Mapping[str, str], latest: str | None) -> str:
    """The name of the adapter with this full name, label or version (`7`, `v7`), or of the only one whose name or label
    begins so; `lora_adapter_` can be left out. `labels` gives the name for each label, and `latest` the one that is
    called so: the newest that was found good, None where none was.

    AdapterError where there is none or more than one.
    """
    wanted, names = name.strip(), [each.name for each in whole]
    if wanted == LATEST and names:
        if latest is None:
            raise AdapterError("No adapter was accepted yet", hint="`/adapters list` shows those that there are.")
        return latest
    if not wanted:
        raise _no_such(wanted, names)
    for full in (wanted, PREFIX + wanted, labels.get(wanted, "")):
        if full in names:
            return full
    version = _VERSION.fullmatch(wanted)
    found = [each.name for each in whole if version and each.version == int(version[1])]
    if len(found) > 1:
        raise AdapterError(f"{len(found)} adapters have the version {wanted}", hint=_type_a_name(found))
    if not found:
        found = [each for each in names if each.startswith((wanted, PREFIX + wanted))]
        found += [each for label, each in labels.items() if label.startswith(wanted) and each in names]
    if not found:
        raise _no_such(wanted, [*names, *labels])
    if len(set(found)) > 1:
        raise AdapterError(f"{len(found)} adapters have a name that starts with {wanted!r}", hint=_type_a_name(found))
    return found[0]


def _age(adapter: Named) -> tuple[int, str, str]:
    return adapter.version, adapter.created, adapter.name


def _type_a_name(found: list[str]) -> str:
    return f"Type more of it, as in {found[-1]} or {found[-2]}."


def _no_such(name: str, names: list[str]) -> AdapterError:
    if not names:
        return AdapterError("There is no adapter yet", hint="`shammah train --now` makes one from what you rated.")
    near = get_close_matches(name, [*names, *(each.removeprefix(PREFIX) for each in names)], n=1) or names[-1:]
    count = f"the only one is {names[0]}" if len(names) == 1 else f"there are {len(names)}, {near[0]} the nearest"
    return AdapterError(f"There is no adapter {name!r}", hint=f"{count[0].upper()}{count[1:]}.")
