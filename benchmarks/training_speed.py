"""Training speed beside TRL's SFTTrainer: the same model, rows, LoRA shape, number of rows in a step, and steps.

    python benchmarks/training_speed.py [--steps 12] [--rounds 3] [-m MODEL]

TRL is not a dependency: install it into the environment that runs this (`pip install trl`). Each is a process of its
own, one after the other, in turns; tokens are those of the rows themselves, whatever filler or sharing each of them
uses, and the loss covers the replies alone in all of them. Medians; ends with 1 below the goals.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SUITE = Path(__file__).parent / "suites" / "office.jsonl"
ROWS = 6
R, ALPHA, RATE = 8, 16, 2e-3
GOALS = {"trl bf16": 2.0, "trl as it comes": 3.0}


def ours(model: str, steps: int) -> dict[str, float]:
    from shammah.app import App
    from shammah.training.learner import Learner
    from shammah.training.loop import Trainer
    from shammah.training.recipe import Recipe

    loaded = App.build(flags={"model": model, "no_log": True}).load_model().loaded
    recipe = Recipe(preset="default", r=R, alpha=ALPHA, learning_rate=RATE, batch_size=ROWS, anchors=0.0)
    rows = token_rows(loaded, steps)
    learner = Learner(loaded.network, recipe)
    trainer = Trainer(learner, recipe, rows, base_states=lambda row: learner.hidden([row]))
    return timed(lambda: trainer.run(), rows)


def trl(model: str, steps: int, dtype: str) -> dict[str, float]:
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    from shammah.app import App

    loaded = App.build(flags={"model": model, "no_log": True}).load_model().loaded
    rows = token_rows(loaded, steps)
    folder = loaded.folder
    data = Dataset.from_list(
        [
            {"input_ids": list(row.ids), "completion_mask": [0] * row.start + [1] * row.learned}
            for step in rows
            for row in step
        ]
    )
    network = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    lora = LoraConfig(r=R, lora_alpha=ALPHA, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM")
    with tempfile.TemporaryDirectory() as out:
        options = SFTConfig(
            output_dir=out, per_device_train_batch_size=ROWS, max_steps=steps, learning_rate=RATE, report_to=[],
            save_strategy="no", logging_strategy="no", disable_tqdm=True, use_cpu=True, bf16=dtype == "bfloat16",
            gradient_checkpointing=False, completion_only_loss=True, dataset_kwargs={"skip_prepare_dataset": False},
        )  # fmt: skip
        trainer = SFTTrainer(
            model=network, args=options, train_dataset=data, processing_class=tokenizer, peft_config=lora
        )
        return timed(lambda: trainer.train(), rows)


def token_rows(loaded: Any, steps: int) -> list[Any]:
    """The suite over and over, so many rows a step."""
    from shammah.records import Message
    from shammah.training.encoding import Encoder

    encoder = Encoder(loaded.format, loaded.speech.end_tokens, longest=512)
    examples = [json.loads(line) for line in SUITE.read_text().splitlines()]
    rows = [
        encoder.row([Message("user", row["prompt"])], row.get("better") or row["reply"], source=row["prompt"])
        for row in examples
    ]
    drawn = (rows * (1 + steps * ROWS // len(rows)))[: steps * ROWS]
    return [tuple(drawn[at : at + ROWS]) for at in range(0, len(drawn), ROWS)]


def timed(train: Any, rows: list[Any]) -> dict[str, float]:
    started = time.perf_counter()
    train()
    seconds = time.perf_counter() - started
    tokens = sum(len(row.ids) for step in rows for row in step)
    return {"tokens_per_second": tokens / seconds, "steps_per_second": len(rows) / seconds}


CONTENDERS = {
    "shammah": lambda options: ours(options.model, options.steps),
    "trl bf16": lambda options: trl(options.model, options.steps, "bfloat16"),
    "trl as it comes": lambda options: trl(options.model, options.steps, "float32"),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("-m", "--model", default="smollm2-135m")
    parser.add_argument("--only", choices=CONTENDERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(json.dumps(CONTENDERS[options.only](options)))
        return 0
    found: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
    for _ in range(options.rounds):
        for name in CONTENDERS:
            found[name].append(alone(name, options))
    print(f"{'':<18}{'tokens/s':>10}{'steps/s':>10}{'ours is':>10}{'goal':>7}")
    good = True
    for name, rounds in found.items():
        speed, steps = (statistics.median(each[key] for each in rounds) for key in rounds[0])
        pairs = zip(found["shammah"], rounds, strict=True)
        ratio = statistics.median(mine["tokens_per_second"] / theirs["tokens_per_second"] for mine, theirs in pairs)
        goal = GOALS.get(name)
        good = good and (goal is None or ratio >= goal)
        print(f"{name:<18}{speed:>10.0f}{steps:>10.2f}{ratio:>9.2f}x{goal or '':>7}")
    return 0 if good else 1


def alone(name: str, options: argparse.Namespace) -> dict[str, float]:
    command = [sys.executable, __file__, "--only", name, "--steps", str(options.steps), "-m", options.model]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{name} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


if __name__ == "__main__":
    sys.exit(main())
