"""Models: which there are (catalog), what fits (machine), where they lie (cache), how they come here (fetching)."""
