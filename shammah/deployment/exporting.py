"""An adapter taken elsewhere: as the PEFT folder that it is, worked into its base model, or as files for llama.cpp.

What is made is whole or not there, and never takes the place of something.
"""

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from typing import Literal, get_args

from shammah.adapters.bundle import CONFIG, MANIFEST, README, config_of, verify
from shammah.adapters.card import card_of
from shammah.adapters.manifest import Manifest
from shammah.adapters.peft_config import weakened
from shammah.config import Config
from shammah.durable import is_out_of_room, sync_folder
from shammah.errors import AdapterMisfit, DiskFull, ShammahError, UsageError
from shammah.events import Event, Notice
from shammah.feedback.transfer import export_rows
from shammah.model.catalog import hub_name
from shammah.model.fingerprint import template_hash, weights_hash
from shammah.records import Example
from shammah.store.audit import Audit
from shammah.store.examples import Examples

To = Literal["peft", "merged", "gguf-lora", "gguf", "ollama"]
FORMS: tuple[To, ...] = get_args(To)
NUMBERS = ("f16", "q8_0")
WITH_NUMBERS: tuple[To, ...] = ("gguf", "ollama")
EXAMPLES = "examples.jsonl"
WHOLE, ADAPTER, MODELFILE = "model.gguf", "adapter.gguf", "Modelfile"
Publish = Callable[[Event], None]

_UNFINISHED = ".shammah-export-"
_ABANDONED_AFTER = 3600.0  # seconds
_RANKS = (8, 16, 32, 64, 128, 256, 512)  # what vLLM can be told to make room for
_ELSEWHERE = "Give another place with --out."


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseModel:
    """The model that an adapter was made for: where it lies, and where the hash of its weights is kept."""

    folder: Path
    cache_folder: Path


def export(
    manifest: Manifest,
    folder: Path,
    *,
    to: To,
    out: Path,
    config: Config,
    base: BaseModel | None = None,
    numbers: str = "f16",
    strength: float = 1.0,
    examples: Examples | None = None,
    audit: Audit | None = None,
    publish: Publish = lambda event: None,
) -> list[Path]:
    """Make the folder `out` and return its files. Every form but `peft` needs the base model.

    `numbers` are those of a whole GGUF, one of NUMBERS. `strength` is how much of the adapter counts there, as `load`
    has it here. With `examples` what the adapter was trained on goes along, as it is stored.
    """
    verify(folder, manifest)
    if to != "peft":
        assert base is not None
        _require_base(manifest, base)
    with _new_folder(out) as made, _at_strength(manifest, folder, strength, out.parent) as (manifest, adapter):
        if to == "peft":
            for name in (*manifest.files, MANIFEST):
                shutil.copyfile(adapter / name, made / name)
        else:
            assert base is not None
            _MAKERS[to](_Order(manifest, adapter, base.folder, made, config, numbers, publish))
            (made / README).write_text(_read_me(manifest, to, strength), "utf-8")
        if examples is not None:
            _write_examples(manifest, examples, made, publish)
    if audit is not None:
        details = {"to": to, "strength": strength, "with_examples": examples is not None}
        audit.add("user", "exported", manifest.name, details)
    return sorted(out.iterdir())


@contextmanager
def _at_strength(manifest: Manifest, folder: Path, strength: float, beside: Path) -> Iterator[tuple[Manifest, Path]]:
    """The adapter as it is, or a copy that says of itself that so much of it counts, and is else the same."""
    if strength == 1:
        yield manifest, folder
        return
    with tempfile.TemporaryDirectory(prefix=_UNFINISHED, dir=beside) as place:
        copy = Path(place, folder.name)
        copy.mkdir()
        for name in manifest.files:
            shutil.copyfile(folder / name, copy / name)
        config = weakened(config_of(folder), strength)
        manifest = replace(manifest, shape={**manifest.shape, "alpha": config["lora_alpha"]})
        (copy / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", "utf-8")
        (copy / README).write_text(card_of(manifest, hub_name(manifest.base)), "utf-8")
        hashes = {name: hashlib.sha256((copy / name).read_bytes()).hexdigest() for name in (CONFIG, README)}
        manifest = replace(manifest, files={**manifest.files, **hashes})
        (copy / MANIFEST).write_text(manifest.to_json(), "ascii")
        yield manifest, copy


@dataclass(frozen=True, slots=True)
class _Order:
    manifest: Manifest
    adapter: Path
    base: Path
    target: Path
    config: Config
    numbers: str
    publish: Publish


def _make_merged(order: _Order) -> None:
    from shammah.model.merging import write_merged

    write_merged(order.base, order.adapter, order.target, order.publish)


def _make_gguf_lora(order: _Order) -> None:
    from shammah.model.gguf_adapter import write_gguf_lora

    manifest = order.manifest
    write_gguf_lora(
        order.base, order.adapter, order.target / ADAPTER, name=manifest.name, base_name=hub_name(manifest.base)
    )


def _make_gguf(order: _Order) -> None:
    from shammah.model.gguf_model import write_gguf

    write_gguf(
        order.base,
        order.adapter,
        order.target / WHOLE,
        name=f"{order.manifest.base} {order.manifest.name}",
        numbers=order.numbers,
        publish=order.publish,
    )


def _make_ollama(order: _Order) -> None:
    from shammah.model.modelfile import modelfile

    config = order.config
    text = modelfile(  # first: it is refused in no time
        order.base,
        WHOLE,
        config.generation,
        system=config.system,
        context=config.context,
        thinking=config.thinking,
    )
    _make_gguf(order)
    (order.target / MODELFILE).write_text(text, "utf-8")


_MAKERS: dict[To, Callable[[_Order], None]] = {
    "merged": _make_merged,
    "gguf-lora": _make_gguf_lora,
    "gguf": _make_gguf,
    "ollama": _make_ollama,
}


def _require_base(manifest: Manifest, base: BaseModel) -> None:
    """AdapterMisfit unless these are the weights and the chat template that the adapter was made with."""
    from shammah.model.modelfile import format_in

    what = ""
    if weights_hash(base.folder, base.cache_folder) != manifest.base_hash.partition("-")[0]:
        what = "other weights"
    elif template_hash(format_in(base.folder).template) != manifest.template_hash:
        what = "another chat template"
    if what:
        raise AdapterMisfit(
            f"The adapter {manifest.name} was made for {manifest.base} with {what}",
            hint=f"Give the model that it was made for, -m {manifest.base}, or export with --to peft.",
        )


def _write_examples(manifest: Manifest, examples: Examples, target: Path, publish: Publish) -> None:
    found: Sequence[Example] = examples.find(ids=manifest.example_ids, oldest_first=True, limit=None)
    gone = len(manifest.example_ids) - len(found)
    if gone:
        publish(Notice(f"{gone:,} of the {len(manifest.example_ids):,} examples are not there any more."))
    rows, _ = export_rows(found, "shammah")
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (target / EXAMPLES).write_bytes(text.encode())


# The folder


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """An empty folder that gets its name when all that was put into it is on the disk."""
    with _explained(out):
        _require_free(out)
        out.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _sweep(out.parent)
        made = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=out.parent))
        try:
            yield made
            for path in made.iterdir():
                path.chmod(0o600)
                with path.open("rb+") as file:
                    os.fsync(file.fileno())
            sync_folder(made)
            _require_free(out)
            made.rename(out)
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise
        sync_folder(out.parent)


def _require_free(out: Path) -> None:
    if os.path.lexists(out):
        raise UsageError(f"{out} is there already, and nothing is overwritten", hint=_ELSEWHERE)


def _sweep(beside: Path) -> None:
    """Remove what exports left that were killed."""
    for folder in beside.glob(f"{_UNFINISHED}*"):
        if folder.is_dir() and not folder.is_symlink() and time.time() - folder.stat().st_mtime > _ABANDONED_AFTER:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _explained(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        # numpy has no number for it when it can't write all of an array.
        if is_out_of_room(error) or error.errno is None:
            raise DiskFull(f"No room left to write {out}", hint=f"Free some space. {_ELSEWHERE}") from error
        reason = (error.strerror or type(error).__name__).lower()
        raise ShammahError(f"Cannot write {out}: {reason}", hint=_ELSEWHERE) from error


# What is told with it


def next_step(to: To, out: Path, manifest: Manifest) -> str:
    """The command that uses what was exported."""
    rank = manifest.shape.get("r") or 0
    room = next((each for each in _RANKS if each >= rank), _RANKS[-1])
    model = hub_name(manifest.base)
    if "/" not in model:  # no model of the hub's, but a folder, of which only the name is known
        model = f"PATH/TO/{model}"
    return {
        "peft": (
            f"vllm serve {quote(model)} --enable-lora --max-lora-rank {room} "
            f"--lora-modules {quote(f'{manifest.name}={out}')}"
        ),
        "merged": f"transformers: AutoModelForCausalLM.from_pretrained({json.dumps(str(out), ensure_ascii=False)})",
        "gguf-lora": f"llama-cli -m BASE.gguf --lora {quote(str(out / ADAPTER))}",
        "gguf": f"llama-cli -m {quote(str(out / WHOLE))}",
        "ollama": f"ollama create {quote(manifest.name)} -f {quote(str(out / MODELFILE))}",
    }[to]


_HOW = {
    "merged": (
        "A whole model: the base with the adapter worked into its weights. transformers, vLLM and whatever else reads "
        "such folders load it by its path."
    ),
    "gguf-lora": (
        f"`{ADAPTER}` holds the adapter alone. llama.cpp puts it on a GGUF file of the base model, of these very "
        f"weights whatever they are quantised to:\n\n    llama-cli -m BASE.gguf --lora {ADAPTER}\n\n"
        f"In a Modelfile of Ollama's it is the line `ADAPTER ./{ADAPTER}`."
    ),
    "gguf": (
        f"`{WHOLE}` is a whole model, tokenizer and chat template included:\n\n    llama-cli -m {WHOLE}\n\n"
        f"llama-cpp-python reads it with `Llama(model_path=...)`."
    ),
    "ollama": (
        f"`{WHOLE}` is a whole model, `{MODELFILE}` says how it is talked to and how its replies are chosen:\n\n"
        f"    ollama create my-model -f {MODELFILE}\n    ollama run my-model"
    ),
}


def _read_me(manifest: Manifest, to: To, strength: float) -> str:
    at = "" if strength == 1 else f", which counts at a strength of {strength:g}"
    return (
        f"# {manifest.name}\n\n{_HOW[to]}\n\n"
        f"Made by Shammah from the model {hub_name(manifest.base)}, whose licence holds for this too, and an adapter "
        f"trained on {len(manifest.example_ids):,} rated examples ({manifest.created}){at}.\n"
        f"The hash of the base's weights is {manifest.base_hash.partition('-')[0]}.\n"
    )
