"""Prompts computed together: each reply is the one the prompt gets alone, and rows leave when they are done."""

from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.networks import ascii_text, gemma, llama, mistral, some_ids
from torch import Tensor
from transformers import PreTrainedModel

from shammah.config import GenerationSettings
from shammah.errors import DeviceError
from shammah.model import batching
from shammah.model.batching import BatchGenerator, plan
from shammah.model.device import Compute
from shammah.model.engine import TransformersEngine
from shammah.model.generation import Generator, Speech
from shammah.model.loading import load
from shammah.records import Reply

pytestmark = pytest.mark.usefixtures("one_thread")

END = 2
SIZES = {"vocab_size": 128, "max_position_embeddings": 512, "pad_token_id": 0}
LENGTHS = [7, 1, 40, 12, 12, 3, 90, 25]


def settings(**changes: Any) -> GenerationSettings:
    return GenerationSettings(**{"temperature": 0.0, "max_tokens": 20} | changes)


PROMPTS = [some_ids(length, seed=number) for number, length in enumerate(LENGTHS)]


@pytest.fixture(scope="module", params=["full attention", "windows", "both kinds"])
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    if request.param == "full attention":
        return llama(**SIZES)
    return mistral(8, **SIZES) if request.param == "windows" else gemma(**SIZES)


def speech(end: Sequence[int] = (), window: int = 512) -> Speech:
    return Speech(ascii_text, frozenset(end), window)


def alone(model: PreTrainedModel, how: Speech, **changes: Any) -> list[Reply]:
    replies = []
    for prompt in PROMPTS:
        *_, reply = Generator(TransformersEngine(model), how).stream(prompt, settings(**changes))
        assert isinstance(reply, Reply)
        replies.append(reply)
    return replies


def together(model: PreTrainedModel, how: Speech, *, rows: int = 16, **changes: Any) -> list[Reply]:
    batch = BatchGenerator(TransformersEngine(model), how)
    replies = dict(batch.replies(PROMPTS, settings(**changes), rows=rows))
    return [replies[index] for index in range(len(PROMPTS))]


def said(replies: list[Reply]) -> list[tuple[object, ...]]:
    return [(reply.text, reply.stop_reason, reply.input_tokens, reply.output_tokens) for reply in replies]


@pytest.mark.parametrize("rows", [1, 3, 16])
def test_uneven_prompts_get_the_replies_they_get_alone(model: PreTrainedModel, rows: int) -> None:
    assert said(together(model, speech(), rows=rows)) == said(alone(model, speech()))


@pytest.mark.parametrize("at_once", [1, 40, 200])
def test_nor_does_it_matter_how_much_is_computed_at_once(
    model: PreTrainedModel, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "_TOKENS_AT_ONCE", at_once)
    assert said(together(model, speech())) == said(alone(model, speech()))


def test_the_output_layer_does_not_copy_its_weights_for_each_row(model: PreTrainedModel) -> None:
    """It does where what it multiplies is not contiguous: gigabytes, with a real vocabulary."""
    seen = []
    layer = model.get_output_embeddings()
    hook = layer.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    TransformersEngine(model).open(torch.tensor([0, 3, 1])).extend(torch.ones(3, 9, dtype=torch.long))
    hook.remove()
    assert [tuple(states.shape[:2]) for states in seen] == [(3, 1)] and seen[0].is_contiguous()


@pytest.mark.parametrize("changes", [{}, {"top_p": 0.8, "repetition_penalty": 1.3}, {"top_k": 5}], ids=str)
def test_sampled_replies_are_those_of_the_seed_alone(model: PreTrainedModel, changes: dict[str, Any]) -> None:
    sampled = {"temperature": 1.2, "seed": 3} | changes
    assert said(together(model, speech(), **sampled)) == said(alone(model, speech(), **sampled))


def test_rows_that_end_early_leave_the_others_right(model: PreTrainedModel) -> None:
    """Half of all tokens end a reply here, so that rows leave at nearly every step."""
    how = speech(end=range(0, 128, 2))
    sampled = {"temperature": 1.5, "seed": 3, "max_tokens": 60}
    replies = together(model, how, **sampled)
    assert said(replies) == said(alone(model, how, **sampled))
    few = speech(end=range(0, 128, 16))
    replies = together(model, few, **sampled)
    assert len({reply.output_tokens for reply in replies}) > 3
    assert said(replies) == said(alone(model, few, **sampled))


def test_every_row_ends_for_its_own_reason(model: PreTrainedModel) -> None:
    stops = {"stop": tuple(map(chr, range(33, 127, 9))), "temperature": 5.0, "seed": 3, "max_tokens": 30}
    how = speech(end=range(3, 128, 20), window=100)
    replies = together(model, how, **stops)
    assert said(replies) == said(alone(model, how, **stops))
    assert {reply.stop_reason for reply in replies} >= {"stop", "end"}
    assert replies[LENGTHS.index(90)].output_tokens <= 10


def test_a_chat_of_bytes_gets_the_same_text(tiny_model: Path) -> None:
    loaded = load(tiny_model, Compute("cpu", "float32", 1, "", {}))
    prompts = [loaded.format.tokens(text) for text in ("one", "a longer prompt", "größer 🙂")]
    engine = TransformersEngine(loaded.network)
    batch = dict(BatchGenerator(engine, loaded.speech).replies(prompts, settings(), rows=8))
    for index, prompt in enumerate(prompts):
        *_, reply = Generator(engine, loaded.speech).stream(prompt, settings())
        assert isinstance(reply, Reply)
        assert batch[index].text == reply.text


class Scripted:
    """An engine whose row n says its script n, one letter a step; it records how many rows each step had."""

    def __init__(self, scripts: Sequence[str]) -> None:
        self._scripts = [[*map(ord, script), END] for script in scripts]
        self.rows: list[int] = []
        self.widths: list[int] = []
        self.paddings: list[list[int] | None] = []
        self.device = torch.device("cpu")
        self.length = 0

    def open(self, padding: Tensor | None = None) -> "Scripted":
        self.paddings.append(None if padding is None else padding.tolist())
        self._here: list[int] = []
        self._step = 0
        return self

    def extend(self, ids: Tensor) -> Tensor:
        self.rows.append(ids.shape[0])
        self.widths.append(ids.shape[1])
        if not self._here:  # the prompt's last token says which script its row follows
            self._here = ids[:, -1].tolist()
        logits = torch.zeros(len(self._here), 300)
        for row, script in enumerate(self._here):
            logits[row, self._scripts[script][self._step]] = 1
        self._step += 1
        return logits

    def rewind(self, length: int) -> int:
        raise NotImplementedError

    def keep(self, rows: Tensor) -> None:
        self._here = [self._here[row] for row in rows.tolist()]


def test_finished_rows_are_given_at_once_and_taken_out() -> None:
    engine = Scripted(["four", "", "ab", "four"])
    batch = BatchGenerator(engine, speech(end=[END]))
    given = list(batch.replies([[9, 0], [9, 1], [9, 2], [9, 3]], settings(), rows=8))
    assert [index for index, _ in given] == [1, 2, 0, 3]
    assert [reply.text for _, reply in given] == ["", "ab", "four", "four"]
    assert engine.rows == [4, 3, 3, 2, 2]
    assert engine.paddings == [None]  # prompts of one length need none


def test_a_row_that_goes_round_in_circles_is_ended_and_the_others_go_on() -> None:
    letters = "".join(chr(33 + n % 90) for n in range(200))
    batch = BatchGenerator(Scripted(["ab" * 150, letters]), speech(end=[END]))
    given = list(batch.replies([[9, 0], [9, 1]], settings(max_tokens=250), rows=8))
    assert [(index, reply.stop_reason) for index, reply in given] == [(0, "loop"), (1, "end")]
    assert given[1][1].text == letters


def test_prompts_of_other_lengths_are_padded_on_the_left_only() -> None:
    engine = Scripted(["a", "b", "c"])
    batch = BatchGenerator(engine, speech(end=[END]))
    given = dict(batch.replies([[7, 7, 7, 0], [1], [5, 2]], settings(), rows=8))
    assert [given[index].text for index in range(3)] == ["a", "b", "c"]
    assert [given[index].input_tokens for index in range(3)] == [4, 1, 2]
    assert engine.paddings == [[3, 2, 0]] and engine.widths[0] == 4


def test_rows_bounds_a_pass_and_every_prompt_is_answered() -> None:
    engine = Scripted(["a"] * 7)
    given = list(BatchGenerator(engine, speech(end=[END])).replies([[n] for n in range(7)], settings(), rows=3))
    assert sorted(index for index, _ in given) == list(range(7))
    assert max(engine.rows) == 3


def test_replies_come_before_later_passes_are_computed() -> None:
    engine = Scripted(["a"] * 4)
    stream = BatchGenerator(engine, speech(end=[END])).replies([[n] for n in range(4)], settings(), rows=2)
    next(stream)
    assert engine.rows == [2, 2]


def test_a_cancel_gives_no_half_reply() -> None:
    engine = Scripted(["a", "a long reply", "b"])
    finished: list[int] = []
    stream = BatchGenerator(engine, speech(end=[END])).replies(
        [[9, 0], [9, 1], [9, 9, 2]], settings(), rows=2, cancelled=lambda: bool(finished)
    )
    for index, _ in stream:
        finished.append(index)
    assert finished == [0]
    assert len(engine.rows) == 3  # the step under way, and none of the next pass


def test_no_prompts_no_replies() -> None:
    assert list(BatchGenerator(Scripted([]), speech()).replies([], settings(), rows=4)) == []


def test_reasoning_is_told_apart_in_every_row() -> None:
    engine = Scripted(["<think>a</think>b", "c"])
    given = dict(BatchGenerator(engine, speech(end=[END])).replies([[0], [1]], settings(), rows=2))
    assert [(given[i].reasoning, given[i].text) for i in (0, 1)] == [("a", "b"), ("", "c")]
    engine = Scripted(["a</think>b"])
    opened = BatchGenerator(engine, speech(end=[END])).replies([[0]], settings(), rows=2, reasoning_opened=True)
    assert [(reply.reasoning, reply.text) for _, reply in opened] == [("a", "b")]


def test_times_count_from_the_start_of_the_pass() -> None:
    ticks = count()
    engine = Scripted(["ab", "a"])
    batch = BatchGenerator(engine, speech(end=[END]), clock=lambda: float(next(ticks)))
    given = dict(batch.replies([[0], [1]], settings(), rows=2))
    assert 0 < given[0].first_token_ms < given[1].duration_ms < given[0].duration_ms


def test_full_memory_is_said_in_our_words() -> None:
    class Full(Scripted):
        def extend(self, ids: Tensor) -> Tensor:
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(DeviceError):
        list(BatchGenerator(Full(["a"]), speech()).replies([[0]], settings(), rows=1))


@given(st.lists(st.integers(1, 9_000), max_size=60), st.integers(1, 20))
def test_a_plan_takes_every_prompt_once_in_bounded_passes(lengths: list[int], rows: int) -> None:
    groups = plan(lengths, rows)
    assert sorted(index for group in groups for index in group) == list(range(len(lengths)))
    for group in groups:
        assert 1 <= len(group) <= rows
        longest = max(lengths[index] for index in group)
        assert len(group) == 1 or len(group) * longest <= 8192
    # Similar lengths stand together: no pass reaches over another.
    edges = [(min(lengths[i] for i in group), max(lengths[i] for i in group)) for group in groups]
    assert all(before[1] <= after[0] for before, after in zip(edges, edges[1:], strict=False))


@given(st.integers(1, 9_000), st.integers(1, 40), st.integers(1, 20))
def test_a_plan_fills_its_passes(length: int, prompts: int, rows: int) -> None:
    most = max(1, min(rows, 8192 // length))
    assert [len(group) for group in plan([length] * prompts, rows)] == [
        min(most, prompts - at) for at in range(0, prompts, most)
    ]
