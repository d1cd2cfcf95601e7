"""Kill a chat with -9 at random moments of a streamed conversation, again and again, and look at what is left.

    python benchmarks/crash.py [--kills 50] [--model NAME] [--seed 0] [--json]

After each kill: the database opens and is sound, every turn whose prompt had come back is there, a writer gets its lock
at once, and the next start goes on with the same conversation. Ends with 1 if any of that fails.
"""

import argparse
import json
import random
import re
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from terminal import Program

from shammah.store import Conversations, Database

QUESTIONS = ["Name three planets.", "Why is the sky blue?", "What is a linked list?", "Write two lines about the sea."]
# A kill comes within so many replies' time.
_REPLIES = 2.5


def look(home: Path, finished: set[str]) -> list[str]:
    """What is wrong with the home after a kill; empty when all is well."""
    wrong: list[str] = []
    start = time.perf_counter()
    with closing(Database(home / "shammah.db", busy_timeout=0.5)) as database:
        (check,) = database.rows("PRAGMA integrity_check")[0]
        if check != "ok":
            wrong.append(f"integrity: {check}")
        stored = [turn.query for turn in Conversations(database).search(limit=None)]
        with database.transaction():
            pass
    wrong += [f"lost: {query}" for query in sorted(finished - set(stored))]
    wrong += ["stored twice"] if len(stored) != len(set(stored)) else []
    if time.perf_counter() - start > 5:
        wrong.append("a lock stayed behind")
    return wrong


def seconds_of_a_reply(command: list[str], home: Path) -> float:
    """How long this machine takes just now, so that some kills come within the first reply and some behind it."""
    program = Program(command, SHAMMAH_HOME=str(home))
    program.wait(rb">")
    program.shown = b""
    program.send(f"{QUESTIONS[0]} (before)\r")
    begun, answering = time.perf_counter(), False
    while not _came_back(program.shown):
        program.read(0.005)
        if not answering and _is_answering(program.shown, loading=True):
            begun, answering = time.perf_counter(), True
    program.kill()
    return time.perf_counter() - begun


def chat_until_killed(
    command: list[str], home: Path, chance: random.Random, number: int, *, within: float
) -> tuple[set[str], str]:
    """Talk until a random moment, then kill. The questions whose prompt came back, and what was going on at the end."""
    program = Program(command, SHAMMAH_HOME=str(home))
    program.wait(rb">")
    finished: set[str] = set()
    deadline: float | None = None
    turn = 0
    while True:
        question = f"{chance.choice(QUESTIONS)} ({number}.{turn})"
        turn += 1
        program.shown = b""
        program.send(question + "\r")
        while not _came_back(program.shown):
            program.read(0.005)
            now = time.perf_counter()
            if deadline is None and _is_answering(program.shown, loading=turn == 1):
                deadline = now + chance.uniform(0, within)
            if deadline is not None and now > deadline:
                program.kill()
                return finished, f"turn {turn}"
        finished.add(question)


def _is_answering(shown: bytes, *, loading: bool) -> bool:
    """Whether the reply has begun: text after the line that was sent and, if it was drawn, the loading line."""
    after = shown.partition(b"\x1b[?2004l")[2].rpartition(b"\x1b[?2004h")[2]
    if loading:
        after = after.partition(b"Loading")[2].partition(b"\r ")[2].partition(b"\r")[2]
    return bool(re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]", b"", after).strip())


def _came_back(shown: bytes) -> bool:
    """Whether the next prompt stands: the editor asks again where the cursor is."""
    return b"\x1b[6n" in shown.partition(b"\x1b[?2004l")[2]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    chance = random.Random(options.seed)
    failures: list[str] = []
    turns = 0
    base = [sys.executable, "-m", "shammah", "-m", options.model, "-o", "max_tokens", "40"]
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        finished: set[str] = set()
        within = _REPLIES * seconds_of_a_reply(base, home)
        for number in range(options.kills):
            command = [*base, "-c"] if finished else base
            more, where = chat_until_killed(command, home, chance, number, within=within)
            finished |= more
            wrong = look(home, finished)
            failures += [f"kill {number + 1}: {what}" for what in wrong]
            turns = len(finished)
            if not options.json:
                print(
                    f"kill {number + 1:>3} in {where}: {turns} finished turns, {', '.join(wrong) or 'all well'}",
                    flush=True,
                )
    if options.json:
        print(json.dumps({"kills": options.kills, "finished_turns": turns, "failures": failures}))
    else:
        print(f"{options.kills} kills, {turns} finished turns, {len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
