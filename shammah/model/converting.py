"""GGUF in, a model folder out: bf16 safetensors, tokenizer, chat template, config, generation config. Needs no network.

transformers does the reading (`gguf_file=`). It parses the whole file anew for each of its questions and computes one
table of names per layer part, which took two thirds of the time; for the length of a conversion it is given one reader
and one table. Its progress bar becomes our Progress events.
"""

import re
import struct
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import gguf as gguf_library
import torch
from safetensors import SafetensorError
from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GgufConfig, modeling_gguf_pytorch_utils
from transformers.utils import logging as transformers_logging

from shammah.durable import is_out_of_room
from shammah.errors import DiskFull, ModelDamaged, ModelError
from shammah.events import Event, Progress

# llama.cpp splits every digit off for these; transformers leaves its GPT-2 rule, which tokenizes "\n\n1." differently.
_SINGLE_DIGITS = {"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"}
_UNREADABLE = (ValueError, IndexError, KeyError, TypeError, OverflowError, MemoryError, struct.error)

# What is swapped below belongs to the libraries, so to the whole process.
_one_at_a_time = Lock()


def convert_gguf(
    gguf: Path,
    target: Path,
    publish: Callable[[Event], None],
    *,
    require_room: Callable[[int], None] = lambda needed: None,
) -> None:
    """Fill the folder `target`. ModelDamaged for a file cut off or no GGUF, ModelError for an unknown architecture."""
    label = f"Converting {gguf.name}"
    publish(Progress(label))
    reader = _open(gguf)
    require_room(sum(2 * int(tensor.n_elements) for tensor in reader.tensors))
    with _one_at_a_time, _alone(gguf, target.parent) as folder, _read_once(reader, label, publish):
        tokenizer, model = _load(gguf, folder, reader)
        _correct(tokenizer, model, reader)
        _save(tokenizer, model, target)


def _load(gguf: Path, folder: Path, reader: Any) -> tuple[Any, Any]:
    source: dict[str, Any] = {"gguf_file": gguf.name, "local_files_only": True}
    try:
        config = AutoConfig.from_pretrained(folder, **source)
    except (ValueError, KeyError, RuntimeError) as error:  # as the library happens to refuse an unknown architecture
        raise ModelError(
            f"{gguf.name} has the architecture {_text(reader, 'general.architecture')!r}, which cannot be converted",
            hint="Use the model's safetensors version: its Hugging Face id or folder.",
        ) from error
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, **source)
        loader: Any = AutoModelForCausalLM  # its annotations leave out `output_loading_info`
        model, report = loader.from_pretrained(
            folder,
            config=config,
            dtype=torch.bfloat16,
            quantization_config=GgufConfig(dequantize=True),
            output_loading_info=True,
            **source,
        )
    except (*_UNREADABLE, RuntimeError) as error:
        raise _damaged(gguf, _first_line(error)) from error
    # transformers fills these with random numbers and goes on.
    wrong = sorted(str(key) for kind in ("missing_keys", "mismatched_keys") for key in report[kind])
    if wrong:
        raise _damaged(gguf, f"{len(wrong)} weights are missing or misshapen, the first is {wrong[0]}")
    return tokenizer, model


def _open(gguf: Path) -> Any:
    try:
        reader = gguf_library.GGUFReader(gguf)
    except OSError as error:
        raise ModelError(f"Cannot read {gguf}: {(error.strerror or 'unreadable').lower()}") from error
    except _UNREADABLE as error:
        raise _damaged(gguf, "it is cut off or no GGUF file") from error
    if not _text(reader, "general.architecture") or not reader.tensors:
        raise _damaged(gguf, "it holds no model")
    kind = _text(reader, "general.type")
    if kind not in ("", "model"):
        raise ModelError(f"{gguf.name} is not a model but an {kind}", hint="Give the GGUF file of the model itself.")
    return reader


def _correct(tokenizer: Any, model: Any, reader: Any) -> None:
    """What the file says and transformers drops."""
    if _text(reader, "tokenizer.ggml.pre") in _SINGLE_DIGITS:
        tokenizer.backend_tokenizer.pre_tokenizer = Sequence([Digits(individual_digits=True), ByteLevel(False)])
    window = getattr(model.config, "max_position_embeddings", None)
    if window:
        tokenizer.model_max_length = window
    settings = model.generation_config
    turn_ends = [_number(reader, f"tokenizer.ggml.{kind}_token_id") for kind in ("eot", "eom")]
    ends = list(dict.fromkeys(end for end in [settings.eos_token_id, *turn_ends] if isinstance(end, int)))
    if len(ends) > 1:
        settings.eos_token_id = ends


def _save(tokenizer: Any, model: Any, target: Path) -> None:
    try:
        tokenizer.save_pretrained(target)
        model.save_pretrained(target)
    except SafetensorError as error:
        code = re.search(r"os error (\d+)", str(error))
        if code and (is_out_of_room(OSError(int(code[1]), "")) or code[1] == "112"):  # 112: the same, on Windows
            raise DiskFull(f"No room left to write {target}", hint="Free some space and try again.") from error
        raise ModelError(f"Cannot write {target}: {_first_line(error)}") from error


@contextmanager
def _alone(gguf: Path, beside: Path) -> Iterator[Path]:
    """A folder with nothing but the file: transformers would take a tokenizer.json that happens to lie beside it."""
    with tempfile.TemporaryDirectory(dir=beside, prefix=".alone-") as name:
        folder = Path(name)
        try:
            (folder / gguf.name).symlink_to(gguf.resolve())
        except OSError:  # Windows allows links to few users
            folder = gguf.parent
        yield folder


@contextmanager
def _read_once(reader: Any, label: str, publish: Callable[[Event], None]) -> Iterator[None]:
    def counted(items: Iterable[Any], **_: Any) -> Iterator[Any]:
        every = list(items)
        for number, item in enumerate(every, 1):
            yield item
            publish(Progress(label, number, len(every)))

    swapped = {
        (gguf_library, "GGUFReader"): lambda *_, **__: reader,
        (gguf_library, "get_tensor_name_map"): lru_cache(gguf_library.get_tensor_name_map),
        (modeling_gguf_pytorch_utils, "tqdm"): counted,
    }
    before = {(module, name): getattr(module, name) for module, name in swapped}
    logs: Any = transformers_logging
    verbosity, bars = logs.get_verbosity(), logs.is_progress_bar_enabled()
    logs.set_verbosity_error()
    logs.disable_progress_bar()
    try:
        for (module, name), stand_in in swapped.items():
            setattr(module, name, stand_in)
        yield
    finally:
        for (module, name), original in before.items():
            setattr(module, name, original)
        logs.set_verbosity(verbosity)
        if bars:
            logs.enable_progress_bar()


def _text(reader: Any, key: str) -> str:
    field = reader.get_field(key)
    return str(field.contents()) if field else ""


def _number(reader: Any, key: str) -> int | None:
    field = reader.get_field(key)
    return int(field.contents()) if field else None


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _damaged(gguf: Path, why: str) -> ModelDamaged:
    return ModelDamaged(f"{gguf.name} cannot be used: {why}", hint="Download the file again.")
