"""Shammah: a chat in the terminal with a model on your own machine that learns from what you tell it."""

__version__ = "0.1.0"
