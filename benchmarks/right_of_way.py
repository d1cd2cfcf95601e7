"""What a chat notices of training, and what training pays for the chat.

    python benchmarks/right_of_way.py [--rounds 12] [-m MODEL] [--json]

One process, as in a real chat: a thread computes at full speed while replies are produced in another. It does so in
three ways, one after the other: it trains on the office suite, it trains on rows as long as lora.training.max_length
lets them be, and it prepares, which is to ask the base model for the anchors. In short blocks the chat answers alone
(training paused) and beside it, now the one first and now the other, so that a busy machine spoils both alike; what
counts is the median over the pairs. Then the real program in a terminal: how long a typed letter takes to appear while
a run is under way.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from keystrokes import percentiles, while_training

from shammah.app import App
from shammah.config import GenerationSettings
from shammah.errors import TrainingCancelled
from shammah.model.thread_team import dismiss_team
from shammah.records import Message, Reply
from shammah.training.anchor_book import AnchorBook
from shammah.training.anchors import PROMPTS
from shammah.training.attempt import Attempt, Base
from shammah.training.control import Control
from shammah.training.courtesy import Courtesy, take_threads
from shammah.training.fitting import first_limits
from shammah.training.learner import bytes_of_a_token
from shammah.training.planning import Lesson
from shammah.training.recipe import recipe_for
from shammah.training.resources import free_memory, lower_priority

SUITE = Path(__file__).parent / "suites" / "office.jsonl"
TOKENS = 48
# Between two replies: what was paused has come to rest, and what goes on is in the middle of something.
SETTLING = 0.5
READING = 8.0
PROMPT = "Tell me something about the sea."
SPEED_GOAL, DELAY_GOAL, ECHO_GOAL = 0.95, 60.0, 50.0
Work = Callable[[Attempt, Callable[[], None]], None]


class Load:
    """Work without an end, in a thread of its own, by the rules of training."""

    def __init__(self, app: App, work: Work, lessons: list[Lesson], **changes: Any) -> None:
        model = app.load_model()
        recipe = replace(recipe_for(app.config.lora, model.loaded.parameters), **changes)
        self.control = Control(on_wait=lambda reason: dismiss_team() if reason else None)
        base = Base(model.name, model.loaded, "benchmark")
        courtesy = Courtesy(app.right_of_way, self.control, model.loaded.network.device)
        network = model.loaded.network
        limits = first_limits(
            free_memory(), token_bytes=bytes_of_a_token(network), model_bytes=network.get_memory_footprint()
        )
        self._attempt = Attempt(base, recipe, limits, courtesy)
        cache = app.model_cache.root.parent / "anchors"
        self._attempt.prepare(lessons, AnchorBook(cache, "benchmark", self._attempt.ask))
        self._work, self._threads = work, app.config.lora.training.run_threads
        self.steps = 0

    @contextmanager
    def going(self) -> Iterator["Load"]:
        with ThreadPoolExecutor(1, "train") as thread:
            running = thread.submit(self._run)
            try:
                yield self
            finally:
                self.control.cancel()
            running.result()

    def _run(self) -> None:
        lower_priority()
        take_threads(self._threads)
        try:
            while True:
                self._work(self._attempt, self._step)
        except TrainingCancelled:
            pass

    def _step(self) -> None:
        self.steps += 1


def trains(attempt: Attempt, step: Callable[[], None]) -> None:
    trainer = attempt.trainer
    assert trainer is not None
    trainer.state.step = 0
    attempt.train(lambda attempt: step())


def prepares(attempt: Attempt, step: Callable[[], None]) -> None:
    attempt.ask(PROMPTS)


def office() -> list[Lesson]:
    rows = [json.loads(line) for line in SUITE.read_text().splitlines()]
    return [
        Lesson(str(place), (Message("user", row["prompt"]),), row.get("better") or row["reply"], 1.0)
        for place, row in enumerate(rows)
    ]


def as_long_as_can_be(app: App, lessons: list[Lesson]) -> list[Lesson]:
    """The same with replies that fill a row, but for what the prompt and the template take."""
    model = app.load_model()
    longest = min(recipe_for(app.config.lora, model.parameters).max_length, model.window)
    wanted = longest - 2 * max(len(model.encode(lesson.messages)) for lesson in lessons)
    long = []
    for lesson in lessons:
        times = max(1, wanted // model.count(f" {lesson.target}"))
        long.append(replace(lesson, target=" ".join([lesson.target] * times)))
    return long


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


def beside(load: Load, app: App, rounds: int) -> dict[str, float]:
    """Replies alone and beside a load, in pairs."""
    pairs = []
    for seed in range(1, rounds + 1):
        found = {}
        for busy in (seed % 2 == 0, seed % 2 == 1):
            load.control.resume() if busy else load.control.pause()
            time.sleep(SETTLING)
            found[busy] = measure_reply(app, seed)
        pairs.append((found[False], found[True]))
    load.control.resume()
    return {
        "idle_tokens_per_second": statistics.median(idle[0] for idle, _ in pairs),
        "beside_tokens_per_second": statistics.median(busy[0] for _, busy in pairs),
        "speed_ratio": statistics.median(busy[0] / idle[0] for idle, busy in pairs),
        "idle_first_token_ms": statistics.median(idle[1] for idle, _ in pairs),
        "first_token_later_ms": statistics.median(busy[1] - idle[1] for idle, busy in pairs),
        "first_token_later_ms_worst": max(busy[1] - idle[1] for idle, busy in pairs),
    }


def what_training_pays(load: Load, app: App, rounds: int) -> dict[str, float]:
    """Steps a minute with nobody there, and with somebody who asks, and reads for some seconds."""
    alone: list[float] = []
    chatting: list[float] = []
    for seed in range(1, rounds + 1):
        with steps_a_minute(load, alone):
            time.sleep(READING)
        with steps_a_minute(load, chatting):
            measure_reply(app, seed)
            time.sleep(READING)
    return {
        "steps_per_minute_alone": statistics.median(alone),
        "steps_per_minute_chatting": statistics.median(chatting),
    }


@contextmanager
def steps_a_minute(load: Load, found: list[float]) -> Iterator[None]:
    before, started = load.steps, time.perf_counter()
    yield
    found.append(60 * (load.steps - before) / (time.perf_counter() - started))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("-m", "--model", default="smollm2-135m")
    parser.add_argument("--letters", type=int, default=100)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="shammah-right-of-way-") as folder:
        os.environ["SHAMMAH_HOME"] = folder
        app = App.build(flags={"model": options.model, "no_log": True})
        measure_reply(app, 0)
        found: dict[str, dict[str, float]] = {}
        for name, load in loads(app):
            with load.going():
                found[name] = beside(load, app, options.rounds)
                if name == "training":
                    found["the cost for training"] = what_training_pays(load, app, max(1, options.rounds // 3))
        app.close()
        found["typing"] = percentiles(while_training(options.model, Path(folder), options.letters))
    print(json.dumps(found) if options.json else words(found))
    return 0 if good(found) else 1


def loads(app: App) -> Iterator[tuple[str, Load]]:
    """One at a time: each has an adapter of its own."""
    yield "training", Load(app, trains, office())
    yield "long rows", Load(app, trains, as_long_as_can_be(app, office()), anchors=0.0)
    yield "preparing", Load(app, prepares, office())


def good(found: dict[str, dict[str, float]]) -> bool:
    chats = [each for each in found.values() if "speed_ratio" in each]
    return found["typing"]["echo_ms_p95"] <= ECHO_GOAL and all(
        each["speed_ratio"] >= SPEED_GOAL and each["first_token_later_ms"] <= DELAY_GOAL for each in chats
    )


def words(found: dict[str, dict[str, float]]) -> str:
    lines = []
    for name, figures in found.items():
        lines.append(name)
        lines += [f"  {figure.replace('_', ' '):<34} {value:8.2f}" for figure, value in figures.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
