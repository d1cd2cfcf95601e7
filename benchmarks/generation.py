"""How fast replies come: against transformers' own `generate`, with a warm cache against a cold one, in batches.

    python benchmarks/generation.py            a table; a few minutes on two cores
    python benchmarks/generation.py --json     one object

The default model is used, fetched if need be, on as many threads as the program takes. What is compared takes turns, so
that another program on the machine slows both down, and the medians count. Both sides of the first comparison give
text, and replies are all of one length: nothing ends them early.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from shammah.config import Config, GenerationSettings
from shammah.model.batching import BatchGenerator
from shammah.model.cache import ModelCache
from shammah.model.catalog import DEFAULT, locate
from shammah.model.device import Compute, choose
from shammah.model.engine import TransformersEngine
from shammah.model.fetching import ensure
from shammah.model.generation import Generator, Speech
from shammah.model.loading import LoadedModel, load
from shammah.records import Message, Reply, Role

GREEDY = GenerationSettings(temperature=0.0, max_tokens=128)
SAMPLED = replace(GREEDY, temperature=0.7, top_p=0.9, seed=1)
SHORT = replace(GREEDY, max_tokens=32)
ONE_TOKEN = replace(GREEDY, max_tokens=1)

HISTORY, BATCH, ROUNDS = 1000, 64, 5
QUESTIONS = (
    "How do I read a file in Python?",
    "Tell me about the history of bread.",
    "Explain to a child of ten how a bicycle stays up, and why it falls over when it stands still.",
    "Name a fruit.",
)
ANSWER = "It depends on what you have at hand, so let us take it step by step, beginning with the simplest one. "

# What is measured in a round, by the round's number.
Measure = Callable[[int], float]


@dataclass(frozen=True, slots=True)
class Row:
    what: str
    dtype: str
    unit: str
    ours: float
    against: str
    theirs: float
    ratio: float
    goal: float


class Bench:
    def __init__(self, loaded: LoadedModel) -> None:
        self._loaded = loaded
        self._engine = TransformersEngine(loaded.network)
        self._speech = Speech(loaded.speech.decode, frozenset(), loaded.speech.window)
        self._prompts = [self._encode(question) for question in QUESTIONS]

    def rates(self, name: str, settings: GenerationSettings, rounds: int) -> Row:
        """Tokens a second of one reply, from the prompt to the last word."""
        ours, theirs = medians(lambda n: self._ours(settings, n), lambda n: self._theirs(settings, n), rounds)
        return self._row(
            f"{name}, {settings.max_tokens} tokens", "tokens/s", ours, "generate", theirs, ours / theirs, 1
        )

    def follow_up(self, rounds: int) -> Row:
        """Milliseconds to the first token after a long conversation."""
        warm, cold = medians(lambda n: self._first_token(warm=True), lambda n: self._first_token(warm=False), rounds)
        return self._row(f"first token after {HISTORY:,}", "ms", warm, "cold cache", cold, cold / warm, 5)

    def batch(self, rounds: int) -> Row:
        rows = Config().batch_rows
        together, alone = medians(lambda n: self._together(rows), lambda n: self._one_by_one(), rounds)
        what = f"{BATCH} prompts, {rows} at once"
        return self._row(what, "tokens/s", together, "one by one", alone, together / alone, 3)

    def _row(self, what: str, unit: str, ours: float, against: str, theirs: float, ratio: float, goal: float) -> Row:
        dtype = self._loaded.compute.dtype
        return Row(what, dtype, unit, round(ours, 1), against, round(theirs, 1), round(ratio, 3), goal)

    def _ours(self, settings: GenerationSettings, number: int) -> float:
        prompt = self._prompts[number % len(self._prompts)]
        return settings.max_tokens / seconds(lambda: self._reply(self._new_generator(), prompt, settings))

    def _theirs(self, settings: GenerationSettings, number: int) -> float:
        prompt = self._prompts[number % len(self._prompts)]
        how: dict[str, Any] = {"do_sample": False}
        if settings.temperature:
            how = {
                "do_sample": True,
                "temperature": settings.temperature,
                "top_p": settings.top_p,
                "top_k": settings.top_k,
            }

        def work() -> None:
            ids = torch.tensor([prompt], device=self._engine.device)
            mask = torch.ones_like(ids)
            ends: dict[str, Any] = {"max_new_tokens": settings.max_tokens, "eos_token_id": None, "pad_token_id": 0}
            network: Any = self._loaded.network
            output = network.generate(ids, attention_mask=mask, **ends, **how)
            self._loaded.format.decode(output[0, len(prompt) :].tolist())

        return settings.max_tokens / seconds(work)

    def _first_token(self, *, warm: bool) -> float:
        history = self._history()
        generator = self._new_generator()
        if warm:
            # As the turn before left it: the last reply is not computed but for its first token.
            self._reply(generator, self._encode(*history), ONE_TOKEN)
        prompt = self._encode(*history, "Can you say that again in one sentence?")
        return self._reply(generator, prompt, ONE_TOKEN).first_token_ms

    def _history(self) -> list[str]:
        said: list[str] = []
        while not said or len(self._encode(*said)) < HISTORY:
            said += [QUESTIONS[len(said) // 2 % len(QUESTIONS)], ANSWER * 6]
        return said

    def _together(self, rows: int) -> float:
        prompts = self._batch_prompts()
        generator = BatchGenerator(self._engine, self._speech)
        taken = seconds(lambda: list(generator.replies(prompts, SHORT, rows=rows)))
        return len(prompts) * SHORT.max_tokens / taken

    def _one_by_one(self) -> float:
        prompts = self._batch_prompts()
        taken = seconds(lambda: [self._reply(self._new_generator(), prompt, SHORT) for prompt in prompts])
        return len(prompts) * SHORT.max_tokens / taken

    def _batch_prompts(self) -> list[list[int]]:
        return [self._prompts[number % len(self._prompts)] for number in range(BATCH)]

    def _new_generator(self) -> Generator:
        return Generator(self._engine, self._speech)

    def _encode(self, *said: str) -> list[int]:
        """The prompt of a conversation in which user and model said this in turns."""
        roles: tuple[Role, Role] = ("user", "assistant")
        return self._loaded.format.encode([Message(roles[n % 2], text) for n, text in enumerate(said)])

    @staticmethod
    def _reply(generator: Generator, prompt: Sequence[int], settings: GenerationSettings) -> Reply:
        *_, reply = generator.stream(prompt, settings)
        assert isinstance(reply, Reply)
        return reply


def medians(one: Measure, other: Measure, rounds: int) -> tuple[float, float]:
    """Of both, in turns. A first round warms up and does not count."""
    found = [(one(number), other(number)) for number in range(rounds + 1)][1:]
    return statistics.median(value for value, _ in found), statistics.median(value for _, value in found)


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(folder: Path, compute: Compute, rounds: int) -> Iterator[Row]:
    for dtype in ("bfloat16", "float32"):
        bench = Bench(load(folder, replace(compute, dtype=dtype)))
        yield bench.rates("greedy", GREEDY, rounds)
        yield bench.rates("sampled", SAMPLED, rounds)
        if dtype == compute.dtype:
            yield bench.follow_up(rounds)
            yield bench.batch(max(1, rounds // 2))


def heading() -> str:
    return f"{'':26}{'dtype':10}{'ours':>8}{'':10}{'against':12}{'':>8}{'ratio':>8}{'goal':>6}"


def line(row: Row) -> str:
    values = f"{row.ours:8.1f} {row.unit:9}{row.against:12}{row.theirs:8.1f}{row.ratio:8.2f}{row.goal:6.0f}"
    return f"{row.what:26}{row.dtype:10}{values}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one object instead of a table")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"how often each is measured ({ROUNDS})")
    arguments = parser.parse_args()
    cache = ModelCache.default()
    folder = ensure(locate(DEFAULT), cache, offline=False, publish=lambda event: None)
    compute = choose("auto", "auto", 0, cache_folder=cache.root.parent)
    rows = measure(folder, compute, max(1, arguments.rounds))
    versions = {"torch": torch.__version__, "threads": compute.threads, "device": compute.device}
    if arguments.json:
        print(
            json.dumps({"model": DEFAULT, "chosen": compute.dtype, **versions, "rows": [asdict(row) for row in rows]})
        )
        return
    print(f"{DEFAULT} on {compute.device}, {compute.threads} threads, torch {torch.__version__}\n\n{heading()}")
    for row in rows:
        print(line(row), flush=True)


if __name__ == "__main__":
    main()
