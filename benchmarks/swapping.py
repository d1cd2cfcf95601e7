"""What a swap between two adapters takes in a chat that runs, and whether a reply is ever that of two.

    python benchmarks/swapping.py [--swaps 200] [-m MODEL] [--json]

A home with two adapters of the shape that training makes, with numbers drawn at random. First the adapter in use is
changed between replies, as `/adapters load` and `unload` do it: what counts is the time from the word on until the chat
has followed, with finding, verifying, writing down, reading and loading. Then another thread, as training has one,
changes it without a pause while replies stream. Every third swap goes back to the base, which is told apart. Each reply
is compared with what a fresh process says with the voice that its turn names. Ends with 1 where a limit is missed.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter
from typing import Any

from shammah.adapters.bundle import CONFIG, WEIGHTS, write_bundle
from shammah.adapters.manifest import Manifest
from shammah.app import App
from shammah.config import GenerationSettings
from shammah.records import Turn
from shammah.training.resources import release_memory, resident_memory
from shammah.ui.background_load import BackgroundLoad

ADAPTERS = ("lora_adapter_20260101_000001", "lora_adapter_20260101_000002")
BASE = "none"
PROMPTS = ("Tell me something about the sea.", "How do I boil an egg?", "Write a line about autumn.")
GREEDY = GenerationSettings(temperature=0.0, max_tokens=24)
LARGE = 0.05  # of the numbers that are drawn: enough for each to speak otherwise from the first words on
MB = 1e6
# Of each kind of swap 19 of 20 take no longer, in ms; and what is left behind after all swaps, in MB.
SWAP_LIMIT, GROWTH_LIMIT = 150.0, 20.0
JUDGED = "_p95_ms"
# So many swaps, until the libraries have made what they keep.
SETTLED = 10


def make_adapters(app: App) -> None:
    import torch
    from safetensors.torch import save

    from shammah.model.fingerprint import base_hash, template_hash
    from shammah.training.learner import Learner
    from shammah.training.recipe import recipe_for

    loaded = app.load_model().loaded
    hashes = base_hash(loaded, app.model_cache.root.parent), template_hash(loaded.format.template)
    recipe = recipe_for(app.config.lora, loaded.parameters)
    learner = Learner(loaded.network, recipe)
    config: dict[str, Any] = learner.config.to_dict()  # type: ignore[no-untyped-call]
    plain = {name: sorted(value) if isinstance(value, set) else value for name, value in config.items()}
    for number, name in enumerate(ADAPTERS, 1):
        torch.manual_seed(number)
        learner.flat.load(LARGE * torch.randn(learner.flat.values.shape))
        files = {WEIGHTS: save(learner.tensors()), CONFIG: json.dumps(plain).encode()}
        manifest = Manifest(
            name=name, version=number, created="2026-01-01T00:00:00.000Z", base=app.base,
            base_hash=hashes[0], template_hash=hashes[1],
            shape={}, recipe={}, seed=number, example_ids=(), trigger="user", run_id="",
        )  # fmt: skip
        write_bundle(app.home.adapters, name, files, manifest)


def said_by(adapter: str, model: str) -> list[str]:
    """What a fresh process says to each prompt, with nothing computed for it before."""
    app = App.build(flags={"model": model, "adapter": adapter, "no_log": True})
    said = []
    for prompt in PROMPTS:
        voice = None if adapter == BASE else adapter
        said.append(reply_in(app, prompt, app.voice(voice)).response)
    app.close()
    return said


def reply_in(app: App, prompt: str, voice: Any = None) -> Turn:
    *_, turn = app.session(app.load_model()).ask(prompt, GREEDY, voice=voice)
    assert isinstance(turn, Turn)
    return turn


def swap(app: App, adapter: str) -> float:
    """How many milliseconds it takes from the user's word on until the next reply is that of another voice."""
    begun = perf_counter()
    if adapter == BASE:
        app.helm.unload(app.base)
    else:
        app.helm.load(app.roster.find(adapter, base=app.base).name, base=app.base)
    app.follow()
    return 1000 * (perf_counter() - begun)


def some_swaps(app: App, count: int) -> list[tuple[str, float]]:
    return [(name, swap(app, name)) for name in islice(cycle((*ADAPTERS, BASE)), count)]


def measure(app: App, swaps: int, expected: dict[str, list[str]]) -> dict[str, Any]:
    some_swaps(app, SETTLED)
    reply_in(app, PROMPTS[0])
    before = settled_memory()
    idle = some_swaps(app, swaps)
    turns: list[tuple[str, Turn]] = []
    with ThreadPoolExecutor(1) as thread:
        swapping = thread.submit(some_swaps, app, swaps)
        for prompt in cycle(PROMPTS):
            if swapping.done():
                break
            turns.append((prompt, reply_in(app, prompt)))
    after = settled_memory()
    equal = [expected[turn.adapter or BASE][PROMPTS.index(prompt)] == turn.response for prompt, turn in turns]
    return {
        "swaps": swaps,
        **spread("between_replies", idle),
        **spread("while_one_streams", swapping.result()),
        "replies": len(turns),
        "voices_heard": len({turn.adapter for _, turn in turns}),
        "replies_equal_to_a_fresh_process": sum(equal),
        "replies_of_two_voices": sum(
            not same and turn.response not in {said[PROMPTS.index(prompt)] for said in expected.values()}
            for same, (prompt, turn) in zip(equal, turns, strict=True)
        ),
        "memory_before_mb": before / MB,
        "memory_after_mb": after / MB,
        "growth_mb": (after - before) / MB,
    }


def spread(when: str, swaps: list[tuple[str, float]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for whither, names in (("to_an_adapter", ADAPTERS), ("to_the_base", (BASE,))):
        times = [time for name, time in swaps if name in names]
        figures = {"median": median(times), "p95": quantiles(times, n=20)[-1], "worst": max(times)}
        found |= {f"{when}_{whither}_{name}_ms": figure for name, figure in figures.items()}
    return found


def settled_memory() -> int:
    release_memory()
    return resident_memory()


def missed(found: dict[str, Any]) -> list[str]:
    return [
        *(name for name, figure in found.items() if name.endswith(JUDGED) and figure > SWAP_LIMIT),
        *(["replies_of_two_voices"] if found["replies_of_two_voices"] else []),
        *(["replies"] if found["replies_equal_to_a_fresh_process"] < found["replies"] else []),
        *(["growth_mb"] if found["growth_mb"] > GROWTH_LIMIT else []),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", default="smollm2-135m")
    parser.add_argument("--swaps", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--say-as", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.say_as:
        print(json.dumps(said_by(options.say_as, options.model)))
        return 0
    with tempfile.TemporaryDirectory(prefix="shammah-swapping-") as folder:
        os.environ["SHAMMAH_HOME"] = folder
        app = App.build(flags={"model": options.model})
        load = BackgroundLoad(app, lambda error: None)  # as the chat does it
        load.start()
        load.model()
        make_adapters(app)
        expected = {name: in_a_fresh_process(name, options.model) for name in (*ADAPTERS, BASE)}
        if any(len({said[at] for said in expected.values()}) < len(expected) for at in range(len(PROMPTS))):
            sys.exit("two of the voices say the same: a reply of both would not show")
        found = measure(app, options.swaps, expected)
        app.close()
    found["missed"] = missed(found)
    print(json.dumps(found) if options.json else words(found))
    return 1 if found["missed"] else 0


def in_a_fresh_process(adapter: str, model: str) -> list[str]:
    command = [sys.executable, str(Path(__file__)), "--say-as", adapter, "-m", model]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{adapter} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def words(found: dict[str, Any]) -> str:
    judged = (name for name in found if name.endswith(JUDGED))
    limits = {**dict.fromkeys(judged, SWAP_LIMIT), "replies_of_two_voices": 0, "growth_mb": GROWTH_LIMIT}
    lines = []
    for name, value in found.items():
        figure = f"{value:10.1f}" if isinstance(value, float) else f"{value!s:>10}"
        lines.append(
            f"{name.replace('_', ' '):<44}{figure}" + (f"   at most {limits[name]:g}" if name in limits else "")
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
