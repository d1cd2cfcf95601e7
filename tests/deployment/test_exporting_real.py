"""An adapter of ours for the default model, taken elsewhere: peft gives the logits that the chat has."""

import json

import pytest
import torch
from safetensors.torch import save_file
from support.peft_folders import with_adapter
from transformers import AutoModelForCausalLM

from shammah.adapters.bundle import CONFIG, WEIGHTS, read_bundle, write_bundle
from shammah.adapters.manifest import Manifest
from shammah.config import Config
from shammah.deployment.exporting import BaseModel, export
from shammah.model.adapted import adapted
from shammah.model.fingerprint import template_hash, weights_hash
from shammah.records import Message
from shammah.training.learner import Learner
from shammah.training.recipe import Recipe

pytestmark = [pytest.mark.real_model, pytest.mark.slow]
NAME = "lora_adapter_20260131_090500"
QUESTIONS = ("What port does the staging server use?", "Name three rivers.", "Hello")


@pytest.fixture
def shelved(real_model, real_loaded, tmp_path):
    """With numbers as large as those of a trained one, in a folder as training writes it."""
    learner = Learner(real_loaded.network, Recipe(preset="default"))
    noise = torch.randn(learner.flat.values.shape, generator=torch.Generator().manual_seed(3))
    learner.flat.load(learner.flat.values.detach() + 0.01 * noise)
    save_file(learner.tensors(), tmp_path / WEIGHTS)
    values = learner.config.to_dict()
    config = {name: sorted(value) if isinstance(value, set) else value for name, value in values.items()}
    files = {WEIGHTS: (tmp_path / WEIGHTS).read_bytes(), CONFIG: json.dumps(config | {"inference_mode": True}).encode()}
    manifest = Manifest(
        name=NAME,
        version=1,
        created="2026-01-31T09:05:00.000Z",
        base="smollm2-135m",
        base_hash=weights_hash(real_model, tmp_path),
        template_hash=template_hash(real_loaded.format.template),
        shape={"r": 8, "alpha": 16.0},
        recipe={},
        seed=7,
        example_ids=(),
        trigger="user",
        run_id="run",
    )
    return write_bundle(tmp_path / "adapters", NAME, files, manifest)


def read(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def test_peft_gives_the_same_logits_as_the_chat(real_model, real_loaded, shelved, tmp_path):
    export(read_bundle(shelved), shelved, to="peft", out=tmp_path / "peft", config=Config())
    ours, theirs = adapted(real_loaded.network, shelved), with_adapter(read(real_model), tmp_path / "peft")
    for question in QUESTIONS:
        ids = torch.tensor([real_loaded.format.encode([Message("user", question)])])
        with torch.no_grad():
            wanted, found, plain = (net(input_ids=ids).logits for net in (ours, theirs, real_loaded.network))
        torch.testing.assert_close(found, wanted, atol=2e-3, rtol=1e-3)
        assert (wanted - plain).abs().max() > 1, "the adapter changes too little to be told from none"


def test_merged_it_replies_as_the_chat_does(real_model, real_loaded, shelved, tmp_path):
    base = BaseModel(folder=real_model, cache_folder=tmp_path)
    export(read_bundle(shelved), shelved, to="merged", out=tmp_path / "merged", config=Config(), base=base)
    ours, theirs = adapted(real_loaded.network, shelved), read(tmp_path / "merged")
    for question in QUESTIONS:
        ids = torch.tensor([real_loaded.format.encode([Message("user", question)])])
        with torch.no_grad():
            wanted, found = (net(input_ids=ids).logits.log_softmax(-1) for net in (ours, theirs))
        # Its weights are rounded to bfloat16 again, as those of the base were.
        drift = (wanted.exp() * (wanted - found)).sum(-1).mean()
        assert drift < 0.02
