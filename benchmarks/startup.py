"""How long until `shammah --version` has answered and until the chat's first prompt is painted, beside other programs.

    python benchmarks/startup.py [--runs 10] [--json]

`llm chat` and `ipython` are timed beside it when they are installed. Programs take turns; the figures are medians.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from terminal import Program

HERE = Path(sys.executable).parent
# How each program's prompt looks once a user can type.
PROMPTS = {
    "shammah": (["shammah"], rb">"),
    "ipython": (["ipython"], rb"In \[|In \x1b"),
    "llm chat": (["llm", "chat"], rb"> "),
}
LIMITS = {"--version": 120.0, "first prompt": 250.0}


def find(program: str) -> str | None:
    beside = HERE / program
    return str(beside) if beside.exists() else shutil.which(program)


def time_version(program: str, environment: dict[str, str]) -> float:
    start = time.perf_counter()
    subprocess.run([program, "--version"], check=True, capture_output=True, env=environment)
    return time.perf_counter() - start


def time_prompt(command: list[str], pattern: bytes, environment: dict[str, str]) -> float:
    program = Program(command, **environment)
    try:
        return program.wait(pattern, timeout=60)
    finally:
        program.kill()


def measure(runs: int, home: str) -> dict[str, dict[str, float]]:
    environment = {**os.environ, "SHAMMAH_HOME": home, "IPYTHONDIR": home, "LLM_USER_PATH": home}
    commands = {
        name: [path, *words[1:]] for name, (words, _) in PROMPTS.items() if (path := find(words[0])) is not None
    }
    times: dict[str, dict[str, list[float]]] = {name: {"--version": [], "first prompt": []} for name in commands}
    for run in range(runs + 1):
        for name, command in commands.items():
            taken = {
                "--version": time_version(command[0], environment),
                "first prompt": time_prompt(command, PROMPTS[name][1], environment),
            }
            if run:  # the first run warms the file cache
                for what, seconds in taken.items():
                    times[name][what].append(1000 * seconds)
    return {name: {what: round(statistics.median(v), 1) for what, v in rows.items()} for name, rows in times.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        found = measure(options.runs, home)
    if options.json:
        print(json.dumps({"milliseconds": found, "limits": LIMITS}))
    else:
        print(f"{'milliseconds, median of ' + str(options.runs):<28}{'--version':>12}{'first prompt':>14}")
        for name, row in found.items():
            print(f"{name:<28}{row['--version']:>12.0f}{row['first prompt']:>14.0f}")
    return 0 if all(found["shammah"][what] <= limit for what, limit in LIMITS.items()) else 1


if __name__ == "__main__":
    sys.exit(main())
