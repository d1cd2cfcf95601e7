"""Kill a process with -9 while it works on the shelf of adapters, again and again, and look at what is left.

    python benchmarks/crash_shelf.py [--kills 50] [--seed 0] [--json]

One home for all kills. The process saves adapters, judges them, takes them into use, goes back, puts them away, fetches
them back, prunes and deletes, in an order drawn anew each time; each kill is meant for one of these and comes at a
random moment within it. After each: the database is sound and the chain of its audit holds; every adapter is on the
shelf or in the archive as the audit says, whole, and with nothing on its way; exactly one is active, or the base
answers; it is who was last taken into use or was just being, and a real model answers with it. Ends with 1 if any of
that fails.
"""

import argparse
import json
import os
import random
import select
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shammah.adapters.bundle import CONFIG, README, WEIGHTS, judged, read_bundle, sweep, verify, write_bundle
from shammah.adapters.manifest import Manifest
from shammah.deployment.activation import Helm
from shammah.deployment.retention import Policy, prune
from shammah.deployment.roster import Roster
from shammah.deployment.shelving import Shelving
from shammah.errors import AdapterError, ShammahError
from shammah.home import Home
from shammah.store.database import Database
from shammah.store.identity import utc_now

if TYPE_CHECKING:  # the process that is killed begins at once: it computes nothing
    from transformers import PreTrainedModel

BASE = "tiny"
ACTIONS = ("save", "judge", "load", "go back", "archive", "restore", "prune", "delete")
MOVES = ("imported", "archived", "restored", "deleted")
# The longest after its beginning that a kill comes: longer than an action takes, so that some come between two.
LATEST = 0.05  # seconds
PATIENCE = 60.0


class Work:
    """What the process does that is killed. It says what it begins, and whom it had taken into use."""

    def __init__(self, home: Home, files: Path, seed: int) -> None:
        self._roster = Roster(home, Database(home.database))
        self._helm = Helm(self._roster, self._roster.activations, self._roster.audit)
        self._shelving = Shelving(self._roster)
        self._files = {path.name: path.read_bytes() for path in files.iterdir()}
        self._chance = random.Random(seed)

    def go_on(self) -> None:
        while True:
            action = self._chance.choice(ACTIONS)
            here = self._roster.entries()
            if len(here) < 4:
                action = "save"
            name = self._chance.choice(here).name if here else ""
            with suppress(AdapterError):  # what is active stays, and there is not always a way back
                self._do(action, name)

    def _do(self, action: str, name: str) -> None:
        roster, chance = self._roster, self._chance
        if action == "restore":
            away = [each.name for each in roster.entries(archived=True) if each.state == "archived"]
            name = chance.choice(away) if away else name
        wanted = name
        if action == "go back":
            way = roster.activations.way_back(BASE)
            wanted = str(way[0].adapter) if way else ""
        say(f"begin {action}|{wanted}")
        if action == "save":
            self._save()
        elif action == "judge":
            found = {"accepted": chance.random() < 0.7, "improvement": chance.random()}
            with roster.database.transaction():
                judged(roster.shelf.root / name, {"drift": chance.random()}, found)
                roster.notes.judged(name, found)
                roster.audit.add("training", "judged", name)
        elif action == "load":
            self._helm.load(name, base=BASE, strength=chance.choice([0.5, 1.0]))
        elif action == "go back":
            self._helm.rollback(BASE)
        elif action == "archive":
            self._shelving.archive(name)
        elif action == "restore":
            self._shelving.restore(name)
        elif action == "prune":
            prune(self._shelving, Policy(keep_last=3, keep_best=1), now=utc_now(), put_away=chance.random() < 0.5)
        else:
            self._shelving.delete(name)
        current = roster.activations.current(BASE)
        say(f"done {current.adapter if current else None}")

    def _save(self) -> None:
        version = self._roster.next_version()
        made = Manifest(
            name="", version=version, created=utc_now(), base=BASE, base_hash="0", template_hash="0",
            shape={"r": 2, "alpha": 4}, recipe={"steps": 1}, seed=0, example_ids=("one",), trigger="user", run_id="run",
        )  # fmt: skip
        folder = write_bundle(self._roster.shelf.root, f"lora_adapter_{time.time_ns()}", self._files, made)
        with self._roster.database.transaction():
            self._roster.notes.add(folder.name)
            self._roster.audit.add("training", "trained", folder.name)


def say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


class Worker:
    """That process, and what it said."""

    def __init__(self, home: Home, files: Path, seed: int) -> None:
        command = [sys.executable, __file__, "--work", str(home.root), str(files), str(seed)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)
        self._said = b""

    def kill_in(self, action: str, after: float) -> tuple[str, str, str | None]:
        """Kill it so long after it began this: what it was at then, with which adapter, and who was last in use."""
        end = time.monotonic() + PATIENCE
        while f"begin {action}|" not in self._lines(0.5)[-1] and time.monotonic() < end:
            if self._process.poll() is not None:
                raise RuntimeError(f"the process ended with {self._process.returncode}")
        time.sleep(after)
        self._process.kill()
        self._process.wait()
        lines = self._lines(None)
        begun = [line.removeprefix("begin ") for line in lines if line.startswith("begin ")]
        doing, _, name = begun[-1].partition("|") if begun else ("", "", "")
        last = next((line.removeprefix("done ") for line in reversed(lines) if line.startswith("done ")), None)
        over = bool(lines) and lines[-1].startswith("done ")
        return "between" if over else doing, name, last

    def _lines(self, wait: float | None) -> list[str]:
        """All whole lines so far; None waits for all that is still to come."""
        assert self._process.stdout is not None
        handle = self._process.stdout.fileno()
        while wait is None or select.select([handle], [], [], wait)[0]:
            data = os.read(handle, 1 << 16)
            self._said += data
            if not data:
                break
            if wait is not None:
                break
        return self._said.decode().split("\n")[:-1] or [""]


def look(home: Home, network: "PreTrainedModel", doing: tuple[str, str], last: str | None, known: bool) -> list[str]:
    """What is wrong after a kill; empty when all is well."""
    with closing(Database(home.database)) as database:
        roster = Roster(home, database)
        entries = roster.entries(archived=True)
        wrong = [each.broken for each in entries if each.broken]
        wrong += [f"{path.name} is on its way" for path in home.adapters.glob(".moving-*")]
        (check,) = database.rows("PRAGMA integrity_check")[0]
        wrong += [] if check == "ok" else [f"integrity: {check}"]
        broken = roster.audit.broken()
        wrong += [] if broken is None else [f"the audit is broken at {broken}"]
        for entry in entries:
            try:
                verify(entry.folder, read_bundle(entry.folder))
            except ShammahError as error:
                wrong.append(error.message)
        wrong += misplaced(roster, {each.name: each.state == "archived" for each in entries})
        current = roster.activations.current(BASE)
        now = current.adapter if current else None
        active = [each for each in entries if each.state == "active"]
        if [each.name for each in active] != ([now] if now else []):
            wrong.append(f"{now} answers, active is {[each.name for each in active]}")
        if known and str(now) not in (last, doing[1]):
            wrong.append(f"{now} answers, and not {last} or {doing[1]}")
        wrong += cannot_answer(network, active[0].folder) if active else []
    return wrong


def cannot_answer(network: "PreTrainedModel", folder: Path) -> list[str]:
    import torch

    from shammah.model.adapted import adapted

    try:
        with torch.no_grad():
            adapted(network, folder)(torch.tensor([[1, 2, 3]]))
    except ShammahError as error:
        return [error.message]
    return []


def misplaced(roster: Roster, archived: dict[str, bool]) -> list[str]:
    """Adapters that are not where the audit says."""
    wrong, moved = [], {}
    for entry in roster.audit.entries(None, oldest_first=True):
        if entry.action in (*MOVES, "trained"):
            moved[entry.subject] = entry.action
    for name, action in moved.items():
        there = {"deleted": None, "archived": True}.get(action, False)
        if archived.get(name) is not there:
            wrong.append(f"{name} was {action}, and is not where it should be")
    return wrong


def adapter_files(folder: Path, network: "PreTrainedModel") -> None:
    """An adapter of this network, as files."""
    from peft import LoraConfig, get_peft_model

    get_peft_model(network, LoraConfig(r=2, lora_alpha=4, target_modules=["q_proj"])).save_pretrained(str(folder))
    for path in folder.iterdir():
        if path.name not in (WEIGHTS, CONFIG, README):
            path.unlink()


def tiny() -> "PreTrainedModel":
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1, hidden_size=16, intermediate_size=16,
        vocab_size=32,
    )  # fmt: skip
    network: PreTrainedModel = LlamaForCausalLM(config)
    network.eval()
    return network


def run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    chance, failures, hit = random.Random(options.seed), [], Counter[str]()
    home, files, network = Home(folder / "home"), folder / "files", tiny()
    home.prepare()
    adapter_files(files, tiny())
    aims = [ACTIONS[number % len(ACTIONS)] for number in range(options.kills)]
    chance.shuffle(aims)
    for number, aim in enumerate(aims):
        worker = Worker(home, files, options.seed + number)
        doing, name, last = worker.kill_in(aim, chance.uniform(0, LATEST))
        hit[doing] += 1
        wrong = look(home, network, (doing, name if doing in ("load", "go back") else ""), last, last is not None)
        failures += [f"kill {number + 1} ({doing}): {what}" for what in wrong]
        if not options.json:
            print(f"kill {number + 1:>3} {doing:<8} {', '.join(wrong) or 'all well'}", flush=True)
    half = sweep(home.adapters, everything=True)
    left = [path.name for path in home.adapters.iterdir() if path.name.startswith(".") and path.name != ".index.json"]
    failures += [f"at the end {name} is left" for name in left]
    with closing(Database(home.database)) as database:
        roster = Roster(home, database)
        states = Counter(each.state for each in roster.entries(archived=True))
        done = Counter(each.action for each in roster.audit.entries(None))
    return {
        "kills": options.kills,
        "kills_in": dict(hit),
        "half_saved": half,
        "adapters": dict(states),
        "done": dict(done),
        "failures": failures,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--work", nargs=3, metavar=("HOME", "FILES", "SEED"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        home, files, seed = options.work
        Work(Home(Path(home)), Path(files), int(seed)).go_on()
    with tempfile.TemporaryDirectory(prefix="shammah-crash-") as folder:
        found = run(options, Path(folder))
    if options.json:
        print(json.dumps(found))
    else:
        print("\n".join(f"{name.replace('_', ' '):<16}{value}" for name, value in found.items()))
    return 1 if found["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
