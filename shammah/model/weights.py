"""Looking at model files without loading them: what is missing, whether they are whole, how many numbers they hold."""

import json
import math
import struct
from pathlib import Path
from typing import Any

from shammah.errors import ModelDamaged

_LARGEST_HEADER = 100_000_000  # the format's own limit


def check_folder(folder: Path, hint: str) -> None:
    """ModelDamaged unless the folder holds a whole model."""
    missing = missing_from(folder)
    if missing:
        raise ModelDamaged(f"The model in {folder} is incomplete: {missing}", hint=hint)
    for path in sorted(folder.glob("*.safetensors")):
        check_safetensors(path, hint)


def missing_from(folder: Path) -> str:
    """What a model folder lacks, in words; empty when all is there. Contents are not looked at."""
    if not (folder / "config.json").is_file():
        return "config.json is missing"
    # Many models carry the index of their pickled weights beside the safetensors that replaced them.
    kind = "safetensors" if any(folder.glob("*.safetensors*")) else "bin"
    for index in sorted(folder.glob(f"*.{kind}.index.json")):
        try:
            shards = set(json.loads(index.read_bytes())["weight_map"].values())
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return f"{index.name} cannot be read"
        absent = sorted(shard for shard in shards if not (folder / shard).is_file())
        if absent:
            return f"{absent[0]} is missing"
    return "" if any(folder.glob(f"*.{kind}")) else "there are no weights (*.safetensors)"


def check_safetensors(path: Path, hint: str) -> None:
    """ModelDamaged unless the file is as long as its header says."""
    header, start = _header(path, hint)
    try:
        end = start + max((int(entry["data_offsets"][1]) for entry in header.values()), default=0)
    except (KeyError, TypeError, IndexError, ValueError):
        raise _broken(path, "its header cannot be read", hint) from None
    size = path.stat().st_size
    if size != end:
        raise _broken(path, f"it has {size:,} bytes, its header says {end:,}", hint)


def parameters_of(folder: Path) -> int:
    """How many numbers the model in this folder has; 0 where that can't be read. Some keep a second copy beside it."""
    index, single = folder / "model.safetensors.index.json", folder / "model.safetensors"
    try:
        names = sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return parameters_in(single)
    return sum(parameters_in(folder / name) for name in names)


def parameters_in(path: Path) -> int:
    """How many numbers the file holds; 0 where it cannot be read."""
    try:
        header, _ = _header(path, "")
        return sum(math.prod(entry["shape"]) for entry in header.values())
    except (ModelDamaged, KeyError, TypeError):
        return 0


def _header(path: Path, hint: str) -> tuple[dict[str, Any], int]:
    """The entries of the tensors by name, and where the tensors begin."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > _LARGEST_HEADER:
                raise ValueError
            header = json.loads(file.read(length))
            if not isinstance(header, dict):
                raise ValueError
    except (OSError, ValueError, RecursionError, struct.error):
        raise _broken(path, "its header cannot be read", hint) from None
    header.pop("__metadata__", None)
    return header, 8 + length


def _broken(path: Path, why: str, hint: str) -> ModelDamaged:
    return ModelDamaged(f"The weights file {path} is damaged: {why}", hint=hint)
