"""From a folder of files to a model that answers.

Weights in the chosen format on the chosen device, tokenizer, limits.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, PreTrainedModel
from transformers.utils import logging as library_logging

from shammah.errors import DeviceError, ModelDamaged, ModelError
from shammah.excerpt import excerpt
from shammah.model.chat_format import ChatFormat
from shammah.model.device import DTYPES, Compute, is_out_of_memory
from shammah.model.generation import Speech

# Tokenizers without a limit of their own write a number such as 10**30.
_NO_LIMIT = 10**9
_UNKNOWN_WINDOW = 2048


@dataclass(frozen=True, slots=True)
class LoadedModel:
    network: PreTrainedModel
    format: ChatFormat
    speech: Speech
    compute: Compute
    parameters: int
    folder: Path


def load(folder: Path, compute: Compute, *, context: int = 0, thinking: bool = True) -> LoadedModel:
    """Load without touching the network. Every failure is an error of ours that names the folder."""
    library_logging.set_verbosity_error()
    library_logging.disable_progress_bar()
    if not (folder / "config.json").is_file():
        raise ModelDamaged(f"The folder {folder} has no config.json", hint="Fetch the model again.")
    with _explained(folder, compute):
        # Code that came with a model is never run, and nobody is asked whether it should be.
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=False,
            dtype=DTYPES[compute.dtype],
            ignore_mismatched_sizes=True,  # so that they are in the report
            output_loading_info=True,
        )
        network, report = loaded
        if network.device.type != compute.device:  # quantised models lie where they belong, and refuse to be moved
            network.to(torch.device(compute.device))
        network.eval().requires_grad_(False)
    _require_all_weights(folder, report)
    chat = ChatFormat(tokenizer, thinking=thinking)
    speech = Speech(
        decode=chat.decode,
        end_tokens=frozenset(_end_tokens(network, tokenizer) | chat.end_tokens()),
        window=_window(network, tokenizer, context),
        stops=chat.stops,
    )
    return LoadedModel(network, chat, speech, compute, network.num_parameters(), folder)


@contextmanager
def _explained(folder: Path, compute: Compute) -> Iterator[None]:
    try:
        yield
    except (SafetensorError, json.JSONDecodeError, UnicodeDecodeError, EOFError) as error:
        raise ModelDamaged(
            f"The files in {folder} are damaged: {_words(error)}", hint="Fetch the model again."
        ) from error
    except Exception as error:  # the libraries raise anything at all for a file that is not what it should be
        if is_out_of_memory(error):
            raise DeviceError(
                f"The model does not fit into the memory of {compute.device}",
                hint="Use a smaller model (`shammah models list`) or another --device.",
            ) from error
        raise ModelError(
            f"The model in {folder} cannot be loaded: {_words(error)}", hint="`--debug` shows the whole error."
        ) from error


def _require_all_weights(folder: Path, report: dict[str, Any]) -> None:
    """Where a tensor is missing or of another shape, the library goes on with random numbers; a chat can't."""
    misfits = sorted(str(name) for name, *_ in report["mismatched_keys"])
    for problem, names in (("lack", sorted(report["missing_keys"])), ("have another shape than config.json", misfits)):
        if names:
            more = f" and {len(names) - 1} more" if names[1:] else ""
            raise ModelDamaged(
                f"The weights in {folder} {problem}: {names[0]}{more}",
                hint="Fetch the model again, or use one that is made for chat.",
            )


def _end_tokens(network: PreTrainedModel, tokenizer: Any) -> set[int]:
    found: set[int] = set()
    generation: GenerationConfig | None = network.generation_config
    for ids in (generation.eos_token_id if generation else None, network.config.eos_token_id, tokenizer.eos_token_id):
        if isinstance(ids, int):
            found.add(ids)
        elif ids:
            found.update(ids)
    return found


def _window(network: PreTrainedModel, tokenizer: Any, setting: int) -> int:
    """The smallest of what the model, its tokenizer and the setting allow."""
    text_config = network.config.get_text_config(decoder=True)
    own = getattr(text_config, "max_position_embeddings", None) or _UNKNOWN_WINDOW
    limits = [own, tokenizer.model_max_length, setting]
    return int(min(limit for limit in limits if limit and limit < _NO_LIMIT))


def _words(error: BaseException) -> str:
    # A KeyError's text is the key alone.
    text = repr(error) if isinstance(error, KeyError) else str(error)
    return excerpt(text, 200) or type(error).__name__
