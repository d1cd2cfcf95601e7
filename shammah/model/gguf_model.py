"""A whole model as one GGUF file: the base, or the base with an adapter worked into it.

Its tensors are computed and written one after the other.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy
import torch
from transformers import AutoTokenizer
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from shammah.errors import ModelError
from shammah.events import Event, Progress
from shammah.model.gguf_family import GgufBase
from shammah.model.gguf_tokenizer import add_tokenizer
from shammah.model.merging import OUTPUT, MergedWeights, changes_in

_KINDS = {
    "f16": (gguf.GGMLQuantizationType.F16, gguf.LlamaFileType.MOSTLY_F16),
    "q8_0": (gguf.GGMLQuantizationType.Q8_0, gguf.LlamaFileType.MOSTLY_Q8_0),
}
_HINT = "Export it otherwise: --to peft, --to merged or --to gguf-lora."
_COMPUTED = ("rotary_emb.inv_freq",)  # old files hold what follows from the config
_FREQUENCIES = "rope_freqs.weight"


def write_gguf(
    base: Path,
    adapter: Path | None,
    target: Path,
    *,
    name: str,
    publish: Callable[[Event], None],
    numbers: str = "f16",
) -> None:
    """None for the adapter writes the base itself: what a GGUF adapter is put on. `numbers` are f16 or q8_0."""
    model = GgufBase(base)
    if not model.family.whole:
        raise ModelError(f"A whole model of the kind {model.kind!r} cannot be written as GGUF", hint=_HINT)
    weights = MergedWeights(base, changes_in(adapter) if adapter else {})
    left_out = _COMPUTED + ((OUTPUT,) if model.config.tie_word_embeddings else ())
    names = [each for each in weights if not each.endswith(left_out)]
    frequencies = _stretched_turns(model.config, model.head_size)
    writer = gguf.GGUFWriter(target, model.architecture)
    try:
        writer.add_type(gguf.GGUFType.MODEL)
        writer.add_name(name)
        _add_sizes(writer, model)
        tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True, trust_remote_code=False)
        add_tokenizer(writer, tokenizer, model.config.vocab_size)
        writer.add_file_type(_KINDS[numbers][1])
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        if frequencies is not None:
            writer.add_tensor_info(_FREQUENCIES, frequencies.shape, frequencies.dtype, frequencies.nbytes)
        for each in names:
            _announce(writer, model.name_of(each), weights.shape(each), numbers)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        if frequencies is not None:
            writer.write_tensor_data(frequencies)
        for done, each in enumerate(names, 1):
            tensor = model.rows_of(each, weights.exact(each)).contiguous().numpy()
            writer.write_tensor_data(_narrowed(each, tensor, numbers))
            publish(Progress("Writing GGUF", done, len(names)))
    finally:
        writer.close()


def _add_sizes(writer: Any, model: GgufBase) -> None:
    config = model.config
    writer.add_context_length(_context(config))
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(model.layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(model.head_size)
    writer.add_value_length(model.head_size)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(model.head_size)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    if config.rope_parameters.get("rope_type") == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(config.rope_parameters["factor"])


def _context(config: Any) -> int:
    """Models whose layers see only the last so many tokens are the same as others for as long as that is all."""
    longest = int(config.max_position_embeddings)
    window = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
    return min(longest, int(window)) if window else longest


def _stretched_turns(config: Any, head_size: int) -> Any:
    """By how much each pair of numbers turns slower than it would by the base alone, where that is not one number."""
    rope = config.rope_parameters
    kind = rope.get("rope_type", "default")
    if rope.get("partial_rotary_factor", 1.0) != 1.0:
        raise ModelError("The model turns only a part of each head by its position, which is not written", hint=_HINT)
    if kind in ("default", "linear"):
        return None
    if kind != "llama3" or config.model_type != "llama":
        raise ModelError(f"Positions of the kind {kind!r} are not written as GGUF", hint=_HINT)
    slower, _ = ROPE_INIT_FUNCTIONS[kind](config, torch.device("cpu"))
    plain = 1.0 / rope["rope_theta"] ** (torch.arange(0, head_size, 2, dtype=torch.float) / head_size)
    return (plain / slower).float().contiguous().numpy()


def _announce(writer: Any, name: str, shape: tuple[int, ...], numbers: str) -> None:
    """Every tensor's place in the file has to be known before the first is written."""
    kind = _kind_for(shape, numbers)
    block, size = gguf.GGML_QUANT_SIZES[kind]
    stored = (*shape[:-1], shape[-1] // block * size)
    if kind is gguf.GGMLQuantizationType.Q8_0:
        writer.add_tensor_info(name, stored, numpy.dtype(numpy.uint8), int(numpy.prod(stored)), raw_dtype=kind)
    else:
        dtype = numpy.dtype(numpy.float32 if kind is gguf.GGMLQuantizationType.F32 else numpy.float16)
        writer.add_tensor_info(name, shape, dtype, int(numpy.prod(shape)) * dtype.itemsize)


def _kind_for(shape: tuple[int, ...], numbers: str) -> Any:
    """Norms and biases are few and stay exact; rows that are no whole number of blocks can't be quantised."""
    kind = _KINDS[numbers][0]
    if len(shape) == 1:
        return gguf.GGMLQuantizationType.F32
    return gguf.GGMLQuantizationType.F16 if shape[-1] % gguf.GGML_QUANT_SIZES[kind][0] else kind


def _narrowed(name: str, tensor: Any, numbers: str) -> Any:
    kind = _kind_for(tensor.shape, numbers)
    with numpy.errstate(over="ignore"):
        narrow = gguf.quants.quantize(tensor, kind)
    if kind is gguf.GGMLQuantizationType.F16 and not numpy.isfinite(narrow).all():
        raise ModelError(f"{name} holds numbers too large for float16", hint="Export it with --numbers q8_0.")
    return narrow
