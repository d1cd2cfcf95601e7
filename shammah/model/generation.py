"""One reply at a time, streamed: prompt tokens in, pieces of text and at last a Reply out.

The Generator keeps the sequence of the previous reply, so a prompt that goes on where that one ended pays only for
what is
new. It knows nothing of conversations, of storage or of the screen.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Generator as Stream
from dataclasses import dataclass
from threading import Lock

import torch

from shammah.config import GenerationSettings
from shammah.errors import DeviceError
from shammah.model.device import is_out_of_memory
from shammah.model.engine import Engine
from shammah.model.engine import Sequence as EngineSequence
from shammah.model.sampling import Sampler
from shammah.model.text_stream import CharacterStream, ReasoningSplitter, StopTexts
from shammah.records import Piece, Reply, StopReason
from shammah.repetition import goes_round

# A long prompt is computed in parts, so that a cancel acts between them.
_PREFILL_CHUNK = 512
# How long a reply may only repeat itself, and how often that is looked for, in tokens.
_LOOP_SPAN, _LOOP_CHECK = 128, 8

Clock = Callable[[], float]
Cancelled = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Speech:
    """What is fixed for a model: how its tokens become text, which of them end a reply, how long its memory is."""

    decode: Callable[[Sequence[int]], str]
    end_tokens: frozenset[int]
    window: int
    stops: tuple[str, ...] = ()


class ReplyText:
    """The text of one reply as it grows: tokens in, printable pieces out, everything kept."""

    def __init__(
        self,
        speech: Speech,
        settings: GenerationSettings,
        *,
        reasoning_opened: bool = False,
        begun: str | None = None,
        prompt: Sequence[int] = (),
    ) -> None:
        """`begun` is the reply so far, None for a new one: the prompt then ends with it."""
        self._characters = CharacterStream(speech.decode, () if begun is None else prompt)
        self._splitter = ReasoningSplitter(opened=reasoning_opened, replying=begun is not None)
        self._stops = StopTexts((*speech.stops, *settings.stop), begun or "")
        self._tokens: list[int] = []
        self._stop_loops = settings.stop_loops
        self._parts: dict[str, list[str]] = {"reply": [begun or ""], "reasoning": []}

    @property
    def stopped(self) -> bool:
        return self._stops.found

    @property
    def loops(self) -> bool:
        """Looked for now and then only: it costs a little, and a few tokens more do no harm."""
        due = self._stop_loops and len(self._tokens) % _LOOP_CHECK == 0
        return due and goes_round(self._tokens, span=_LOOP_SPAN)

    def push(self, token: int) -> Iterator[Piece]:
        self._tokens.append(token)
        yield from self._through_stops(self._splitter.push(self._characters.push(token)))

    def flush(self) -> Iterator[Piece]:
        yield from self._through_stops(self._splitter.push(self._characters.flush()))
        yield from self._through_stops(self._splitter.flush())
        if not self.stopped:
            yield from self._keep(Piece("reply", self._stops.flush()))

    def text(self, kind: str) -> str:
        text = "".join(self._parts[kind])
        return text[: len(text) - self._stops.overhang] if kind == "reply" else text

    def _through_stops(self, pieces: Iterator[Piece]) -> Iterator[Piece]:
        for piece in pieces:
            if piece.kind == "reply":
                piece = Piece("reply", self._stops.push(piece.text))
            yield from self._keep(piece)

    def _keep(self, piece: Piece) -> Iterator[Piece]:
        if piece.text:
            self._parts[piece.kind].append(piece.text)
            yield piece


class Generator:
    def __init__(self, engine: Engine, speech: Speech, *, clock: Clock = time.perf_counter) -> None:
        self._engine = engine
        self._speech = speech
        self._clock = clock
        self._lock = Lock()
        self._sequence: EngineSequence | None = None
        self._computed: list[int] = []

    def stream(
        self,
        prompt: Sequence[int],
        settings: GenerationSettings,
        *,
        cancelled: Cancelled = lambda: False,
        reasoning_opened: bool = False,
        begun: str | None = None,
    ) -> Stream[Piece | Reply, None, None]:
        """Pieces as they come, then the Reply. Whatever goes wrong in between, the next call starts clean. `begun` is
        the reply so far, which the prompt ends with: only what is new of it comes in pieces."""
        if not prompt:
            raise ValueError("the prompt has no tokens")
        with self._lock:
            whole = False
            try:
                text = ReplyText(self._speech, settings, reasoning_opened=reasoning_opened, begun=begun, prompt=prompt)
                yield from self._stream(list(prompt), settings, cancelled, text)
                whole = True
            except RuntimeError as error:
                raise_if_out_of_memory(error)
                raise
            finally:
                if not whole:
                    # A step that was torn apart leaves some layers longer than others.
                    self._sequence, self._computed = None, []

    def _stream(
        self, prompt: list[int], settings: GenerationSettings, cancelled: Cancelled, text: ReplyText
    ) -> Iterator[Piece | Reply]:
        start = self._clock()
        sequence, cached = self._resume(prompt)
        sampler = Sampler(settings, prompt)
        limit = min(settings.max_tokens, self._speech.window - len(prompt))
        reason: StopReason = "length" if limit == settings.max_tokens else "window"
        tokens = 0
        first_token = 0.0
        logits = self._prefill(sequence, prompt[cached:], cancelled)
        while tokens < limit:
            if logits is None or cancelled():
                reason = "cancelled"
                break
            token = sampler.choose(logits[0])
            if not tokens:
                first_token = self._clock() - start
            tokens += 1
            if token in self._speech.end_tokens:
                reason = "end"
                break
            yield from text.push(token)
            if text.stopped:
                reason = "stop"
                break
            if text.loops:
                reason = "loop"
                break
            if tokens < limit:
                logits = self._extend(sequence, [token])
        yield from text.flush()
        duration = self._clock() - start
        yield Reply(
            text=text.text("reply"),
            reasoning=text.text("reasoning").strip(),
            stop_reason="stop" if text.stopped else reason,
            input_tokens=len(prompt),
            cached_tokens=cached,
            output_tokens=tokens,
            first_token_ms=1000 * (first_token or duration),
            duration_ms=1000 * duration,
        )

    def _resume(self, prompt: list[int]) -> tuple[EngineSequence, int]:
        """The sequence to go on with, cut back to what it shares with the prompt, and how much that is.

        At least the prompt's last token is computed anew: its logits are what the reply begins with.
        """
        shared = 0
        for old, new in zip(self._computed, prompt[:-1], strict=False):
            if old != new:
                break
            shared += 1
        if self._sequence is None or not shared:
            self._sequence, shared = self._engine.open(), 0
        else:
            shared = self._sequence.rewind(shared)
        del self._computed[shared:]
        return self._sequence, shared

    def _prefill(self, sequence: EngineSequence, prompt: list[int], cancelled: Cancelled) -> torch.Tensor | None:
        logits = None
        for at in range(0, len(prompt), _PREFILL_CHUNK):
            if cancelled():
                return None
            logits = self._extend(sequence, prompt[at : at + _PREFILL_CHUNK])
        return logits

    def _extend(self, sequence: EngineSequence, tokens: list[int]) -> torch.Tensor:
        logits = sequence.extend(torch.tensor([tokens], device=self._engine.device))
        self._computed += tokens
        return logits


def raise_if_out_of_memory(error: RuntimeError) -> None:
    """Say it in our words; any other error is the caller's."""
    if is_out_of_memory(error):
        raise DeviceError(
            "Not enough memory for this conversation on this device",
            hint="Start afresh with /clear, set a smaller `context`, or use a smaller model.",
        ) from error
