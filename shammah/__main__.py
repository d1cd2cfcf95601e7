"""`python -m shammah`, and the entry point of the `shammah` command."""

import os
import sys

from shammah import __version__


def main() -> None:
    """Run the call in the arguments. The version, which scripts ask for, is told without importing anything else."""
    if sys.argv[1:] == ["--version"]:
        try:
            os.write(1, f"shammah {__version__}\n".encode())
        except OSError:
            pass  # a closed pipe or a full disk: the whole program knows what to say
        else:
            return
    from shammah.cli.main import main as run

    run()


if __name__ == "__main__":
    main()
