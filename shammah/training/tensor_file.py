"""Tensors as the bytes of a safetensors file."""

from collections.abc import Mapping

from safetensors.torch import save
from torch import Tensor

# The library holds them this often while it writes, and something beside.
_COPIES, _BESIDE = 3, 16 << 20


def file_of(tensors: Mapping[str, Tensor], about: dict[str, str]) -> bytes:
    """MemoryError where there is too little memory: asked for here first, because the library would end the process."""
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    bytearray(_COPIES * size + _BESIDE)
    return save({name: tensor.cpu() for name, tensor in tensors.items()}, metadata=about)
