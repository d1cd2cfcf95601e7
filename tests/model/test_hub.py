"""Models of the hub, from a small real server that speaks its API."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shammah.model import hub
from shammah.model.catalog import HubSource

SHA = "0123456789abcdef0123456789abcdef01234567"


def serve(site: Any, repo: str, files: dict[str, bytes], revision: str = "main") -> None:
    """Make the site the hub's API for one repository."""
    described = {"id": repo, "sha": SHA, "siblings": [{"rfilename": name} for name in files]}
    tree = [
        {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
        for name, data in files.items()
    ]
    as_json = {"Content-Type": "application/json"}
    site.pages[f"/api/models/{repo}"] = (200, as_json, json.dumps(described).encode())
    site.pages[f"/api/models/{repo}/revision/{revision}"] = (200, as_json, json.dumps(described).encode())
    site.pages[f"/api/models/{repo}/tree/{SHA}"] = (200, as_json, json.dumps(tree).encode())
    for name, data in files.items():
        headers = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": SHA}
        site.pages[f"/{repo}/resolve/{SHA}/{name}"] = (200, headers, data)


@pytest.fixture
def hub_child(site: Any, child: Any, tmp_path: Path) -> Callable[..., Any]:
    environment = {"HF_ENDPOINT": site.url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": ""}

    def start(name: str, **options: Any) -> Any:
        repo, _, revision = name.partition("@")
        more = options.pop("environment", {})
        source = HubSource(repo, revision or None)
        return child(source, tmp_path / "models", environment={**environment, **more}, **options)

    return start


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def downloads(site: Any) -> list[str]:
    return sorted(
        request.split("/")[-1] for request in site.requests if request.startswith("GET") and "/resolve/" in request
    )


def test_a_hub_model_is_fetched_once_and_then_needs_no_network(
    site: Any, hub_child: Callable[..., Any], tiny_folder: Path
) -> None:
    files = files_of(tiny_folder)
    unwanted = ["pytorch_model.bin", "modeling_evil.py", "consolidated.safetensors", "onnx/config.json", "weights.pth"]
    serve(site, "org/tiny", {**files, **dict.fromkeys(unwanted, b"x")})
    folder = Path(hub_child("org/tiny").result()["folder"])
    assert files_of(folder) == files
    assert downloads(site) == sorted(files)
    for offline in (False, True):
        process = hub_child("org/tiny", offline=offline)
        assert process.result()["folder"] == str(folder)
        assert process.requests() == []


def test_pickled_weights_only_where_there_are_no_others(
    site: Any, hub_child: Callable[..., Any], tiny_folder: Path
) -> None:
    files = files_of(tiny_folder)
    del files["model.safetensors"]
    serve(site, "org/old", {**files, "pytorch_model.bin": b"pickled", "optimizer.bin": b"x", "training_args.bin": b"x"})
    folder = Path(hub_child("org/old").result()["folder"])
    assert set(files_of(folder)) == {*files, "pytorch_model.bin"}


def test_a_revision_is_asked_for(site: Any, hub_child: Callable[..., Any], tiny_folder: Path) -> None:
    serve(site, "org/tiny", files_of(tiny_folder), revision="v2")
    assert hub_child("org/tiny@v2").result()["folder"].endswith(SHA)


@pytest.mark.parametrize(
    ("status", "code", "error", "message", "hint"),
    [
        (404, "RepoNotFound", "ModelNotFound", "The hub has no model org/x, or it is private", "HF_TOKEN"),
        (401, "RepoNotFound", "ModelNotFound", "The hub has no model org/x, or it is private", "HF_TOKEN"),
        (403, "GatedRepo", "FetchError", "The model org/x is gated", "HF_TOKEN"),
        (404, "RevisionNotFound", "ModelNotFound", "org/x has no revision 'main'", "Leave out"),
        (500, "", "FetchError", "The hub answered 500 for org/x", "shammah models pull org/x"),
    ],
)
def test_what_the_hub_refuses(
    status: int, code: str, error: str, message: str, hint: str, site: Any, hub_child: Callable[..., Any]
) -> None:
    for page in ("/api/models/org/x", "/api/models/org/x/revision/main"):
        site.pages[page] = (status, {"X-Error-Code": code} if code else {}, b"{}")
    result = hub_child("org/x@main" if code == "RevisionNotFound" else "org/x").result()
    assert (result["error"], hint in result["hint"]) == (error, True), result
    assert result["message"].startswith(message)


def test_a_hub_that_cannot_be_reached(hub_child: Callable[..., Any]) -> None:
    result = hub_child("org/x", environment={"HF_ENDPOINT": "http://127.0.0.1:9"}).result()
    assert result["error"] == "FetchError"
    assert result["message"] == "No network: org/x cannot be fetched from the hub"
    assert "shammah models pull org/x" in result["hint"]


def test_offline_and_not_in_the_hub_s_cache(site: Any, hub_child: Callable[..., Any]) -> None:
    process = hub_child("org/x@v1", offline=True)
    result = process.result()
    assert result["error"] == "Offline"
    assert result["hint"] == "Run `shammah models pull org/x@v1` once without --offline."
    assert process.requests() == [] and site.requests == []


def test_damage_in_the_hub_s_cache(site: Any, hub_child: Callable[..., Any], tiny_folder: Path) -> None:
    files = files_of(tiny_folder)
    serve(site, "org/tiny", files)
    folder = Path(hub_child("org/tiny").result()["folder"])
    os.truncate((folder / "model.safetensors").resolve(), 1000)
    result = hub_child("org/tiny").result()
    assert result["error"] == "ModelDamaged"
    assert result["hint"] == "Fetch it again with `shammah models pull org/tiny`."
    assert hub_child("org/tiny", verb="pull").result()["folder"] == str(folder)
    assert files_of(folder) == files


@pytest.mark.parametrize("listing_kept", [True, False])
def test_a_snapshot_that_is_not_whole_is_completed(
    listing_kept: bool, tmp_path: Path, site: Any, hub_child: Callable[..., Any], tiny_folder: Path
) -> None:
    files = files_of(tiny_folder)
    serve(site, "org/tiny", files)
    folder = Path(hub_child("org/tiny").result()["folder"])
    (folder / "model.safetensors").resolve().unlink()
    (folder / "model.safetensors").unlink()
    if not listing_kept:  # an older hub library wrote none
        for listing in (tmp_path / "hf").rglob(f"{SHA}*.json"):
            listing.unlink()
    assert hub_child("org/tiny", offline=True).result()["error"] == "Offline"
    assert hub_child("org/tiny").result()["folder"] == str(folder)
    assert files_of(folder) == files


def test_a_repository_without_a_model(site: Any, hub_child: Callable[..., Any]) -> None:
    serve(site, "org/data", {"README.md": b"hello", "data.json": b"{}"})
    result = hub_child("org/data").result()
    assert result["error"] == "ModelDamaged"
    assert "no whole model" in result["hint"]


def test_what_the_hub_s_cache_has_is_seen_without_its_library(tmp_path: Path) -> None:
    environment = {"HF_HOME": str(tmp_path)}
    assert not hub.has("org/x", environment)
    snapshot = tmp_path / "hub" / "models--org--x" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    assert not hub.has("org/x", environment)
    (snapshot / "config.json").write_text("{}")
    assert hub.has("org/x", environment) and not hub.has("org/y", environment)
    assert hub.has("org/x", {"HF_HUB_CACHE": str(tmp_path / "hub")})


def test_the_cache_is_where_the_library_has_it(tmp_path: Path) -> None:
    from huggingface_hub import constants

    assert hub.cache_folder() == Path(constants.HF_HUB_CACHE)


def test_the_download_is_told_and_not_drawn(site: Any, hub_child: Callable[..., Any], tiny_folder: Path) -> None:
    """The library's own bars would be drawn over the line that is being typed."""
    serve(site, "org/tiny", files_of(tiny_folder))
    process = hub_child("org/tiny")
    process.result()
    steps = [line for line in process.told if line.get("label") == "Fetching org/tiny"]
    size = sum(len(data) for data in files_of(tiny_folder).values())
    assert steps[-1]["done"] == steps[-1]["total"] == size
    assert "\r" not in process.heard and "%" not in process.heard
