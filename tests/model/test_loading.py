"""From a folder to a model that answers, and one clear line for every folder that is not one."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from shammah.errors import DeviceError, ModelDamaged, ModelError, ShammahError
from shammah.model.device import Compute
from shammah.model.loading import load
from shammah.records import Message

Change = Callable[[Path], Any]


def compute(dtype: str = "float32", device: str = "cpu") -> Compute:
    return Compute(device, dtype, 1, "", {})


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model that may be spoiled."""
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def config(**changes: Any) -> Change:
    def change(folder: Path) -> None:
        file = folder / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))

    return change


def content(name: str, data: bytes) -> Change:
    return lambda folder: (folder / name).write_bytes(data)


def without(*names: str) -> Change:
    return lambda folder: [(folder / name).unlink() for name in names]


def cut(name: str, *, to: int) -> Change:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:to])


def tensors(change: Callable[[dict[str, torch.Tensor]], Any]) -> Change:
    def rewrite(folder: Path) -> None:
        held = load_file(folder / "model.safetensors")
        change(held)
        save_file(held, folder / "model.safetensors", {"format": "pt"})

    return rewrite


# What is loaded


@pytest.mark.parametrize(("name", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_all_weights_come_in_the_format_asked_for(tiny_model: Path, name: str, dtype: torch.dtype) -> None:
    loaded = load(tiny_model, compute(name))
    assert {parameter.dtype for parameter in loaded.network.parameters()} == {dtype}
    assert {parameter.device.type for parameter in loaded.network.parameters()} == {"cpu"}
    assert not loaded.network.training
    assert not any(parameter.requires_grad for parameter in loaded.network.parameters())
    held = load_file(tiny_model / "model.safetensors")
    for key, weights in loaded.network.state_dict().items():
        if key in held:
            assert torch.equal(weights, held[key].to(dtype))


def test_tied_weights_are_one_and_counted_once(tiny_model: Path) -> None:
    loaded = load(tiny_model, compute())
    network = loaded.network
    assert network.get_input_embeddings().weight.data_ptr() == network.get_output_embeddings().weight.data_ptr()
    assert loaded.parameters == sum(weights.numel() for weights in load_file(tiny_model / "model.safetensors").values())


def test_what_was_loaded_is_told(tiny_model: Path) -> None:
    how = compute()
    loaded = load(tiny_model, how)
    assert (loaded.folder, loaded.compute) == (tiny_model, how)


@pytest.mark.parametrize(
    ("model", "tokenizer", "setting", "window"),
    [
        (512, None, 0, 512),
        (512, None, 100, 100),
        (512, None, 4096, 512),
        (512, 300, 0, 300),
        (512, 300, 200, 200),
        (131_072, 10**30, 0, 131_072),
    ],
)
def test_the_window_is_the_smallest_limit(
    folder: Path, model: int, tokenizer: int | None, setting: int, window: int
) -> None:
    config(max_position_embeddings=model)(folder)
    if tokenizer:
        file = folder / "tokenizer_config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"model_max_length": tokenizer}))
    assert load(folder, compute(), context=setting).speech.window == window


@pytest.mark.parametrize(
    ("in_config", "in_generation", "expected"),
    [(2, None, {2}), (5, None, {2, 5}), (2, 7, {2, 7}), (2, [7, 9], {2, 7, 9}), ([4, 2], None, {2, 4})],
)
def test_every_token_that_ends_a_reply_is_known(
    folder: Path, in_config: object, in_generation: object, expected: set[int]
) -> None:
    """The config, the generation config, the tokenizer and the vocabulary may each name some."""
    config(eos_token_id=in_config)(folder)
    (folder / "generation_config.json").write_text(
        json.dumps({} if in_generation is None else {"eos_token_id": in_generation})
    )
    assert load(folder, compute()).speech.end_tokens == expected


def test_the_tokenizer_s_own_end_token_counts_too(folder: Path) -> None:
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"eos_token": "<unk>"}))
    assert load(folder, compute()).speech.end_tokens == {0, 2}


def test_thinking_reaches_the_template(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("{{ enable_thinking }}")
    for thinking in (True, False):
        loaded = load(folder, compute(), thinking=thinking)
        assert loaded.format.render([Message("user", "?")]) == str(thinking)


def test_a_folder_without_template_is_loaded_with_the_plain_one(folder: Path) -> None:
    without("chat_template.jinja")(folder)
    loaded = load(folder, compute())
    assert loaded.format.is_plain and loaded.speech.stops == loaded.format.stops != ()


def test_sharded_weights_are_loaded(tiny_model: Path, tmp_path: Path) -> None:
    load(tiny_model, compute()).network.save_pretrained(tmp_path / "sharded", max_shard_size="50KB")
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(tmp_path / "sharded")
    assert len(list((tmp_path / "sharded").glob("*.safetensors"))) > 1
    one, many = load(tiny_model, compute()), load(tmp_path / "sharded", compute())
    ids = torch.tensor([[5, 6, 7]])
    assert torch.equal(one.network(ids).logits, many.network(ids).logits)
    next((tmp_path / "sharded").glob("*00002*")).unlink()
    with pytest.raises(ModelError, match="00002"):
        load(tmp_path / "sharded", compute())


# What cannot be

DAMAGED: dict[str, Change] = {
    "weights empty": cut("model.safetensors", to=0),
    "weights cut in the length": cut("model.safetensors", to=5),
    "weights cut in the header": cut("model.safetensors", to=100),
    "weights cut by one byte": lambda folder: cut(
        "model.safetensors", to=(folder / "model.safetensors").stat().st_size - 1
    )(folder),
    "weights of zeros": lambda folder: content(
        "model.safetensors", bytes((folder / "model.safetensors").stat().st_size)
    )(folder),
    "weights garbage": content("model.safetensors", b"\x11" + bytes(7) + b"not json at all!!" + bytes(100)),
    "a page instead of weights": content("model.safetensors", b"<!DOCTYPE html><html>Not found</html>"),
    "a tensor missing": tensors(lambda held: held.pop("model.layers.1.mlp.up_proj.weight")),
    "tensors renamed": tensors(lambda held: held.update({f"x.{key}": held.pop(key) for key in list(held)})),
    "a tensor of another shape": tensors(lambda held: held.update({"model.norm.weight": torch.ones(63)})),
    "one layer more in the config": config(num_hidden_layers=3),
    "another width in the config": config(hidden_size=128),
    "another vocabulary in the config": config(vocab_size=10),
    "no config": without("config.json"),
    "tokenizer garbage": content("tokenizer.json", b"{not json"),
    "tokenizer empty": content("tokenizer.json", b""),
    "tokenizer not text": content("tokenizer.json", b"\xff\xfe\x00"),
    "tokenizer config garbage": content("tokenizer_config.json", b"{nope"),
    "template not text": content("chat_template.jinja", b"\xff\xfe\x00"),
    "index garbage": lambda folder: (
        without("model.safetensors")(folder),
        content("model.safetensors.index.json", b"{")(folder),
    ),
    "no folder": shutil.rmtree,
    "a file": lambda folder: (shutil.rmtree(folder), folder.write_text("x")),
    "an encoder": config(model_type="bert", architectures=["BertModel"]),
}
UNUSABLE: dict[str, Change] = {
    "config garbage": content("config.json", b"{not json"),
    "config empty": content("config.json", b""),
    "config not text": content("config.json", b"\xff\xfe\x00"),
    "config a list": content("config.json", b"[]"),
    "config without a type": content("config.json", b"{}"),
    "unknown architecture": config(model_type="nosuch", architectures=["NoSuchModel"]),
    "an architecture that does not chat": config(model_type="t5", architectures=["T5Model"]),
    "a width that is a text": config(hidden_size="x"),
    "no heads": config(num_attention_heads=0),
    "an unknown function": config(hidden_act="nope"),
    "an unknown rope": config(rope_parameters={"rope_type": "nope"}),
    "padding outside": config(pad_token_id=99_999),
    "an end token that is a text": config(eos_token_id="x"),
    "no weights": without("model.safetensors"),
    "no tokenizer": without("tokenizer.json", "tokenizer_config.json"),
    "tokenizer without parts": content("tokenizer.json", b"{}"),
    "tokenizer of no kind": content("tokenizer.json", b'{"added_tokens": [], "model": {"type": "BPE"}}'),
    "tokenizer config a list": content("tokenizer_config.json", b"[]"),
    "generation config a list": content("generation_config.json", b"[]"),
    "a format that needs another library": config(quantization_config={"quant_method": "gptq", "bits": 4}),
    "code of its own": config(model_type="own", auto_map={"AutoConfig": "own.C", "AutoModelForCausalLM": "own.M"}),
}


def assert_one_line(error: ShammahError, folder: Path) -> None:
    assert "\n" not in error.one_line()
    assert str(folder) in error.message
    assert len(error.message.replace(str(folder), "")) < 300
    assert error.hint and error.exit_code == 1


@pytest.mark.parametrize("change", DAMAGED.values(), ids=DAMAGED)
def test_files_that_are_damaged(folder: Path, change: Change) -> None:
    change(folder)
    with pytest.raises(ModelDamaged) as caught:
        load(folder, compute())
    assert_one_line(caught.value, folder)


@pytest.mark.parametrize("change", UNUSABLE.values(), ids=UNUSABLE)
def test_files_that_cannot_be_used(folder: Path, change: Change) -> None:
    change(folder)
    with pytest.raises(ModelError) as caught:
        load(folder, compute())
    assert_one_line(caught.value, folder)


def test_code_of_a_model_is_not_run_nor_asked_about(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    witness = folder / "witness"
    (folder / "own.py").write_text(f"open({str(witness)!r}, 'w')\n")
    UNUSABLE["code of its own"](folder)
    with pytest.raises(ModelError):
        load(folder, compute())
    assert not witness.exists()
    assert capsys.readouterr().out == ""


def test_the_message_names_what_is_missing(folder: Path) -> None:
    tensors(lambda held: [held.pop(f"model.layers.1.mlp.{part}_proj.weight") for part in ("down", "up")])(folder)
    with pytest.raises(ModelDamaged) as caught:
        load(folder, compute())
    assert caught.value.message == f"The weights in {folder} lack: model.layers.1.mlp.down_proj.weight and 1 more"


@pytest.mark.skipif(torch.cuda.is_available(), reason="a machine without CUDA is wanted")
def test_a_device_that_fails_is_one_line(tiny_model: Path) -> None:
    with pytest.raises(ModelError) as caught:
        load(tiny_model, compute(device="cuda"))
    assert_one_line(caught.value, tiny_model)


@pytest.mark.skipif(sys.platform != "linux", reason="memory can be limited on Linux")
def test_a_model_larger_than_the_memory(folder: Path) -> None:
    config(intermediate_size=2**44)(folder)
    without("model.safetensors")(folder)
    save_file({"x": torch.zeros(1)}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(DeviceError, match="does not fit into the memory of cpu") as caught:
        load(folder, compute())
    assert "\n" not in caught.value.one_line()


WATCHED = """
import sys
asked = []
sys.addaudithook(lambda event, arguments: asked.append(event) if event.startswith("socket.") else None)
from pathlib import Path
from shammah.errors import ModelError
from shammah.model.device import Compute
from shammah.model.loading import load
try:
    load(Path(sys.argv[1]), Compute("cpu", "float32", 1, "", {}))
    print("loaded")
except ModelError as error:
    print("refused")
print(*[event for event in asked if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto")])
"""


@pytest.mark.parametrize("change", [None, without("tokenizer.json"), config(model_type="nosuch")])
def test_no_network_request_is_made(folder: Path, change: Change | None) -> None:
    if change:
        change(folder)
    done = subprocess.run([sys.executable, "-c", WATCHED, str(folder)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["refused" if change else "loaded", ""]
    assert done.stderr == ""
