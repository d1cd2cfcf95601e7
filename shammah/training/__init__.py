"""Learning: from stored examples to an adapter, in the background."""
