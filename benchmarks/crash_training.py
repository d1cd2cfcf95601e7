"""Kill a chat that trains with -9 at random moments, again and again, and look at what is left.

    python benchmarks/crash_training.py [--kills 30] [-m MODEL] [--seed 0] [--steps 12] [--set KEY=VALUE] [--json]

The real program in a terminal, one home for all kills: it answers questions now and then while it trains on the office
suite. A third of the kills each is meant for the time in which a run prepares, trains and saves. After each: the
database is sound and can be written, every turn whose prompt had come back is stored, no example is lost, every
adapter on the shelf is whole, and an example counts as learned only by an adapter that is there. Once the next run is
under way nothing unfinished is left of the one before, which was gone on with, or is recorded as cut off. At the end a
run is left alone: it has to finish. Ends with 1 if any of that fails.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from terminal import Program

from shammah.adapters.bundle import verify
from shammah.adapters.shelf import Shelf
from shammah.errors import ShammahError
from shammah.records import Run
from shammah.store import Conversations, Database
from shammah.store.runs import Runs

SUITE = Path(__file__).parent / "suites" / "office.jsonl"
QUESTIONS = ["Name three planets.", "Why is the sky blue?", "What is a linked list?", "Write two lines about the sea."]
PHASES = ("preparing", "training", "judging")
# The longest that anything here may take: the base model answers all anchors once, on a slow machine.
PATIENCE = 600.0


@dataclass
class Seen:
    """What the kills so far came to."""

    finished: set[str] = field(default_factory=set)
    phases: Counter[str] = field(default_factory=Counter)
    halves: set[str] = field(default_factory=set)
    cut: Run | None = None
    announced: int = 0
    # A kill comes at most so many seconds after what it is meant for began: longer after each one that came in time.
    latest: dict[str, float] = field(default_factory=lambda: {"preparing": 2.0, "training": 1.0, "judging": 10.0})

    def learn(self, aim: str, phase: str) -> None:
        """Sooner next time where a kill came too late."""
        self.latest[aim] *= 1.3 if phase == aim else 0.5


def look(home: Path, seen: Seen, examples: int) -> list[str]:
    """What is wrong with the home after a kill; empty when all is well."""
    shelf = Shelf(home / "adapters")
    wrong = [why for _, why in shelf.listed()[1]]
    for manifest in shelf.all():
        try:
            verify(shelf.root / manifest.name, manifest)
        except ShammahError as error:
            wrong.append(error.message)
    archived = Shelf(home / "archive" / "adapters")
    names = {manifest.name for manifest in (*shelf.all(), *archived.all())}
    with closing(Database(home / "shammah.db", busy_timeout=0.5)) as database:
        (check,) = database.rows("PRAGMA integrity_check")[0]
        wrong += [] if check == "ok" else [f"integrity: {check}"]
        (count,) = database.rows("SELECT count(*) FROM examples")[0]
        wrong += [] if count == examples else [f"{examples - count} examples lost"]
        stored = [turn.query for turn in Conversations(database).search(limit=None)]
        wrong += [f"lost: {query}" for query in sorted(seen.finished - set(stored))]
        wrong += ["a turn is stored twice"] if len(stored) != len(set(stored)) else []
        learned = {name for (name,) in database.rows("SELECT DISTINCT adapter FROM trainings")}
        wrong += [f"learned by {name}, which is not there" for name in learned - names]
        runs = Runs(database).recent(None)
        wrong += [f"a run made {run.adapter}, which is not there" for run in runs
                  if run.state == "finished" and run.adapter not in names]  # fmt: skip
        wrong += left_of_the_last(home, seen, runs)
        with database.transaction():
            pass
    return wrong


def left_of_the_last(home: Path, seen: Seen, runs: list[Run]) -> list[str]:
    """What is left of the run that the kill before this one cut off, where another was under way since."""
    halves = {path.name for path in (home / "adapters").glob(".unfinished-*")}
    cut, seen.cut = seen.cut, runs[0] if runs and runs[0].state == "running" else None
    old, seen.halves = seen.halves & halves, halves
    if cut is None or not any(run.pid != cut.pid and run.updated > cut.updated for run in runs):
        return []
    (now,) = [run for run in runs if run.id == cut.id]
    wrong = [f"{name} is still there" for name in old]
    if now.state == "running" and now.pid == cut.pid:
        wrong.append(f"run {cut.id} was cut off and nobody wrote it down")
    return wrong


def phase_of(home: Path, pid: int) -> tuple[str, int]:
    """What the run of a process does just now, and its last whole step. Read from what it wrote for each step."""
    with closing(Database(home / "shammah.db", busy_timeout=0.5)) as database:
        run = next((run for run in Runs(database).running() if run.pid == pid), None)
    if run is None:
        return "", 0
    lines = log_of(home, run)
    begun = [place for place, line in enumerate(lines) if line.get("pid") == pid]
    if not begun:
        return "preparing", 0
    step = max((line.get("step", 0) for line in lines[begun[-1] :]), default=0)
    return ("judging" if step >= run.steps > 0 else "training"), step


def log_of(home: Path, run: Run) -> list[dict[str, Any]]:
    """Whole lines of a run's log."""
    file = home / "logs" / "runs" / f"{run.id}.jsonl"
    lines = file.read_text().split("\n")[:-1] if file.exists() else []
    return [json.loads(line) for line in lines]


def went_on(home: Path) -> tuple[int, int]:
    """How many processes went on with a run from a step in its middle, and how many began a run's first step anew."""
    middle = anew = 0
    with closing(Database(home / "shammah.db")) as database:
        runs = Runs(database).recent(None)
    for run in runs:
        lines = log_of(home, run)
        heads = [place for place, line in enumerate(lines) if "pid" in line]
        for head in heads[1:]:
            first = next((line["step"] for line in lines[head + 1 : head + 2] if "step" in line), 0)
            middle, anew = middle + (first > 1), anew + (first == 1)
    return middle, anew


class Talk:
    """A chat that is asked something now and then, until it is killed at the moment that is wanted."""

    def __init__(self, options: argparse.Namespace, home: Path, number: int, chance: random.Random) -> None:
        settings = [f"lora.training.steps={options.steps}", "lora.training.save_seconds=1", *options.set]
        flags = [part for setting in settings for part in ("--set", setting)]
        command = [sys.executable, "-m", "shammah", "-m", options.model, "-o", "max_tokens", "16", *flags]
        self._home, self._number, self._chance = home, number, chance
        self._program = Program(command, SHAMMAH_HOME=str(home))
        self._program.wait(rb">")
        self.finished: set[str] = set()
        self.shown = b""
        self._asked = 0

    def until(self, phase: str, steps: int, seen: Seen) -> str:
        """Kill in this phase, some time after it began; what was really going on then."""
        step = self._chance.randint(0, steps - 1) if phase == "training" else 0
        after = self._chance.uniform(0, seen.latest[phase])
        self._ask()  # its reply has the model loaded, and a run that was cut off going on
        if not self._training_within(5):
            self._line("/train now")
        end, next_question = time.monotonic() + PATIENCE, time.monotonic()
        while time.monotonic() < end and not self._is_there(phase, step):
            self._program.read(0.02)
            if time.monotonic() >= next_question:
                self._ask()
                next_question = time.monotonic() + self._chance.uniform(2, 6)
        until = time.monotonic() + after
        while time.monotonic() < until:
            self._program.read(0.005)
        now, _ = phase_of(self._home, self._program.pid)
        self._program.kill()
        return now or "between runs"

    def _is_there(self, phase: str, step: int) -> bool:
        now, done = phase_of(self._home, self._program.pid)
        return bool(now) and (PHASES.index(now), done) >= (PHASES.index(phase), step)

    def _training_within(self, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if phase_of(self._home, self._program.pid)[0]:
                return True
            self._program.read(0.05)
        return False

    def _ask(self) -> None:
        self._asked += 1
        question = f"{self._chance.choice(QUESTIONS)} ({self._number}.{self._asked})"
        self._line(question)
        self.finished.add(question)

    def _line(self, text: str) -> None:
        """Type a line, and wait for the next prompt: the editor asks again where the cursor is."""
        self._keep()
        self._program.send(text + "\r")
        end = time.monotonic() + PATIENCE
        while b"\x1b[6n" not in self._program.shown.partition(b"\x1b[?2004l")[2]:
            if not self._program.read(0.005) or time.monotonic() > end:
                raise RuntimeError(f"no prompt after {text!r}: {self._program.shown[-500:]!r}")

    def _keep(self) -> None:
        self.shown += self._program.shown
        self._program.shown = b""

    def was_told_of_the_cut(self) -> bool:
        self._keep()
        return b"cut off" in self.shown


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("-m", "--model", default="smollm2-135m")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    chance = random.Random(options.seed)
    failures: list[str] = []
    seen = Seen()
    examples = sum(bool(line.strip()) for line in SUITE.read_text().splitlines())
    with tempfile.TemporaryDirectory(prefix="shammah-crash-") as folder:
        home = Path(folder) / "home"
        shammah(home, "examples", "import", str(SUITE))
        aims = [PHASES[number % len(PHASES)] for number in range(options.kills)]
        chance.shuffle(aims)
        for number, aim in enumerate(aims):
            talk, owed = Talk(options, home, number, chance), seen.cut is not None
            phase = talk.until(aim, options.steps, seen)
            seen.finished |= talk.finished
            seen.phases[phase] += 1
            seen.learn(aim, phase)
            wrong = look(home, seen, examples)
            if owed:
                seen.announced += talk.was_told_of_the_cut()
                wrong += [] if talk.was_told_of_the_cut() else ["the run that was cut off was not told of"]
            failures += [f"kill {number + 1}: {what}" for what in wrong]
            if not options.json:
                print(f"kill {number + 1:>3} {phase:<12} {', '.join(wrong) or 'all well'}", flush=True)
        failures += the_last_run(options, home, seen, examples)
        found = summary(home, options.kills, seen, failures)
    print(json.dumps(found) if options.json else words(found))
    return 1 if failures else 0


def the_last_run(options: argparse.Namespace, home: Path, seen: Seen, examples: int) -> list[str]:
    """Left alone it finishes, and leaves nothing behind but its adapter."""
    settings = [f"lora.training.steps={options.steps}", *options.set]
    flags = [part for setting in settings for part in ("--set", setting)]
    done = shammah(home, "train", "--now", "--wait", "--json", "-m", options.model, *flags, check=False)
    wrong = [] if done.returncode == 0 else [f"the last run: {done.stderr[-500:]}"]
    left = [path.name for path in (home / "adapters").glob(".unfinished-*")]
    left += [path.name for path in (home / "adapters" / ".training").glob("*.safetensors")]
    return [f"at the end: {what}" for what in (*wrong, *look(home, seen, examples), *(f"{n} is left" for n in left))]


def shammah(home: Path, *arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "SHAMMAH_HOME": str(home)}
    command = [sys.executable, "-m", "shammah", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=check)


def summary(home: Path, kills: int, seen: Seen, failures: list[str]) -> dict[str, Any]:
    middle, anew = went_on(home)
    with closing(Database(home / "shammah.db")) as database:
        states = Counter(run.state for run in Runs(database).recent(None))
    return {
        "kills": kills,
        "kills_in": dict(seen.phases),
        "runs": dict(states),
        "gone_on_from_a_checkpoint": middle,
        "begun_anew": anew,
        "cuts_told": seen.announced,
        "finished_turns": len(seen.finished),
        "failures": failures,
    }


def words(found: dict[str, Any]) -> str:
    return "\n".join(f"{name.replace('_', ' '):<28}{value}" for name, value in found.items())


if __name__ == "__main__":
    sys.exit(main())
