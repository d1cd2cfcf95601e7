"""What the model tests share: a tiny real model as folder, GGUF and wheel, servers that stand for index and hub, and
`Child`, which fetches in a process of its own so that it can be killed, limited or watched."""

import hashlib
import json
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from shammah.model.cache import ModelCache
from shammah.model.catalog import WheelSource

if TYPE_CHECKING:
    from shammah.model.loading import LoadedModel

PACKAGE, VERSION, MEMBER = "tiny-model", "1.0", "tiny_model/tiny.gguf"
TEMPLATE = "{% for m in messages %}<|im_start|>{{ m['content'] }}<|im_end|>{% endfor %}"


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole model folder: Llama with 2 layers and a byte-level tokenizer, in bf16."""
    import torch
    from support.networks import SPECIAL, save_chat_model
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["the cat sat on the mat", "the dog ate the hat", "a b c d\n\n\n\n"] * 4, trainer)
    return save_chat_model(
        tmp_path_factory.mktemp("tiny") / "model",
        tokenizer,
        None,
        torch.bfloat16,
        hidden_size=32,
        intermediate_size=64,
        max_position_embeddings=128,
    )


@pytest.fixture(scope="module")
def loaded(tiny_model: Path) -> "LoadedModel":
    from shammah.model.device import Compute
    from shammah.model.loading import load

    return load(tiny_model, Compute("cpu", "float32", 2, "", {}))


@pytest.fixture
def cache(tmp_path: Path) -> ModelCache:
    return ModelCache(tmp_path / "models")


def write_gguf(folder: Path, target: Path, *, architecture: str = "llama", leave_out: str = "", **keys: Any) -> Path:
    """The model of `folder` as llama.cpp would store it, unquantized."""
    import gguf
    import torch
    from support.networks import SPECIAL
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    config = model.config
    document = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    vocabulary = sorted(document["model"]["vocab"], key=document["model"]["vocab"].__getitem__)
    writer = gguf.GGUFWriter(target, architecture)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(keys.get("pre", "smollm"))
    writer.add_token_list(vocabulary)
    writer.add_token_types([3 if token in SPECIAL else 1 for token in vocabulary])
    writer.add_token_merges([" ".join(pair) for pair in document["model"]["merges"]])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)
    if "eot" in keys:
        writer.add_eot_token_id(keys["eot"])
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, weights in model.state_dict().items():
        if name == "lm_head.weight" or (leave_out and leave_out in name):
            continue
        stem, _, suffix = name.rpartition(".")
        for part, heads in (("q_proj", config.num_attention_heads), ("k_proj", config.num_key_value_heads)):
            if part in name:  # the order that llama.cpp's rotary embedding wants
                rows = weights.reshape(heads, 2, weights.shape[0] // heads // 2, weights.shape[1])
                weights = rows.swapaxes(1, 2).reshape(weights.shape)
        writer.add_tensor(f"{names.get_name(stem)}.{suffix}", weights.contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


@pytest.fixture(scope="session")
def tiny_gguf(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tiny_folder, tmp_path_factory.mktemp("gguf") / "tiny.gguf")


@pytest.fixture
def gguf_writer() -> Callable[..., Path]:
    return write_gguf


@dataclass(frozen=True, slots=True)
class Wheel:
    file: Path
    source: WheelSource


def make_wheel(gguf: Path, folder: Path, padding: int) -> Wheel:
    file = folder / f"tiny_model-{VERSION}-py3-none-any.whl"
    info = f"tiny_model-{VERSION}.dist-info"
    texts = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: {VERSION}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(gguf, MEMBER)
        archive.writestr("tiny_model/padding", os.urandom(padding))
        for name, text in texts.items():
            archive.writestr(name, text)
        record = "".join(f"{name},,\n" for name in (MEMBER, "tiny_model/padding", *texts, f"{info}/RECORD"))
        archive.writestr(f"{info}/RECORD", record)
    source = WheelSource(
        name="tiny",
        package=PACKAGE,
        version=VERSION,
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        member=MEMBER,
        room=1_000_000,
    )
    return Wheel(file, source)


@pytest.fixture(scope="session")
def wheel(tiny_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Wheel:
    """A real wheel that holds the tiny GGUF."""
    return make_wheel(tiny_gguf, tmp_path_factory.mktemp("wheels"), 0)


@pytest.fixture(scope="session")
def large_wheel(tiny_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Wheel:
    """The same, large enough for pip to show progress."""
    return make_wheel(tiny_gguf, tmp_path_factory.mktemp("wheels"), 2_000_000)


@dataclass
class Site:
    """A small web server. `pages` are its answers by path: status, headers, body; all requests are kept."""

    url: str = ""
    pages: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    stall_after: int | None = None  # send so many bytes of a wheel, then nothing until `go_on` is set
    cut_after: int | None = None  # send so many bytes of a wheel, then close
    stalled: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)

    def wheels_asked_for(self) -> int:
        return sum(request.startswith("GET") and request.endswith(".whl") for request in self.requests)


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def _answer(self, *, with_body: bool) -> None:
            path = self.path.split("?")[0]
            made.requests.append(f"{self.command} {path}")
            status, headers, body = made.pages.get(path, (404, {"X-Error-Code": "RepoNotFound"}, b""))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if not with_body:
                return
            if path.endswith(".whl") and made.cut_after is not None:
                self.wfile.write(body[: made.cut_after])
                self.close_connection = True
                return
            if path.endswith(".whl") and made.stall_after is not None:
                self.wfile.write(body[: made.stall_after])
                self.wfile.flush()
                made.stalled.set()
                made.go_on.wait(30)
                body = body[made.stall_after :]
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield made
    made.go_on.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def pip_settings(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """pip without the machine's own settings, so that only those of the test count."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_RETRIES", "0")
    return monkeypatch


@pytest.fixture
def package_index(site: Site, wheel: Wheel, pip_settings: pytest.MonkeyPatch) -> Site:
    """The site as a package index that holds the wheel, and pip set to use it."""
    link = f'<a href="/files/{wheel.file.name}">{wheel.file.name}</a>'.encode()
    site.pages[f"/simple/{PACKAGE}/"] = (200, {"Content-Type": "text/html"}, link)
    site.pages[f"/files/{wheel.file.name}"] = (200, {}, wheel.file.read_bytes())
    pip_settings.setenv("PIP_INDEX_URL", f"{site.url}/simple")
    return site


SCRIPT = """
import json, sys, time
from shammah.errors import ShammahError
from shammah.events import Notice, Progress
from shammah.model import fetching
from shammah.model.cache import ModelCache
from shammah.model.catalog import *
from pathlib import Path, PosixPath, WindowsPath

def tell(**what):
    sys.stdout.write(json.dumps(what) + "\\n")
    sys.stdout.flush()

def publish(event):
    if isinstance(event, Notice):
        tell(notice=event.text)
    else:
        tell(label=event.label, done=event.done, total=event.total)
        if {stop_at!r} in event.label and event.done >= {stop_done}:
            tell(stopped=True)
            time.sleep(60)

def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "subprocess.Popen"):
        tell(request=event)

sys.addaudithook(watch)
if {file_limit}:
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, ({file_limit}, {file_limit}))
cache = ModelCache(Path({root!r}))
try:
    folder = fetching.{verb}({source!r}, cache, offline={offline}, publish=publish)
    tell(folder=str(folder))
except ShammahError as error:
    tell(error=type(error).__name__, message=error.message, hint=error.hint)
"""


class Child:
    """A process that fetches one source and tells everything on its stdout, one JSON object a line."""

    def __init__(
        self,
        source: Any,
        root: Path,
        *,
        verb: str = "ensure",
        offline: bool = False,
        stop_at: str = "-",
        stop_done: int = 0,
        file_limit: int = 0,
        environment: dict[str, str] | None = None,
    ) -> None:
        script = SCRIPT.format(
            source=source,
            root=str(root),
            verb=verb,
            offline=offline,
            stop_at=stop_at,
            stop_done=stop_done,
            file_limit=file_limit,
        )
        here = str(Path(__file__).parents[2])
        self.process = subprocess.Popen(
            [sys.executable, "-c", script],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": here, **(environment or {})},
        )
        self.told: list[dict[str, Any]] = []
        self.heard = ""  # its stderr, once it has ended

    def until(self, key: str) -> dict[str, Any]:
        """Read on to the first line that has this key."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.told.append(json.loads(line))
            if key in self.told[-1]:
                return self.told[-1]
        raise AssertionError(f"never told {key!r}: {self.told}\n{self.errors()}")

    def result(self) -> dict[str, Any]:
        """The last line, after the process ended by itself."""
        output, self.heard = self.process.communicate(timeout=60)
        self.told += [json.loads(line) for line in output.splitlines()]
        assert self.told and {"folder", "error"} & set(self.told[-1]), self.heard
        return self.told[-1]

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def errors(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.read()

    def requests(self) -> list[str]:
        return [line["request"] for line in self.told if "request" in line]

    def notices(self) -> list[str]:
        return [line["notice"] for line in self.told if "notice" in line]


@pytest.fixture
def child() -> Iterator[Callable[..., Child]]:
    started: list[Child] = []

    def start(*arguments: Any, **options: Any) -> Child:
        started.append(Child(*arguments, **options))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.kill()
