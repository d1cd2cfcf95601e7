"""Kill training with -9 at random moments, again and again, and look at what is left.

    python benchmarks/crash_training.py [--kills 30] [--model NAME] [--seed 0] [--longest 25] [--set KEY=VALUE]

After each kill: the database is sound, no example is lost, every adapter on the shelf is whole and the one that the
record of its run names, and an example counts as learned only by an adapter that is there. The next start goes on with
the run that was cut off, or with a new one. At the end a run is left alone: it has to finish. Ends with 1 if any fails.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

from shammah.adapters.bundle import verify
from shammah.adapters.shelf import Shelf
from shammah.errors import ShammahError
from shammah.store.database import Database
from shammah.store.runs import Runs

SUITE = Path(__file__).parent / "suites" / "office.jsonl"


def look(home: Path, examples: int) -> list[str]:
    """What is wrong with the home; empty when all is well."""
    wrong: list[str] = []
    shelf = Shelf(home / "adapters")
    for manifest in shelf.all():
        try:
            verify(shelf.root / manifest.name, manifest)
        except ShammahError as error:
            wrong.append(error.message)
    wrong += [why for _, why in shelf.broken()]
    names = {manifest.name for manifest in shelf.all()}
    with closing(Database(home / "shammah.db", busy_timeout=0.5)) as database:
        (check,) = database.rows("PRAGMA integrity_check")[0]
        wrong += [] if check == "ok" else [f"integrity: {check}"]
        (count,) = database.rows("SELECT count(*) FROM examples")[0]
        wrong += [] if count == examples else [f"{examples - count} examples lost"]
        learned = {name for (name,) in database.rows("SELECT DISTINCT adapter FROM trainings")}
        wrong += [f"learned by {name}, which is not there" for name in learned - names]
        finished = {run.adapter for run in Runs(database).recent(None) if run.state == "finished"}
        wrong += [f"a run made {name}, which is not there" for name in finished - names]
        with database.transaction():
            pass
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--longest", type=float, default=25.0, help="latest moment of a kill, in seconds")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    chance = random.Random(options.seed)
    failures: list[str] = []
    settings = ["lora.training.steps=24", "lora.training.save_seconds=1", *options.set]
    flags = [part for setting in settings for part in ("--set", setting)]
    train = [sys.executable, "-m", "shammah", "train", "--now", "--wait", "--json", "-m", options.model, *flags]
    with tempfile.TemporaryDirectory(prefix="shammah-crash-") as folder:
        home = Path(folder) / "home"
        environment = {**os.environ, "SHAMMAH_HOME": str(home)}
        importing = [sys.executable, "-m", "shammah", "examples", "import", str(SUITE)]
        subprocess.run(importing, env=environment, check=True, capture_output=True)
        for number in range(options.kills):
            process = subprocess.Popen(
                train, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
            )
            time.sleep(chance.uniform(0.5, options.longest))
            ended = process.poll()
            process.kill()
            _, said = process.communicate()
            wrong = look(home, examples=10)
            if ended:
                wrong.append(f"it ended by itself with {ended}: {said.strip()[-200:]}")
            failures += wrong
            came = "after its end" if ended == 0 else "while it ran"
            print(f"kill {number + 1:>3} {came}: {', '.join(wrong) or 'all well'}", flush=True)
        last = subprocess.run(train, env=environment, capture_output=True, text=True, check=False)
        failures += look(home, examples=10) + ([last.stderr] if last.returncode else [])
        with closing(Database(home / "shammah.db")) as database:
            states = Counter(run.state for run in Runs(database).recent(None))
        print(f"{options.kills} kills, runs: {dict(states)}, {len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
