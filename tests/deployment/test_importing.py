"""Folders of every kind, taken in or refused: made by peft itself, by Shammah in another home, and by nobody good."""

import json
import os
import shutil
import struct
from dataclasses import replace
from datetime import datetime

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from support.networks import llama
from transformers import AutoModelForCausalLM

from shammah.adapters.bundle import CONFIG, MANIFEST, README, WEIGHTS, read_bundle, verify
from shammah.deployment.importing import Target, import_adapter
from shammah.deployment.shelving import Shelving
from shammah.errors import AdapterDamaged, AdapterError, AdapterMisfit
from shammah.model.adapted import adapted
from shammah.model.device import Compute
from shammah.model.loading import load

# peft asks for what transformers calls by another name now, and speaks of the settings that the tests give it.
pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::FutureWarning:transformers.*", "ignore::UserWarning:peft.*"),
]
IDS = torch.tensor([[5, 9, 40, 41, 42, 7]])
PLAIN = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"], "task_type": "CAUSAL_LM"}


@pytest.fixture(scope="module")
def loaded(tiny_model):
    return load(tiny_model, Compute("cpu", "float32", 1, "", {}))


@pytest.fixture
def target(loaded, tiny_model, tmp_path):
    return Target.of(loaded, str(tiny_model), tmp_path / "cache")


@pytest.fixture
def by_peft(tiny_model, tmp_path):
    """What peft saves of an adapter with these settings, and the logits that it has there."""

    def make(**changes):
        base = AutoModelForCausalLM.from_pretrained(tiny_model)
        model = get_peft_model(base, LoraConfig(**(PLAIN | changes)))
        torch.manual_seed(3)
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.data.normal_(std=0.1)
        folder = tmp_path / "made"
        model.save_pretrained(folder)
        with torch.no_grad():
            return folder, model.eval()(IDS).logits

    return make


@pytest.fixture
def take(target, roster):
    return lambda folder, **options: import_adapter(folder, target, roster, **options)


def logits(network):
    with torch.no_grad():
        return network(IDS).logits


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def nothing_came_in(roster):
    names = {path.name for path in roster.shelf.root.iterdir()}
    return names <= {".training"} and roster.audit.entries(None) == [] and roster.notes.all() == {}


class TestFromPeft:
    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {"target_modules": "all-linear"},
            {"target_modules": r".*\.1\..*\.(up|down)_proj"},
            {"layers_to_transform": [1]},
            {"use_rslora": True},
            {"rank_pattern": {"v_proj": 2}, "alpha_pattern": {"q_proj": 3}},
            {"init_lora_weights": False},
            {"init_lora_weights": "gaussian", "lora_dropout": 0.1},
        ],
        ids=str,
    )
    def test_it_answers_here_as_it_did_there(self, by_peft, take, loaded, changes):
        folder, there = by_peft(**changes)
        before = content(folder)
        entry = take(folder)
        here = logits(adapted(loaded.network, entry.folder))
        assert not torch.equal(there, logits(loaded.network))
        assert torch.allclose(here, there, atol=1e-5)
        assert content(folder) == before

    def test_it_is_a_candidate_of_ours(self, by_peft, take, roster, target, actions):
        folder, _ = by_peft()
        entry = take(folder)
        manifest = read_bundle(entry.folder)
        verify(entry.folder, manifest)
        assert (entry.state, entry.imported, entry.verdict, manifest.version) == ("candidate", True, None, 1)
        assert (manifest.base, manifest.base_hash) == (target.base, target.base_hash)
        assert manifest.template_hash == target.template_hash
        assert manifest.shape == {"r": 4, "alpha": 8, "dropout": 0.0, "targets": ["q_proj", "v_proj"]}
        assert (manifest.trigger, manifest.example_ids, manifest.run_id) == ("import", (), "")
        assert set(content(entry.folder)) == {WEIGHTS, CONFIG, README, MANIFEST}
        assert "made elsewhere" in (entry.folder / README).read_text()
        assert actions() == [("user", "imported", entry.name)]
        assert [path.name for path in roster.shelf.root.iterdir()] == [entry.name]

    def test_it_can_be_read_by_peft_again(self, by_peft, take, tiny_model):
        from peft import PeftModel

        folder, there = by_peft(target_modules="all-linear")
        base = AutoModelForCausalLM.from_pretrained(tiny_model)
        assert torch.allclose(logits(PeftModel.from_pretrained(base, take(folder).folder)), there, atol=1e-5)

    def test_twice_is_once(self, by_peft, take, roster):
        folder, _ = by_peft()
        first = take(folder)
        with pytest.raises(AdapterError, match=f"is here already, as {first.name}"):
            take(folder)
        assert [each.name for each in roster.entries()] == [first.name]

    def test_in_half_the_width(self, by_peft, take, loaded):
        folder, there = by_peft()
        save_file(
            {name: tensor.to(torch.bfloat16) for name, tensor in load_file(folder / WEIGHTS).items()}, folder / WEIGHTS
        )
        assert torch.allclose(logits(adapted(loaded.network, take(folder).folder)), there, atol=0.05)

    @pytest.mark.parametrize(
        ("changes", "why"),
        [
            ({"use_dora": True}, "use_dora"),
            ({"bias": "all"}, "biases"),
            ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
            ({"init_lora_weights": "pissa"}, "init_lora_weights"),
            ({"init_lora_weights": "olora"}, "init_lora_weights"),
            ({"lora_bias": True}, "lora_bias"),
            ({"target_modules": ["q_proj", "embed_tokens"]}, "embed_tokens.* is not a part of the LoRA of a linear"),
        ],
        ids=str,
    )
    def test_what_would_not_count_as_it_did_is_named(self, by_peft, take, roster, changes, why):
        folder, _ = by_peft(**changes)
        with pytest.raises(AdapterError, match=rf"made can't be imported: .*{why}") as caught:
            take(folder)
        assert caught.value.hint and nothing_came_in(roster)


class TestOfAnotherModel:
    def test_by_its_name(self, by_peft, take, roster):
        folder, _ = by_peft()
        values = json.loads((folder / CONFIG).read_text())
        (folder / CONFIG).write_text(json.dumps(values | {"base_model_name_or_path": "org/Another-135M"}))
        with pytest.raises(AdapterMisfit, match="made for 'org/Another-135M'") as caught:
            take(folder)
        assert "--any-base" in caught.value.hint and nothing_came_in(roster)
        assert take(folder, any_base=True).state == "candidate"

    @pytest.mark.parametrize("name", [None, "", "org/MODEL", "C:\\models\\model\\"])
    def test_a_name_that_can_be_this_one(self, by_peft, take, tiny_model, name):
        assert tiny_model.name == "model"
        folder, _ = by_peft()
        values = json.loads((folder / CONFIG).read_text())
        (folder / CONFIG).write_text(json.dumps(values | {"base_model_name_or_path": name}))
        assert take(folder).state == "candidate"

    def test_by_its_layers(self, by_peft, take, roster):
        folder, _ = by_peft()
        tensors = load_file(folder / WEIGHTS)
        save_file({name.replace("layers.1", "layers.7"): each for name, each in tensors.items()}, folder / WEIGHTS)
        with pytest.raises(AdapterMisfit, match=r"has no model\.layers\.7"):
            take(folder, any_base=True)
        assert nothing_came_in(roster)

    def test_by_its_shapes(self, by_peft, take, roster):
        folder, _ = by_peft()
        model = get_peft_model(llama(vocab_size=128), LoraConfig(**PLAIN))
        model.save_pretrained(folder)
        with pytest.raises(AdapterMisfit, match="does not fit"):
            take(folder, any_base=True)
        assert nothing_came_in(roster)


class TestFromShammah:
    @pytest.fixture
    def ours(self, by_peft, take, roster, tmp_path):
        """The folder of an adapter that was trained in another home."""
        folder, _ = by_peft()
        entry = take(folder)
        there = shutil.copytree(entry.folder, tmp_path / "there" / entry.name)
        Shelving(roster).delete(entry.name)
        self.sign(there, example_ids=("a", "b"), recipe={"steps": 60}, verdict={"accepted": True}, run_id="run")
        return there

    def sign(self, folder, **changes):
        made = replace(read_bundle(folder), **changes)
        (folder / MANIFEST).write_text(made.to_json())

    def test_what_it_learned_is_kept_and_the_verdict_is_not(self, ours, take):
        entry = take(ours)
        manifest = read_bundle(entry.folder)
        assert (manifest.example_ids, manifest.recipe) == (("a", "b"), {"steps": 60})
        assert (manifest.verdict, manifest.run_id, entry.imported) == (None, "", True)
        assert "from 2 rated examples" in (entry.folder / README).read_text()

    def test_under_any_name_of_its_folder(self, ours, take):
        assert take(ours.rename(ours.parent / "copy")).name == ours.name

    def test_its_name_is_not_that_of_another(self, ours, take, roster, put):
        put(ours.name, version=7)
        entry = take(ours)
        assert (entry.name, entry.summary.version) == (f"{ours.name}_2", 8)

    @pytest.mark.parametrize(
        ("changes", "why"),
        [
            ({"base_hash": "other", "base": "other"}, "made for other, and this is model"),
            ({"base_hash": "other"}, "with other weights"),
            ({"template_hash": "other"}, "with another chat template"),
        ],
    )
    def test_of_another_base_or_template(self, ours, take, changes, why):
        self.sign(ours, **changes)
        with pytest.raises(AdapterMisfit, match=why):
            take(ours)
        assert take(ours, any_base=True).state == "candidate"

    @pytest.mark.parametrize(
        "shape",
        [{"targets": 5}, {"r": "many", "targets": None}, {"alpha": [1], "targets": {"q_proj": []}}, {}],
        ids=str,
    )
    def test_its_shape_is_told_by_its_config_whatever_the_manifest_says(self, ours, take, shape):
        self.sign(ours, shape=shape)
        assert read_bundle(take(ours).folder).shape == {
            "r": 4, "alpha": 8, "dropout": 0.0, "targets": ["q_proj", "v_proj"],
        }  # fmt: skip

    @pytest.mark.parametrize("created", ["yesterday", "", "2026-01-01", "2026-01-01T00:00:00"])
    def test_made_at_no_time_it_was_made_now(self, ours, take, created):
        self.sign(ours, created=created)
        assert datetime.fromisoformat(read_bundle(take(ours).folder).created).tzinfo

    @pytest.mark.parametrize("changes", [{"libraries": {"\ud800": "1"}}, {"libraries": {"torch": "\ud800"}}], ids=ascii)
    def test_what_can_not_be_written_down_is_refused(self, ours, take, roster, changes):
        self.sign(ours, **changes)
        with pytest.raises(AdapterDamaged, match="can't be imported: manifest.json says"):
            take(ours)

    @pytest.mark.parametrize("file", [WEIGHTS, CONFIG, README, MANIFEST])
    def test_a_changed_byte(self, ours, take, file):
        data = bytearray((ours / file).read_bytes())
        data[len(data) // 2] ^= 1
        (ours / file).write_bytes(data)
        with pytest.raises(AdapterDamaged, match="can't be imported"):
            take(ours)


def no_folder(folder):
    shutil.rmtree(folder)


def no_config(folder):
    (folder / CONFIG).unlink()


def no_weights(folder):
    (folder / WEIGHTS).unlink()


def cut_weights(folder):
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-10])


def huge_header(folder):
    (folder / WEIGHTS).write_bytes(struct.pack("<Q", 1 << 40) + b"{}")


def large_header(folder):
    (folder / WEIGHTS).write_bytes(struct.pack("<Q", 1 << 25) + b" " * (1 << 25))


def half(folder):
    tensors = load_file(folder / WEIGHTS)
    del tensors["base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight"]
    save_file(tensors, folder / WEIGHTS)


def no_tensors(folder):
    save_file({}, folder / WEIGHTS)


def not_a_number(folder):
    tensors = load_file(folder / WEIGHTS)
    next(iter(tensors.values()))[0, 0] = torch.nan
    save_file(tensors, folder / WEIGHTS)


def whole_numbers(folder):
    tensors = load_file(folder / WEIGHTS)
    save_file({name: each.to(torch.int8) for name, each in tensors.items()}, folder / WEIGHTS)


def named_keys(folder):
    tensors = load_file(folder / WEIGHTS)
    save_file({name.replace(".weight", ".default.weight"): each for name, each in tensors.items()}, folder / WEIGHTS)


def weights_of_the_base(folder):
    tensors = load_file(folder / WEIGHTS)
    save_file(tensors | {"base_model.model.lm_head.weight": torch.zeros(4, 4)}, folder / WEIGHTS)


def pickled(folder):
    torch.save({}, folder / "adapter_model.bin")
    (folder / WEIGHTS).unlink()


def pickled_beside(folder):
    torch.save({}, folder / "optimizer.pt")


def link_out(folder):
    (folder / WEIGHTS).rename(folder.parent / "elsewhere")
    (folder / WEIGHTS).symlink_to(folder.parent / "elsewhere")


def link_to_nothing(folder):
    (folder / CONFIG).unlink()
    (folder / CONFIG).symlink_to("/nowhere")


def a_pipe(folder):
    (folder / WEIGHTS).unlink()
    os.mkfifo(folder / WEIGHTS)


def config_is_no_object(folder):
    (folder / CONFIG).write_text("[]")


def wrong_rank(folder):
    values = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(values | {"r": 16}))


def endless_factor(folder):
    values = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(values | {"lora_alpha": 10**400}))


def manifest_of_nothing(folder):
    (folder / MANIFEST).write_text("{}")


def manifest_link(folder):
    (folder / MANIFEST).symlink_to("/dev/zero")


KINDS = {
    no_folder: "no such folder",
    no_config: f"{CONFIG} is missing",
    no_weights: f"{WEIGHTS} is missing",
    cut_weights: "not safetensors",
    huge_header: "a header of",
    large_header: "a header of",
    half: "only half is there",
    no_tensors: "holds 0 tensors",
    not_a_number: "not finite",
    whole_numbers: "of the kind I8",
    named_keys: "is not a part of the LoRA",
    weights_of_the_base: "lm_head.weight is not a part",
    pickled: "adapter_model.bin could run code",
    pickled_beside: "optimizer.pt could run code",
    link_out: "leads out of the folder",
    link_to_nothing: "leads out of the folder",
    a_pipe: "is not a file",
    config_is_no_object: "not JSON",
    wrong_rank: "does not fit",
    endless_factor: "its lora_alpha can't be",
    manifest_of_nothing: "no digest",
    manifest_link: "no manifest",
}


@pytest.mark.parametrize("spoil", KINDS, ids=lambda kind: kind.__name__)
def test_what_is_wrong_with_it_is_named_and_nothing_comes_in(by_peft, take, roster, loaded, spoil):
    folder, _ = by_peft()
    before = logits(loaded.network)
    spoil(folder)
    there = sorted(folder.parent.rglob("*"))
    with pytest.raises(AdapterError, match=rf"made can't be imported: .*{KINDS[spoil]}") as caught:
        take(folder)
    assert caught.value.hint and nothing_came_in(roster)
    assert sorted(folder.parent.rglob("*")) == there
    assert torch.equal(logits(loaded.network), before), "the base is what it was"
