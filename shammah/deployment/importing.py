"""Adapters from elsewhere: a folder of Shammah's from another home, or one that peft saved.

What comes in is checked, written anew in our own form, loaded onto the model for a try, and only then put on the shelf.
The folder it came from is never changed. Each refusal says why.
"""

import json
import os
import re
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import safe_open

from shammah.adapters.bundle import (
    CONFIG,
    MANIFEST,
    README,
    STAGED,
    WEIGHTS,
    check_safetensors,
    config_of,
    read_bundle,
    refuse_harmful,
    require_file,
    verify_files,
    write_bundle,
)  # fmt: skip
from shammah.adapters.card import card_of
from shammah.adapters.manifest import IMPORT, Manifest
from shammah.adapters.peft_config import plain, why_not
from shammah.adapters.shelf import PREFIX
from shammah.deployment.roster import Entry, Roster
from shammah.durable import explained, make_folder
from shammah.errors import AdapterDamaged, AdapterError, AdapterKnown, AdapterMisfit
from shammah.records import Actor
from shammah.store.identity import utc_now

if TYPE_CHECKING:
    from shammah.model.loading import LoadedModel

_LARGEST_WEIGHTS = 4 << 30  # bytes
_MOST_TENSORS = 50_000
_FACTOR = re.compile(r"base_model\.model\.(?P<module>[\w.]+)\.lora_(?P<side>[AB])\.weight")
_NUMBERS = ("F32", "F16", "BF16")
_HINTS: dict[type[AdapterError], str] = {
    AdapterDamaged: f"Fetch a whole copy of it; of what peft saved only {WEIGHTS} and {CONFIG} are needed.",
    AdapterMisfit: "Use -m with its model, or --any-base where you know that it was made for this one.",
    AdapterError: "Make it anew as plain LoRA.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The model that an import has to fit. `base` is its name as adapters have it, `hub` the one on the hub."""

    loaded: "LoadedModel"
    base: str
    hub: str
    base_hash: str
    template_hash: str

    @classmethod
    def of(cls, loaded: "LoadedModel", model: str, weights_cache: Path) -> "Target":
        """`model` is what the configuration calls it."""
        from shammah.model.catalog import hub_name, name_to_share
        from shammah.model.fingerprint import base_hash, template_hash

        return cls(
            loaded=loaded,
            base=name_to_share(model),
            hub=hub_name(model),
            base_hash=base_hash(loaded, weights_cache),
            template_hash=template_hash(loaded.format.template),
        )


def import_adapter(
    source: Path,
    target: Target,
    roster: Roster,
    *,
    any_base: bool = False,
    actor: Actor = "user",
    now: Callable[[], str] = utc_now,
) -> Entry:
    """Put a copy of the adapter in a folder on the shelf, as a candidate. With `any_base` only its shape has to fit."""
    with _refusals(source.name), _staging(roster.shelf.root) as place:
        made = _made_by_shammah(source, target, any_base=any_base)
        config = _own_config(source, target, any_base=any_base or made is not None)
        manifest = _manifest(made, config, target, roster, now())
        files = {
            WEIGHTS: (source / WEIGHTS).read_bytes(),
            CONFIG: json.dumps(config, indent=2, sort_keys=True).encode() + b"\n",
            README: _card(manifest, target),
        }
        folder = write_bundle(place, manifest.name, files, manifest)
        _try_on(folder, target)
        _refuse_double(read_bundle(folder), roster)
        roster.moves.move(folder, "imported", actor, {"base": target.base, "trained_by_shammah": made is not None})
    return roster.find(manifest.name)


def _made_by_shammah(source: Path, target: Target, *, any_base: bool) -> Manifest | None:
    """What a folder of Shammah's says about itself, all of it as it was saved; None for one that has no manifest."""
    if not source.is_dir():
        raise AdapterDamaged("there is no such folder")
    if not os.path.lexists(source / MANIFEST):
        return None
    manifest = read_bundle(source)
    verify_files(source, manifest)
    from shammah.model.fingerprint import differences

    theirs, ours = (manifest.base_hash, manifest.template_hash), (target.base_hash, target.template_hash)
    differs = differences(theirs, ours)
    if differs and not any_base:
        if manifest.base != target.base:
            raise AdapterMisfit(f"it was made for {manifest.base}, and this is {target.base}")
        raise AdapterMisfit(f"it was made for {target.base} with {' and '.join(differs)}")
    return manifest


def _own_config(source: Path, target: Target, *, any_base: bool) -> dict[str, Any]:
    """The config of the same adapter in our own words."""
    refuse_harmful(source)
    for name in (CONFIG, WEIGHTS):
        require_file(source, name)
    values = config_of(source)
    why = why_not(values)
    if why:
        raise AdapterError(why)
    if not any_base:
        _require_name(values.get("base_model_name_or_path"), target)
    size = (source / WEIGHTS).stat().st_size
    if size > _LARGEST_WEIGHTS:
        raise AdapterDamaged(f"{WEIGHTS} has {size:,} bytes, more than any adapter")
    check_safetensors(source, WEIGHTS)
    return plain(values, modules=_as_targets(_modules_in(source / WEIGHTS), target), base=target.hub)


def _require_name(named: object, target: Target) -> None:
    """Two models of one shape are told apart by nothing else: the folders or repositories have to be called the same.
    An adapter that names no model may be for any."""
    if not isinstance(named, str) or not named.strip():
        return
    said = re.split(r"[/\\]", named.strip().rstrip("/\\"))[-1].casefold()
    if said not in {name.rpartition("/")[2].casefold() for name in (target.base, target.hub)}:
        raise AdapterMisfit(f"it was made for {named!r}, and this is {target.hub}")


def _modules_in(weights: Path) -> set[str]:
    """The modules of the model that an adapter changes, by the names of its tensors."""
    sides: dict[str, set[str]] = defaultdict(set)
    with safe_open(weights, framework="numpy") as file:
        names = list(file.keys())
        if not 0 < len(names) <= _MOST_TENSORS:
            raise AdapterDamaged(f"it holds {len(names):,} tensors")
        for name in names:
            tensor = file.get_slice(name)
            found = _FACTOR.fullmatch(name)
            if found is None or len(tensor.get_shape()) != 2:
                raise AdapterError(f"{name} is not a part of the LoRA of a linear layer")
            if tensor.get_dtype() not in _NUMBERS:
                raise AdapterError(f"{name} holds numbers of the kind {tensor.get_dtype()}")
            sides[found["module"]].add(found["side"])
    halves = [module for module, both in sides.items() if len(both) < 2]
    if halves:
        raise AdapterDamaged(f"of {halves[0]} only half is there")
    return set(sides)


def _as_targets(modules: set[str], target: Target) -> set[str]:
    """How a config names these modules: by their last names where that means the same, else one by one."""
    have = {name for name, _ in target.loaded.network.named_modules()}
    lacking = sorted(modules - have)
    if lacking:
        raise AdapterMisfit(f"{target.base} has no {lacking[0]}")
    last = {name.rpartition(".")[2] for name in modules}
    alike = {name for name in have if name.rpartition(".")[2] in last}
    return last if alike == modules else modules


def _manifest(made: Manifest | None, config: Mapping[str, Any], target: Target, roster: Roster, now: str) -> Manifest:
    """Under a name and a version that are free here. It has no verdict: that is given here or not at all."""
    shape = {
        "r": config["r"],
        "alpha": config["lora_alpha"],
        "dropout": config["lora_dropout"],
        "targets": sorted({each.rpartition(".")[2] for each in config["target_modules"]}),
    }
    if made is None:
        name = f"{PREFIX}{datetime.fromisoformat(now).astimezone():%Y%m%d_%H%M%S}"
        made = Manifest(
            name=name, version=0, created=now, base="", base_hash="", template_hash="", shape=shape, recipe={}, seed=0,
            example_ids=(), trigger="", run_id="",
        )  # fmt: skip
    return replace(
        made,
        name=roster.free_name(made.name),
        version=roster.next_version(),
        created=made.created if _is_moment(made.created) else now,
        shape=shape,
        base=target.base,
        base_hash=target.base_hash,
        template_hash=target.template_hash,
        trigger=IMPORT,
        run_id="",
        verdict=None,
    )


def _card(manifest: Manifest, target: Target) -> bytes:
    try:
        manifest.to_json()
        return card_of(manifest, target.hub).encode()
    except (TypeError, ValueError, RecursionError):
        raise AdapterDamaged(f"{MANIFEST} says what can't be written down") from None


def _is_moment(text: str) -> bool:
    """Whether it says when, for everybody on earth."""
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def _refuse_double(manifest: Manifest, roster: Roster) -> None:
    mine = _what_counts(manifest)
    for other in roster.entries(archived=True):
        said = other.manifest
        if said is not None and _what_counts(said) == mine:
            raise AdapterKnown(
                f"This adapter is here already, as {other.name}", hint="`/adapters load` takes it into use."
            )


def _what_counts(manifest: Manifest) -> tuple[object, ...]:
    return manifest.files.get(WEIGHTS), manifest.shape.get("alpha"), manifest.base_hash, manifest.template_hash


def _try_on(folder: Path, target: Target) -> None:
    """What the chat will do with it: shapes that don't fit, and numbers that are none, are met here."""
    from shammah.model.adapted import adapted

    try:
        adapted(target.loaded.network, folder)
    except AdapterError as error:
        why = error.message.replace(f"The adapter {folder.name} does", "it does").replace(f"{folder.name}: ", "")
        raise type(error)(why) from error


@contextmanager
def _refusals(name: str) -> Iterator[None]:
    """What is wrong with a folder as the reason why it is refused."""
    try:
        yield
    except AdapterKnown as error:
        raise AdapterError(error.message, hint=error.hint) from None
    except AdapterError as error:
        why = error.message.removeprefix(f"The adapter {name} is damaged: ")
        kind = next(kind for kind in _HINTS if isinstance(error, kind))
        raise kind(f"{name} can't be imported: {why}", hint=_HINTS[kind]) from error
    except OSError as error:
        why = f"it cannot be read: {(error.strerror or type(error).__name__).lower()}"
        raise AdapterDamaged(f"{name} can't be imported: {why}", hint=_HINTS[AdapterDamaged]) from error


@contextmanager
def _staging(shelf: Path) -> Iterator[Path]:
    """A hidden folder on the shelf's disk; what a killed program leaves of it goes with a later training."""
    make_folder(shelf)
    with explained(shelf):
        place = Path(tempfile.mkdtemp(prefix=STAGED, dir=shelf))
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
