"""An adapter as a GGUF file for llama.cpp, which puts it on any GGUF of the same base model."""

from pathlib import Path

import gguf

from shammah.model.gguf_family import GgufBase
from shammah.model.merging import changes_in, refuse_shared


def write_gguf_lora(base: Path, adapter: Path, target: Path, *, name: str, base_name: str) -> None:
    """Of the base only config.json is read. The numbers stay float32, as they were trained."""
    model, changes = GgufBase(base), changes_in(adapter)
    refuse_shared(changes, bool(model.config.tie_word_embeddings))
    writer = gguf.GGUFWriter(target, model.architecture)
    try:
        writer.add_type(gguf.GGUFType.ADAPTER)
        writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
        writer.add_name(name)
        writer.add_base_model_count(1)
        writer.add_base_model_name(0, base_name)
        # llama.cpp knows one alpha for all, divides it by each tensor's own rank, and takes 0 for one not given.
        alphas = (change.scale * change.down.shape[0] for change in changes.values())
        alpha = next(filter(None, alphas), 1.0)
        writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, alpha)
        for weight, change in changes.items():
            stretched = change.up.float() * (change.scale * change.down.shape[0] / alpha)
            place = model.name_of(weight)
            writer.add_tensor(f"{place}.lora_a", change.down.float().contiguous().numpy())
            writer.add_tensor(f"{place}.lora_b", model.rows_of(weight, stretched).contiguous().numpy())
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()
