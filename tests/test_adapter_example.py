"""`adapters.example` is a real adapter: whole, loadable by peft and by Shammah, explained to the last key."""

import json
import re
from itertools import pairwise
from typing import get_args

import pytest
import torch
from safetensors.torch import load_file
from support.example_adapter import (
    ALPHA,
    BASE,
    FOLDER,
    NAME,
    RANK,
    adapter_weights,
    base_hashes,
    example_manifest,
    write_base,
    write_example,
)
from support.peft_folders import with_adapter
from transformers import AutoModelForCausalLM

from shammah.adapters.bundle import CONFIG, MANIFEST, README, WEIGHTS, read_bundle, verify
from shammah.adapters.shelf import Shelf
from shammah.deployment.roster import IMPORT
from shammah.errors import AdapterDamaged
from shammah.model.adapted import adapted
from shammah.records import Trigger

pytestmark = pytest.mark.usefixtures("one_thread")
IDS = torch.tensor([[1, 5, 9, 13, 17, 21, 25, 29]])
ADAPTER = FOLDER / NAME
EXPLAINED = (FOLDER / "README.md").read_text("utf-8")


@pytest.fixture
def base(tmp_path):
    return write_base(tmp_path / "base")


def network(base):
    return AutoModelForCausalLM.from_pretrained(base).eval()


def logits(network):
    with torch.no_grad():
        return network(IDS).logits


def test_it_is_whole():
    verify(ADAPTER, read_bundle(ADAPTER))
    shelf = Shelf(FOLDER)
    assert [manifest.name for manifest in shelf.all()] == [NAME] and shelf.listed()[1] == []
    assert {path.name for path in ADAPTER.iterdir()} == {WEIGHTS, CONFIG, README, MANIFEST}


def test_peft_and_shammah_load_it_and_agree(base):
    plain = network(base)
    by_peft = logits(with_adapter(network(base), ADAPTER))
    torch.testing.assert_close(logits(adapted(plain, ADAPTER)), by_peft)
    assert (by_peft - logits(plain)).abs().max() > 0.01


def test_it_counts_as_the_explanation_says(base):
    changed = network(base)
    tensors = load_file(ADAPTER / WEIGHTS)
    for target in ("q_proj", "v_proj"):
        stem = f"base_model.model.model.layers.0.self_attn.{target}."
        weight = getattr(changed.model.layers[0].self_attn, target).weight
        weight.data += ALPHA / RANK * tensors[f"{stem}lora_B.weight"] @ tensors[f"{stem}lora_A.weight"]
    torch.testing.assert_close(logits(changed), logits(with_adapter(network(base), ADAPTER)))


def test_it_fits_the_base_that_is_described(base, tmp_path):
    manifest = read_bundle(ADAPTER)
    base_hash, template_hash = base_hashes(base, tmp_path / "cache")
    assert manifest.base_hash.partition("-")[0] == base_hash.partition("-")[0]
    assert manifest.template_hash == template_hash


def test_made_anew_it_is_the_same(tmp_path):
    manifest = read_bundle(ADAPTER)
    again = write_example(tmp_path, example_manifest(manifest.base_hash, manifest.template_hash))
    assert {path.name: path.read_bytes() for path in again.iterdir()} == {
        path.name: path.read_bytes() for path in ADAPTER.iterdir()
    }
    assert (ADAPTER / WEIGHTS).read_bytes() == adapter_weights()


def test_every_file_tensor_and_key_is_explained():
    sections = re.split(r"^## (.+)\n", EXPLAINED, flags=re.MULTILINE)
    by_title = {title: text for title, text in pairwise(sections) if len(title) < 60}
    assert set(rows_of(sections[0])) == {path.name for path in ADAPTER.iterdir()}
    assert set(rows_of(by_title[WEIGHTS])) == set(load_file(ADAPTER / WEIGHTS))
    for file in (CONFIG, MANIFEST):
        assert set(rows_of(by_title[file])) == set(json.loads((ADAPTER / file).read_bytes())), file
    assert json.loads(re.search(r"```json\n(.+?)```", EXPLAINED, re.DOTALL)[1]) == BASE


def test_what_may_begin_a_training_is_told_in_full():
    (row,) = re.findall(r"^\| `trigger` \|(.+)\|$", EXPLAINED, re.MULTILINE)
    assert re.findall(r"`(\w+)`", row) == [*get_args(Trigger), IMPORT]


def test_the_shapes_are_those_that_are_told():
    for name, tensor in load_file(ADAPTER / WEIGHTS).items():
        assert f"| `{name}` | {tensor.shape[0]} × {tensor.shape[1]}" in EXPLAINED


def test_a_byte_of_it_that_changed_is_noticed(tmp_path):
    for file in (WEIGHTS, CONFIG, README, MANIFEST):
        copy = tmp_path / file / NAME
        copy.mkdir(parents=True)
        for path in ADAPTER.iterdir():
            (copy / path.name).write_bytes(path.read_bytes())
        data = bytearray((copy / file).read_bytes())
        data[len(data) // 2] ^= 1
        (copy / file).write_bytes(data)
        with pytest.raises(AdapterDamaged):
            verify(copy, read_bundle(copy))


def rows_of(text):
    """What the rows of a section's table are about: one thing or several."""
    for row in re.findall(r"^\| (`.+?`) \|", text, re.MULTILINE):
        yield from re.findall(r"`(.+?)`", row)
