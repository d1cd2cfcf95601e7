"""The folder of finished models. What is listed is complete; everything unfinished lies out of sight, and is swept.

    <root>/smollm2-135m-bcc81830/   config.json  model.safetensors  tokenizer.json  ...  shammah-model.json
    <root>/.work/                   one folder per job under way, each beside the lock its process holds
    <root>/.locks/                  one lock per model, so that two processes never make the same one

A model is made in `.work`, its manifest is written last, all of it is synced, and one rename gives it its name. The
operating system drops the locks of a process that dies, so nothing waits for the dead and their folders are swept.

Files are checked without torch. A safetensors file is 8 bytes (the header's length), the header (JSON) and the tensors
end to end, so its length follows from its header: one that was cut off is found without reading it.
"""

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import platformdirs
from filelock import FileLock, Timeout

from shammah.durable import expand, is_out_of_room, sync_folder
from shammah.errors import DiskFull, HomeError, ModelDamaged
from shammah.events import Event, Notice
from shammah.model.catalog import GgufSource, WheelSource
from shammah.model.weights import check_safetensors, parameters_in

MANIFEST = "shammah-model.json"
_FORMAT = 1  # raise it when a conversion comes out differently: models made before are then made again
_AGAIN = "Fetch it again with `shammah models pull`."
_VERSIONED = ("shammah", "torch", "transformers", "safetensors", "gguf")


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedModel:
    name: str
    folder: Path
    bytes: int
    parameters: int
    source: dict[str, Any]
    converted: str


def free_bytes(path: Path) -> int:
    return shutil.disk_usage(path).free


@dataclass(frozen=True, slots=True)
class ModelCache:
    root: Path
    free_bytes: Callable[[Path], int] = field(default=free_bytes)

    @classmethod
    def default(cls, models_dir: str = "") -> "ModelCache":
        """The user's cache, or the folder that the setting `models_dir` names."""
        if models_dir:
            return cls(expand(models_dir).absolute())
        return cls(platformdirs.user_cache_path("shammah") / "models")

    def folder_for(self, source: WheelSource | GgufSource) -> Path:
        """Where the model made from this source lies, be it there or not. Another content has another folder."""
        if isinstance(source, WheelSource):
            return self.root / f"{source.name}-{source.sha256[:8]}"
        state = source.path.stat()
        key = f"{source.path.absolute()}|{state.st_size}|{state.st_mtime_ns}"
        return self.root / f"{source.path.stem}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"

    def models(self) -> list[CachedModel]:
        """The complete models, by name. Reads manifests and the headers of the weights, nothing more."""
        folders = sorted(self.root.iterdir()) if self.root.is_dir() else []
        found = [_described(folder) for folder in folders if not folder.name.startswith(".")]
        return [model for model in found if model]

    def is_finished(self, folder: Path) -> bool:
        """Whether a model was made here, by this version's conversion. It may have been damaged since."""
        try:
            return bool(_manifest(folder)["format"] == _FORMAT)
        except ModelDamaged:
            return (folder / MANIFEST).is_file()

    def check(self, folder: Path, hint: str = _AGAIN) -> None:
        """ModelDamaged unless every file is what the manifest says; contents are read only where a time stamp moved."""
        for name, recorded in _manifest(folder, hint)["files"].items():
            path = folder / name
            try:
                state = path.stat()
            except OSError:
                raise _damaged(folder, f"{name} is missing", hint) from None
            if state.st_size != recorded["bytes"]:
                raise _damaged(folder, f"{name} has {state.st_size:,} bytes instead of {recorded['bytes']:,}", hint)
            if name.endswith(".safetensors"):
                check_safetensors(path, hint)
            if state.st_mtime_ns != recorded["mtime_ns"] and sha256_of(path) != recorded["sha256"]:
                raise _damaged(folder, f"{name} was changed", hint)

    @contextmanager
    def lock(self, folder: Path, publish: Callable[[Event], None]) -> Iterator[None]:
        """One process at a time for this model. Who has to wait is told so, once."""
        with self._explained():
            (self.root / ".locks").mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.root / ".locks" / f"{folder.name}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                publish(Notice(f"Another Shammah is fetching {folder.name}; waiting for it"))
                lock.acquire(poll_interval=0.2)
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """A folder of our own on the cache's disk, gone afterwards however this ends. Those of the dead go first."""
        work = self.root / ".work"
        with self._explained():
            work.mkdir(parents=True, exist_ok=True)
            folder = work / uuid.uuid4().hex
            lock = FileLock(folder.with_suffix(".lock"))
            # Between the making of a lock file and its locking, another process would take it for a dead one's.
            with FileLock(work / "sweeping"):
                _sweep(work)
                lock.acquire(timeout=0)
                folder.mkdir()
        try:
            with self._explained():
                yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            lock.release()
            folder.with_suffix(".lock").unlink(missing_ok=True)

    def install(self, folder_name: str, fill: Callable[[Path], None], source: dict[str, Any]) -> Path:
        """Have `fill` make the files in an empty folder, then give it its name, replacing what had it before."""
        final = self.root / folder_name
        with self.workspace() as workspace:
            made = workspace / "model"
            made.mkdir()
            fill(made)
            _seal(made, source)
            if final.exists():
                os.replace(final, workspace / "replaced")
            os.replace(made, final)
            sync_folder(self.root)
        return final

    def require_room(self, needed: int, folder: Path | None = None) -> None:
        """DiskFull, with the numbers, unless that many bytes are free where the models lie, or at `folder`."""
        place = folder or self.root
        standing = next(path for path in (place, *place.parents) if path.exists())
        free = self.free_bytes(standing)
        if free < needed:
            raise DiskFull(
                f"Not enough room in {place}: {needed / 1e6:,.0f} MB needed, {free / 1e6:,.0f} MB free",
                hint=f"Free some space, or set {'HF_HOME' if folder else 'models_dir'} to a folder on another disk.",
            )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn the system's refusals into ours; an OSError that is not about this folder (a closed pipe) passes."""
        try:
            yield
        except OSError as error:
            if is_out_of_room(error):
                raise DiskFull(
                    f"No room left in {self.root}",
                    hint="Free some space, or set models_dir to a folder on another disk.",
                ) from error
            if not self._is_about_us(error.filename):
                raise
            reason = (error.strerror or type(error).__name__).lower()
            raise HomeError(
                f"Cannot use the models folder {self.root}: {reason}",
                hint="Set models_dir to a folder you can write.",
            ) from error

    def _is_about_us(self, filename: object) -> bool:
        if not isinstance(filename, str | Path):
            return False
        path = Path(filename)
        return self.root in (path, *path.parents) or path in self.root.parents


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _seal(folder: Path, source: dict[str, Any]) -> None:
    files = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        path.chmod(0o644)  # safetensors writes 0600, and a models_dir may be shared
        _sync(path)
        state = path.stat()
        name = path.relative_to(folder).as_posix()
        files[name] = {"sha256": sha256_of(path), "bytes": state.st_size, "mtime_ns": state.st_mtime_ns}
    document = {
        "format": _FORMAT,
        "source": source,
        "converted": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": _versions(),
        "files": files,
    }
    manifest = folder / MANIFEST
    manifest.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    _sync(manifest)
    sync_folder(folder)


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _versions() -> dict[str, str]:
    found = {}
    for package in _VERSIONED:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _sweep(work: Path) -> None:
    """Remove what dead processes left. Call it under the sweeping lock."""
    for name in {path.stem for path in work.iterdir() if path.is_dir() or path.suffix == ".lock"}:
        lock = FileLock(work / f"{name}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        shutil.rmtree(work / name, ignore_errors=True)
        lock.release()
        (work / f"{name}.lock").unlink(missing_ok=True)


def _manifest(folder: Path, hint: str = _AGAIN) -> dict[str, Any]:
    try:
        document = json.loads((folder / MANIFEST).read_bytes())
        for recorded in document["files"].values():
            recorded["sha256"], recorded["bytes"], recorded["mtime_ns"]
        document["format"], document["source"]["name"], document["converted"]
    except FileNotFoundError:
        raise _damaged(folder, f"{MANIFEST} is missing", hint) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise _damaged(folder, f"{MANIFEST} cannot be read", hint) from None
    return dict(document)


def _described(folder: Path) -> CachedModel | None:
    try:
        manifest = _manifest(folder)
        return CachedModel(
            name=manifest["source"]["name"],
            folder=folder,
            bytes=sum(recorded["bytes"] for recorded in manifest["files"].values()),
            parameters=sum(parameters_in(folder / name) for name in manifest["files"] if name.endswith(".safetensors")),
            source=manifest["source"],
            converted=manifest["converted"],
        )
    except ModelDamaged:
        return None


def _damaged(folder: Path, why: str, hint: str) -> ModelDamaged:
    return ModelDamaged(f"The model in {folder} is damaged: {why}", hint=hint)
