"""What a kind of model is called in GGUF, how its tensors are named there, and the order of its rows.

llama.cpp turns pairs of neighbouring numbers by their position, transformers the first half of a head with the second.
Models of the Llama kind are stored in llama.cpp's order, so the rows of their queries and keys change places; for the
others llama.cpp turns halves as well, and nothing moves.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
from torch import Tensor
from transformers import AutoConfig

from shammah.errors import ModelError


@dataclass(frozen=True, slots=True)
class Family:
    """`moves` says whether rows of queries and keys change places, `whole` whether whole models can be written."""

    architecture: Any
    moves: bool = False
    whole: bool = True


_FAMILIES = {
    "llama": Family(gguf.MODEL_ARCH.LLAMA, moves=True),
    "mistral": Family(gguf.MODEL_ARCH.LLAMA, moves=True),
    "qwen2": Family(gguf.MODEL_ARCH.QWEN2),
    "qwen3": Family(gguf.MODEL_ARCH.QWEN3),
    # Their norms are stored as what they add to 1, and their tokens have scores; neither is written here.
    "gemma": Family(gguf.MODEL_ARCH.GEMMA, whole=False),
    "gemma2": Family(gguf.MODEL_ARCH.GEMMA2, whole=False),
    "gemma3_text": Family(gguf.MODEL_ARCH.GEMMA3, whole=False),
}


class GgufBase:
    """A base model as GGUF knows it. Only its config.json is read."""

    def __init__(self, folder: Path) -> None:
        try:
            self.config: Any = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except (OSError, ValueError, KeyError) as error:
            raise ModelError(
                f"{folder / 'config.json'} cannot be used: {error}", hint="Fetch the model again."
            ) from None
        kind = self.config.model_type
        if kind not in _FAMILIES:
            raise ModelError(
                f"A model of the kind {kind!r} cannot be written as GGUF, only {', '.join(_FAMILIES)}",
                hint="Export it otherwise: --to peft or --to merged.",
            )
        self.kind = kind
        self.family = _FAMILIES[kind]
        self.layers: int = self.config.num_hidden_layers
        self._names = gguf.get_tensor_name_map(self.family.architecture, self.layers)

    @property
    def architecture(self) -> str:
        return str(gguf.MODEL_ARCH_NAMES[self.family.architecture])

    @property
    def head_size(self) -> int:
        config = self.config
        return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)

    def name_of(self, name: str) -> str:
        """What the weight of this name is called in GGUF."""
        found: str | None = self._names.get_name(name, try_suffixes=(".weight", ".bias"))
        if found is None:
            raise ModelError(
                f"GGUF has no place for {name} in a model of the kind {self.kind!r}",
                hint="Export it otherwise: --to peft or --to merged.",
            )
        return found

    def rows_of(self, name: str, tensor: Tensor) -> Tensor:
        """The rows of a weight, or of a bias, in the order in which llama.cpp wants them."""
        if not self.family.moves:
            return tensor
        for part, heads in (
            (".q_proj.", self.config.num_attention_heads),
            (".k_proj.", self.config.num_key_value_heads),
        ):
            if part in name:
                return _halves_to_pairs(tensor, heads)
        return tensor


def _halves_to_pairs(tensor: Tensor, heads: int) -> Tensor:
    """In each head: row 0 of its first half, row 0 of its second, row 1 of its first, and so on."""
    halves = tensor.reshape(heads, 2, -1, *tensor.shape[1:])
    return halves.transpose(1, 2).reshape(tensor.shape)
