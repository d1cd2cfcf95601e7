"""How long a rating takes, and listings and searches, in a home with very much in it.

    python benchmarks/store.py [--turns 100000] [--examples 10000] [--runs 11] [--json]

The ratings go through the desk, the commands through the real command line in a process each, which must not have
imported torch. Beside each command: python's own sqlite3 module, asked the same of the same file without our indexes.
Medians; ends with 1 when one is over its limit.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from shammah.config import Config
from shammah.feedback.desk import Desk
from shammah.home import Home
from shammah.records import Example, Level, Message, Turn
from shammah.store import Conversations, Database, Examples, Rules, dedupe_hash, new_id
from shammah.store.rows import as_columns, turn_row

RATING_LIMIT, COMMAND_LIMIT = 20.0, 500.0
LEVELS: tuple[Level, ...] = ("good", "medium", "critical")
RARE = "xylophonist"
CHILD = """
import sys
from shammah.cli.main import run
code = run(sys.argv[1:])
sys.exit("torch was imported" if "torch" in sys.modules else code)
"""
PEER = "import sqlite3, sys; list(sqlite3.connect(sys.argv[1]).execute(sys.argv[2]))"
# What is asked, by our command line and by sqlite3 without our indexes.
COMMANDS = {
    "examples list": "SELECT * FROM examples NOT INDEXED ORDER BY sequence DESC LIMIT 20",
    f"examples list --search {RARE}": f"SELECT * FROM examples NOT INDEXED WHERE messages || coalesce(target, '') || "
    f"coalesce(rejected, '') || coalesce(note, '') LIKE '%{RARE}%' LIMIT 20",
    "stats": "SELECT substr(time, 1, 10), model, adapter, feedback, count(*), avg(quality) FROM turns NOT INDEXED "
    "GROUP BY 1, 2, 3, 4",
    f"logs list --search {RARE}": f"SELECT * FROM turns NOT INDEXED WHERE query LIKE '%{RARE}%' "
    f"OR response LIKE '%{RARE}%' ORDER BY sequence DESC LIMIT 20",
}


class Author:
    """Texts of realistic lengths, out of words that are used as unevenly as those of a language."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        letters = "etaoinshrdlucmfwypvbgkjqxz"
        self._words = ["".join(self._chance.choices(letters[:18], k=2 + rank % 9)) for rank in range(20_000)]
        self._often = [1 / (rank + 5) for rank in range(20_000)]
        self._stock = self._chance.choices(self._words, self._often, k=500_000)

    def text(self, least: int = 200, most: int = 1500) -> str:
        start = self._chance.randrange(len(self._stock) - most)
        text = " ".join(self._stock[start : start + most // 4])[: self._chance.randint(least, most)]
        return f"{text} {RARE}" if self._chance.random() < 0.0005 else text

    def level(self) -> Level:
        return self._chance.choice(LEVELS)

    def happens(self, share: float) -> bool:
        return self._chance.random() < share


def turns(count: int, author: Author) -> Iterator[Turn]:
    """Conversations of ten turns, over a year; one turn in ten was rated."""
    before: Turn | None = None
    for number in range(count):
        minute = number * 525_600 // count
        first = number % 10 == 0
        query, response = author.text(20, 400), author.text()
        level = author.level() if author.happens(0.1) else None
        before = Turn(
            id=new_id(),
            conversation_id=new_id() if first or before is None else before.conversation_id,
            number=number % 10 + 1,
            time=f"2025-{1 + minute // 43_800:02d}-{1 + minute // 1440 % 28:02d}T{minute // 60 % 24:02d}:00:00.000Z",
            query=query,
            response=response,
            model="smollm2-135m",
            adapter=f"lora_adapter_2025{1 + minute // 43_800:02d}01_000000" if author.happens(0.5) else None,
            options={"temperature": 0.5, "stop": []},
            stop_reason="end",
            latency_ms=1000.0,
            first_token_ms=50.0,
            input_tokens=100,
            output_tokens=100,
            quality={"good": 0.95, "medium": 0.4, "critical": 0.1, None: 0.7}[level],
            feedback=level,
            parent=None if first or before is None else before.id,
            context_hash="",
            dedupe_hash=dedupe_hash(query, response),
        )
        yield before


def example(author: Author) -> Example:
    level = author.level()
    return Example(
        id=new_id(),
        time="2025-06-01T00:00:00.000Z",
        source="fix",
        level=level,
        weight={"good": 1.0, "medium": 3.0, "critical": 10.0}[level],
        messages=tuple(Message(role, author.text()) for role in ("user", "assistant", "user")),
        target=author.text(),
        rejected=None if level == "good" else author.text(),
        note=None if level == "good" else author.text(20, 80),
        state="ready",
        tags=("work",) if author.happens(0.3) else (),
        model="smollm2-135m",
    )


def fill(home: Home, turn_count: int, example_count: int) -> list[str]:
    """Make the home. The ids of the turns that nobody has rated yet."""
    home.prepare()
    author = Author(0)
    free: list[str] = []
    with closing(Database(home.database)) as database, database.transaction() as connection:
        columns = ", ".join(Turn.__dataclass_fields__)
        marks = ", ".join(f":{name}" for name in Turn.__dataclass_fields__)
        for turn in turns(turn_count, author):
            row = as_columns(turn_row(turn))
            if turn.number == 1:
                connection.execute(
                    "INSERT INTO conversations (id, title, model, system, created, updated, head) "
                    "VALUES (:conversation_id, substr(:query, 1, 60), :model, '', :time, :time, :id)",
                    row,
                )
            connection.execute(f"INSERT INTO turns ({columns}) VALUES ({marks})", row)
            if turn.feedback is None:
                free.append(turn.id)
        examples = Examples(database, limit=example_count)
        ids = [examples.put(example(author)).id for _ in range(example_count)]
        examples.mark_trained(ids[: example_count // 2], "lora_adapter_20250601_000000")
    return free


def time_ratings(home: Home, free: list[str], runs: int) -> list[float]:
    """Milliseconds of each rating, of another turn each time."""
    taken: list[float] = []
    with closing(Database(home.database)) as database:
        conversations = Conversations(database)
        desk = Desk(database, conversations, Examples(database), Rules(database), Config())
        chosen = random.Random(1).sample(free, runs + 1)
        for number, turn_id in enumerate(chosen):
            start = time.perf_counter()
            desk.rate(turn_id, LEVELS[number % 3], "The lake is lake Garda" if number % 2 else "")
            taken.append(1000 * (time.perf_counter() - start))
    return taken[1:]  # the first one opens the file


def time_process(command: list[str], home: Home) -> float:
    start = time.perf_counter()
    environment = {**os.environ, "SHAMMAH_HOME": str(home.root)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command[3:])}: {done.stderr}")
    return 1000 * (time.perf_counter() - start)


def measure(home: Home, free: list[str], runs: int) -> list[dict[str, object]]:
    """One row for each thing measured, with its median, its limit and that of the program beside it."""
    rating = statistics.median(time_ratings(home, free, runs))
    rows: list[dict[str, object]] = [{"what": "a rating", "ms": rating, "limit_ms": RATING_LIMIT, "sqlite3_ms": None}]
    times: dict[str, tuple[list[float], list[float]]] = {what: ([], []) for what in COMMANDS}
    for run in range(runs + 1):
        for what, sql in COMMANDS.items():
            ours = time_process([sys.executable, "-c", CHILD, *what.split()], home)
            peer = time_process([sys.executable, "-c", PEER, str(home.database), sql], home)
            if run:  # the first run warms the file cache
                times[what][0].append(ours)
                times[what][1].append(peer)
    for what, (ours_ms, peer_ms) in times.items():
        rows.append(
            {
                "what": what,
                "ms": statistics.median(ours_ms),
                "limit_ms": COMMAND_LIMIT,
                "sqlite3_ms": statistics.median(peer_ms),
            }
        )
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=100_000)
    parser.add_argument("--examples", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=11)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder) / "home")
        start = time.perf_counter()
        free = fill(home, options.turns, options.examples)
        seconds, size = time.perf_counter() - start, home.database.stat().st_size
        rows = measure(home, free, options.runs)
    if options.json:
        print(json.dumps({"turns": options.turns, "examples": options.examples, "bytes": size, "rows": rows}))
    else:
        print(f"{options.turns:,} turns, {options.examples:,} examples, {size / 1e6:,.0f} MB, made in {seconds:.0f} s")
        print(
            f"{'milliseconds, median of ' + str(options.runs):<40}{'shammah':>9}{'limit':>7}{'sqlite3':>9}{'ratio':>7}"
        )
        for row in rows:
            ms, peer = float(str(row["ms"])), row["sqlite3_ms"]
            beside = (
                f"{float(str(peer)):>9.0f}{ms / float(str(peer)):>7.2f}" if peer is not None else f"{'-':>9}{'-':>7}"
            )
            print(f"{row['what']!s:<40}{ms:>9.1f}{float(str(row['limit_ms'])):>7.0f}{beside}")
    return 0 if all(float(str(row["ms"])) <= float(str(row["limit_ms"])) for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
