"""An adapter taken elsewhere, in each form: whole, private, never over something, and only for its own base."""

import json
import os
import stat
import subprocess
import sys
import time
from dataclasses import replace

import gguf
import pytest
import torch
from support.gguf_bases import a_tokenizer, save_base
from support.networks import some_ids
from support.peft_folders import save_adapter, with_adapter
from transformers import AutoModelForCausalLM, AutoTokenizer

from shammah.adapters.bundle import CONFIG, MANIFEST, README, WEIGHTS, read_bundle, verify_files, write_bundle
from shammah.adapters.manifest import Manifest
from shammah.config import Config, GenerationSettings
from shammah.deployment.exporting import FORMS, BaseModel, export, next_step
from shammah.errors import AdapterDamaged, AdapterMisfit, DiskFull, ModelError, ShammahError, UsageError
from shammah.events import Notice
from shammah.model.adapted import adapted
from shammah.model.fingerprint import template_hash, weights_hash
from shammah.store.audit import Audit
from shammah.store.examples import Examples

pytestmark = pytest.mark.usefixtures("one_thread")
IDS = torch.tensor([some_ids(24, 4)])
NAME = "lora_adapter_20260131_090500"
FILES = {
    "peft": {WEIGHTS, CONFIG, README, MANIFEST},
    "merged": {
        *("README.md", "config.json", "generation_config.json", "model.safetensors"),
        *("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"),
    },
    "gguf-lora": {"adapter.gguf", "README.md"},
    "gguf": {"model.gguf", "README.md"},
    "ollama": {"model.gguf", "Modelfile", "README.md"},
}


def read(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def logits(network):
    with torch.no_grad():
        return network(IDS).logits


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The base that the adapter was made for."""
    return save_base("llama", tmp_path_factory.mktemp("base") / "model")


@pytest.fixture(scope="module")
def base(folder, tmp_path_factory):
    return BaseModel(folder=folder, cache_folder=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def made(base, tmp_path_factory):
    """What peft saved of it."""
    return save_adapter(read(base.folder), tmp_path_factory.mktemp("made") / "peft", by=0.05)


@pytest.fixture
def adapter(base, made, tmp_path):
    """Put it on a shelf, and return its manifest and its folder."""
    files = {name: (made / name).read_bytes() for name in (WEIGHTS, CONFIG, README)}
    template = AutoTokenizer.from_pretrained(base.folder).chat_template
    manifest = Manifest(
        name=NAME,
        version=1,
        created="2026-01-31T09:05:00.000Z",
        base="smollm2-135m",
        base_hash=f"{weights_hash(base.folder, base.cache_folder)}-c0de",
        template_hash=template_hash(template),
        shape={"r": 4, "alpha": 6},
        recipe={},
        seed=7,
        example_ids=("one", "two", "three"),
        trigger="user",
        run_id="run",
    )
    shelved = write_bundle(tmp_path / "adapters", NAME, files, manifest)
    return read_bundle(shelved), shelved


@pytest.fixture
def out(tmp_path):
    return tmp_path / "elsewhere" / "mine"


@pytest.fixture
def to(adapter, base, out):
    """Export the adapter in a form."""

    def run(form, **options):
        fields = {"out": out, "config": Config(), "base": base}
        return export(*adapter, to=form, **(fields | options))

    return run


class TestEachForm:
    @pytest.mark.parametrize("form", FORMS)
    def test_all_files_are_there_and_only_the_owner_may_look(self, to, out, form, open_umask):
        files = to(form)
        assert {file.name for file in files} == FILES[form] == {path.name for path in out.iterdir()}
        assert all(file.parent == out for file in files)
        modes = {stat.S_IMODE(path.stat().st_mode) for path in (out.parent, out)}
        assert modes == {0o700} and {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
        assert list(out.parent.iterdir()) == [out]

    def test_peft_reads_its_folder(self, to, out, base, made, adapter):
        to("peft", base=None)
        verify_files(out, read_bundle(out))
        wanted = logits(with_adapter(read(base.folder), made))
        assert torch.equal(logits(with_adapter(read(base.folder), out)), wanted)

    def test_transformers_reads_the_merged_model(self, to, out, base, made):
        to("merged")
        torch.testing.assert_close(
            logits(read(out)), logits(with_adapter(read(base.folder), made)), atol=2e-2, rtol=1e-2
        )
        assert AutoTokenizer.from_pretrained(out).tokenize("the cat") == ["the", "Ġcat"]

    @pytest.mark.parametrize("form", ["gguf", "ollama"])
    def test_a_whole_gguf_answers_with_the_adapter(self, to, out, base, made, form):
        to(form)
        model = AutoModelForCausalLM.from_pretrained(out, gguf_file="model.gguf", dtype=torch.float32).eval()
        torch.testing.assert_close(logits(model), logits(with_adapter(read(base.folder), made)), atol=2e-2, rtol=1e-2)

    def test_a_gguf_adapter_names_its_base(self, to, out):
        to("gguf-lora")
        fields = gguf.GGUFReader(out / "adapter.gguf").fields
        assert fields["general.name"].contents() == NAME
        assert fields["general.base_model.0.name"].contents() == "HuggingFaceTB/SmolLM2-135M-Instruct"

    def test_eight_bits_where_they_are_asked_for(self, to, out):
        to("gguf", numbers="q8_0")
        kinds = {tensor.tensor_type.name for tensor in gguf.GGUFReader(out / "model.gguf").tensors}
        assert kinds == {"Q8_0", "F32"}

    def test_a_modelfile_chooses_replies_as_here(self, to, out):
        to("ollama", config=replace(Config(), generation=GenerationSettings(temperature=0.75), context=99))
        text = (out / "Modelfile").read_text()
        assert text.startswith("FROM ./model.gguf\nTEMPLATE ")
        assert "PARAMETER temperature 0.75\n" in text and "PARAMETER num_ctx 99\n" in text

    def test_a_modelfile_has_the_system_prompt_that_was_set(self, to, out):
        to("ollama", config=replace(Config(), system="Be brief.\nBe kind."))
        assert '\nSYSTEM "Be brief.\nBe kind."\n' in (out / "Modelfile").read_text()

    @pytest.mark.parametrize("form", ["merged", "gguf-lora", "gguf", "ollama"])
    def test_a_readme_says_what_it_is(self, to, out, adapter, form):
        to(form)
        text = (out / "README.md").read_text()
        assert text.startswith(f"# {NAME}\n") and "HuggingFaceTB/SmolLM2-135M-Instruct, whose licence" in text
        assert adapter[0].base_hash.partition("-")[0] in text and "3 rated examples" in text

    @pytest.mark.parametrize("form", FORMS)
    def test_the_next_step_names_what_was_made(self, to, out, adapter, form):
        to(form)
        command = next_step(form, out, adapter[0])
        named = [word for word in command.replace("=", " ").replace('"', " ").split() if str(out) in word]
        assert len(named) == 1 and os.path.exists(named[0].strip("()"))
        assert "--max-lora-rank 8 " in command or form != "peft"

    def test_of_a_model_that_lies_here_it_says_where_its_path_goes(self, out, adapter):
        command = next_step("peft", out, replace(adapter[0], base="my model"))
        assert command.startswith("vllm serve 'PATH/TO/my model' --enable-lora")


class TestAtAStrength:
    """As much of it counts as where it is loaded at that strength."""

    @pytest.fixture
    def half(self, base, made):
        """What the base answers with half of it."""
        return logits(adapted(read(base.folder), made, strength=0.5))

    def test_peft_and_shammah_read_a_folder_that_is_whole(self, to, out, base, half, adapter):
        to("peft", base=None, strength=0.5)
        manifest = read_bundle(out)
        verify_files(out, manifest)
        torch.testing.assert_close(logits(with_adapter(read(base.folder), out)), half)
        assert (manifest.name, manifest.shape) == (NAME, {"r": 4, "alpha": 3.0})
        assert "| alpha | 3 |" in (out / README).read_text()
        assert read_bundle(adapter[1]) == adapter[0], "the one on the shelf stays as it was"

    def test_merged(self, to, out, base, half, adapter):
        to("merged", strength=0.5)
        torch.testing.assert_close(logits(read(out)), half, atol=2e-2, rtol=1e-2)
        assert "which counts at a strength of 0.5." in (out / "README.md").read_text()
        assert list(out.parent.iterdir()) == [out], "the copy that it was made of is gone"

    @pytest.mark.parametrize("strength", [0.5, 0.0])
    def test_a_gguf_adapter(self, to, out, strength):
        to("gguf-lora")
        to("gguf-lora", out=out.with_name("less"), strength=strength)
        whole, less = (_product(out.with_name(name) / "adapter.gguf") for name in (out.name, "less"))
        torch.testing.assert_close(less, strength * whole)


def _product(file):
    """What llama.cpp adds to one of the weights; it takes an alpha of 0 for one that nobody gave."""
    reader = gguf.GGUFReader(file)
    parts = {tensor.name: torch.tensor(tensor.data) for tensor in reader.tensors}
    down, up = (parts[f"blk.1.attn_output.weight.lora_{side}"] for side in "ab")
    return (float(reader.fields["adapter.lora.alpha"].contents()) / down.shape[0] or 1.0) * up @ down


class TestExamples:
    @pytest.fixture
    def examples(self, database, an_example):
        examples = Examples(database)
        # The second one is redacted as far as it ever was, and the last one was not learned from.
        examples.put(an_example("Who?", "Me.", id="one", time="2026-01-01T00:00:00.000Z"))
        examples.put(an_example("Mail?", "a@b.de", id="two", time="2026-01-02T00:00:00.000Z"))
        examples.put(an_example("Other?", "No.", id="four", time="2026-01-03T00:00:00.000Z"))
        return examples

    def test_they_go_along_as_they_are_stored(self, to, out, examples):
        heard = []
        files = to("peft", examples=examples, publish=heard.append)
        assert out / "examples.jsonl" in files
        rows = [json.loads(line) for line in (out / "examples.jsonl").read_text("utf-8").splitlines()]
        assert [(row["id"], row["prompt"], row["reply"]) for row in rows] == [
            ("one", "Who?", "Me."),
            ("two", "Mail?", "a@b.de"),
        ]
        assert heard == [Notice("1 of the 3 examples are not there any more.")]

    def test_they_stay_here_unless_they_are_asked_for(self, to, out, examples):
        to("gguf-lora")
        assert not (out / "examples.jsonl").exists()
        assert b"Who?" not in b"".join(path.read_bytes() for path in out.iterdir())

    def test_the_trail_tells_of_it(self, to, database, examples):
        to("peft", examples=examples, audit=Audit(database))
        (entry,) = Audit(database).entries()
        assert (entry.actor, entry.action, entry.subject) == ("user", "exported", NAME)
        assert entry.details == {"to": "peft", "strength": 1.0, "with_examples": True}


class TestNothingIsOverwritten:
    @pytest.mark.parametrize("kind", ["folder", "file", "link that leads nowhere"])
    def test_what_is_there_stays(self, to, out, kind):
        out.parent.mkdir()
        if kind == "folder":
            out.mkdir()
        elif kind == "file":
            out.write_text("mine")
        else:
            out.symlink_to("nowhere")
        before = os.lstat(out)
        with pytest.raises(UsageError, match="is there already") as caught:
            to("peft")
        assert "--out" in caught.value.hint and os.lstat(out) == before
        assert list(out.parent.iterdir()) == [out]

    def test_a_failure_leaves_nothing_behind(self, to, out, database):
        def stop(event):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            to("merged", publish=stop, audit=Audit(database))
        assert list(out.parent.iterdir()) == [] and Audit(database).count() == 0

    def test_killed_in_the_midst_it_is_not_there_and_the_next_one_clears_up(self, adapter, base, out, to):
        script = (
            "import os, sys; from pathlib import Path\n"
            "from shammah.adapters.bundle import read_bundle; from shammah.config import Config\n"
            "from shammah.deployment.exporting import BaseModel, export\n"
            "folder, base, cache, out = map(Path, sys.argv[1:])\n"
            "export(read_bundle(folder), folder, to='gguf', out=out, config=Config(),\n"
            "       base=BaseModel(folder=base, cache_folder=cache),\n"
            "       publish=lambda event: os.kill(os.getpid(), 9) if event.done == 5 else None)\n"
        )
        command = [sys.executable, "-c", script, str(adapter[1]), str(base.folder), str(base.cache_folder), str(out)]
        assert subprocess.run(command, timeout=120, check=False).returncode == -9
        (left,) = out.parent.iterdir()
        assert left.name.startswith(".shammah-export-") and stat.S_IMODE(left.stat().st_mode) == 0o700
        to("gguf-lora")
        assert left.exists()  # another export may be at work in it
        os.utime(left, (time.time() - 3700,) * 2)
        to("peft", out=out.with_name("second"))
        assert not left.exists()

    def test_no_room_is_told(self, adapter, base, out):
        script = (
            "import resource, sys; from pathlib import Path\n"
            "from shammah.adapters.bundle import read_bundle; from shammah.config import Config\n"
            "from shammah.deployment.exporting import BaseModel, export\n"
            "from shammah.errors import DiskFull\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
            "folder, base, cache, out = map(Path, sys.argv[1:])\n"
            "for form in ('merged', 'gguf'):\n"
            "    try: export(read_bundle(folder), folder, to=form, out=out, config=Config(),\n"
            "                base=BaseModel(folder=base, cache_folder=cache))\n"
            "    except DiskFull as error: print(error.one_line())\n"
        )
        command = [sys.executable, "-c", script, str(adapter[1]), str(base.folder), str(base.cache_folder), str(out)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        line = f"No room left to write {out}. Free some space. Give another place with --out.\n"
        assert done.stdout == line * 2, done.stderr
        assert list(out.parent.iterdir()) == []

    @pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="nothing is forbidden here")
    def test_a_place_that_may_not_be_written(self, to, tmp_path):
        (tmp_path / "locked").mkdir(mode=0o500)
        with pytest.raises(ShammahError, match="permission denied") as caught:
            to("peft", out=tmp_path / "locked" / "mine")
        assert "--out" in caught.value.hint

    def test_a_place_below_a_file(self, to, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(ShammahError, match="Cannot write") as caught:
            to("peft", out=tmp_path / "file" / "mine")
        assert not isinstance(caught.value, DiskFull) and "--out" in caught.value.hint


class TestRefusals:
    @pytest.mark.parametrize("form", FORMS)
    def test_a_damaged_adapter(self, to, out, adapter, form):
        file = adapter[1] / WEIGHTS
        file.write_bytes(file.read_bytes()[:-1] + b"\x01")
        with pytest.raises(AdapterDamaged, match="is not what was saved"):
            to(form)
        assert not out.exists()

    @pytest.mark.parametrize("form", [form for form in FORMS if form != "peft"])
    def test_another_base(self, to, out, base, tmp_path, form):
        other = save_base("llama", tmp_path / "other", attention_dropout=0.5, spare=7)
        with pytest.raises(AdapterMisfit, match="was made for smollm2-135m with other weights") as caught:
            to(form, base=BaseModel(folder=other, cache_folder=base.cache_folder))
        assert "--to peft" in caught.value.hint and not out.exists()

    def test_another_template(self, to, base, tmp_path):
        tokenizer = a_tokenizer()
        tokenizer.chat_template = tokenizer.chat_template.replace("user", "you") + "x"
        other = save_base("llama", tmp_path / "other", tokenizer=tokenizer)
        with pytest.raises(AdapterMisfit, match="with another chat template"):
            to("merged", base=BaseModel(folder=other, cache_folder=base.cache_folder))

    def test_a_template_that_ollama_cannot_be_told(self, adapter, out, tmp_path, base):
        tokenizer = a_tokenizer()
        tokenizer.chat_template = "{% for m in messages %}{{ loop.index }}{{ m['content'] }}{% endfor %}"
        other = save_base("llama", tmp_path / "other", tokenizer=tokenizer)
        manifest = replace(adapter[0], template_hash=template_hash(tokenizer.chat_template))
        model = BaseModel(folder=other, cache_folder=base.cache_folder)
        with pytest.raises(ModelError, match="can't be told to Ollama"):
            export(manifest, adapter[1], to="ollama", out=out, config=Config(), base=model)
        assert not out.exists()
