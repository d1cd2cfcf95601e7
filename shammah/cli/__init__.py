"""The command line: options become settings, results become text or JSON, errors become one line and an exit code."""
