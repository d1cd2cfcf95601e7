"""One adapter as a folder: written whole or not at all, read, and compared with what its manifest says.

    adapters/lora_adapter_20260131_090500/
        adapter_model.safetensors  adapter_config.json  README.md  manifest.json

The folder gets its name when everything in it is on the disk. A folder without that name, or without a manifest, was
never finished.
"""

import hashlib
import itertools
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from safetensors import SafetensorError, safe_open

from shammah.adapters.manifest import Manifest, is_plain_name
from shammah.durable import explained, make_folder, sync_folder
from shammah.errors import AdapterDamaged

WEIGHTS, CONFIG, README, MANIFEST = "adapter_model.safetensors", "adapter_config.json", "README.md", "manifest.json"

_UNFINISHED = ".unfinished-"
_ABANDONED_AFTER = 3600.0  # seconds
# Files that run what they hold when they are loaded.
_PICKLED = frozenset((".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"))
_HINT = "Put back a whole copy of the folder, or remove it and train anew."


def write_bundle(root: Path, name: str, files: Mapping[str, bytes], manifest: Manifest) -> Path:
    """Put an adapter on the shelf and return its folder; killed at any moment, this leaves a whole one or none.

    A name that is taken gets a number. The manifest is written with the name it came to and the hashes of the files.
    """
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
    """What the adapter says about itself. Its other files are not looked at."""
    path = folder / MANIFEST
    try:
        text = path.read_bytes() if path.is_file() else None
    except OSError as error:
        raise _damaged(folder, f"{MANIFEST} cannot be read: {_reason(error)}") from None
    if text is None:
        raise _damaged(folder, "it has no manifest")
    try:
        return Manifest.from_json(text)
    except AdapterDamaged as error:
        raise _damaged(folder, error.message[:1].lower() + error.message[1:]) from None


def verify(folder: Path, manifest: Manifest) -> None:
    """AdapterDamaged unless the folder holds what the manifest says, and nothing that could do harm when loaded."""
    for needed in (WEIGHTS, CONFIG):
        if needed not in manifest.files:
            raise _damaged(folder, f"its manifest does not name {needed}")
    try:
        _refuse_pickles(folder)
        _require_file(folder, MANIFEST)
        for name, expected in manifest.files.items():
            _require_file(folder, name)
            with (folder / name).open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != expected:
                    raise _damaged(folder, f"{name} is not what was saved")
            if name.endswith(".safetensors"):
                _check_safetensors(folder, name)
    except OSError as error:
        what = Path(error.filename or folder).name
        raise _damaged(folder, f"{what} cannot be read: {_reason(error)}") from None


def discard(folder: Path) -> None:
    """Take an adapter off the shelf; killed in the midst of it, this leaves what `sweep` removes."""
    hidden = folder.with_name(f"{_UNFINISHED}{folder.name}")
    with explained(folder):
        folder.rename(hidden)
    shutil.rmtree(hidden, ignore_errors=True)


def sweep(root: Path, *, everything: bool = False, clock: Callable[[], float] = time.time) -> int:
    """Remove folders that were never finished: old ones, whose writer must be dead, or all. Returns how many went.

    Ask for everything only where nobody else can be writing.
    """
    gone = 0
    for folder in root.glob(f"{_UNFINISHED}*"):
        try:
            details = folder.lstat()
        except FileNotFoundError:  # finished, or swept by another process, since it was listed
            continue
        if stat.S_ISDIR(details.st_mode) and (everything or clock() - details.st_mtime > _ABANDONED_AFTER):
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


def _refuse_pickles(folder: Path) -> None:
    for _, _, names in os.walk(folder):
        for name in names:
            if Path(name).suffix.lower() in _PICKLED:
                raise _damaged(folder, f"{name} could run code when it is loaded")


def _require_file(folder: Path, name: str) -> None:
    """A link is a file too where it leads to one in the same folder."""
    if not is_plain_name(name):
        raise _damaged(folder, f"{name!r} is not a file of its own")
    path = folder / name
    if not path.exists():
        raise _damaged(folder, f"{name} is missing")
    if path.is_symlink() and path.resolve().parent != folder.resolve():
        raise _damaged(folder, f"{name} leads out of the folder")
    if not path.is_file():
        raise _damaged(folder, f"{name} is not a file")


def _check_safetensors(folder: Path, name: str) -> None:
    """The format's own reader compares the header with the size of every tensor and of the file."""
    try:
        with safe_open(folder / name, framework="numpy"):
            pass
    except SafetensorError as error:
        raise _damaged(folder, f"{name} is not safetensors: {error}") from None


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()


def _damaged(folder: Path, why: str) -> AdapterDamaged:
    return AdapterDamaged(f"The adapter {folder.name} is damaged: {why}", hint=_HINT)
