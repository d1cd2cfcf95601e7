"""An adapter worked into the weights of its base model, one tensor at a time: the model is never in memory as a whole.

What comes out answers as the base does with the adapter beside it, but for the rounding to the base's own numbers.
"""

import json
import shutil
import struct
from collections.abc import Callable, Iterator
from math import sqrt
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from peft.utils.other import get_pattern_key
from safetensors import SafetensorError, safe_open
from torch import Tensor

from shammah.errors import AdapterMisfit, ModelDamaged, ModelError
from shammah.events import Event, Progress
from shammah.model.adapted import config_in, tensors_in
from shammah.model.answering import Product
from shammah.model.chat_format import PLAIN_TEMPLATE

OUTPUT = "lm_head.weight"
_HINT = "Export it as a PEFT folder: --to peft."
_WEIGHTS, _INDEX = "model.safetensors", "model.safetensors.index.json"
# What says how to use a model's weights. Code that lies beside them is never run here, so it is not handed on either.
_ABOUT = ("*.json", "*.jinja", "*.txt", "*.model", "LICENSE*", "NOTICE*")
_OURS = "shammah-model.json"
_TEMPLATE = "chat_template.jinja"
# Ways of peft's to be more than a product that is added.
_MORE_THAN_A_PRODUCT = ("use_dora", "fan_in_fan_out", "layer_replication", "alora_invocation_tokens", "use_qalora")


def changes_in(folder: Path) -> dict[str, Product]:
    """What the adapter in this folder changes, by the weight's name in the base model."""
    config, tensors = config_in(folder), tensors_in(folder)
    more = [name for name in _MORE_THAN_A_PRODUCT if getattr(config, name, None)]
    odd = [name for name in tensors if not name.endswith((".lora_A.weight", ".lora_B.weight"))]
    if more or odd:
        raise AdapterMisfit(f"The adapter {folder.name} has {(more or odd)[0]}, which only peft can use", hint=_HINT)
    modules = dict.fromkeys(name.rsplit(".lora_", 1)[0] for name in tensors)
    found = {}
    for module in modules:
        down, up = (tensors.get(f"{module}.lora_{part}.weight") for part in "AB")
        if down is None or up is None:
            raise AdapterMisfit(f"The adapter {folder.name} lacks a half of {module}", hint=_HINT)
        found[f"{module}.weight"] = Product(down, up, _scale(config, module, down.shape[0]))
    return found


def _scale(config: LoraConfig, module: str, rank: int) -> float:
    alphas: dict[str, float] = config.alpha_pattern or {}
    alpha = alphas.get(get_pattern_key(list(alphas), module), config.lora_alpha)
    return float(alpha / (sqrt(rank) if config.use_rslora else rank))


class MergedWeights:
    """The tensors of a model folder with those changed that an adapter changes."""

    def __init__(self, base: Path, changes: dict[str, Product]) -> None:
        self.files = _weight_files(base)
        self._changes = changes
        config = _config(base)
        _require_plain(base, config, self.files)
        refuse_shared(changes, bool(config.get("tie_word_embeddings")))
        try:
            files: list[Any] = [safe_open(file, framework="pt") for file in self.files]
        except (OSError, SafetensorError) as error:
            raise ModelDamaged(
                f"The weights in {base} cannot be read: {error}", hint="Fetch the model again."
            ) from error
        self._holders = {name: file for file in files for name in file.keys()}  # noqa: SIM118
        for name, change in changes.items():
            self._require_fit(name, change)

    def __iter__(self) -> Iterator[str]:
        return iter(self._holders)

    def __len__(self) -> int:
        return len(self._holders)

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._holders[name].get_slice(name).get_shape())

    def exact(self, name: str) -> Tensor:
        """In float32, without a rounding."""
        tensor: Tensor = self._holders[name].get_tensor(name).float()
        change = self._changes.get(name)
        return tensor if change is None else tensor + change.scale * (change.up.float() @ change.down.float())

    def like_the_base(self, name: str) -> Tensor:
        """In the numbers that the base is written in."""
        tensor: Tensor = self._holders[name].get_tensor(name)
        return self.exact(name).to(tensor.dtype) if name in self._changes else tensor

    def _require_fit(self, name: str, change: Product) -> None:
        if name not in self._holders:
            raise AdapterMisfit(
                f"The adapter changes {name}, and the files of this model hold no weight of that name", hint=_HINT
            )
        shape, wanted = self.shape(name), (change.up.shape[0], change.down.shape[1])
        if shape != wanted:
            raise AdapterMisfit(
                f"The adapter fits a {name} of {wanted}, and that of this model has {shape}",
                hint="Export it with the model that it was made for.",
            )


def write_merged(base: Path, adapter: Path, target: Path, publish: Callable[[Event], None]) -> None:
    """Fill the folder `target` with a whole model that answers as the base with this adapter."""
    weights = MergedWeights(base, changes_in(adapter))
    for name in _beside(base):
        shutil.copyfile(base / name, target / name)
    if not (target / _TEMPLATE).exists() and not _has_template(target / "tokenizer_config.json"):
        (target / _TEMPLATE).write_text(PLAIN_TEMPLATE, "utf-8")
    done = 0
    for file in weights.files:
        for _ in _write_file(file, weights, target / file.name):
            done += 1
            publish(Progress("Merging", done, len(weights)))


def _write_file(source: Path, weights: MergedWeights, target: Path) -> Iterator[None]:
    """The same file with other numbers: names, kinds, shapes and so the header stay as they are."""
    with source.open("rb") as reader, target.open("wb") as writer:
        start = reader.read(8)
        header = reader.read(struct.unpack("<Q", start)[0])
        writer.write(start + header)
        entries: dict[str, Any] = json.loads(header)
        entries.pop("__metadata__", None)
        for name in sorted(entries, key=lambda name: tuple(entries[name]["data_offsets"])):
            tensor = weights.like_the_base(name).contiguous().reshape(-1)
            writer.write(tensor.view(torch.uint8).numpy().data)
            yield


def _beside(base: Path) -> list[str]:
    """The files that belong to a model beside its weights."""
    found = {path.name for pattern in _ABOUT for path in base.glob(pattern) if path.is_file()}
    return sorted(name for name in found if name != _OURS and not name.endswith(".bin.index.json"))


def _has_template(config: Path) -> bool:
    """Where older models keep it."""
    try:
        return bool(json.loads(config.read_bytes()).get("chat_template"))
    except (OSError, ValueError, AttributeError):
        return False


def refuse_shared(changes: dict[str, Product], tied: bool) -> None:
    """Where words are read and written with the same numbers, a change of the one would change the other."""
    if tied and OUTPUT in changes:
        raise AdapterMisfit(f"The adapter changes {OUTPUT}, which this model shares with its embeddings", hint=_HINT)


def _weight_files(base: Path) -> list[Path]:
    """Those that transformers reads; some models have the same weights beside them by other names."""
    if (base / _WEIGHTS).exists():
        return [base / _WEIGHTS]
    try:
        shards = set(json.loads((base / _INDEX).read_bytes())["weight_map"].values())
        return sorted(base / Path(shard).name for shard in shards)
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise ModelDamaged(f"{base / _INDEX} cannot be read", hint="Fetch the model again.") from None


def _config(base: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((base / "config.json").read_bytes()))
    except (OSError, ValueError, TypeError):
        raise ModelDamaged(f"{base / 'config.json'} cannot be read", hint="Fetch the model again.") from None


def _require_plain(base: Path, config: dict[str, Any], files: list[Path]) -> None:
    if not files:
        raise ModelError(f"The model in {base} has no safetensors files to merge into", hint=_HINT)
    if "quantization_config" in config:
        raise ModelError(f"The weights in {base} are quantised, so nothing can be merged into them", hint=_HINT)
