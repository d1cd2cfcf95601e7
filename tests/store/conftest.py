"""A real database in a temporary folder, and a quick way to fill it."""

from contextlib import closing

import pytest

from shammah.records import Turn
from shammah.store import Conversations, Database, dedupe_hash, new_id, utc_now


@pytest.fixture
def a_turn():
    """Make a turn with some of its fields."""
    return _a_turn


def _a_turn(query="What is it?", response="It is this.", **changes):
    fields = {
        "id": new_id(),
        "conversation_id": "talk",
        "number": 0,
        "time": utc_now(),
        "query": query,
        "response": response,
        "model": "small",
        "stop_reason": "end",
        "latency_ms": 12.5,
        "first_token_ms": 3.25,
        "input_tokens": 7,
        "output_tokens": 5,
        "context_hash": "c0ffee",
        "dedupe_hash": dedupe_hash(query, response),
    }
    return Turn(**(fields | changes))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "shammah.db"


@pytest.fixture
def database(path):
    with closing(Database(path)) as database:
        yield database


@pytest.fixture
def conversations(database):
    return Conversations(database)


@pytest.fixture
def say(conversations):
    def say(query="What is it?", response="It is this.", *, title="Talk", **changes):
        return conversations.add(_a_turn(query, response, **changes), title=title)

    return say


@pytest.fixture
def check_index():
    """SQLite's own comparison of the search index with the rows it stands for."""

    def check(database):
        with database.transaction() as connection:
            connection.execute("INSERT INTO turns_found (turns_found, rank) VALUES ('integrity-check', 1)")

    return check
