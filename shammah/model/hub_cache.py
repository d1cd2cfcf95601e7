"""Which models the Hugging Face hub's own cache holds, read from its folders: its library takes a second to import.

    <cache>/models--org--name/snapshots/<revision>/config.json
"""

import os
from collections.abc import Mapping
from pathlib import Path


def folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Where the hub keeps its files, by the same variables as the hub's library."""
    if named := environment.get("HF_HUB_CACHE"):
        return Path(named).expanduser()
    if home := environment.get("HF_HOME"):
        return Path(home).expanduser() / "hub"
    caches = environment.get("XDG_CACHE_HOME")
    return (Path(caches) if caches else Path.home() / ".cache") / "huggingface" / "hub"


def has(repo_id: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether a whole snapshot seems to be there; loading it checks the files themselves."""
    snapshots = folder(environment) / f"models--{repo_id.replace('/', '--')}" / "snapshots"
    return any(snapshots.glob("*/config.json"))
