"""Adapters on the shelf that were damaged, or made for another model: none is loaded, none ends the program, each is
refused with its reason, by whoever takes it into use and by the chat that would answer with it."""

import json
import random
import shutil
import struct
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.peft_folders import save_adapter
from transformers import AutoModelForCausalLM

from shammah.adapters.bundle import CONFIG, MANIFEST, README, WEIGHTS, read_bundle, write_bundle
from shammah.deployment.importing import Target, import_adapter
from shammah.deployment.live import Voices
from shammah.errors import AdapterDamaged, AdapterError
from shammah.model.device import Compute
from shammah.model.loading import load

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def loaded(tiny_model):
    return load(tiny_model, Compute("cpu", "float32", 1, "", {}))


@pytest.fixture(scope="module")
def from_peft(tiny_model, tmp_path_factory):
    network = AutoModelForCausalLM.from_pretrained(tiny_model)
    return save_adapter(network, tmp_path_factory.mktemp("peft"), r=2, target_modules=["q_proj"])


@pytest.fixture
def target(loaded, tiny_model, tmp_path):
    return Target.of(loaded, str(tiny_model), tmp_path / "cache")


@pytest.fixture
def folder(from_peft, target, roster):
    return import_adapter(from_peft, target, roster, any_base=True).folder


@pytest.fixture
def voices(roster, target, tmp_path):
    return Voices(roster.shelf.root, base=target.base, weights_cache=tmp_path / "cache")


@pytest.fixture
def refused(helm, voices, loaded, roster, target):
    """That nobody takes it, and the reason."""

    def try_it(folder, *, taken=False):
        with pytest.raises(AdapterError) as by_chat:
            voices.voice(loaded, folder.name)
        if not taken:
            with pytest.raises(AdapterError) as by_user:
                helm.load(folder.name, base=target.base)
            assert by_user.value.one_line() and roster.active(target.base) is None
        assert len(roster.entries()) <= 2
        return by_chat.value.one_line()

    return try_it


def again(folder, *, manifest=None, **files):
    """The adapter written anew with other files, so that its manifest holds for them."""
    old = read_bundle(folder)
    kept = {name: (folder / name).read_bytes() for name in (WEIGHTS, CONFIG, README)}
    kept |= {{"weights": WEIGHTS, "config": CONFIG}[name]: data for name, data in files.items()}
    shutil.rmtree(folder)
    return write_bundle(folder.parent, folder.name, kept, replace(old, **(manifest or {})))


def tensors(folder, change):
    found = load_file(folder / WEIGHTS)
    path = folder.parent / ".changed"
    save_file(change(found), path)
    return path.read_bytes()


def test_it_answers_as_it_is(folder, voices, loaded, helm, target):
    assert voices.voice(loaded, folder.name).adapter == folder.name
    assert helm.load(folder.name, base=target.base).adapter == folder.name


def test_no_flipped_byte_is_ever_loaded(folder, refused, voices, loaded):
    """500 of them over all files, by their sizes."""
    chance = random.Random(7)
    files = {path: path.read_bytes() for path in sorted(folder.iterdir())}
    assert {path.name for path in files} == {WEIGHTS, CONFIG, README, MANIFEST}
    for turn in range(500):
        path = chance.choices(list(files), [len(data) for data in files.values()])[0] if turn % 2 else (
            chance.choice(list(files))
        )  # fmt: skip
        data = bytearray(files[path])
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(data)
        with pytest.raises(AdapterDamaged):
            voices.voice(loaded, folder.name)
        if turn % 50 == 0:
            assert "damaged" in refused(folder)
        path.write_bytes(files[path])
    assert voices.voice(loaded, folder.name).adapter == folder.name


def no_manifest(folder):
    (folder / MANIFEST).unlink()
    return folder


def truncated(folder):
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-100])
    return folder


def truncated_and_signed(folder):
    return again(folder, weights=(folder / WEIGHTS).read_bytes()[:-100])


def huge_header(folder):
    return again(folder, weights=struct.pack("<Q", 1 << 60) + b"{}")


def pickled(folder):
    torch.save({}, folder / "adapter_model.bin")
    return folder


def link_out(folder):
    (folder / CONFIG).rename(folder.parent / ".config")
    (folder / CONFIG).symlink_to(folder.parent / ".config")
    return folder


def climbs_out(folder):
    files = read_bundle(folder).files
    made = replace(read_bundle(folder), files={**files, "../../shammah.db": "0" * 64})
    (folder / MANIFEST).write_text(made.to_json())
    return folder


def another_name(folder):
    return folder.rename(folder.with_name("lora_adapter_other"))


def more_than_lora(folder):
    return again(folder, config=json.dumps(json.loads((folder / CONFIG).read_text()) | {"use_dora": True}).encode())


def pattern_for_ever(folder):
    rank = {"rank_pattern": {"(a|aa)+$": 4}}
    return again(folder, config=json.dumps(json.loads((folder / CONFIG).read_text()) | rank).encode())


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (no_manifest, "it has no manifest"),
        (truncated, f"{WEIGHTS} is not what was saved"),
        (truncated_and_signed, f"{WEIGHTS} is not safetensors"),
        (huge_header, "has a header of"),
        (pickled, "adapter_model.bin could run code"),
        (link_out, "leads out of the folder"),
        (climbs_out, "'../../shammah.db' is not a file of its own"),
        (another_name, "its manifest is that of"),
        (more_than_lora, "more than plain LoRA (use_dora)"),
        (pattern_for_ever, "may mean any layer"),
    ],
)
def test_a_broken_folder_is_refused_by_all(folder, refused, spoil, why):
    assert why in refused(spoil(folder))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"base": "other", "base_hash": "0"}, "was made for other, not for model"),
        ({"base_hash": "0-0"}, "other weights"),
        ({"template_hash": "0"}, "another chat template"),
    ],
)
def test_one_of_another_model_or_template(folder, refused, change, why):
    """By its hashes, which only the chat that has the model knows; by its name whoever takes it into use."""
    assert why in refused(again(folder, manifest=change), taken="base" not in change)


def without_one(found):
    return {name: tensor for name, tensor in found.items() if "layers.1.self_attn.q_proj.lora_B" not in name}


def not_finite(found):
    next(iter(found.values()))[0, 0] = torch.inf
    return found


def of_another_shape(found):
    return {name: tensor[..., :-1].contiguous() for name, tensor in found.items()}


@pytest.mark.parametrize(
    ("change", "why"), [(without_one, "layers.1"), (not_finite, "not finite"), (of_another_shape, "does not fit")]
)
def test_what_its_numbers_are_is_seen_when_it_would_answer(folder, refused, change, why):
    assert why in refused(again(folder, weights=tensors(folder, change)), taken=True)
