"""`python -m shammah`, and the entry point of the `shammah` command."""

import sys

from shammah import __version__


def main() -> None:
    if sys.argv[1:] == ["--version"]:  # asked by scripts, at every prompt of some shells: nothing else is imported
        sys.stdout.write(f"shammah {__version__}\n")
    else:
        from shammah.cli.main import main as run

        run()


if __name__ == "__main__":
    main()
