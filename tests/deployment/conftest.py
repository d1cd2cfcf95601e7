"""A home with a shelf, adapters of a few bytes to put there, and what is done with them."""

from functools import partial
from itertools import count

import pytest
from support import bundles

from shammah.deployment.activation import Helm
from shammah.deployment.roster import Roster
from shammah.deployment.shelving import Shelving
from shammah.home import Home


@pytest.fixture
def a_home(home):
    made = Home(home)
    made.prepare()
    return made


@pytest.fixture
def roster(a_home, database):
    seconds = count()
    return Roster(a_home, database, now=lambda: f"2026-02-01T00:00:{next(seconds):02d}.000Z")


@pytest.fixture
def helm(roster):
    return Helm(roster, roster.activations, roster.audit)


@pytest.fixture
def shelving(roster):
    return Shelving(roster)


@pytest.fixture
def put(a_home):
    """Write an adapter onto the shelf and return its folder."""
    return partial(bundles.put, a_home.adapters)


@pytest.fixture
def three(put):
    """The names of three adapters, oldest first."""
    return [put(f"lora_adapter_2026013{day}_090500", version=day).name for day in (1, 2, 3)]


@pytest.fixture
def actions(roster):
    """What the audit says happened, oldest first."""
    return lambda: [(each.actor, each.action, each.subject) for each in roster.audit.entries(None, oldest_first=True)]
