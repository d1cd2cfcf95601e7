"""GGUF to safetensors: the same model comes out, and what cannot be converted is told in one line."""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, modeling_gguf_pytorch_utils
from transformers.utils import logging as transformers_logging

from shammah.errors import DiskFull, ModelDamaged, ModelError
from shammah.events import Event, Progress
from shammah.model.converting import convert_gguf


def ignore(event: Event) -> None:
    pass


@pytest.fixture(scope="module")
def converted(tiny_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("converted") / "model"
    target.mkdir()
    convert_gguf(tiny_gguf, target, ignore)
    return target


@pytest.fixture(scope="module")
def model(converted: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(converted, dtype=torch.bfloat16)


@pytest.fixture(scope="module")
def tokenizer(converted: Path) -> Any:
    return AutoTokenizer.from_pretrained(converted)


def test_the_same_weights_come_out(model: Any, tiny_folder: Path) -> None:
    original = AutoModelForCausalLM.from_pretrained(tiny_folder, dtype=torch.bfloat16)
    expected = original.state_dict()
    found = model.state_dict()
    assert set(found) == set(expected)
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name
        assert found[name].dtype == torch.bfloat16
    ids = torch.arange(3, 40).unsqueeze(0)
    assert torch.equal(model(ids).logits, original(ids).logits)


def test_embeddings_stay_tied_and_are_stored_once(model: Any, converted: Path) -> None:
    assert model.lm_head.weight.data_ptr() == model.model.embed_tokens.weight.data_ptr()
    stored = (converted / "model.safetensors").stat().st_size
    assert stored < 2 * sum(parameter.numel() for parameter in model.parameters()) + 5000


def test_the_folder_holds_all_that_a_model_needs(converted: Path) -> None:
    assert {path.name for path in converted.iterdir()} == {
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }


def test_special_ids_and_limits(model: Any, tokenizer: Any) -> None:
    assert (model.generation_config.bos_token_id, model.generation_config.eos_token_id) == (1, 2)
    assert (model.generation_config.pad_token_id, model.config.eos_token_id) == (2, 2)
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (1, 2, 2)
    assert tokenizer.model_max_length == model.config.max_position_embeddings == 128


def test_the_tokenizer_is_the_same(tokenizer: Any, tiny_folder: Path) -> None:
    original = AutoTokenizer.from_pretrained(tiny_folder)
    for text in ("the cat sat on the hat", "Ünïcödé \U0001f600\u4f60", "<|im_start|>a<|im_end|>", "  a\n\n b "):
        assert tokenizer(text).input_ids == original(text).input_ids
        assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_digits_stand_alone_where_the_file_says_so(tokenizer: Any) -> None:
    # Without the rule, "\n\n1" is split as "\n", "\n", "1", which such a model has never seen.
    assert tokenizer.tokenize("a\n\n12") == ["a", "ĊĊ", "1", "2"]


def test_the_chat_template_works(tokenizer: Any) -> None:
    text = tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False)
    assert text == "<|im_start|>hi<|im_end|>"


def test_a_second_end_of_turn_is_kept(tiny_folder: Path, tmp_path: Path, gguf_writer: Callable[..., Path]) -> None:
    convert_gguf(gguf_writer(tiny_folder, tmp_path / "e.gguf", eot=0), tmp_path, ignore)
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert model.generation_config.eos_token_id == [2, 0]


def test_progress_counts_the_tensors(tiny_gguf: Path, tmp_path: Path) -> None:
    events: list[Event] = []
    convert_gguf(tiny_gguf, tmp_path, events.append)
    label = "Converting tiny.gguf"
    assert events[0] == Progress(label)
    assert events[-1] == Progress(label, 20, 20)
    assert [event.done for event in events if isinstance(event, Progress)] == list(range(21))


def test_the_libraries_are_left_as_they_were(tiny_gguf: Path, tmp_path: Path) -> None:
    def state() -> tuple[object, ...]:
        logs: Any = transformers_logging
        swapped = (gguf.GGUFReader, gguf.get_tensor_name_map, vars(modeling_gguf_pytorch_utils)["tqdm"])
        return (*swapped, logs.get_verbosity(), logs.is_progress_bar_enabled())

    def stop(event: Event) -> None:
        if isinstance(event, Progress) and event.done:
            raise KeyboardInterrupt

    before = state()
    with pytest.raises(KeyboardInterrupt):
        convert_gguf(tiny_gguf, tmp_path, stop)
    assert state() == before
    convert_gguf(tiny_gguf, tmp_path, ignore)
    assert state() == before


def test_nothing_is_printed(tiny_gguf: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    convert_gguf(tiny_gguf, tmp_path, ignore)
    assert capfd.readouterr() == ("", "")


def test_no_network_is_touched(tiny_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    convert_gguf(tiny_gguf, tmp_path, ignore)
    assert (tmp_path / "model.safetensors").exists()


def test_a_tokenizer_that_lies_beside_the_file_is_not_taken(tiny_gguf: Path, tmp_path: Path) -> None:
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    (downloads / "tiny.gguf").write_bytes(tiny_gguf.read_bytes())
    for name in ("tokenizer.json", "config.json", "generation_config.json", "tokenizer_config.json"):
        (downloads / name).write_text("{}")
    target = tmp_path / "made"
    target.mkdir()
    convert_gguf(downloads / "tiny.gguf", target, ignore)
    assert AutoTokenizer.from_pretrained(target).tokenize("the") == ["the"]


@pytest.mark.parametrize("keep", [0, 3, 4, 20, 100, 3000, 0.5, 0.9, -1])
def test_a_file_that_was_cut_off(keep: float, tiny_gguf: Path, tmp_path: Path) -> None:
    data = tiny_gguf.read_bytes()
    short = tmp_path / "short.gguf"
    short.write_bytes(data[: int(len(data) * keep) if 0 < keep < 1 else int(keep)])
    with pytest.raises(ModelDamaged, match=r"short\.gguf cannot be used") as caught:
        convert_gguf(short, tmp_path, ignore)
    assert "\n" not in caught.value.message and caught.value.hint
    assert not (tmp_path / "model.safetensors").exists()


def test_a_file_that_is_no_gguf(tmp_path: Path) -> None:
    (tmp_path / "photo.gguf").write_bytes(os.urandom(5000))
    with pytest.raises(ModelDamaged, match="it is cut off or no GGUF file"):
        convert_gguf(tmp_path / "photo.gguf", tmp_path, ignore)


def test_weights_that_are_missing_are_not_made_up(
    tiny_folder: Path, tmp_path: Path, gguf_writer: Callable[..., Path]
) -> None:
    holed = gguf_writer(tiny_folder, tmp_path / "holed.gguf", leave_out="layers.1.mlp.up_proj")
    with pytest.raises(ModelDamaged, match=r"1 weights are missing.*model\.layers\.1\.mlp\.up_proj\.weight"):
        convert_gguf(holed, tmp_path, ignore)


def test_an_unknown_architecture_is_named(tiny_folder: Path, tmp_path: Path, gguf_writer: Callable[..., Path]) -> None:
    odd = gguf_writer(tiny_folder, tmp_path / "odd.gguf", architecture="rwkv9")
    with pytest.raises(
        ModelError, match=r"odd\.gguf has the architecture 'rwkv9', which cannot be converted"
    ) as caught:
        convert_gguf(odd, tmp_path, ignore)
    assert not isinstance(caught.value, ModelDamaged)
    assert "safetensors" in caught.value.hint


def test_an_adapter_is_not_a_model(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "lora.gguf", "llama")
    writer.add_type("adapter")
    writer.add_tensor("blk.0.attn_q.weight.lora_a", torch.zeros(2, 2).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(ModelError, match="not a model but an adapter"):
        convert_gguf(tmp_path / "lora.gguf", tmp_path, ignore)


def test_room_is_asked_for_before_anything_is_written(tiny_gguf: Path, tmp_path: Path) -> None:
    def refuse(needed: int) -> None:
        assert needed == 2 * 27_584
        raise DiskFull("no")

    with pytest.raises(DiskFull):
        convert_gguf(tiny_gguf, tmp_path, ignore, require_room=refuse)
    assert list(tmp_path.iterdir()) == []
