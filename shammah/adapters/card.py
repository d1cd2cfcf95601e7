"""The README of an adapter: for which model it is, how to load it, what it came from in numbers.

Of the recipe and the metrics only the numbers are told: a text among them could be the user's. Pure.
"""

import json
from collections.abc import Mapping
from typing import Any

from shammah.adapters.manifest import Manifest

# JSON texts are YAML and Python texts too.
_CARD = """\
---
base_model: {base}
library_name: peft
pipeline_tag: text-generation
tags:
- lora
---

# A LoRA adapter

For the model {base}, {origin}.

## Load it

```python
from peft import PeftModel
from transformers import AutoModelForCausalLM

base = AutoModelForCausalLM.from_pretrained({base})
model = PeftModel.from_pretrained(base, "path/to/this/folder")
```

The chat template is the base model's own. `manifest.json` has the hash of each file, and of the base model it fits.

## What it came from

| | |
|---|---|
{rows}
"""


def card_of(manifest: Manifest, base: str) -> str:
    """The text of README.md, whatever name the folder comes to have. `base` is what the model is called on the hub."""
    count = len(manifest.example_ids)
    trained = f"trained by Shammah from {count:,} rated example{'s' * (count != 1)}"
    rows = [
        ("examples", count),
        ("seed", manifest.seed),
        *_numbers(manifest.shape),
        ("targets", ", ".join(map(str, manifest.shape.get("targets", ())))),
        *_numbers(manifest.recipe),
        *_numbers(manifest.metrics),
        *manifest.libraries.items(),
    ]
    return _CARD.format(
        base=json.dumps(base),
        origin=trained if manifest.recipe else "made elsewhere and imported into Shammah",
        rows="\n".join(f"| {name} | {_short(value)} |" for name, value in rows),
    )


def _numbers(values: Mapping[str, Any]) -> list[tuple[str, int | float]]:
    return [
        (name, value)
        for name, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
