"""What PEFT's adapter_config.json may say for the adapter to count here as it counted where it was made. Pure.

Plain LoRA of linear layers. What would need more than the numbers of A and B, or would change the base model's own
when it is loaded, is refused by its name.
"""

import json
import re
import sys
from collections.abc import Iterable
from typing import Any

_KIND = "LORA"
_TASKS = (None, "CAUSAL_LM")
# Ways to begin that leave the base as it is. The others add to A and B what they take from its weights.
_BEGINNINGS = ("gaussian", "eva", "orthogonal")
_LARGEST_RANK = 4096
# One name or path of modules, at most with the sign that it is the whole. Anything else is a pattern that may match
# anything, or take for ever.
_PATH = re.compile(r"\^?[\w.]+")

# What changes nothing in how an adapter that is trained counts, or is checked below. Whatever else is there, and is
# more than a way to say no, would change something.
_CHECKED = ("peft_type", "task_type", "bias", "init_lora_weights", "r", "lora_alpha", "rank_pattern", "alpha_pattern")
_HARMLESS = frozenset((
    *_CHECKED, "auto_mapping", "base_model_name_or_path", "ensure_weight_tying", "exclude_modules", "fan_in_fan_out",
    "inference_mode", "layers_pattern", "layers_to_transform", "lora_dropout", "megatron_core", "peft_version",
    "qalora_group_size", "revision", "runtime_config", "target_modules", "use_rslora",
    # How it was begun: what is saved is what came of it.
    "corda_config", "eva_config", "loftq_config", "lora_ga_config",
))  # fmt: skip


def read_config(data: bytes) -> dict[str, Any] | None:
    """None where it is no JSON object."""
    try:
        values = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None


def why_not(values: dict[str, Any]) -> str:
    """The reason why such an adapter can't be used here; empty where it can."""
    if values.get("peft_type") != _KIND:
        return f"it is not LoRA but {values.get('peft_type')!r}"
    if values.get("task_type") not in _TASKS:
        return f"it was made for {values['task_type']!r}, not to write text"
    if values.get("bias") not in (None, "none"):
        return "it has biases of its own (bias)"
    begun = values.get("init_lora_weights")
    if not (begun is None or isinstance(begun, bool) or begun in _BEGINNINGS):
        return f"it was begun from the model's own weights (init_lora_weights = {begun!r})"
    more = sorted(name for name, value in values.items() if value and name not in _HARMLESS)
    if more:
        return f"it is more than plain LoRA ({', '.join(more)})"
    return _why_no_numbers(values)


def plain(values: dict[str, Any], *, modules: Iterable[str], base: str) -> dict[str, Any]:
    """The config of the same adapter with the modules named one by one, and with nothing that does not count."""
    return {
        "alpha_pattern": values.get("alpha_pattern") or {},
        "base_model_name_or_path": base,
        "bias": "none",
        "fan_in_fan_out": bool(values.get("fan_in_fan_out")),
        "inference_mode": True,
        "init_lora_weights": True,
        "lora_alpha": values.get("lora_alpha", 8),
        "lora_dropout": 0.0,
        "peft_type": _KIND,
        "r": values.get("r", 8),
        "rank_pattern": values.get("rank_pattern") or {},
        "target_modules": sorted(modules),
        "task_type": "CAUSAL_LM",
        "use_rslora": bool(values.get("use_rslora")),
    }


def weakened(values: dict[str, Any], strength: float) -> dict[str, Any]:
    """The config of an adapter of which only so much counts."""
    alphas = {layer: strength * alpha for layer, alpha in (values.get("alpha_pattern") or {}).items()}
    return {**values, "lora_alpha": strength * values.get("lora_alpha", 8), "alpha_pattern": alphas}


def _why_no_numbers(values: dict[str, Any]) -> str:
    for name, by_layer, fits in _NUMBERS:
        if name in values and not fits(values[name]):
            return f"its {name} can't be {values[name]!r}"
        pattern = values.get(by_layer) or {}
        if not isinstance(pattern, dict) or not all(map(fits, pattern.values())):
            return f"its {by_layer} can't be read"
        unclear = [key for key in pattern if not _PATH.fullmatch(key)]
        if unclear:
            return f"its {by_layer} has a pattern that may mean any layer: {unclear[0]!r}"
    return ""


def _is_rank(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _LARGEST_RANK


def _is_factor(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


_NUMBERS = (("r", "rank_pattern", _is_rank), ("lora_alpha", "alpha_pattern", _is_factor))
