"""What cycles work with."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from shammah.config import Config
from shammah.events import Event
from shammah.home import Home
from shammah.model.right_of_way import RightOfWay
from shammah.store.database import Database
from shammah.store.examples import Examples
from shammah.store.runs import Runs
from shammah.training.attempt import Base

Publish = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class Workshop:
    """`base` loads the model where it is not loaded yet. The `database` is the one of `examples` and `runs`."""

    home: Home
    config: Config
    database: Database
    examples: Examples
    runs: Runs
    base: Callable[[], Base]
    right_of_way: RightOfWay
    cache_folder: Path
