"""A trained adapter as the files of a standard PEFT folder, with the manifest that says what it came from."""

import json
from collections.abc import Collection, Mapping
from importlib.metadata import version
from typing import Any

from torch import Tensor

from shammah.adapters.bundle import CONFIG, README, WEIGHTS
from shammah.adapters.card import card_of
from shammah.adapters.manifest import Manifest
from shammah.model.catalog import hub_name, name_to_share
from shammah.records import Run
from shammah.store.identity import utc_now
from shammah.training.attempt import Attempt
from shammah.training.loop import State
from shammah.training.tensor_file import file_of

_LIBRARIES = ("shammah", "torch", "transformers", "peft", "tokenizers", "safetensors")
_ENDS = 5


def manifest_of(
    run: Run, attempt: Attempt, state: State, *, name: str, version_number: int, inherited: Collection[str] = ()
) -> Manifest:
    """`inherited` are the examples known to the adapter that it was trained on from."""
    recipe, config = attempt.recipe, attempt.learner.config
    base_hash, template = attempt.base.hashes
    return Manifest(
        name=name,
        version=version_number,
        parent=attempt.parent.name if attempt.parent else None,
        created=utc_now(),
        base=name_to_share(attempt.base.name),
        base_hash=base_hash,
        template_hash=template,
        shape={
            "r": recipe.r,
            "alpha": recipe.alpha,
            "dropout": recipe.dropout,
            "targets": sorted(config.target_modules or ()),
        },
        recipe=recipe.as_json(),
        seed=recipe.seed,
        example_ids=run.example_ids,
        inherited_ids=tuple(sorted(set(inherited) - set(run.example_ids))),
        trigger=run.trigger,
        run_id=run.id,
        metrics={
            "steps": state.step,
            "tokens": state.tokens,
            "seconds": round(state.seconds, 3),
            "loss_first": state.losses[0],
            "loss_last": sum(state.losses[-_ENDS:]) / len(state.losses[-_ENDS:]),
        },
        libraries={library: version(library) for library in _LIBRARIES},
    )


def adapter_files(attempt: Attempt, tensors: Mapping[str, Tensor], manifest: Manifest) -> dict[str, bytes]:
    """All files but the manifest. Weights are float32, as they were trained."""
    return {
        WEIGHTS: file_of(tensors, {"format": "pt"}),
        CONFIG: json.dumps(_config(attempt), indent=2, sort_keys=True).encode() + b"\n",
        README: card_of(manifest, hub_name(attempt.base.name)).encode(),
    }


def _config(attempt: Attempt) -> dict[str, Any]:
    """What peft's own `save_pretrained` would write; sets become lists, in an order that does not change."""
    values: dict[str, Any] = attempt.learner.config.to_dict()  # type: ignore[no-untyped-call]
    values |= {"inference_mode": True, "base_model_name_or_path": hub_name(attempt.base.name)}
    return {name: sorted(value) if isinstance(value, set) else value for name, value in values.items()}
