"""All adapters of a home, and the one that a user means.

Only what can be read counts. To list them reads each manifest and nothing else; whether the files are what it says is
for `verify`, before one is loaded.
"""

from difflib import get_close_matches
from pathlib import Path

from shammah.adapters.bundle import read_bundle
from shammah.adapters.manifest import Manifest
from shammah.durable import explained
from shammah.errors import AdapterDamaged, AdapterError

PREFIX = "lora_adapter_"
LATEST = "latest"


class Shelf:
    def __init__(self, root: Path) -> None:
        """The folder of adapters; it need not be there yet."""
        self.root = root

    def all(self) -> list[Manifest]:
        """Oldest first."""
        return self._look()[0]

    def broken(self) -> list[tuple[Path, str]]:
        """Folders that should be adapters and can't be read, each with the reason."""
        return self._look()[1]

    def find(self, name: str) -> Manifest:
        """By its name or the beginning of it, with or without `lora_adapter_`, or as `latest`."""
        wanted = name.strip()
        whole, broken = self._look()
        names = {manifest.name: manifest for manifest in whole}
        if wanted == LATEST and whole:
            return whole[-1]
        if not wanted:
            raise _no_such(wanted, list(names))
        for full in (wanted, PREFIX + wanted):
            if full in names:
                return names[full]
            for folder, why in broken:
                if folder.name == full:
                    raise AdapterDamaged(why, hint="Put back a whole copy of the folder, or choose another adapter.")
        found = [each for each in names if each.startswith((wanted, PREFIX + wanted))]
        if not found:
            raise _no_such(wanted, list(names))
        if len(found) > 1:
            raise AdapterError(
                f"{len(found)} adapters have a name that starts with {wanted!r}",
                hint=f"Type more of it, as in {found[-1]} or {found[-2]}.",
            )
        return names[found[0]]

    def next_version(self) -> int:
        return max((manifest.version for manifest in self.all()), default=0) + 1

    def _look(self) -> tuple[list[Manifest], list[tuple[Path, str]]]:
        """What can be read, oldest first, and what can't. Hidden folders are not finished, so they are neither."""
        whole: list[Manifest] = []
        broken: list[tuple[Path, str]] = []
        with explained(self.root):
            inside = sorted(self.root.iterdir()) if self.root.exists() else []
            folders = [path for path in inside if not path.name.startswith(".") and path.is_dir()]
        for folder in folders:
            try:
                manifest = read_bundle(folder)
            except AdapterDamaged as error:
                if folder.exists():  # not deleted since it was listed
                    broken.append((folder, error.message))
                continue
            if manifest.name == folder.name:
                whole.append(manifest)
            else:
                broken.append((folder, f"The manifest in {folder.name} is that of {manifest.name}"))
        return sorted(whole, key=lambda manifest: (manifest.version, manifest.created, manifest.name)), broken


def _no_such(name: str, names: list[str]) -> AdapterError:
    if not names:
        return AdapterError("There is no adapter yet", hint="`shammah train --now` makes one from what you rated.")
    near = get_close_matches(name, [*names, *(each.removeprefix(PREFIX) for each in names)], n=1) or names[-1:]
    count = f"the only one is {names[0]}" if len(names) == 1 else f"there are {len(names)}, {near[0]} the nearest"
    return AdapterError(f"There is no adapter {name!r}", hint=f"{count[0].upper()}{count[1:]}.")
