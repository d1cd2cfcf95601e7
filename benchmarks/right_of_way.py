"""What a chat notices of training, and what training pays for the chat.

    python benchmarks/right_of_way.py [--rounds 5] [-m MODEL]

One process, as in a real chat: a thread trains on the office suite at full speed while replies are produced in another.
Each round measures the chat idle and beside training, so that a busy machine spoils both alike; medians are printed.
Then the real program in a terminal: how long a typed letter takes to appear while a run is under way.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

from terminal import Program

from shammah.app import App
from shammah.config import GenerationSettings
from shammah.errors import TrainingCancelled
from shammah.records import Message, Reply
from shammah.training.anchor_book import AnchorBook
from shammah.training.attempt import Attempt, Base
from shammah.training.control import Control
from shammah.training.courtesy import Courtesy
from shammah.training.fitting import first_limits
from shammah.training.planning import Lesson
from shammah.training.recipe import recipe_for
from shammah.training.resources import free_memory, lower_priority

SUITE = Path(__file__).parent / "suites" / "office.jsonl"
TOKENS = 96
READING = 8.0
PROMPT = "Tell me something about the sea."
SPEED_GOAL, DELAY_GOAL, ECHO_GOAL = 0.95, 60.0, 50.0


class Training:
    """A run without an end, in a thread of its own."""

    def __init__(self, app: App) -> None:
        model = app.load_model()
        recipe = recipe_for(app.config.lora, model.loaded.parameters)
        self.control = Control()
        base = Base(model.name, model.loaded, "benchmark")
        courtesy = Courtesy(app.right_of_way, self.control, model.loaded.network.device)
        self._attempt = Attempt(base, recipe, first_limits(free_memory()), courtesy)
        rows = [json.loads(line) for line in SUITE.read_text().splitlines()]
        lessons = [
            Lesson(str(place), (Message("user", row["prompt"]),), row.get("better") or row["reply"], 1.0)
            for place, row in enumerate(rows)
        ]
        cache = app.model_cache.root.parent / "anchors"
        self._attempt.prepare(lessons, AnchorBook(cache, "benchmark", self._attempt.ask))
        self.steps = 0
        self._ended = Event()
        self._thread = Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.control.resume()
        self.control.cancel()
        self._thread.join()

    def _run(self) -> None:
        lower_priority()
        trainer = self._attempt.trainer
        assert trainer is not None

        def after(attempt: Attempt) -> None:
            self.steps += 1

        try:
            while True:
                self._attempt.train(after)
                trainer.state.step = 0
        except TrainingCancelled:
            pass


def measure_reply(app: App, seed: int) -> tuple[float, float]:
    """Tokens a second after the first, and milliseconds to the first, of one reply."""
    model = app.load_model()
    settings = GenerationSettings(temperature=1.0, seed=seed, max_tokens=TOKENS, stop_loops=False)
    prompt = model.encode([Message("user", f"{PROMPT} ({seed})")])
    for item in model.reply(prompt, settings):
        if isinstance(item, Reply):
            seconds = (item.duration_ms - item.first_token_ms) / 1000
            return (item.output_tokens - 1) / seconds, item.first_token_ms
    raise AssertionError("a reply ends with a Reply")


def beside_training(app: App, rounds: int) -> dict[str, Any]:
    training = Training(app)
    measure_reply(app, 0)
    training.start()
    idle: list[tuple[float, float]] = []
    busy: list[tuple[float, float]] = []
    alone: list[float] = []
    chatting: list[float] = []
    for seed in range(1, rounds + 1):
        training.control.pause()
        time.sleep(1)
        idle.append(measure_reply(app, seed))
        training.control.resume()
        with steps_a_minute(training, alone):
            time.sleep(READING)
        with steps_a_minute(training, chatting):  # a reply, and some seconds to read it
            busy.append(measure_reply(app, seed))
            time.sleep(READING)
    training.stop()
    speed = statistics.median(now[0] / before[0] for now, before in zip(busy, idle, strict=True))
    delay = statistics.median(now[1] - before[1] for now, before in zip(busy, idle, strict=True))
    return {
        "idle_tokens_per_second": statistics.median(each[0] for each in idle),
        "beside_training_tokens_per_second": statistics.median(each[0] for each in busy),
        "speed_ratio": speed,
        "first_token_later_ms": delay,
        "steps_per_minute_alone": statistics.median(alone),
        "steps_per_minute_chatting": statistics.median(chatting),
    }


@contextmanager
def steps_a_minute(training: Training, found: list[float]) -> Iterator[None]:
    before, started = training.steps, time.perf_counter()
    yield
    found.append(60 * (training.steps - before) / (time.perf_counter() - started))


def echo(model: str, home: str, letters: int) -> dict[str, float]:
    """How long until a typed letter is on the screen, in the real program while it trains."""
    environment = {"SHAMMAH_HOME": home, "SHAMMAH_MODEL": model}
    command = [sys.executable, "-m", "shammah"]
    importing = [*command, "examples", "import", str(SUITE)]
    subprocess.run(importing, env={**os.environ, **environment}, capture_output=True, check=True)
    program = Program(command, **environment)
    try:
        program.wait(rb"step \d+/\d+")
        return percentiles([_typed(program) for _ in range(letters)])
    finally:
        program.kill()


def _typed(program: Program) -> float:
    """Milliseconds. The letter is one that nothing else writes."""
    program.shown = b""
    sent = time.perf_counter()
    program.send("Q")
    while b"Q" not in program.shown:
        program.read(0.001)
    seconds = time.perf_counter() - sent
    program.send("\x7f")
    end = time.perf_counter() + 0.15
    while time.perf_counter() < end:
        program.read(0.01)
    return 1000 * seconds


def percentiles(times: list[float]) -> dict[str, float]:
    ordered = sorted(times)
    return {"echo_ms_median": statistics.median(ordered), "echo_ms_p95": ordered[int(0.95 * (len(ordered) - 1))]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("-m", "--model", default="smollm2-135m")
    parser.add_argument("--letters", type=int, default=100)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="shammah-right-of-way-") as folder:
        os.environ["SHAMMAH_HOME"] = folder
        app = App.build(flags={"model": options.model, "no_log": True})
        found = beside_training(app, options.rounds)
        app.close()
        found |= echo(options.model, os.path.join(folder, "terminal"), options.letters)
    print(json.dumps(found) if options.json else words(found))
    good = found["speed_ratio"] >= SPEED_GOAL and found["first_token_later_ms"] <= DELAY_GOAL
    return 0 if good and found["echo_ms_p95"] <= ECHO_GOAL else 1


def words(found: dict[str, Any]) -> str:
    return "\n".join(f"{name.replace('_', ' '):<36} {value:8.2f}" for name, value in found.items())


if __name__ == "__main__":
    sys.exit(main())
