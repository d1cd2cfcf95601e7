"""A move that fails on its way: where the folder is when others may look again."""

import pytest

from shammah.errors import ShammahError


def test_what_fails_is_back_before_others_may_look(roster, shelving, three, database):
    """Once the lock is let go, another program would take a folder that it finds hidden to where it was sent."""
    database.connection.execute("CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no room'); END")
    folder = roster.shelf.root / three[0]
    seen = []

    def look(statement):
        if statement == "ROLLBACK":
            seen.append((folder.is_dir(), roster.moves.are_left()))

    database.connection.set_trace_callback(look)
    with pytest.raises(ShammahError):
        shelving.delete(three[0])
    assert seen == [(True, False)]


def test_where_only_the_end_fails_it_is_back_too(roster, shelving, three, database):
    """A row that no other one answers to is met when the transaction ends."""
    connection = database.connection
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("CREATE TABLE parents (id INTEGER PRIMARY KEY)")
    connection.execute("CREATE TABLE children (parent INTEGER REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED)")
    connection.execute("CREATE TRIGGER orphan AFTER INSERT ON audit BEGIN INSERT INTO children VALUES (7); END")
    with pytest.raises(ShammahError):
        shelving.delete(three[0])
    assert (roster.shelf.root / three[0]).is_dir() and not roster.moves.are_left()
    assert roster.audit.entries(None) == []
