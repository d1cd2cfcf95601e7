"""The seam between choosing tokens and computing them: an Engine opens Sequences, a Sequence turns token ids into
logits.

Generation talks to these two only, so a faster engine can stand in for the architectures it knows.
TransformersEngine runs
the library's own model code and is the reference for every other.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer


class Sequence(Protocol):
    """Rows of tokens that were computed, with what the model remembers of them."""

    @property
    def length(self) -> int: ...

    def extend(self, ids: Tensor) -> Tensor:
        """Feed [rows, n] token ids; the logits [rows, vocabulary] that follow the last of them, in float32."""
        ...

    def rewind(self, length: int) -> int:
        """Forget all but the first `length` tokens; the length really kept, 0 where the model cannot forget in part."""
        ...

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows only."""
        ...


class Engine(Protocol):
    @property
    def device(self) -> torch.device: ...

    def open(self, padding: Tensor | None = None) -> Sequence:
        """A new sequence of one row, or of one row per entry of `padding`: how many of its first tokens are filler."""
        ...

    def logits(self, ids: Tensor, last: int) -> Tensor:
        """The logits [last, vocabulary] that follow each of the `last` of these [n] token ids, in the model's format.

        Nothing is remembered: no sequence is touched, so it may run beside one that another thread extends.
        """
        ...


class Lane:
    """Where the chat computes: on CUDA a stream that goes before training's, elsewhere nothing of its own.

    What was begun before is done first, and whoever goes on behind it sees all of it.
    """

    def __init__(self, device: torch.device) -> None:
        self._stream: Any = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device, priority=-1)  # type: ignore[no-untyped-call]  # -1 goes before 0

    @contextmanager
    def first(self) -> Iterator[None]:
        """Who has a stream of its own already, as training has, stays on it."""
        if self._stream is None:
            yield
            return
        device = self._stream.device
        around = torch.cuda.current_stream(device)
        if around != torch.cuda.default_stream(device):
            yield
            return
        self._stream.wait_stream(around)
        try:
            with torch.cuda.stream(self._stream):
                yield
        finally:
            around.wait_stream(self._stream)

    def handed_over(self, tensor: Tensor) -> Tensor:
        """What is read behind the lane: its memory may not be used anew on the lane before that is done."""
        if self._stream is not None:
            tensor.record_stream(torch.cuda.current_stream(self._stream.device))
        return tensor


class TransformersEngine:
    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        self._lane = Lane(model.device)

    @property
    def device(self) -> torch.device:
        device: torch.device = self._model.device
        return device

    def open(self, padding: Tensor | None = None) -> "TransformersSequence":
        return TransformersSequence(self._model, padding, self._lane)

    @torch.inference_mode()
    def logits(self, ids: Tensor, last: int) -> Tensor:
        with self._lane.first():
            output = self._model(input_ids=ids[None], use_cache=False, logits_to_keep=last)
        return self._lane.handed_over(output.logits)[0]


class TransformersSequence:
    def __init__(self, model: PreTrainedModel, padding: Tensor | None, lane: Lane) -> None:
        self._model = model
        self._padding = padding
        self._lane = lane
        self._cache = DynamicCache(config=model.config)
        # Only plain full attention can be cut back at any token; sliding and recurrent layers have let go of their
        # past.
        self._growing: list[GrowingLayer] = []
        if all(type(layer) is DynamicLayer for layer in self._cache.layers):
            self._growing = [GrowingLayer() for _ in self._cache.layers]
            self._cache.layers = list(self._growing)
        self._length = 0

    @property
    def length(self) -> int:
        return self._length

    @torch.inference_mode()
    def extend(self, ids: Tensor) -> Tensor:
        with self._lane.first():
            logits = self._forward(ids)
        return self._lane.handed_over(logits)

    def _forward(self, ids: Tensor) -> Tensor:
        rows, new = ids.shape
        total = self._length + new
        positions = torch.arange(self._length, total, device=ids.device).expand(rows, new)
        arguments: dict[str, Any] = {}
        if self._padding is not None:
            padding = self._padding[:, None]
            arguments["attention_mask"] = (torch.arange(total, device=ids.device) >= padding).long()
            positions = (positions - padding).clamp(min=0)
        output = self._model(
            input_ids=ids,
            position_ids=positions,
            past_key_values=self._cache,
            use_cache=True,
            # A slice of several rows is not contiguous, and the output layer's weights would be copied for each row to
            # multiply with it: 2.7 GB for 48 rows of a 135M model. An index copies the last places out instead.
            logits_to_keep=1 if min(rows, new) == 1 else torch.tensor([new - 1], device=ids.device),
            **arguments,
        )
        self._length = total
        return output.logits[:, -1].float()  # type: ignore[no-any-return]

    def rewind(self, length: int) -> int:
        if length >= self._length:
            return self._length
        if self._growing:
            for layer in self._growing:
                layer.rewind(length)
            self._length = length
        else:
            self._cache = DynamicCache(config=self._model.config)
            self._length = 0
        return self._length

    def keep(self, rows: Tensor) -> None:
        with self._lane.first():
            self._cache.batch_select_indices(rows)
            if self._padding is not None:
                self._padding = self._padding[rows]


class GrowingLayer(DynamicLayer):
    """Keys and values in a buffer with room to spare: the library's own layer copies all of them for every token."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._key_room: Tensor | None = None
        self._value_room: Tensor | None = None

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        old = self.get_seq_length()
        new = old + key_states.shape[-2]
        self._key_room = self._with_room(self._key_room, self.keys, key_states, old, new)
        self._value_room = self._with_room(self._value_room, self.values, value_states, old, new)
        self._key_room[:, :, old:new] = key_states
        self._value_room[:, :, old:new] = value_states
        self.keys, self.values = self._key_room[:, :, :new], self._value_room[:, :, :new]
        return self.keys, self.values

    @staticmethod
    def _with_room(room: Tensor | None, held: Tensor | None, states: Tensor, old: int, new: int) -> Tensor:
        if room is not None and room.shape[-2] >= new:
            return room
        rows, heads, _, width = states.shape
        larger = states.new_empty(rows, heads, max(256, new + new // 2), width)
        if held is not None and old:
            larger[:, :, :old] = held
        return larger

    def rewind(self, length: int) -> None:
        if self.keys is not None and self.values is not None and length < self.get_seq_length():
            self.keys, self.values = self.keys[:, :, :length], self.values[:, :, :length]

    def batch_select_indices(self, indices: Tensor) -> None:
        super().batch_select_indices(indices)
        # The rooms still hold the rows that left: the next update makes new ones from what was kept.
        self._key_room = self._value_room = None
