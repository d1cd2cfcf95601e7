"""From a folder of files to a model that answers.

Weights in the chosen format on the chosen device, tokenizer, limits.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, PreTrainedModel
from transformers.utils import logging as library_logging

from shammah.errors import DeviceError, ModelDamaged, ModelError
from shammah.model.chat_format import ChatFormat
from shammah.model.device import DTYPES, Compute
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
    """Load without touching the network. Every failure is a ModelError that names the folder."""
    library_logging.set_verbosity_error()
    library_logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        network = AutoModelForCausalLM.from_pretrained(
            folder, local_files_only=True, dtype=DTYPES[compute.dtype], low_cpu_mem_usage=True
        )
        network.to(torch.device(compute.device))
        network.eval().requires_grad_(False)
    except torch.OutOfMemoryError as error:
        raise DeviceError(
            f"The model does not fit into the memory of {compute.device}",
            hint="Use --device cpu or a smaller model (`shammah models list`).",
        ) from error
    except (SafetensorError, json.JSONDecodeError, UnicodeDecodeError, EOFError) as error:
        raise ModelDamaged(
            f"The files in {folder} are damaged: {_first_line(error)}", hint="Fetch the model again."
        ) from error
    except MemoryError as error:
        raise DeviceError("The model does not fit into this machine's memory", hint="Use a smaller model.") from error
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, TypeError) as error:
        raise ModelError(
            f"The model in {folder} cannot be loaded: {_first_line(error)}", hint="`--debug` shows the whole error."
        ) from error
    chat = ChatFormat(tokenizer, thinking=thinking)
    speech = Speech(
        decode=chat.decode,
        end_tokens=frozenset(_end_tokens(network, tokenizer) | chat.end_tokens()),
        window=_window(network, tokenizer, context),
        stops=chat.stops,
    )
    return LoadedModel(network, chat, speech, compute, network.num_parameters(), folder)


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


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
