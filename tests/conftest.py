"""What all tests share: a home of their own, a tiny but real model, the program, the default model on request."""

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support import starting

from shammah.records import Example, Message, Turn
from shammah.store import Conversations, Database, dedupe_hash, new_id, utc_now

if TYPE_CHECKING:
    from shammah.model.loading import LoadedModel

# Begun in the background by a shell or by nohup, the tests would ignore Ctrl+C or a closed terminal, and so would every
# program that they start.
for name, usual in (("SIGINT", signal.default_int_handler), ("SIGHUP", signal.SIG_DFL)):
    if (number := getattr(signal, name, None)) and signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, usual)

# Workers share the cores: a pool of threads in each of them would only be in the others' way.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
Shammah = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture(scope="module", autouse=True)
def frozen() -> None:
    """A full collection after every run would walk through torch, transformers and pytest each time; loading a chat's
    model sets them aside in the same way."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test has an empty home, and no settings of the machine it runs on."""
    told = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "AI_AGENT")
    for name in [name for name in os.environ if name.startswith("SHAMMAH_") or name in told]:
        monkeypatch.delenv(name)
    folder = tmp_path / "home"
    monkeypatch.setenv("SHAMMAH_HOME", str(folder))
    return folder


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with closing(Database(tmp_path / "shammah.db")) as database:
        yield database


@pytest.fixture
def conversations(database: Database) -> Conversations:
    return Conversations(database)


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
    from support.networks import SPECIAL, save_chat_model
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*SPECIAL, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return save_chat_model(
        tmp_path_factory.mktemp("tiny") / "model",
        tokenizer,
        CHAT_TEMPLATE,
        torch.float32,
        hidden_size=64,
        intermediate_size=128,
        max_position_embeddings=512,
        initializer_range=0.3,
    )


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Products of small networks only wait for each other on more threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def shammah(tmp_path: Path) -> Shammah:
    """Run the program as a user's shell would, without a terminal: shammah("--json", "hi", stdin=b"...")."""

    def run(
        *arguments: str, stdin: bytes = b"", timeout: float = 120, **environment: str
    ) -> "subprocess.CompletedProcess[bytes]":
        command = [sys.executable, "-m", "shammah", *arguments]
        return starting.run(command, stdin, timeout=timeout, folder=tmp_path, environment={**os.environ, **environment})

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


@pytest.fixture(scope="module")
def real_loaded(real_model: Path) -> Iterator["LoadedModel"]:
    """The default model in float32, on as many threads as the program takes."""
    import torch

    from shammah.model.device import Compute, set_threads
    from shammah.model.loading import load

    before = torch.get_num_threads()
    yield load(real_model, Compute("cpu", "float32", set_threads(0), "", {}))
    torch.set_num_threads(before)
