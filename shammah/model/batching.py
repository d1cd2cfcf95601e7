"""Many prompts at once: several rows in one forward pass, each sampled and stopped by itself, the finished ones
taken out.

A row's reply is the one it would get alone: padding stands on the left and is masked, positions start at the row's
own start.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch

from shammah.config import GenerationSettings
from shammah.model.engine import Engine
from shammah.model.generation import Cancelled, Clock, ReplyText, Speech, raise_if_out_of_memory
from shammah.model.sampling import Sampler
from shammah.records import Reply, StopReason

# Bounds the memory of one group: rows times the longest prompt among them, which are computed so many at once.
_TOKENS_A_GROUP, _TOKENS_AT_ONCE = 8192, 2048


@dataclass(slots=True)
class _Row:
    index: int
    prompt: list[int]
    sampler: Sampler
    text: ReplyText
    limit: int
    reason: StopReason
    tokens: int = 0
    first_token: float = field(default=0.0)


def plan(lengths: Sequence[int], rows: int) -> list[list[int]]:
    """Groups of prompts to compute together: of similar length, so that little is padded, and bounded in size."""
    groups: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        group = groups[-1] if groups else []
        if not group or len(group) >= rows or (len(group) + 1) * lengths[index] > _TOKENS_A_GROUP:
            groups.append(group := [])
        group.append(index)
    return groups


class BatchGenerator:
    def __init__(self, engine: Engine, speech: Speech, *, clock: Clock = time.perf_counter) -> None:
        self._engine = engine
        self._speech = speech
        self._clock = clock

    def replies(
        self,
        prompts: Sequence[Sequence[int]],
        settings: GenerationSettings,
        *,
        rows: int,
        reasoning_opened: bool = False,
        cancelled: Cancelled = lambda: False,
    ) -> Iterator[tuple[int, Reply]]:
        """(index, Reply) as rows finish, in no order. After a cancel, unfinished rows are not given."""
        for group in plan([len(prompt) for prompt in prompts], rows):
            fresh = [self._row(index, list(prompts[index]), settings, reasoning_opened) for index in group]
            try:
                yield from self._together(fresh, cancelled)
            except RuntimeError as error:
                raise_if_out_of_memory(error)
                raise
            if cancelled():
                return

    def _row(self, index: int, prompt: list[int], settings: GenerationSettings, reasoning_opened: bool) -> _Row:
        room = self._speech.window - len(prompt)
        return _Row(
            index=index,
            prompt=prompt,
            sampler=Sampler(settings, prompt),
            text=ReplyText(self._speech, settings, reasoning_opened=reasoning_opened),
            limit=min(settings.max_tokens, room),
            reason="length" if settings.max_tokens <= room else "window",
        )

    def _together(self, rows: list[_Row], cancelled: Cancelled) -> Iterator[tuple[int, Reply]]:
        start = self._clock()
        device = self._engine.device
        longest = max(len(row.prompt) for row in rows)
        padding = torch.tensor([longest - len(row.prompt) for row in rows], device=device)
        # Any token serves as filler: it is masked.
        filled = torch.tensor([[row.prompt[0]] * (longest - len(row.prompt)) + row.prompt for row in rows])
        sequence = self._engine.open(padding if int(padding.max()) else None)
        for part in torch.split(filled, max(1, _TOKENS_AT_ONCE // len(rows)), dim=1):
            logits = sequence.extend(part.to(device))
        while rows and not cancelled():
            going: list[int] = []
            chosen: list[int] = []
            for at, row in enumerate(rows):
                token = row.sampler.choose(logits[at])
                row.first_token = row.first_token or self._clock() - start
                if self._finishes(row, token):
                    yield row.index, self._reply(row, start)
                else:
                    going.append(at)
                    chosen.append(token)
            if len(going) < len(rows):
                rows = [rows[at] for at in going]
                if rows:
                    sequence.keep(torch.tensor(going, device=device))
            if rows:
                logits = sequence.extend(torch.tensor(chosen, device=device)[:, None])

    def _finishes(self, row: _Row, token: int) -> bool:
        row.tokens += 1
        if token in self._speech.end_tokens:
            row.reason = "end"
            return True
        for _ in row.text.push(token):
            pass
        if row.text.loops:
            row.reason = "loop"
            return True
        return row.text.stopped or row.tokens >= row.limit

    def _reply(self, row: _Row, start: float) -> Reply:
        for _ in row.text.flush():
            pass
        return Reply(
            text=row.text.text("reply"),
            reasoning=row.text.text("reasoning").strip(),
            stop_reason="stop" if row.text.stopped else row.reason,
            input_tokens=len(row.prompt),
            cached_tokens=0,
            output_tokens=row.tokens,
            first_token_ms=1000 * row.first_token,
            duration_ms=1000 * (self._clock() - start),
        )
