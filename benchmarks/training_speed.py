"""Training speed beside TRL's SFTTrainer: the same model, rows, LoRA shape, rows in a step, and steps.

    python benchmarks/training_speed.py [--steps 12] [--rounds 3] [-m MODEL]

TRL is not a dependency: install it into the environment that runs this (`pip install trl`). Each is a process of its
own, one after the other, in turns, on the same threads. Tokens are those of the rows, prompts and replies, as each
trainer counts them itself without filler: the counts have to agree. The loss covers the replies alone in all of them;
nothing else is computed on any side, no anchors and no held-out rows. Measured is from the beginning of the first step
to the end of the last. Three of TRL: in bf16, in float32, and with every choice left to it, which is float32 weights,
bf16 products and checkpointed layers. Medians; ends with 1 below the goals.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

SUITE = Path(__file__).parent / "suites" / "office.jsonl"
ROWS = 6
R, ALPHA, RATE = 8, 16, 2e-3
GOALS = {"trl bf16": 2.0, "trl float32": 3.0, "trl as it comes": 3.0}
# What is set to be alike; the rest of TRL's options, and those of the last contender, stay as they come.
ALIKE = {
    "trl bf16": {"bf16": True, "gradient_checkpointing": False},
    "trl float32": {"bf16": False, "gradient_checkpointing": False},
    "trl as it comes": {},
}


def ours(model: str, steps: int) -> dict[str, float]:
    import torch

    from shammah.training.learner import Learner
    from shammah.training.loop import Trainer
    from shammah.training.recipe import Recipe

    loaded = load(model)
    assert loaded.network.dtype == torch.bfloat16
    recipe = Recipe(preset="default", r=R, alpha=ALPHA, learning_rate=RATE, batch_size=ROWS, anchors=0.0)
    rows = token_rows(loaded, steps)
    learner = Learner(loaded.network, recipe)
    trainer = Trainer(learner, recipe, rows, base_states=lambda row: learner.hidden([row]))
    started = time.perf_counter()
    state = trainer.run()
    return measured(time.perf_counter() - started, state.tokens, state.step, rows, learner.flat.values.numel())


def trl(model: str, steps: int, *, name: str) -> dict[str, float]:
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    loaded = load(model)
    rows = token_rows(loaded, steps)
    data = Dataset.from_list(
        [
            {"input_ids": list(row.ids), "completion_mask": [0] * row.start + [1] * row.learned}
            for step in rows
            for row in step
        ]
    )
    dtype = torch.bfloat16 if name == "trl bf16" else torch.float32
    network = AutoModelForCausalLM.from_pretrained(loaded.folder, dtype=dtype)
    tokenizer = AutoTokenizer.from_pretrained(loaded.folder)
    lora = LoraConfig(r=R, lora_alpha=ALPHA, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM")
    with tempfile.TemporaryDirectory() as out:
        options = SFTConfig(
            output_dir=out, per_device_train_batch_size=ROWS, gradient_accumulation_steps=1, max_steps=steps,
            learning_rate=RATE, completion_only_loss=True, use_cpu=True, report_to=[], save_strategy="no",
            logging_strategy="no", disable_tqdm=True, **ALIKE[name],
        )  # fmt: skip
        trainer = SFTTrainer(
            model=network, args=options, train_dataset=data, processing_class=tokenizer, peft_config=lora
        )
        clock = step_clock()
        trainer.add_callback(clock)
        trainer.train()
        adapter = sum(each.numel() for each in trainer.model.parameters() if each.requires_grad)
        return measured(clock.seconds, trainer._total_train_tokens, trainer.state.global_step, rows, adapter)


def step_clock() -> Any:
    """Takes the time from the beginning of a trainer's first step to the end of its last."""
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        started = seconds = 0.0

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.started = self.started or time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.seconds = time.perf_counter() - self.started

    return Clock()


def load(model: str) -> Any:
    """As the program loads it, in bf16, on the threads that the program takes."""
    from shammah.app import App

    return App.build(flags={"model": model, "dtype": "bfloat16", "no_log": True}).load_model().loaded


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


def measured(seconds: float, tokens: int, steps: int, rows: list[Any], adapter: int) -> dict[str, float]:
    """What was done, as the trainer itself counted it, is what it was given."""
    given = sum(len(row.ids) for step in rows for row in step)
    assert (tokens, steps) == (given, len(rows)), f"{tokens} tokens in {steps} steps, not {given} in {len(rows)}"
    return {"tokens_per_second": tokens / seconds, "steps_per_second": steps / seconds, "adapter": adapter}


CONTENDERS: dict[str, Callable[[str, int], dict[str, float]]] = {
    "shammah": ours,
    **{name: partial(trl, name=name) for name in ALIKE},
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("-m", "--model", default="smollm2-135m")
    parser.add_argument("--only", choices=CONTENDERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(json.dumps(CONTENDERS[options.only](options.model, options.steps)))
        return 0
    found: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
    for _ in range(options.rounds):
        for name in CONTENDERS:
            found[name].append(alone(name, options))
    print(f"{'':<18}{'tokens/s':>10}{'steps/s':>10}{'ours is':>10}{'goal':>7}")
    good = True
    for name, rounds in found.items():
        speed, steps, adapter = (statistics.median(each[key] for each in rounds) for key in rounds[0])
        assert adapter == found["shammah"][0]["adapter"], f"{name} trains {adapter} numbers"
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
