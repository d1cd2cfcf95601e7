"""`python -m shammah`, and the entry point of the `shammah` command."""

from shammah.cli.main import main

if __name__ == "__main__":
    main()
