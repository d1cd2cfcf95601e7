"""What outlives a run: one SQLite file in the home, and the archive of what left it.

    database       the file: connections, transactions, and every sqlite3 error turned into one of ours
    migrations     the tables, as numbered steps
    conversations  the usage log: writing turns, rating them, finding them again
    titles         conversations by what they are called
    search_terms   what a user typed into a search, as SQL can take it
    examples       what training may learn from, and what of it waits
    settling       which examples of one prompt stand back
    archive        where examples go that leave
    rules          standing instructions, and which of them an adapter obeys untold
    adapter_notes  what is known of adapters beside their folders
    activations    which adapter answers for a base model, and which did
    audit          what happened to adapters, each entry chained to the one before
    probes         what a reply must hold, whatever is learned next
    receipts       what training runs came to
    comparisons    which of two voices the user picked
    statistics     what the usage log adds up to
    erasing        taking turns and words out of the file
    rows           records as rows, and back
    lookup         the one row that an id or its beginning means
    identity       ids, hashes and times of what is stored

It knows records and errors, and nothing of models, screens or settings.
"""

from shammah.store.archive import Archive
from shammah.store.conversations import Conversations
from shammah.store.database import Database
from shammah.store.examples import Examples
from shammah.store.identity import context_hash, dedupe_hash, new_id, utc_now
from shammah.store.rules import Rules

__all__ = [
    "Archive",
    "Conversations",
    "Database",
    "Examples",
    "Rules",
    "context_hash",
    "dedupe_hash",
    "new_id",
    "utc_now",
]
