"""The memory that a session is given, over a database of the test's own."""

from typing import Any

from shammah.config import Config
from shammah.feedback.desk import Desk
from shammah.session import Memory
from shammah.store import Conversations, Database
from shammah.store.examples import Examples
from shammah.store.rules import Rules


def memory(database: Database, conversations: Conversations | None = None, **settings: Any) -> Memory:
    config = Config(**settings)
    conversations = conversations or Conversations(database)
    desk = Desk(database, conversations, Examples(database), Rules(database), config)
    return Memory(conversations, desk, config.redact)
