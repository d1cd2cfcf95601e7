"""What outlives a run: one SQLite file in the home.

    database       the file: connections, transactions, and every sqlite3 error turned into one of ours
    migrations     the tables, as numbered steps
    conversations  the usage log: writing turns, finding them again
    search_terms   what a user typed into a search, as SQL can take it
    identity       ids, hashes and times of what is stored

It knows records and errors, and nothing of models, screens or settings.
"""

from shammah.store.conversations import Conversations
from shammah.store.database import Database
from shammah.store.identity import context_hash, dedupe_hash, new_id, utc_now

__all__ = ["Conversations", "Database", "context_hash", "dedupe_hash", "new_id", "utc_now"]
