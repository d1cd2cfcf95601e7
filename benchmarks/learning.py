"""What a training run teaches, and what it costs: recall, generalisation, drift, leaks and seconds.

    python benchmarks/learning.py [SUITE GENERAL] [--preset default --preset seed] [--seeds 3] [--set KEY=VALUE]

SUITE holds rated exchanges as `shammah examples import` takes them, each with `probes` (paraphrases that are never
trained on) and `expect_any` (a reply passes when it contains one of them). GENERAL holds prompts that have nothing to
do with them. Everything runs through the command line, in a home of its own, without rules: what answers is the
adapter alone. Only drift, the mean KL(base || adapted) per token on the base's own replies, looks into the model.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

HERE = Path(__file__).parent / "suites"
GREEDY = ["-o", "temperature", "0", "-o", "max_tokens", "60", "--set", "rules.active=false", "-n"]


@dataclass(frozen=True)
class Result:
    recall: int
    generalisation: int
    drift: float
    leaks: int
    seconds: float
    wall: float
    steps: int


def main() -> None:
    options = read_options()
    suite, general = read(options.suite), read(options.general)
    asked, probes = len(suite), sum(len(row["probes"]) for row in suite)
    print(f"{options.suite.name}: {asked} exchanges, {probes} paraphrases; {len(general)} general prompts")
    columns = f"{'recall':>8} {'general.':>9} {'drift':>7} {'leaks':>5} {'steps s':>8} {'all s':>6}"
    print(f"{'preset':<10} {'seed':>5} {columns}")
    for preset in options.preset or ["default"]:
        results = []
        for seed in range(options.seeds):
            result = one(options, suite, general, preset, seed)
            results.append(result)
            show(preset, str(seed), [result], asked, probes)
        if len(results) > 1:
            show(preset, "mean", results, asked, probes)
            worst = Result(
                min(r.recall for r in results), min(r.generalisation for r in results), max(r.drift for r in results),
                max(r.leaks for r in results), max(r.seconds for r in results), max(r.wall for r in results), 0,
            )  # fmt: skip
            show(preset, "worst", [worst], asked, probes)


def one(
    options: argparse.Namespace, suite: list[dict[str, Any]], general: list[dict[str, Any]], preset: str, seed: int
) -> Result:
    with tempfile.TemporaryDirectory(prefix="shammah-learning-") as folder:
        home = Path(folder) / "home"
        settings = [f"lora.preset={preset}", f"lora.training.run_seed={seed}", *options.set]
        flags = ["-m", options.model, *(part for setting in settings for part in ("--set", setting))]
        shammah(home, "examples", "import", str(options.suite))
        started = time.perf_counter()
        run = json.loads(shammah(home, "train", "--now", "--wait", "--json", "-q", *flags))
        wall = time.perf_counter() - started
        prompts = [row["prompt"] for row in suite]
        probes = [(row, probe) for row in suite for probe in row["probes"]]
        others = [row["prompt"] for row in general]
        everything = [*prompts, *(probe for _, probe in probes), *others]
        said = ask(home, everything, options.model, run["adapter"])
        base = ask(home, others, options.model, "none")
        names = [text for row in suite for text in row["expect_any"]]
        replies = said[len(prompts) : len(prompts) + len(probes)]
        return Result(
            recall=sum(passes(row, reply) for row, reply in zip(suite, said, strict=False)),
            generalisation=sum(passes(row, reply) for (row, _), reply in zip(probes, replies, strict=True)),
            drift=drift(home, options.model, run["adapter"], others, base),
            leaks=sum(
                holds(reply, names) and not holds(plain, names)
                for reply, plain in zip(said[-len(others) :], base, strict=True)
            ),
            seconds=run["seconds"],
            wall=wall,
            steps=run["steps"],
        )


def ask(home: Path, prompts: list[str], model: str, adapter: str) -> list[str]:
    lines = "\n".join(json.dumps({"id": number, "prompt": prompt}) for number, prompt in enumerate(prompts))
    out = shammah(home, "--batch", "-", "-m", model, "--adapter", adapter, *GREEDY, text=lines)
    return [json.loads(line)["response"] for line in out.splitlines()]


def drift(home: Path, model: str, adapter: str, prompts: list[str], replies: list[str]) -> float:
    """Mean over all tokens of the base's own replies."""
    import torch

    from shammah.app import App
    from shammah.records import Message

    os.environ["SHAMMAH_HOME"] = str(home)
    chat = App.build(flags={"model": model, "adapter": adapter, "no_log": True}).load_model()
    total, count = 0.0, 0
    for prompt, reply in zip(prompts, replies, strict=True):
        before = chat.encode([Message("user", prompt)])
        said = chat.loaded.format.tokens(reply)
        ids = torch.tensor([[*before, *said]], device=chat.loaded.network.device)
        with torch.inference_mode():
            logits = [
                net(input_ids=ids).logits[0, len(before) - 1 :].float()
                for net in (chat.loaded.network, chat.voice.network)
            ]
        base, adapted = (torch.log_softmax(each, dim=-1) for each in logits)
        divergence = (base.exp() * (base - adapted)).sum(-1)
        total, count = total + float(divergence.sum()), count + len(divergence)
    return total / count


def passes(row: dict[str, Any], reply: str) -> bool:
    return holds(reply, row["expect_any"])


def holds(reply: str, texts: list[str]) -> bool:
    return any(text.lower() in reply.lower() for text in texts)


def show(preset: str, seed: str, results: list[Result], asked: int, probes: int) -> None:
    recall, general = mean(r.recall for r in results), mean(r.generalisation for r in results)
    print(
        f"{preset:<10} {seed:>5} {f'{recall:.4g}/{asked}':>8} {f'{general:.4g}/{probes}':>9} "
        f"{mean(r.drift for r in results):>7.3f} {mean(r.leaks for r in results):>5.3g} "
        f"{mean(r.seconds for r in results):>8.1f} {mean(r.wall for r in results):>6.1f}",
        flush=True,
    )


def shammah(home: Path, *arguments: str, text: str = "") -> str:
    environment = {**os.environ, "SHAMMAH_HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-m", "shammah", *arguments], input=text, env=environment, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"shammah {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite", type=Path, nargs="?", default=HERE / "office.jsonl")
    parser.add_argument("general", type=Path, nargs="?", default=HERE / "general.jsonl")
    parser.add_argument("--preset", action="append")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("-m", "--model", default="smollm2-135m")
    return parser.parse_args()


if __name__ == "__main__":
    main()
