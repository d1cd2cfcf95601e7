"""How long `shammah adapters list --json` takes with many adapters on the shelf, as a process of its own.

    python benchmarks/shelf.py [--adapters 1000] [--examples 200] [--runs 9] [--json]

Beside it what the same facts cost where each adapter is read as peft and json read it. Each adapter was trained, judged
and noted in the store, and every third of them was active once. The figures are medians; the first list after all were
made, which looks into each folder, is told apart. Ends with 1 where the list takes 0.3 s or more, is not whole, or
imports torch.
"""

import argparse
import json
import os
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from shammah.adapters.bundle import CONFIG, MANIFEST, README, WEIGHTS, judged, read_bundle, write_bundle
from shammah.adapters.manifest import Manifest
from shammah.home import Home
from shammah.store.activations import Activations
from shammah.store.adapter_notes import AdapterNotes
from shammah.store.database import Database

LIMIT = 0.3  # seconds
BASE = "smollm2-135m"
CHECKS = ("improvement", "margins", "earlier", "drift", "perplexity", "probes", "speed", "degenerate", "leaks")
# What is typed behind `list`, and how many columns the window has; empty for as many as it takes.
FORMS = {"json": (["--json"], ""), "table": ([], ""), "narrow": ([], "60")}
NAMED = "20260101_"  # as every adapter is, once
LIST = """
import sys
from shammah.cli.main import run
code = run(["adapters", "list", *sys.argv[1:]])
print("torch" in sys.modules, code, file=sys.stderr)
"""
NAIVE = """
import json, os, sys
from pathlib import Path
from peft import PeftConfig
from safetensors.torch import load_file
for folder in sorted(Path(sys.argv[1]).glob("lora_*")):
    manifest = json.loads((folder / "manifest.json").read_text())
    config = PeftConfig.from_pretrained(folder)
    tensors = load_file(folder / "adapter_model.safetensors")
    size = sum(file.stat().st_size for file in folder.iterdir())
    print(json.dumps({"name": manifest["name"], "r": config.r, "tensors": len(tensors), "bytes": size}))
"""


def fill(home: Home, adapters: int, examples: int) -> None:
    """The first is written as every adapter is; the others are copies of it, without waiting for the disk each time."""
    home.prepare()
    first = judged(write_bundle(home.adapters, name_of(0), files(), manifest(examples)), {}, verdict())
    for number in range(1, adapters):
        folder = home.adapters / name_of(number)
        shutil.copytree(home.adapters / first.name, folder)
        made = replace(first, name=folder.name, version=number + 1)
        (folder / MANIFEST).write_text(made.to_json())
    with closing(Database(home.database)) as database, database.transaction():
        notes, activations = AdapterNotes(database), Activations(database)
        for number in range(adapters):
            notes.judged(name_of(number), verdict())
            if number % 3 == 0:
                activations.activate(BASE, name_of(number), actor="training", cause="found better")


def name_of(number: int) -> str:
    return f"lora_adapter_{NAMED}{number:06}"


def files() -> dict[str, bytes]:
    """An adapter of one small layer."""
    shapes = {"A": [8, 64], "B": [64, 8]}
    header: dict[str, Any] = {}
    at = 0
    for side, shape in shapes.items():
        end = at + 4 * shape[0] * shape[1]
        tensor = f"base_model.model.model.layers.0.self_attn.q_proj.lora_{side}.weight"
        header[tensor] = {"dtype": "F32", "shape": shape, "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 8, "lora_alpha": 16, "target_modules": ["q_proj"]}
    weights = struct.pack("<Q", len(text)) + text + bytes(at)
    return {WEIGHTS: weights, CONFIG: json.dumps(config).encode(), README: b"# A LoRA adapter\n"}


def manifest(examples: int) -> Manifest:
    return Manifest(
        name=name_of(0),
        version=1,
        created="2026-01-01T00:00:00.000Z",
        base=BASE,
        base_hash="0" * 64,
        template_hash="0" * 64,
        shape={"r": 8, "alpha": 16, "dropout": 0.0, "targets": ["q_proj"]},
        recipe={f"setting_{number}": 0.5 for number in range(20)},
        seed=0,
        example_ids=tuple(f"01jd{number:022}" for number in range(examples)),
        trigger="threshold",
        run_id="01jd",
        metrics={f"figure_{number}": 0.25 for number in range(30)},
    )


def verdict() -> dict[str, Any]:
    said = [
        {"name": name, "value": 0.31, "limit": 0.02, "passed": True, "words": "the wanted replies are 31 % likelier"}
        for name in CHECKS
    ]
    return {"accepted": True, "too_far": False, "improvement": 0.31, "checks": said, "reasons": ["31 % likelier"]}


def time_of(code: str, arguments: list[str], environment: dict[str, str]) -> tuple[float, int, str]:
    """Seconds, lines on stdout that name an adapter, and the last line on stderr."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], check=True, capture_output=True, text=True, env=environment
    )
    seconds = time.perf_counter() - start
    named = sum(NAMED in line for line in done.stdout.splitlines())
    return seconds, named, "".join(done.stderr.splitlines()[-1:])


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    home = Home(folder / "home")
    fill(home, options.adapters, options.examples)
    time.sleep(3)  # what was written just now is looked at again, whatever the index says
    # An installed program is compiled once.
    environment = {**os.environ, "SHAMMAH_HOME": str(home.root), "PYTHONPYCACHEPREFIX": str(folder / "compiled")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    time_of("import shammah.cli.main, shammah.cli.adapters_commands, shammah.deployment.roster", [], environment)
    first = time_of(LIST, ["--json"], environment)
    lists = {
        form: [time_of(LIST, typed, {**environment, "COLUMNS": columns}) for _ in range(options.runs)]
        for form, (typed, columns) in FORMS.items()
    }
    naive = [time_of(NAIVE, [str(home.adapters)], environment) for _ in range(3)]
    every = [first, *(each for form in lists.values() for each in form)]
    return {
        "adapters": options.adapters,
        "listed": min(count for _, count, _ in every),
        "imports_torch": any(said.startswith("True") for _, _, said in every),
        "first_seconds": round(first[0], 3),
        **{f"{form}_seconds": middle(timed) for form, timed in lists.items()},
        "naive_seconds": middle(naive),
        "naive_listed": min(count for _, count, _ in naive),
        "limit": LIMIT,
    }


def middle(timed: list[tuple[float, int, str]]) -> float:
    return round(statistics.median(seconds for seconds, _, _ in timed), 3)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adapters", type=int, default=1000)
    parser.add_argument("--examples", type=int, default=200, help="that each was trained on")
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="shammah-shelf-") as folder:
        found = measure(options, Path(folder))
        read_bundle(Path(folder) / "home" / "adapters" / name_of(options.adapters - 1))
    if options.json:
        print(json.dumps(found))
    else:
        print("\n".join(f"{name.replace('_', ' '):<20}{value}" for name, value in found.items()))
    whole = found["listed"] == found["naive_listed"] == options.adapters
    quick = all(found[f"{form}_seconds"] < LIMIT for form in FORMS)
    return 0 if whole and quick and not found["imports_torch"] else 1


if __name__ == "__main__":
    sys.exit(main())
