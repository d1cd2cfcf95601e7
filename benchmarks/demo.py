"""How long `shammah demo` takes, step by step, and whether it ends well.

    python benchmarks/demo.py [--runs 3] [--cold] [-m MODEL] [--set KEY=VALUE]

Every run begins with an empty home and the model in the cache. With --cold the cache holds nothing else: what a first
run finds out of the model for all later ones is done anew. CPU seconds are those of all threads together; on a machine
that does something else too they say more than the others.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from shammah.model.cache import ModelCache


def main() -> None:
    options = read_options()
    results = []
    for number in range(1, options.runs + 1):
        with tempfile.TemporaryDirectory(prefix="shammah-demo-runs-") as folder:
            results.append(one(Path(folder), options))
        show(f"run {number}", results[-1])
    worst = max(result["seconds"] for result in results)
    ended = sum(result["better"] for result in results)
    print(f"{ended} of {len(results)} ended well; the slowest took {worst:.0f} s")


def one(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    environment = {**os.environ, "SHAMMAH_HOME": str(folder / "home"), "TMPDIR": str(folder)}
    if options.cold:
        cache = folder / "cache"
        cache.mkdir()
        (cache / "models").symlink_to(ModelCache.default().root, target_is_directory=True)
        environment["SHAMMAH_MODELS_DIR"] = str(cache / "models")
    flags = [*(["-m", options.model] if options.model else []), *(f"--set={each}" for each in options.set)]
    command = [sys.executable, "-m", "shammah", "demo", "--json", "--offline", *flags]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
    left = [path.name for path in folder.glob("shammah-demo-*")]
    if left or not done.stdout:
        sys.exit(f"shammah demo ended with {done.returncode} and left {left or 'nothing'}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def show(title: str, result: dict[str, Any]) -> None:
    print(f"\n{title}: {result['right_before']} of {result['asked']} right before, {result['right_after']} after")
    print(f"{'step':<16} {'seconds':>8} {'CPU':>8}")
    whole = {"name": "all", "seconds": result["seconds"], "cpu_seconds": result["cpu_seconds"]}
    for step in [*result["steps"], whole]:
        print(f"{step['name']:<16} {step['seconds']:>8.1f} {step['cpu_seconds']:>8.1f}", flush=True)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--cold", action="store_true")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("-m", "--model", default="", metavar="NAME")
    return parser.parse_args()


if __name__ == "__main__":
    main()
