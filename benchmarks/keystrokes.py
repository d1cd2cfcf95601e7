"""How long a typed letter takes to appear, in the real program: while the model loads, while a reply streams, while
training runs.

    python benchmarks/keystrokes.py [--letters 100] [-m MODEL] [--json]

A letter is typed, waited for and taken back, again and again. As many chats are started as it takes to type so many
letters before the model is there. Ends with 1 where a letter of twenty takes 50 ms or longer.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from terminal import Program

SUITE = Path(__file__).parent / "suites" / "office.jsonl"
LIMIT = 50.0
# One that no program and no model writes here, and how long a chat may take to forget it.
LETTER, BACK, REST = "\N{GREEK CAPITAL LETTER OMEGA}", "\x7f", 0.15
STORY = "Write a very long story about a lighthouse and the people of its island."


def while_loading(model: str, home: Path, letters: int) -> list[float]:
    times: list[float] = []
    while len(times) < letters:
        program = chat(model, home / "loading")
        try:
            program.wait(rb">")
            seen = program.shown
            while not 0 <= seen.rfind(b"Loading") < seen.rfind(b"examples"):  # the toolbar of a chat that is ready
                times.append(echo(program))
                seen += program.shown
        finally:
            program.kill()
    return times


def while_streaming(model: str, home: Path, letters: int) -> list[float]:
    program = chat(model, home / "streaming", "-o", "max_tokens", "4000")
    times: list[float] = []
    try:
        program.wait(rb"examples")
        while len(times) < letters:
            program.send(STORY + "\r")
            rest(program, 3)
            found = [echo(program) for _ in range(10)]
            program.shown = b""
            program.send("\x03")
            rest(program, 1)
            if b"so far is kept" in program.shown:  # else it had ended, and the prompt answered
                times += found
            program.send("/clear\r")
            rest(program, 1)
    finally:
        program.kill()
    return times


def while_training(model: str, home: Path, letters: int) -> list[float]:
    importing = [sys.executable, "-m", "shammah", "examples", "import", str(SUITE)]
    environment = {**os.environ, "SHAMMAH_HOME": str(home / "training"), "SHAMMAH_MODEL": model}
    subprocess.run(importing, env=environment, capture_output=True, check=True)
    program = chat(model, home / "training")
    try:
        program.wait(rb"step \d+/\d+")
        return [echo(program) for _ in range(letters)]
    finally:
        program.kill()


STATES: dict[str, Callable[[str, Path, int], list[float]]] = {
    "while the model loads": while_loading,
    "while a reply streams": while_streaming,
    "while training runs": while_training,
}


def chat(model: str, home: Path, *options: str) -> Program:
    return Program([sys.executable, "-m", "shammah", *options], SHAMMAH_HOME=str(home), SHAMMAH_MODEL=model)


def echo(program: Program) -> float:
    """Milliseconds."""
    program.shown = b""
    sent = time.perf_counter()
    program.send(LETTER)
    while LETTER.encode() not in program.shown:
        if not program.read(0.001):
            raise RuntimeError(f"the chat ended: {program.shown[-500:]!r}")
    seconds = time.perf_counter() - sent
    program.send(BACK)
    rest(program, REST)
    return 1000 * seconds


def rest(program: Program, seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        program.read(0.01)


def percentiles(times: Sequence[float]) -> dict[str, float]:
    ordered = sorted(times)
    return {"echo_ms_median": statistics.median(ordered), "echo_ms_p95": ordered[int(0.95 * (len(ordered) - 1))]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", default="smollm2-135m")
    parser.add_argument("--letters", type=int, default=100)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory(prefix="shammah-keystrokes-") as folder:
        for state, measure in STATES.items():
            found[state] = percentiles(measure(options.model, Path(folder), options.letters))
            if not options.json:
                print(f"{state:<24} median {found[state]['echo_ms_median']:6.1f} ms", end="")
                print(f"   p95 {found[state]['echo_ms_p95']:6.1f} ms   limit {LIMIT:.0f}", flush=True)
    if options.json:
        print(json.dumps(found, indent=2))
    return int(any(figures["echo_ms_p95"] >= LIMIT for figures in found.values()))


if __name__ == "__main__":
    sys.exit(main())
