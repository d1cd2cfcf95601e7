"""What memory training takes: of the second model, of a whole run beside the chat, and after many runs.

    python benchmarks/memory.py [-m MODEL] [--suite FILE] [--runs 20] [--json]

Each question is asked in a process of its own. The twin is counted in bytes, storage by storage, and weighed by what
the process holds while several of them are alive. The peak of a run is the kernel's own where it tells (Linux), else
the highest of what was seen every 20 ms. Ends with 1 where a limit is missed.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from shammah.app import App
from shammah.config import GenerationSettings
from shammah.events import Event
from shammah.records import Message
from shammah.training.control import Control
from shammah.training.resources import release_memory, resident_memory

SUITE = Path(__file__).parent / "suites" / "office.jsonl"
MB = 1e6
SAMPLE_SECONDS = 0.02
TWINS = 4
TWIN_LIMIT, RUN_LIMIT = 5.0, 900.0
# From the third run on: the libraries have made what they keep by then. What the allocator scatters is a few MB; one
# adapter of the default model that is left behind with its gradients and moments is 40 MB, and one a run nearly 700.
GROWTH_LIMIT, SETTLED = 30.0, 3
SHORT = 3


def twin(app: App) -> dict[str, float]:
    """What a learner adds to a loaded model, beyond its adapter's numbers and their gradients."""
    import torch

    from shammah.model.twin import twin_of
    from shammah.training.learner import Learner
    from shammah.training.recipe import recipe_for

    loaded = app.load_model().loaded
    recipe = recipe_for(app.config.lora, loaded.parameters)
    first = Learner(loaded.network, recipe)  # imports and makes what only the first one pays
    own = {first.flat.values.data_ptr()}
    base = storages((*loaded.network.parameters(), *loaded.network.buffers()))
    added = storages((*first.network.parameters(), *first.network.buffers()))
    beyond = sum(size for at, size in added.items() if at not in base and at not in own)
    adapter = first.flat.values.numel() * first.flat.values.element_size()
    optimizer = torch.optim.AdamW([first.flat.values])
    optimizer.step()
    moments = sum(each.nbytes for each in optimizer.state[first.flat.values].values())
    bare = each_holds(lambda: twin_of(loaded.network))
    whole = each_holds(lambda: Learner(loaded.network, recipe))
    return {
        "twin_beyond_lora_mb": beyond / MB,
        "twin_resident_mb": bare / MB,
        "lora_modules_mb": (whole - bare - 2 * adapter) / MB,  # peft's, ten small objects for each adapted layer
        "lora_mb": adapter / MB,
        "lora_with_gradients_and_moments_mb": (2 * adapter + moments) / MB,
    }


def each_holds(make: Callable[[], object]) -> float:
    before = settled_memory()
    made = [make() for _ in range(TWINS)]
    return (settled_memory() - before) / len(made)


def storages(tensors: Iterable[Any]) -> dict[int, int]:
    """The memory behind tensors: where it begins, and its bytes. Views of one storage are one."""
    found = {}
    for tensor in tensors:
        storage = tensor.untyped_storage()
        found[storage.data_ptr()] = storage.nbytes()
    return found


def run_beside_chat(app: App) -> dict[str, float]:
    """The process with a chat that waits, and at its fullest while it trains."""
    ask(app)
    idle = settled_memory()
    with Peak() as peak:
        train(app)
    return {"chat_mb": idle / MB, "run_peak_mb": peak.bytes / MB, "run_beyond_chat_mb": (peak.bytes - idle) / MB}


def many_runs(app: App, runs: int) -> dict[str, Any]:
    """What is left behind by one run after the other."""
    ask(app)
    after = []
    for _ in range(runs):
        train(app)
        after.append(settled_memory() / MB)
        print(f"after run {len(after)}: {after[-1]:.0f} MB", file=sys.stderr, flush=True)
    return {"after_runs_mb": after, "growth_mb": after[-1] - after[SETTLED - 1]}


def ask(app: App) -> None:
    model = app.load_model()
    prompt = model.encode([Message("user", "Tell me something about the sea.")])
    for _ in model.reply(prompt, GenerationSettings(temperature=0.0, max_tokens=64)):
        pass


def train(app: App) -> None:
    def hear(event: Event) -> None:
        pass

    run = app.training.in_foreground(Control(), hear)
    if run.state not in ("finished", "rejected"):  # the same examples once more make nothing better
        raise RuntimeError(f"the run {run.state}: {run.error}")


def settled_memory() -> int:
    """Without what the C library keeps only because nobody asked for it yet. What Python keeps after a run counts: to
    give that back is for the run to do."""
    release_memory()
    return resident_memory()


class Peak:
    """The most that this process held meanwhile."""

    def __init__(self) -> None:
        self.bytes = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Peak":
        try:
            Path("/proc/self/clear_refs").write_text("5")  # the kernel forgets the peak that it has seen before
            self._kernel_tells = True
        except OSError:
            self._kernel_tells = False
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        if self._kernel_tells:
            status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
            self.bytes = max(self.bytes, 1024 * int(status["VmHWM"].split()[0]))

    def _watch(self) -> None:
        while not self._over.wait(SAMPLE_SECONDS):
            self.bytes = max(self.bytes, resident_memory())


QUESTIONS: dict[str, Callable[[App, argparse.Namespace], dict[str, Any]]] = {
    "twin": lambda app, options: twin(app),
    "run": lambda app, options: run_beside_chat(app),
    "runs": lambda app, options: many_runs(app, options.runs),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", default="smollm2-135m")
    parser.add_argument("--suite", type=Path, default=SUITE)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", choices=QUESTIONS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.runs <= SETTLED:
        parser.error(f"growth shows after more than {SETTLED} runs")
    if options.only:
        print(json.dumps(answer(options)))
        return 0
    found: dict[str, Any] = {}
    for question in QUESTIONS:
        found |= in_its_own_process(question, options)
    missed = {name: found[name] > limit for name, limit in limits().items()}
    print(json.dumps({**found, "limits": limits(), "missed": [name for name in missed if missed[name]]})
          if options.json else words(found))  # fmt: skip
    return 1 if any(missed.values()) else 0


def answer(options: argparse.Namespace) -> dict[str, Any]:
    """In a home of its own, with the suite's examples."""
    with tempfile.TemporaryDirectory(prefix="shammah-memory-") as folder:
        os.environ["SHAMMAH_HOME"] = folder
        importing = [sys.executable, "-m", "shammah", "examples", "import", str(options.suite)]
        subprocess.run(importing, check=True, capture_output=True)
        few = (f"lora.training.steps={SHORT}",) if options.only == "runs" else ()
        app = App.build(flags={"model": options.model}, assignments=few)
        found = QUESTIONS[options.only](app, options)
        app.close()
    return found


def in_its_own_process(question: str, options: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, __file__, "--only", question, "-m", options.model]
    command += ["--suite", str(options.suite), "--runs", str(options.runs)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)  # how far it is is told as it goes
    if done.returncode:
        sys.exit(f"{question} failed")
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def limits() -> dict[str, float]:
    return {
        "twin_beyond_lora_mb": TWIN_LIMIT,
        "twin_resident_mb": TWIN_LIMIT,
        "run_beyond_chat_mb": RUN_LIMIT,
        "growth_mb": GROWTH_LIMIT,
    }


def words(found: dict[str, Any]) -> str:
    lines = []
    for name, value in found.items():
        figure = " ".join(f"{each:.0f}" for each in value) if isinstance(value, list) else f"{value:10.2f}"
        limit = f"   at most {limits()[name]:g}" if name in limits() else ""
        lines.append(f"{name.replace('_', ' '):<38}{figure}{limit}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
