"""One adapter as a folder: written whole or not at all, read, and compared with what its manifest says.

    adapters/lora_adapter_20260131_090500/
        adapter_model.safetensors  adapter_config.json  README.md  manifest.json

The folder gets its name when everything in it is on the disk. A folder without that name, or without a manifest, was
never finished.
"""

import hashlib
import itertools
import os
import stat
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from shammah.adapters.manifest import Manifest, is_plain_name
from shammah.adapters.peft_config import read_config, why_not
from shammah.durable import explained, make_folder, sync_folder, write_file
from shammah.errors import AdapterDamaged

WEIGHTS, CONFIG, README, MANIFEST = "adapter_model.safetensors", "adapter_config.json", "README.md", "manifest.json"

_UNFINISHED = ".unfinished-"
# What another process gets ready may lie beside a training that begins.
STAGED = ".staged-"
_ABANDONED_AFTER = 3600.0  # seconds
# Files that run what they hold when they are loaded.
_PICKLED = frozenset((".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".dill"))
# Far more than an adapter has, and few enough to be looked at.
_MOST_FILES = 1000
_LARGEST_TEXT, _LARGEST_HEADER = 1 << 24, 1 << 24  # bytes
_HINT = "Put back a whole copy of the folder, or remove it and train anew."


def write_bundle(root: Path, name: str, files: Mapping[str, bytes], manifest: Manifest) -> Path:
    """Put an adapter on the shelf and return its folder; killed at any moment, this leaves a whole one or none.

    A name that is taken gets a number. The manifest is written with the name it came to and the hashes of the files.
    """
    import shutil
    import tempfile  # with their compressors: more than a list should pay

    assert all(map(is_plain_name, (name, *files))) and MANIFEST not in files
    make_folder(root)
    with explained(root / name):
        folder = Path(tempfile.mkdtemp(prefix=f"{_UNFINISHED}{name}-", dir=root))
        try:
            for file, data in files.items():
                _write(folder / file, data)
            hashes = {file: hashlib.sha256(data).hexdigest() for file, data in files.items()}
            finished = _finish(folder, root / name, replace(manifest, files=hashes))
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        sync_folder(root)
    return finished


def read_bundle(folder: Path) -> Manifest:
    """What the adapter says about itself, unchanged since it was written. Its other files are not looked at."""
    text = _text_in(folder, MANIFEST)
    if text is None:
        raise _damaged(folder, "it has no manifest")
    try:
        return Manifest.from_json(text)
    except AdapterDamaged as error:
        raise _damaged(folder, error.message[:1].lower() + error.message[1:]) from None


def version_in(folder: Path) -> int | None:
    """The number of an adapter; None where its manifest can't be read."""
    try:
        return read_bundle(folder).version
    except AdapterDamaged:
        return None


def verify(folder: Path, manifest: Manifest) -> None:
    """AdapterDamaged unless the folder is the one that the manifest speaks of, holds what it says, and nothing that
    could do harm when loaded."""
    if manifest.name != folder.name:
        raise _damaged(folder, f"its manifest is that of {manifest.name}")
    verify_files(folder, manifest)


def verify_files(folder: Path, manifest: Manifest) -> None:
    """The same, whatever the folder is called."""
    for needed in (WEIGHTS, CONFIG):
        if needed not in manifest.files:
            raise _damaged(folder, f"its manifest does not name {needed}")
    refuse_harmful(folder)
    try:
        require_file(folder, MANIFEST)
        for name, expected in manifest.files.items():
            require_file(folder, name)
            with (folder / name).open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != expected:
                    raise _damaged(folder, f"{name} is not what was saved")
            if name.endswith(".safetensors"):
                check_safetensors(folder, name)
    except OSError as error:
        what = Path(error.filename or folder).name
        raise _damaged(folder, f"{what} cannot be read: {_reason(error)}") from None
    why = why_not(config_of(folder))
    if why:
        raise _damaged(folder, why)


def config_of(folder: Path) -> dict[str, Any]:
    """What adapter_config.json says."""
    text = _text_in(folder, CONFIG)
    if text is None:
        raise _damaged(folder, f"{CONFIG} is missing")
    values = read_config(text)
    if values is None:
        raise _damaged(folder, f"{CONFIG} is not JSON")
    return values


def refuse_harmful(folder: Path) -> None:
    """AdapterDamaged where the folder is none of its own, leads elsewhere, or holds what runs when it is loaded."""
    if folder.is_symlink():
        raise _damaged(folder, "it is a link, not a folder")
    seen = 0
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            seen += 1
            path = Path(place, name)
            if seen > _MOST_FILES:
                raise _damaged(folder, f"it holds more than {_MOST_FILES:,} files")
            if path.suffix.lower() in _PICKLED:
                raise _damaged(folder, f"{_shown(name)} could run code when it is loaded")
            if path.is_symlink() and not _target(path).is_relative_to(folder.resolve()):
                raise _damaged(folder, f"{_shown(name)} leads out of the folder")


def judged(folder: Path, metrics: Mapping[str, Any], verdict: Mapping[str, Any]) -> Manifest:
    """Write into the manifest what an adapter was found to be. Killed at any moment, this leaves the old or the new."""
    path = folder / MANIFEST
    old = read_bundle(folder)
    manifest = replace(old, metrics={**old.metrics, **metrics}, verdict=dict(verdict))
    with explained(path):
        for left in folder.glob(f".{MANIFEST}.*"):  # by a program that was killed here
            left.unlink(missing_ok=True)
    write_file(path, manifest.to_json().encode("ascii"))
    return manifest


def discard(folder: Path) -> None:
    """Take an adapter off the shelf; killed in the midst of it, this leaves what `sweep` removes."""
    import shutil

    hidden = folder.with_name(f"{_UNFINISHED}{folder.name}")
    with explained(folder):
        folder.rename(hidden)
    shutil.rmtree(hidden, ignore_errors=True)


def sweep(root: Path, *, everything: bool = False, clock: Callable[[], float] = time.time) -> int:
    """Remove folders that were never finished: old ones, whose writer must be dead, or all. Returns how many went.

    Ask for everything only where nobody else can be writing; of what is staged only the old goes even then.
    """
    import shutil

    gone = 0
    for folder in (*root.glob(f"{_UNFINISHED}*"), *root.glob(f"{STAGED}*")):
        try:
            details = folder.lstat()
        except FileNotFoundError:  # finished, or swept by another process, since it was listed
            continue
        at_once = everything and not folder.name.startswith(STAGED)
        if stat.S_ISDIR(details.st_mode) and (at_once or clock() - details.st_mtime > _ABANDONED_AFTER):
            shutil.rmtree(folder, ignore_errors=True)
            gone += not folder.exists()
    return gone


def _finish(folder: Path, wanted: Path, manifest: Manifest) -> Path:
    """Write the manifest and give the folder the first name that is free."""
    for number in itertools.count(1):
        final = wanted if number == 1 else wanted.with_name(f"{wanted.name}_{number}")
        if os.path.lexists(final):
            continue
        _write(folder / MANIFEST, replace(manifest, name=final.name).to_json().encode("ascii"))
        sync_folder(folder)
        try:
            folder.rename(final)
        except OSError:
            # Another process may have taken the name just now: a rename replaces no folder that has something in it.
            if not os.path.lexists(final):
                raise
        else:
            return final
    raise AssertionError("there is always another number")


def _write(path: Path, data: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _text_in(folder: Path, name: str) -> bytes | None:
    """None where there is no such file. One that is larger than any could be is not read."""
    path = folder / name
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            text = file.read(_LARGEST_TEXT + 1)
    except OSError as error:
        raise _damaged(folder, f"{name} cannot be read: {_reason(error)}") from None
    if len(text) > _LARGEST_TEXT:
        raise _damaged(folder, f"{name} is larger than {_LARGEST_TEXT:,} bytes")
    return text


def require_file(folder: Path, name: str) -> None:
    """A link is a file too where it leads to one in the same folder."""
    if not is_plain_name(name):
        raise _damaged(folder, f"{name!r} is not a file of its own")
    path = folder / name
    if not path.exists():
        raise _damaged(folder, f"{name} is missing")
    if path.is_symlink() and _target(path).parent != folder.resolve():
        raise _damaged(folder, f"{name} leads out of the folder")
    if not path.is_file():
        raise _damaged(folder, f"{name} is not a file")


def _target(link: Path) -> Path:
    """Where a link leads to, its own place where it leads to itself."""
    try:
        return link.resolve()
    except (OSError, RuntimeError):  # RuntimeError: round in circles, until Python 3.12
        return link.absolute()


def check_safetensors(folder: Path, name: str) -> None:
    """The format's own reader compares the header with the size of every tensor and of the file."""
    from safetensors import SafetensorError, safe_open

    with (folder / name).open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > _LARGEST_HEADER:
        raise _damaged(folder, f"{name} has a header of {length:,} bytes")
    try:
        with safe_open(folder / name, framework="numpy"):
            pass
    except SafetensorError as error:
        raise _damaged(folder, f"{name} is not safetensors: {error}") from None


def _shown(name: str) -> str:
    return name if name.isprintable() else repr(name)


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()


def _damaged(folder: Path, why: str) -> AdapterDamaged:
    return AdapterDamaged(f"The adapter {folder.name} is damaged: {why}", hint=_HINT)
