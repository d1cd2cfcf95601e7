"""A real database in a temporary folder, and a quick way to fill it."""

import pytest

from shammah.store import Archive


@pytest.fixture
def path(tmp_path):
    return tmp_path / "shammah.db"


@pytest.fixture
def archive(tmp_path):
    return Archive(tmp_path / "archive")


@pytest.fixture
def say(conversations, a_turn):
    def say(query="What is it?", response="It is this.", *, title="Talk", **changes):
        return conversations.add(a_turn(query, response, **changes), title=title)

    return say


@pytest.fixture
def check_index():
    """SQLite's own comparison of the search index with the rows it stands for."""

    def check(database):
        with database.transaction() as connection:
            connection.execute("INSERT INTO turns_found (turns_found, rank) VALUES ('integrity-check', 1)")

    return check
