"""Where everything of the user's lies: `~/.shammah`, or the folder that SHAMMAH_HOME names.

config.toml   shammah.db   history   adapters/   logs/
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from shammah.durable import make_folder, touch_private
from shammah.errors import HomeError


@dataclass(frozen=True, slots=True)
class Home:
    root: Path

    @classmethod
    def find(cls, environment: Mapping[str, str] = os.environ) -> "Home":
        named = environment.get("SHAMMAH_HOME", "").strip()
        try:
            return cls(Path(named or "~/.shammah").expanduser())
        except RuntimeError as error:  # an account without a home folder, or no such account
            reason = str(error).rstrip(".").lower()
            raise HomeError(f"No home folder: {reason}", hint="Set SHAMMAH_HOME to a folder you can write.") from None

    @property
    def config_file(self) -> Path:
        return self.root / "config.toml"

    @property
    def database(self) -> Path:
        return self.root / "shammah.db"

    @property
    def history(self) -> Path:
        return self.root / "history"

    @property
    def adapters(self) -> Path:
        return self.root / "adapters"

    @property
    def checkpoint(self) -> Path:
        """Where a run that was cut off stands."""
        return self.adapters / ".training" / "checkpoint.safetensors"

    @property
    def archive(self) -> Path:
        return self.root / "archive"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def log_file(self) -> Path:
        return self.logs / "shammah.log"

    @property
    def train_log(self) -> Path:
        """What training in processes of its own printed."""
        return self.logs / "train.log"

    @property
    def run_logs(self) -> Path:
        return self.logs / "runs"

    def prepare(self) -> None:
        """Make the folders and private files that the program is going to write."""
        for folder in (self.root, self.adapters, self.logs):
            make_folder(folder)
        for file in (self.database, self.history):
            touch_private(file)
