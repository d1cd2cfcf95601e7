"""The voices that are judged, the base and adapters on it, as `judging` asks them.

Each speaks through a twin of its own, which lets the chat go first before every layer. An adapter is read from its
folder, whose hashes are verified: what is judged is what would answer.
"""

import math
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from shammah.adapters.bundle import read_bundle, verify
from shammah.config import GenerationSettings
from shammah.judging.general import GENERAL
from shammah.judging.voice import Exchange
from shammah.model.adapted import config_in
from shammah.model.chat_model import ChatModel
from shammah.model.device import is_out_of_memory
from shammah.model.engine import TransformersEngine
from shammah.records import Message, Reply
from shammah.training.anchor_book import AnchorBook
from shammah.training.asking import replies_to
from shammah.training.attempt import Base
from shammah.training.batches import micro_batches
from shammah.training.continuing import start_from
from shammah.training.courtesy import Courtesy
from shammah.training.encoding import Encoder
from shammah.training.fitting import Limits, halved, too_little_memory
from shammah.training.learner import Learner
from shammah.training.memory import give_back_memory
from shammah.training.objective import token_losses
from shammah.training.packing import Row
from shammah.training.planning import BaseReply
from shammah.training.recipe import Recipe

# Nobody reads along: the more replies are written at once, the sooner all of them are there.
_REPLIES_AT_ONCE = 48
# Rows are packed up to so many tokens: attention among more of them costs more than a second part would.
_LIMITS = Limits(rows=16, tokens=512)
# The adapter that the base alone is computed beside, always switched off.
_NONE = Recipe(preset="default", r=1, alpha=1.0)
# What the speed of a voice is measured with, and the least time that is told apart from none.
_TIMED_TOKENS, _TIMED_PROMPT, _TICK = 24, "Count from one to a hundred in words.", 1e-4
# Prompts of ours alone: what the base says to them is kept beside it.
_OURS = frozenset(GENERAL)
# Rows of text are looked at in pieces of so many tokens.
_PIECE = 256


class Examiner:
    def __init__(
        self, base: Base, courtesy: Courtesy, books: Path, computed: Callable[[int], None] = lambda rows: None
    ) -> None:
        """What the base says to our own prompts is kept in the folder `books`. `computed` is told that so many more
        rows are computed, or replies said."""
        self._base, self._courtesy, self._books, self._computed = base, courtesy, books, computed

    @contextmanager
    def voice(self, folder: Path | None = None, strength: float = 1.0) -> Iterator["Examined"]:
        """The adapter in this folder, or the base. Nothing is read or computed before the voice is asked something;
        its memory is given back at the end."""
        voice = Examined(self._base, self._courtesy, self._books, self._computed, folder, strength)
        try:
            yield voice
        finally:
            voice.close()
            give_back_memory(self._base.loaded.network.device)


class Examined:
    """One voice. Whatever is wrong with its adapter is met by each question anew."""

    def __init__(
        self,
        base: Base,
        courtesy: Courtesy,
        books: Path,
        computed: Callable[[int], None],
        folder: Path | None,
        strength: float,
    ) -> None:
        self._base, self._courtesy, self._books, self._computed = base, courtesy, books, computed
        self._folder, self._strength = folder, strength
        self._limits = _LIMITS
        self._closing = ExitStack()
        speech = base.loaded.speech
        self._encoder = Encoder(base.loaded.format, speech.end_tokens, longest=speech.window, courtesy=courtesy)

    def close(self) -> None:
        self._closing.close()
        for made in ("speaker", "_learner"):
            self.__dict__.pop(made, None)

    def load(self) -> None:
        """Read the adapter; raises what is wrong with it."""
        assert self._learner

    # As `judging` asks

    def log_probabilities(self, exchanges: Sequence[Exchange]) -> list[float | None]:
        rows = [self._encoder.row(messages, reply) for messages, reply in exchanges]
        found = {row: -float(losses.mean()) for row, losses in self._each(_once(rows), self._losses)}
        return [None if row is None else found[row] for row in rows]

    def replies(self, prompts: Sequence[Sequence[Message]], most_tokens: int) -> list[Reply]:
        if self._folder is not None:
            return self._replies(prompts, most_tokens)
        ours = [prompt[0].content for prompt in prompts if _is_ours(prompt)]
        known = {said.prompt: said for said in self._book(most_tokens).replies(ours)} if ours else {}
        self._computed(len(ours))
        asked = iter(self._replies([prompt for prompt in prompts if not _is_ours(prompt)], most_tokens))
        return [self._as_reply(known[prompt[0].content]) if _is_ours(prompt) else next(asked) for prompt in prompts]

    def drift(self, exchanges: Sequence[Exchange]) -> float:
        if self._folder is None:
            return 0.0
        rows = [self._encoder.row(messages, reply, kind="anchor") for messages, reply in exchanges]
        return float(torch.cat([apart for _, apart in self._each(_once(rows), self._divergences)]).mean())

    def perplexity(self, texts: Sequence[str]) -> float:
        pieces = [piece for text in texts for piece in self._pieces(text)]
        rows = [Row(ids=piece, start=1) for piece in pieces if len(piece) > 1]
        return math.exp(float(torch.cat([losses for _, losses in self._each(_once(rows), self._losses)]).mean()))

    def tokens_per_second(self) -> float:
        """Token by token, as in a chat of one. On a CPU by the time that this thread computed: what others take of it,
        and how long the chat went first, is not the voice's own slowness."""
        clock = time.thread_time if self._learner.device.type == "cpu" else self._courtesy.working_time
        sequence = TransformersEngine(self._learner.network).open()
        ids = self.speaker.encode([Message("user", _TIMED_PROMPT)])
        logits = sequence.extend(torch.tensor([ids], device=self._learner.device))
        began = clock()
        for _ in range(_TIMED_TOKENS):
            logits = sequence.extend(logits.argmax(dim=-1, keepdim=True))
            float(logits[0, 0])  # computed, not only queued
        return _TIMED_TOKENS / max(clock() - began, _TICK)

    # How it is computed

    @cached_property
    def speaker(self) -> ChatModel:
        """Without reasoning: replies are looked at, not thoughts."""
        loaded = self._base.loaded
        return ChatModel(
            self._base.name, replace(loaded, network=self._learner.network, format=loaded.format.at_once())
        )

    @cached_property
    def _learner(self) -> Learner:
        network = self._base.loaded.network
        if self._folder is None:
            learner = Learner(network, _NONE, self._courtesy)
            self._closing.enter_context(learner.as_base())
        else:
            verify(self._folder, read_bundle(self._folder))
            learner = Learner(network, _NONE, self._courtesy, config=config_in(self._folder))
            start_from(learner, self._folder)
            learner.weaken(self._strength)
        learner.learning(False)
        learner.check_packing([Row(ids=tuple(ids), start=1) for ids in self._some_texts()])
        return learner

    def _some_texts(self) -> list[tuple[int, ...]]:
        return [self._pieces(prompt)[0] for prompt in GENERAL[:3]]

    def _pieces(self, text: str) -> list[tuple[int, ...]]:
        ids = self._base.loaded.format.tokens(text)
        longest = min(_PIECE, self._base.loaded.speech.window)
        return [tuple(ids[at : at + longest]) for at in range(0, len(ids), longest)]

    def _each(self, rows: Collection[Row], compute: Callable[[list[Row]], Tensor]) -> Iterator[tuple[Row, Tensor]]:
        """What is computed for each token of the rows' replies; in smaller parts where memory runs out."""
        parts = micro_batches(list(rows), self._limits.rows, self._limits.tokens)
        while parts:
            try:
                found = compute(parts[0])
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                smaller = halved(self._limits)
                if smaller is None:
                    raise too_little_memory() from error
                self._limits = smaller
                parts = micro_batches([row for part in parts for row in part], smaller.rows, smaller.tokens)
                continue
            part = parts.pop(0)
            self._computed(len(part))
            yield from zip(part, torch.split(found, [row.learned for row in part]), strict=True)

    @torch.no_grad()
    def _losses(self, rows: list[Row], base: Tensor | None = None) -> Tensor:
        hidden = self._learner.hidden(rows)
        wanted = torch.tensor([id for row in rows for id in row.ids[row.start :]], device=hidden.device)
        return token_losses(hidden, self._learner.head, wanted, base)

    @torch.no_grad()
    def _divergences(self, rows: list[Row]) -> Tensor:
        with self._learner.as_base():
            base = self._learner.hidden(rows)
        return self._losses(rows, base)

    def _replies(self, prompts: Sequence[Sequence[Message]], most_tokens: int) -> list[Reply]:
        how = GenerationSettings(temperature=0.0, max_tokens=most_tokens)
        done = 0

        def asked(now: int, of: int) -> None:
            nonlocal done
            self._computed(now - done)
            done = now

        return replies_to(prompts, self.speaker, how, asked, rows=_REPLIES_AT_ONCE)

    def _book(self, most_tokens: int) -> AnchorBook:
        def ask(prompts: Sequence[str]) -> list[BaseReply]:
            how = GenerationSettings(temperature=0.0, max_tokens=most_tokens)
            said = replies_to([[Message("user", prompt)] for prompt in prompts], self.speaker, how)
            return [
                BaseReply(prompt, reply.text, reply.stop_reason == "end")
                for prompt, reply in zip(prompts, said, strict=True)
            ]

        return AnchorBook(self._books, self._base.voice_within(most_tokens), ask, ours=_OURS)

    def _as_reply(self, said: BaseReply) -> Reply:
        tokens = len(self._base.loaded.format.tokens(said.text)) + said.ended
        return Reply(
            text=said.text,
            reasoning="",
            stop_reason="end" if said.ended else "length",
            input_tokens=0,
            cached_tokens=0,
            output_tokens=tokens,
            first_token_ms=0.0,
            duration_ms=0.0,
        )


def _is_ours(prompt: Sequence[Message]) -> bool:
    return len(prompt) == 1 and prompt[0].content in _OURS


def _once(rows: Sequence[Row | None]) -> list[Row]:
    return list(dict.fromkeys(row for row in rows if row is not None))
