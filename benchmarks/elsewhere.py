"""What llama.cpp makes of an adapter that was exported: does it answer what was corrected, and as the chat does?

    pip install llama-cpp-python        (it is compiled: takes a compiler, CMake and minutes)
    python benchmarks/elsewhere.py [SUITE] [--home DIR --adapter NAME] [--base-gguf FILE]

Trains on SUITE in a home of its own (or takes an adapter that is there), exports it, and asks the suite's prompts by
greedy choice: here in float32, and in llama.cpp with the GGUF adapter on the base written in float16 (and on
--base-gguf, a GGUF of the same weights), with the merged model in float16 and in 8 bits, and with the base alone.
There llama.cpp's own tokenizer and the chat template in the file write the prompt. Ends with 1 where a float16 form
answers a question wrongly that is answered rightly here.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shammah.adapters.bundle import read_bundle
from shammah.adapters.manifest import Manifest
from shammah.app import App
from shammah.config import Config, GenerationSettings
from shammah.deployment.exporting import ADAPTER, WHOLE, BaseModel, To, export
from shammah.records import Message, Reply

SUITE = Path(__file__).parent / "suites" / "office.jsonl"
LONGEST = 60
CONTEXT = 1024
HERE = "here, float32"
Suite = list[dict[str, Any]]


@dataclass(frozen=True)
class Form:
    label: str
    model: Path
    lora: Path | None = None
    must_hold: bool = False


def main() -> None:
    options = read_options()
    suite: Suite = [json.loads(line) for line in options.suite.read_text().splitlines() if line.strip()]
    with tempfile.TemporaryDirectory(prefix="shammah-elsewhere-") as name:
        place = Path(name)
        home = options.home or place / "home"
        adapter = options.adapter or trained(home, options)
        os.environ["SHAMMAH_HOME"] = str(home)
        wanted, tokens, base = replies_here(options.model, adapter, suite)
        folder = home / "adapters" / adapter
        forms = exported(read_bundle(folder), folder, base, place, options.base_gguf)
        columns = f"{'right':>6} {'word for word':>14} {'words alike':>12} {'tokens alike':>13} {'seconds':>8}"
        print(f"{options.suite.name}, {len(suite)} prompts, adapter {adapter}\n{'':<34}{columns}")
        show(HERE, suite, wanted, wanted, tokens, tokens, 0.0)
        failed = [failure for form in forms for failure in compared(form, suite, wanted, tokens)]
    for failure in failed:
        print(failure)
    sys.exit(1 if failed else 0)


def trained(home: Path, options: argparse.Namespace) -> str:
    """The name of an adapter that learned the suite. Whether it is good enough to be used is not asked here."""
    shammah(home, "examples", "import", str(options.suite))
    run = json.loads(shammah(home, "train", "--now", "--wait", "--json", "-q", "-m", options.model))
    return str(run["adapter"])


def replies_here(model: str, adapter: str, suite: Suite) -> tuple[list[str], list[list[int]], BaseModel]:
    flags = {"model": model, "adapter": adapter, "no_log": True, "dtype": "float32", "device": "cpu"}
    app = App.build(flags=flags)
    chat = app.load_model()
    prompts = [chat.encode([Message("user", row["prompt"])]) for row in suite]
    settings = GenerationSettings(temperature=0, max_tokens=LONGEST)
    replies = [reply.text for prompt in prompts for reply in chat.reply(prompt, settings) if isinstance(reply, Reply)]
    return replies, prompts, BaseModel(folder=chat.loaded.folder, cache_folder=app.model_cache.root.parent)


def exported(manifest: Manifest, folder: Path, base: BaseModel, place: Path, base_gguf: Path | None) -> list[Form]:
    from shammah.model.gguf_model import write_gguf

    def made(to: To, name: str, numbers: str = "f16") -> Path:
        export(manifest, folder, to=to, out=place / name, config=Config(), base=base, numbers=numbers)
        return place / name

    plain = place / "base.gguf"
    write_gguf(base.folder, None, plain, name="base", publish=lambda event: None)
    lora, whole = made("gguf-lora", "lora") / ADAPTER, made("gguf", "f16") / WHOLE
    return [
        Form("the base alone, f16", plain),
        Form("GGUF adapter on the base, f16", plain, lora, must_hold=True),
        *([Form("GGUF adapter on --base-gguf", base_gguf, lora)] if base_gguf else []),
        Form("merged GGUF, f16", whole, must_hold=True),
        Form("merged GGUF, q8_0", made("gguf", "q8", "q8_0") / WHOLE),
    ]


def compared(form: Form, suite: Suite, wanted: list[str], tokens: list[list[int]]) -> Iterator[str]:
    """Shows what became of a form, and gives the questions that it should answer and does not."""
    started = time.perf_counter()
    said, read = replies_there(form, suite)
    show(form.label, suite, said, wanted, read, tokens, time.perf_counter() - started)
    for row, reply, here in zip(suite, said, wanted, strict=True):
        if form.must_hold and passes(row, here) and not passes(row, reply):
            yield f"{form.label}: {row['prompt']!r} is answered {reply!r}"


def replies_there(form: Form, suite: Suite) -> tuple[list[str], list[list[int]]]:
    """What llama.cpp answers, and the tokens that it makes of the prompts."""
    from jinja2 import Environment
    from llama_cpp import Llama

    llama = Llama(
        model_path=str(form.model), lora_path=form.lora and str(form.lora), n_ctx=CONTEXT, verbose=False, seed=1
    )
    template = Environment(trim_blocks=True, lstrip_blocks=True).from_string(llama.metadata["tokenizer.chat_template"])
    numbers = {"bos_token": llama.token_bos(), "eos_token": llama.token_eos()}
    special = {name: llama.detokenize([number], special=True).decode() for name, number in numbers.items()}
    replies, tokens = [], []
    for row in suite:
        messages = [{"role": "user", "content": row["prompt"]}]
        text = template.render(messages=messages, add_generation_prompt=True, **special)
        tokens.append(llama.tokenize(text.encode(), add_bos=False, special=True))
        answer = llama.create_chat_completion(messages, temperature=0, max_tokens=LONGEST, repeat_penalty=1.0)
        replies.append(str(answer["choices"][0]["message"]["content"]))
    llama.close()
    return replies, tokens


def show(
    label: str, suite: Suite, said: list[str], wanted: list[str], read: list[list[int]], tokens: list[list[int]],
    seconds: float,
) -> None:  # fmt: skip
    count = len(suite)
    right = sum(passes(row, reply) for row, reply in zip(suite, said, strict=True))
    same = sum(reply.strip() == other.strip() for reply, other in zip(said, wanted, strict=True))
    alike = sum(words_alike(reply, other) for reply, other in zip(said, wanted, strict=True)) / count
    exact = sum(one == other for one, other in zip(read, tokens, strict=True))
    print(
        f"{label:<34}{right:>3}/{count:<2} {same:>11}/{count:<2} {alike:>12.0%} {exact:>10}/{count:<2} {seconds:>8.1f}",
        flush=True,
    )


def words_alike(one: str, other: str) -> float:
    """The share of words up to the first that differs."""
    first, second = one.split(), other.split()
    length = max(len(first), len(second), 1)
    same = next((at for at, pair in enumerate(zip(first, second, strict=False)) if pair[0] != pair[1]), None)
    return (min(len(first), len(second)) if same is None else same) / length


def passes(row: dict[str, Any], reply: str) -> bool:
    return any(text.lower() in reply.lower() for text in row["expect_any"])


def shammah(home: Path, *arguments: str) -> str:
    environment = {**os.environ, "SHAMMAH_HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-m", "shammah", *arguments], env=environment, capture_output=True, text=True
    )
    if not done.stdout:
        sys.exit(f"shammah {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite", type=Path, nargs="?", default=SUITE)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--adapter", metavar="NAME")
    parser.add_argument("--base-gguf", type=Path, metavar="FILE")
    parser.add_argument("-m", "--model", default="smollm2-135m")
    return parser.parse_args()


if __name__ == "__main__":
    main()
