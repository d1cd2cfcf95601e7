"""A model written as GGUF and read again by transformers: the same numbers, tokens and limits."""

import gguf
import numpy
import pytest
import torch
from safetensors.torch import load_file, save_file
from support.gguf_bases import KINDS, change_config, save_base
from support.networks import gemma, granite, some_ids
from support.peft_folders import save_adapter, with_adapter
from transformers import AutoConfig, AutoModelForCausalLM

from shammah.errors import ModelError
from shammah.events import Progress
from shammah.model.gguf_model import write_gguf

pytestmark = pytest.mark.usefixtures("one_thread")
IDS = torch.tensor([some_ids(24, 4)])


def ignore(event):
    pass


def read(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def logits(network):
    with torch.no_grad():
        return network(IDS).logits


def written(base, adapter, tmp_path, **options):
    file = tmp_path / "model.gguf"
    write_gguf(base, adapter, file, name="tiny", publish=ignore, **options)
    return file


def fields(file):
    return {name: field.contents() for name, field in gguf.GGUFReader(file).fields.items()}


def tensors(file):
    return {tensor.name: tensor for tensor in gguf.GGUFReader(file).tensors}


def read_again(file, kind):
    """The network in the file, and what transformers found missing in it."""
    options = {}
    if kind == "qwen3":  # of which transformers does not take the size of the heads from the file
        options["config"] = AutoConfig.from_pretrained(file.parent / "base")
    model, report = AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, dtype=torch.float32, output_loading_info=True, **options
    )
    return model.eval(), report


READABLE = [kind for kind in KINDS if kind not in ("llama 3", "llama linear", "llama with biases")]


@pytest.mark.parametrize("kind", READABLE)
def test_the_same_model_is_read_again(kind, tmp_path):
    base = save_base(kind, tmp_path / "base")
    model, report = read_again(written(base, None, tmp_path), kind)
    assert not report["missing_keys"] and not report["mismatched_keys"]
    torch.testing.assert_close(logits(model), logits(read(base)), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", ["llama", "mistral", "qwen2", "qwen3"])
def test_with_an_adapter_it_answers_as_peft_does(kind, tmp_path):
    base = save_base(kind, tmp_path / "base")
    adapter = save_adapter(read(base), tmp_path / "adapter", by=0.05)
    wanted = logits(with_adapter(read(base), adapter))
    assert (wanted - logits(read(base))).abs().max() > 0.2
    model, _ = read_again(written(base, adapter, tmp_path), kind)
    torch.testing.assert_close(logits(model), wanted, atol=2e-2, rtol=1e-2)  # rounded to float16 once more


def test_biases_move_with_their_rows(tmp_path):
    base = save_base("llama with biases", tmp_path / "base")
    found = tensors(written(base, None, tmp_path))
    original = read(base).state_dict()
    for part, letter, heads in (("q_proj", "q", 4), ("k_proj", "k", 2), ("v_proj", "v", 0)):
        bias = original[f"model.layers.1.self_attn.{part}.bias"].numpy()
        rows = [bias]
        if heads:  # of each head its first half and its second, in turns
            rows = [head.reshape(2, -1).T.reshape(-1) for head in bias.reshape(heads, -1)]
        assert numpy.array_equal(found[f"blk.1.attn_{letter}.bias"].data, numpy.concatenate(rows))


def test_what_llama_cpp_has_to_know(tmp_path):
    base = save_base("llama", tmp_path / "base")
    file = written(base, None, tmp_path)
    known = fields(file)
    assert known["general.architecture"] == "llama" and known["general.name"] == "tiny"
    sizes = {
        "context_length": 128, "embedding_length": 64, "block_count": 2, "feed_forward_length": 96,
        "attention.head_count": 4, "attention.head_count_kv": 2, "attention.key_length": 16,
        "attention.value_length": 16, "rope.dimension_count": 16, "rope.freq_base": 10000.0, "vocab_size": 301,
    }  # fmt: skip
    assert {name: known[f"llama.{name}"] for name in sizes} == sizes
    assert known["llama.attention.layer_norm_rms_epsilon"] == pytest.approx(1e-6)
    kinds = {tensor.tensor_type.name for tensor in tensors(file).values() if len(tensor.shape) == 2}
    assert kinds == {"F16"} and tensors(file)["output_norm.weight"].tensor_type.name == "F32"


def test_shared_embeddings_are_written_once_even_if_the_files_hold_them_twice(tmp_path):
    base = save_base("llama tied", tmp_path / "base")
    stored = load_file(base / "model.safetensors")
    assert "lm_head.weight" not in stored
    stored["lm_head.weight"] = stored["model.embed_tokens.weight"].clone()
    save_file(stored, base / "model.safetensors", {"format": "pt"})
    assert "output.weight" not in tensors(written(base, None, tmp_path))


def test_positions_that_llama_3_stretches(tmp_path):
    base = save_base("llama 3", tmp_path / "base")
    slower = torch.from_numpy(tensors(written(base, None, tmp_path))["rope_freqs.weight"].data.copy())
    rotary = read(base).model.rotary_emb
    plain = 1.0 / 10000.0 ** (torch.arange(0, 16, 2) / 16)
    torch.testing.assert_close(plain / slower, rotary.inv_freq)
    assert slower.min() == 1 and slower.max() == 8


def test_positions_that_are_all_stretched(tmp_path):
    known = fields(written(save_base("llama linear", tmp_path / "base"), None, tmp_path))
    assert (known["llama.rope.scaling.type"], known["llama.rope.scaling.factor"]) == ("linear", 4.0)


def test_a_window_is_all_that_llama_cpp_may_use(tmp_path):
    base = save_base("mistral", tmp_path / "base", sliding_window=48)
    assert fields(written(base, None, tmp_path))["llama.context_length"] == 48


def test_eight_bits(tmp_path):
    base = save_base("qwen2", tmp_path / "base")
    file = written(base, None, tmp_path, numbers="q8_0")
    kinds = {tensor.tensor_type.name for tensor in tensors(file).values() if len(tensor.shape) == 2}
    assert kinds == {"Q8_0"}
    assert fields(file)["general.file_type"] == gguf.LlamaFileType.MOSTLY_Q8_0
    model, _ = read_again(file, "qwen2")
    wanted = logits(read(base))
    assert 0 < (logits(model) - wanted).abs().max() < 0.1 * wanted.abs().max()


def test_rows_that_are_no_whole_blocks_stay_wide(tmp_path):
    base = save_base("llama", tmp_path / "base", intermediate_size=100)
    found = tensors(written(base, None, tmp_path, numbers="q8_0"))
    assert found["blk.0.ffn_down.weight"].tensor_type.name == "F16"
    assert found["blk.0.ffn_up.weight"].tensor_type.name == "Q8_0"


def test_progress_counts_the_tensors(tmp_path):
    events = []
    base = save_base("llama", tmp_path / "base")
    write_gguf(base, None, tmp_path / "model.gguf", name="tiny", publish=events.append)
    assert events == [Progress("Writing GGUF", number, 21) for number in range(1, 22)]


class TestRefusals:
    def test_a_kind_that_is_not_known(self, tmp_path):
        granite().save_pretrained(tmp_path / "base")
        with pytest.raises(ModelError, match="'granite' cannot be written as GGUF, only llama, mistral") as caught:
            written(tmp_path / "base", None, tmp_path)
        assert "--to merged" in caught.value.hint

    def test_a_kind_of_which_only_adapters_are(self, tmp_path):
        gemma().save_pretrained(tmp_path / "base")
        with pytest.raises(ModelError, match="'gemma3_text' cannot be written") as caught:
            written(tmp_path / "base", None, tmp_path)
        assert "--to gguf-lora" in caught.value.hint

    def test_positions_of_another_kind(self, tmp_path):
        base = save_base("llama", tmp_path / "base")
        yarn = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 32}
        change_config(base, rope_parameters=yarn)
        with pytest.raises(ModelError, match="'yarn' are not written"):
            written(base, None, tmp_path)

    def test_heads_that_turn_in_part(self, tmp_path):
        base = save_base("llama", tmp_path / "base")
        turns = {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}
        change_config(base, rope_parameters=turns)
        with pytest.raises(ModelError, match="only a part of each head"):
            written(base, None, tmp_path)

    def test_numbers_that_float16_cannot_hold(self, tmp_path):
        base = save_base("llama", tmp_path / "base")
        network = read(base)
        with torch.no_grad():
            network.model.layers[1].mlp.up_proj.weight[0, 0] = 70_000.0
        network.to(torch.bfloat16).save_pretrained(base)
        with pytest.raises(ModelError, match=r"layers\.1\.mlp\.up_proj.* too large for float16"):
            written(base, None, tmp_path)

    def test_no_config(self, tmp_path):
        with pytest.raises(ModelError, match=r"config\.json cannot be used"):
            written(tmp_path, None, tmp_path)
