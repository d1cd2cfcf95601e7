"""What all tests share: a home of their own, a tiny but real model, the program, the default model on request."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shammah.records import Example, Message, Turn
from shammah.store import dedupe_hash, new_id, utc_now

CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = ["<unk>", "<|im_start|>", "<|im_end|>"]
Shammah = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test has an empty home, and no settings of the machine it runs on."""
    for name in [name for name in os.environ if name.startswith("SHAMMAH_") or name in ("NO_COLOR", "FORCE_COLOR")]:
        monkeypatch.delenv(name)
    folder = tmp_path / "home"
    monkeypatch.setenv("SHAMMAH_HOME", str(folder))
    return folder


@pytest.fixture
def a_turn() -> Callable[..., Turn]:
    """Make a turn with some of its fields."""

    def make(query: str = "What is it?", response: str = "It is this.", **changes: Any) -> Turn:
        fields: dict[str, Any] = {
            "id": new_id(),
            "conversation_id": "talk",
            "number": 0,
            "time": utc_now(),
            "query": query,
            "response": response,
            "model": "small",
            "stop_reason": "end",
            "latency_ms": 12.5,
            "first_token_ms": 3.25,
            "input_tokens": 7,
            "output_tokens": 5,
            "context_hash": "c0ffee",
            "dedupe_hash": dedupe_hash(query, response),
        }
        return Turn(**(fields | changes))

    return make


@pytest.fixture
def an_example() -> Callable[..., Example]:
    """Make an example with some of its fields; it is ready where it has a target, as one rated good unless told not."""

    def make(prompt: str = "What is it?", target: str | None = "It is this.", **changes: Any) -> Example:
        fields: dict[str, Any] = {
            "id": new_id(),
            "time": utc_now(),
            "source": "rating",
            "level": "good",
            "weight": 1.0,
            "messages": (Message("user", prompt),),
            "target": target,
            "state": "needs target" if target is None else "ready",
        }
        return Example(**(fields | changes))

    return make


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole chat model in a folder: a Llama of 2 layers with random weights, bytes as tokens, a window of 512."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*SPECIAL, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        initializer_range=0.3,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    folder = tmp_path_factory.mktemp("tiny") / "model"
    LlamaForCausalLM(config).save_pretrained(folder)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token=SPECIAL[0], bos_token=SPECIAL[1], eos_token=SPECIAL[2]
    )
    wrapped.chat_template = CHAT_TEMPLATE
    wrapped.save_pretrained(folder)
    return folder


@pytest.fixture
def shammah(tmp_path: Path) -> Shammah:
    """Run the program as a user's shell would, without a terminal: shammah("--json", "hi", stdin=b"...")."""

    def run(
        *arguments: str, stdin: bytes = b"", timeout: float = 120, **environment: str
    ) -> "subprocess.CompletedProcess[bytes]":
        return subprocess.run(
            [sys.executable, "-m", "shammah", *arguments],
            input=stdin,
            capture_output=True,
            timeout=timeout,
            cwd=tmp_path,
            env={**os.environ, **environment},
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def real_model() -> Path:
    """The default model in the user's cache, fetched once; the test is skipped where it can't be."""
    from shammah.errors import ShammahError
    from shammah.model.cache import ModelCache
    from shammah.model.catalog import DEFAULT, locate
    from shammah.model.fetching import ensure

    try:
        return ensure(locate(DEFAULT), ModelCache.default(), offline=False, publish=lambda event: None)
    except ShammahError as error:
        pytest.skip(f"the default model can't be fetched here: {error.one_line()}")
