"""What tells one model from another, whatever its folder is called: a hash of its weights and of how they are computed
with, and one of its chat template."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from shammah.durable import make_folder, write_file
from shammah.errors import DiskFull, HomeError, ModelDamaged

if TYPE_CHECKING:
    from shammah.model.loading import LoadedModel

_CHUNK = 1 << 22
# How config.json calls what changes the numbers: positions, scales, windows. Other keys come and go with versions.
_COMPUTING = ("rope", "theta", "scal", "multiplier", "softcap", "eps", "window", "chunk", "heads", "act", "layer_types")


def base_hash(loaded: "LoadedModel", cache_folder: Path) -> str:
    """What an adapter is made for: these weights, computed with in this way. A hash of each, joined by a dash."""
    config = loaded.network.config.get_text_config(decoder=True).to_dict()
    known = {name: value for name, value in config.items() if any(word in name for word in _COMPUTING)}
    weights = weights_hash(loaded.folder, cache_folder)
    computing = hashlib.sha256(json.dumps(known, sort_keys=True, default=str).encode()).hexdigest()
    return f"{weights}-{computing}"


def differences(one: tuple[str, str], other: tuple[str, str]) -> list[str]:
    """What differs between two models of one name, each given by its `base_hash` and its `template_hash`."""
    (weights, _, computing), (its_weights, _, its_computing) = (base.partition("-") for base, _ in (one, other))
    return [
        *(["other weights"] if weights != its_weights else []),
        *(["another config.json or version of transformers"] if computing != its_computing else []),
        *(["another chat template"] if one[1] != other[1] else []),
    ]


def weights_hash(folder: Path, cache_folder: Path) -> str:
    """SHA-256 over all weight files. Read once for each state of the files: large models take a while."""
    files = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*.bin"))
    if not files:
        raise _unreadable(folder, "there are none")
    with _explained(folder):
        state = json.dumps([[str(file.resolve()), *_state(file)] for file in files])
    cache = cache_folder / "weights.json"
    known = _read(cache)
    if state not in known:
        with _explained(folder):
            known[state] = _digest(files)
        try:
            make_folder(cache_folder)
            write_file(cache, json.dumps(known, indent=1).encode())
        except (DiskFull, HomeError):
            pass  # read again next time
    return known[state]


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _unreadable(folder, (error.strerror or type(error).__name__).lower()) from error


def _unreadable(folder: Path, why: str) -> ModelDamaged:
    return ModelDamaged(f"The weights in {folder} cannot be read: {why}", hint="Fetch the model again.")


def template_hash(template: str) -> str:
    return hashlib.sha256(template.encode()).hexdigest()


def _state(file: Path) -> tuple[int, int]:
    status = file.stat()
    return status.st_size, status.st_mtime_ns


def _digest(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.name.encode())
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()


def _read(cache: Path) -> dict[str, str]:
    try:
        return {str(state): str(digest) for state, digest in json.loads(cache.read_text()).items()}
    except (OSError, ValueError, AttributeError):
        return {}
