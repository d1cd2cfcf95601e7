"""Where a run stands, on the disk: what it takes to go on as if it had not been cut off.

One file, replaced whole. It holds numbers alone: no text, and nothing that tells what was learned but the adapter's own
weights. It fits only the very same rows, recipe and base.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from shammah.durable import make_folder, remove_file, write_file
from shammah.training.loop import State, Trainer
from shammah.training.tensor_file import file_of


class Checkpoint:
    def __init__(self, path: Path) -> None:
        self.path = path

    def save(self, trainer: Trainer, fingerprint: str) -> None:
        values = trainer.learner.flat.values
        moments = trainer.optimizer.state.get(values, {})
        tensors = {"values": values.detach(), **{name: moments[name] for name in _MOMENTS if name in moments}}
        state = json.dumps(asdict(trainer.state))
        about = {"fingerprint": fingerprint, "state": state, "digest": _digest(tensors)}
        make_folder(self.path.parent)
        write_file(self.path, file_of(tensors, about))

    def restore(self, trainer: Trainer, fingerprint: str) -> bool:
        """Whether there was one of this very run: the trainer then stands where it stood."""
        found = self._read(fingerprint)
        if found is None:
            return False
        state, tensors = found
        flat = trainer.learner.flat
        if tensors["values"].shape != flat.values.shape:
            return False
        flat.load(tensors["values"])
        if "exp_avg" in tensors:
            like = flat.values.device
            trainer.optimizer.state[flat.values] = {name: tensors[name].to(like) for name in _MOMENTS[1:]}
            trainer.optimizer.state[flat.values]["step"] = tensors["step"]
        trainer.state = state
        return True

    def remove(self) -> None:
        remove_file(self.path)

    def _read(self, fingerprint: str) -> tuple[State, dict[str, Tensor]] | None:
        try:
            with safe_open(self.path, framework="pt") as file:
                about = file.metadata() or {}
                if about.get("fingerprint") != fingerprint:
                    return None
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 not a dict
                if about["digest"] != _digest(tensors):
                    return None
                return State(**json.loads(about["state"])), tensors
        except (OSError, SafetensorError, ValueError, KeyError, TypeError):
            return None  # none, or none that can be used: the run begins anew


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(tensors[name].detach().cpu().contiguous().view(-1).numpy().tobytes())
    return digest.hexdigest()


_MOMENTS = ("step", "exp_avg", "exp_avg_sq")
