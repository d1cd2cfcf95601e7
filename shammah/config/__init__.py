"""Settings: declared once (settings), read in layers (layers), written without losing comments (writing)."""

from shammah.config.knobs import Knob, knobs_of
from shammah.config.layers import Resolved, resolve
from shammah.config.settings import Config, GenerationSettings, LoraSettings, UiSettings, WeightSettings

__all__ = [
    "Config", "GenerationSettings", "Knob", "LoraSettings", "Resolved", "UiSettings", "WeightSettings", "knobs_of",
    "resolve",
]  # fmt: skip
