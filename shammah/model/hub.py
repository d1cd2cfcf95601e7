"""Models of the Hugging Face hub: fetched by the hub's own library into its own cache, checked, its errors made ours.

    <cache>/models--org--name/snapshots/<revision>/config.json

The library takes a second to import, so it is imported only where it is needed; `has` reads the folders instead.
"""

import io
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from shammah.durable import is_out_of_room
from shammah.errors import DiskFull, FetchError, ModelDamaged, ModelError, ModelNotFound, Offline
from shammah.events import Event, Progress
from shammah.model.catalog import HubSource
from shammah.model.weights import check_folder, missing_from

Publish = Callable[[Event], None]
RequireRoom = Callable[[int, Path], None]

# Weights are taken as safetensors; pickled ones only where a model has no others. Code is never taken.
_PLAIN = ["*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken", "*.safetensors"]
_PICKLED = ["pytorch_model*.bin"]
# Subfolders hold other formats (onnx, original); consolidated files repeat the weights in a foreign layout.
_NEVER = ["*/*", "consolidated*", "training_args*"]


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Where the hub keeps its files, by the same variables as its library."""
    if named := environment.get("HF_HUB_CACHE"):
        return Path(named).expanduser()
    if home := environment.get("HF_HOME"):
        return Path(home).expanduser() / "hub"
    caches = environment.get("XDG_CACHE_HOME")
    return (Path(caches) if caches else Path.home() / ".cache") / "huggingface" / "hub"


def has(repo_id: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether a snapshot seems to be there; loading it checks the files themselves."""
    snapshots = cache_folder(environment) / f"models--{repo_id.replace('/', '--')}" / "snapshots"
    return any(snapshots.glob("*/config.json"))


def fetch_snapshot(
    source: HubSource, *, offline: bool, refresh: bool, require_room: RequireRoom, publish: Publish
) -> Path:
    """The folder of the snapshot. `refresh` asks the hub for the newest files and replaces damaged ones."""
    again = f"Fetch it again with `shammah models pull {source}`."
    folder = _found_here(source)
    if folder and (offline or not refresh):
        check_folder(folder, again)
        return folder
    if offline:
        raise Offline(
            f"The model {source} is not here yet, and offline was asked for",
            hint=f"Run `shammah models pull {source}` once without --offline.",
        )
    with _hub_explained(source):
        folder = _download(source, require_room, publish, afresh=folder is not None and _is_damaged(folder))
    check_folder(folder, "The hub holds no whole model for transformers under this name.")
    return folder


def _found_here(source: HubSource) -> Path | None:
    """The snapshot in the hub's cache, unless something is still to be fetched. Makes no request."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        found = snapshot_download(
            source.repo_id,
            revision=source.revision,
            allow_patterns=_PLAIN,
            ignore_patterns=_NEVER,
            local_files_only=True,
        )
    except LocalEntryNotFoundError:
        return None
    except HFValidationError as error:
        raise ModelNotFound(f"{source} is not a Hugging Face id", hint="See `shammah models list`.") from error
    folder = Path(str(found))
    return None if missing_from(folder) else folder


def _download(source: HubSource, require_room: RequireRoom, publish: Publish, *, afresh: bool) -> Path:
    from huggingface_hub import constants, snapshot_download

    plan = snapshot_download(
        source.repo_id,
        revision=source.revision,
        allow_patterns=[*_PLAIN, *_PICKLED],
        ignore_patterns=_NEVER,
        dry_run=True,
        tqdm_class=_bars(lambda event: None),
    )
    assert isinstance(plan, list)
    only_pickled = not any(file.filename.endswith(".safetensors") for file in plan)
    wanted = [file for file in plan if only_pickled or not file.filename.endswith(".bin")]
    needed = sum(file.file_size or 0 for file in wanted if afresh or file.will_download)
    require_room(needed, Path(constants.HF_HUB_CACHE))
    found = snapshot_download(
        source.repo_id,
        revision=source.revision,
        allow_patterns=[*_PLAIN, *(_PICKLED if only_pickled else [])],
        ignore_patterns=_NEVER,
        force_download=afresh,
        tqdm_class=_bars(publish, f"Fetching {source}"),
    )
    return Path(str(found))


def _bars(publish: Publish, label: str = "") -> Any:
    """The library's progress bars as events: it would draw over the line that is being typed."""
    from tqdm.auto import tqdm

    class Bar(tqdm):  # type: ignore[misc]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **{**options, "file": io.StringIO(), "disable": False})

        def display(self, *arguments: Any, **options: Any) -> None:
            if self.unit == "B" and self.total:
                publish(Progress(label, int(self.n), int(self.total), "B"))

        def close(self) -> None:
            self.disable = True  # otherwise it is drawn once more, when it is collected

    return Bar


def _is_damaged(folder: Path) -> bool:
    try:
        check_folder(folder, "")
    except ModelDamaged:
        return True
    return False


@contextmanager
def _hub_explained(source: HubSource) -> Iterator[None]:
    from huggingface_hub import errors

    unreachable = getattr(errors, "HTTPError", OSError)  # of the HTTP library, which changes with the hub's version
    try:
        yield
    except (unreachable, OSError, errors.DryRunError, errors.XetDownloadError) as error:
        # A dry run hides what the hub said behind an error of its own.
        said = error.__cause__ if isinstance(error, errors.DryRunError) and error.__cause__ else error
        raise _hub_error(source, said) from error


def _hub_error(source: HubSource, error: BaseException) -> ModelError | DiskFull:
    from huggingface_hub import errors

    again = f"then run `shammah models pull {source}`."
    if is_out_of_room(error):
        return DiskFull(
            f"No room left while fetching {source}", hint="Free some space, or set HF_HOME to another disk."
        )
    if isinstance(error, errors.GatedRepoError):
        return FetchError(
            f"The model {source} is gated: its owner wants you to accept terms first",
            hint=f"Accept them on its page, set HF_TOKEN to your token, {again}",
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return ModelNotFound(f"{source.repo_id} has no revision {source.revision!r}", hint="Leave out the @revision.")
    if isinstance(error, errors.RepositoryNotFoundError):
        return ModelNotFound(
            f"The hub has no model {source.repo_id}, or it is private",
            hint="Check the spelling; for a private one set HF_TOKEN to your token.",
        )
    if isinstance(error, errors.HfHubHTTPError):
        return FetchError(
            f"The hub answered {error.response.status_code} for {source}",
            hint=f"Wait a little, {again}",
        )
    return FetchError(f"No network: {source} cannot be fetched from the hub", hint=f"Check the connection, {again}")
