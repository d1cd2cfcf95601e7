"""One reply: transformers' own `generate` token for token, whatever was cached, cancelled or torn apart before."""

import gc
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import count, islice
from typing import Any

import psutil
import pytest
import torch
from support import networks
from support.networks import ascii_text, some_ids
from torch import Tensor
from transformers import LlamaForCausalLM, MistralForCausalLM, PreTrainedModel

from shammah.config import GenerationSettings
from shammah.errors import DeviceError
from shammah.model.engine import TransformersEngine
from shammah.model.generation import Generator, Speech
from shammah.model.loading import LoadedModel
from shammah.records import Piece, Reply

pytestmark = pytest.mark.usefixtures("one_thread")

END = 2
SIZES: dict[str, Any] = {"vocab_size": 128, "max_position_embeddings": 2048, "tie_word_embeddings": True}


def settings(**changes: Any) -> GenerationSettings:
    return GenerationSettings(**{"temperature": 0.0, "max_tokens": 24} | changes)


@pytest.fixture(scope="module")
def long_llama() -> LlamaForCausalLM:
    return networks.llama(**SIZES)


@pytest.fixture(scope="module")
def mistral() -> MistralForCausalLM:
    return networks.mistral(16, **SIZES)


class Kept:
    """A generator whose reply tokens can be read: the decoder is asked for all of them."""

    def __init__(self, model: PreTrainedModel, *, window: int = 2048, end: frozenset[int] = frozenset()) -> None:
        self.generator = Generator(TransformersEngine(model), Speech(ascii_text, end, window))

    def reply(self, prompt: Sequence[int], **changes: Any) -> tuple[list[int], Reply]:
        *_, reply = self.generator.stream(prompt, settings(**changes))
        assert isinstance(reply, Reply)
        return list(map(ord, reply.text)), reply


def theirs(model: PreTrainedModel, prompt: Sequence[int], tokens: int = 24) -> list[int]:
    ids = torch.tensor([list(prompt)])
    output = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=tokens,
        eos_token_id=None,
        pad_token_id=0,
    )
    return output[0, len(prompt) :].tolist()


class Scripted:
    """An engine that says what it is told, token after token, and can be made to fail at a step."""

    def __init__(self, reply: Sequence[int], *, at: dict[int, Callable[[], None]] | None = None) -> None:
        self._reply, self._at = reply, at or {}
        self.steps: list[int] = []  # how many tokens each step was fed
        self.opened = 0
        self.device = torch.device("cpu")

    def open(self, padding: Tensor | None = None) -> "Scripted":
        self.opened += 1
        self.length = self.spoken = 0
        return self

    def extend(self, ids: Tensor) -> Tensor:
        self._at.get(len(self.steps), lambda: None)()
        self.steps.append(ids.shape[1])
        self.length += ids.shape[1]
        # A prompt's parts all give the reply's first token; each token of the reply gives the next.
        self.spoken += ids.shape[1] == 1
        logits = torch.zeros(1, 300)
        logits[0, self._reply[self.spoken % len(self._reply)]] = 1
        return logits

    def rewind(self, length: int) -> int:
        self.length, self.spoken = length, 0
        return length

    def keep(self, rows: Tensor) -> None:
        raise NotImplementedError


def scripted(
    text: str, *, stops: tuple[str, ...] = (), window: int = 2048, **engine: Any
) -> tuple[Scripted, Generator]:
    made = Scripted([*map(ord, text), END], **engine)
    return made, Generator(made, Speech(ascii_text, frozenset({END}), window, stops))


PROMPT = [10, 11, 12, 13]


# Going round in circles


def test_a_reply_that_goes_round_in_circles_is_ended() -> None:
    _, generator = scripted("Look: " + "round and " * 200)
    *_, reply = generator.stream(PROMPT, settings(max_tokens=1000))
    assert isinstance(reply, Reply)
    assert reply.stop_reason == "loop"
    assert reply.text.startswith("Look: round and round and")
    assert 6 + 10 + 128 <= reply.output_tokens < 6 + 10 + 128 + 8


def test_a_circle_may_be_asked_for() -> None:
    _, generator = scripted("round and " * 40)
    *_, reply = generator.stream(PROMPT, settings(max_tokens=1000, stop_loops=False))
    assert isinstance(reply, Reply)
    assert (reply.stop_reason, reply.text) == ("end", "round and " * 40)


# Token for token


@pytest.mark.parametrize("length", [1, 2, 17, 200])
def test_greedy_is_what_generate_gives(loaded: LoadedModel, length: int) -> None:
    prompt = some_ids(length, seed=length)
    generator = Generator(TransformersEngine(loaded.network), loaded.speech)
    *_, reply = generator.stream(prompt, settings())
    expected = theirs(loaded.network, prompt)
    if END in expected:
        expected = expected[: expected.index(END)]
    assert isinstance(reply, Reply)
    assert reply.text == loaded.format.decode(expected).rstrip("\ufffd")
    assert (reply.input_tokens, reply.cached_tokens) == (length, 0)


def test_a_third_turn_goes_on_from_the_cache_and_is_what_generate_gives(long_llama: LlamaForCausalLM) -> None:
    kept, prompt = Kept(long_llama), some_ids(30)
    cached = []
    for turn in range(3):
        said, reply = kept.reply(prompt)
        assert said == theirs(long_llama, prompt)
        cached.append(reply.cached_tokens)
        before = len(prompt)
        prompt = prompt + said + some_ids(9, seed=turn)
    # The last token of a reply is never fed to the model before the next turn.
    assert cached == [0, 30 + 23, before - 10]


@pytest.mark.parametrize("shared", [0, 1, 10, 29, 30])
def test_a_prompt_that_turns_off_is_computed_from_there(long_llama: LlamaForCausalLM, shared: int) -> None:
    kept, first = Kept(long_llama), some_ids(30)
    kept.reply(first)
    other = [*first[:shared], 1, *some_ids(20, seed=8)]
    said, reply = kept.reply(other)
    assert said == theirs(long_llama, other)
    assert reply.cached_tokens == shared


def test_turning_off_and_back_again(long_llama: LlamaForCausalLM) -> None:
    """What was forgotten must not be taken for remembered."""
    kept, start = Kept(long_llama), some_ids(10)
    first, aside = [*start, *some_ids(20, seed=1)], [*start, *some_ids(20, seed=2)]
    for prompt in (first, aside, first, aside):
        said, reply = kept.reply(prompt)
        assert said == theirs(long_llama, prompt)
    assert reply.cached_tokens == 10


def test_the_same_prompt_again_computes_one_token_of_it(long_llama: LlamaForCausalLM) -> None:
    kept, prompt = Kept(long_llama), some_ids(30)
    first, _ = kept.reply(prompt)
    again, reply = kept.reply(prompt)
    assert again == first
    assert (reply.input_tokens, reply.cached_tokens) == (30, 29)
    shorter, reply = kept.reply(prompt[:12])
    assert shorter == theirs(long_llama, prompt[:12])
    assert reply.cached_tokens == 11


def test_a_model_that_cannot_forget_in_part_starts_anew(mistral: MistralForCausalLM) -> None:
    kept, first = Kept(mistral), some_ids(40)
    said, _ = kept.reply(first)
    assert said == theirs(mistral, first)
    onward = [*first, *said, 7, 8]
    assert kept.reply(onward)[0] == theirs(mistral, onward)
    aside = [*first[:20], 1, 2, 3]
    said, reply = kept.reply(aside)
    assert said == theirs(mistral, aside) and reply.cached_tokens == 0


@pytest.mark.parametrize("length", [511, 512, 513, 1300])
def test_a_prompt_computed_in_parts_is_what_generate_gives(long_llama: LlamaForCausalLM, length: int) -> None:
    prompt = some_ids(length)
    assert Kept(long_llama).reply(prompt)[0] == theirs(long_llama, prompt)


def test_a_seed_repeats_a_reply_with_or_without_the_cache(long_llama: LlamaForCausalLM) -> None:
    kept, prompt = Kept(long_llama), some_ids(30)
    sampled = {"temperature": 1.0, "seed": 4}
    first, _ = kept.reply(prompt, **sampled)
    assert kept.reply(prompt, **sampled)[0] == first
    assert kept.reply(prompt, temperature=1.0, seed=5)[0] != first


# Why a reply ends


def test_an_end_token_ends_the_reply_and_is_not_in_it() -> None:
    engine, generator = scripted("Yes.")
    *pieces, reply = generator.stream(PROMPT, settings())
    assert isinstance(reply, Reply)
    assert (reply.text, reply.stop_reason, reply.output_tokens) == ("Yes.", "end", 5)
    assert "".join(piece.text for piece in pieces if isinstance(piece, Piece)) == "Yes."
    assert engine.steps == [4, 1, 1, 1, 1]


def test_an_empty_reply() -> None:
    _, generator = scripted("")
    (reply,) = generator.stream(PROMPT, settings())
    assert isinstance(reply, Reply)
    assert (reply.text, reply.stop_reason, reply.output_tokens) == ("", "end", 1)


@pytest.mark.parametrize("most", [1, 2, 7])
def test_max_tokens_ends_the_reply(most: int) -> None:
    engine, generator = scripted("a long reply")
    *_, reply = generator.stream(PROMPT, settings(max_tokens=most))
    assert isinstance(reply, Reply)
    assert (reply.text, reply.stop_reason, reply.output_tokens) == ("a long reply"[:most], "length", most)
    assert len(engine.steps) == most  # nothing is computed that is not used


def test_the_window_ends_the_reply() -> None:
    _, generator = scripted("a long reply", window=10)
    *_, reply = generator.stream(PROMPT, settings())
    assert isinstance(reply, Reply)
    assert (reply.text, reply.stop_reason) == ("a long", "window")


@pytest.mark.parametrize("by", ["settings", "speech"])
def test_a_stop_text_ends_the_reply_and_is_not_in_it(by: str) -> None:
    stops = ("\nUser:",)
    _, generator = scripted("Hi\nUse it\nUser: more and more", stops=stops if by == "speech" else ())
    *_, reply = generator.stream(PROMPT, settings(stop=stops if by == "settings" else (), max_tokens=99))
    assert isinstance(reply, Reply)
    assert (reply.text, reply.stop_reason) == ("Hi\nUse it", "stop")
    # One token more than the stop text: the one that shows that its last character is complete.
    assert reply.output_tokens == len("Hi\nUse it\nUser:") + 1


def test_a_stop_text_that_the_last_token_completes() -> None:
    _, generator = scripted("one two")
    *_, reply = generator.stream(PROMPT, settings(stop=("two",)))
    assert isinstance(reply, Reply)
    assert (reply.text, reply.stop_reason) == ("one ", "stop")


def test_text_that_might_have_become_a_stop_is_released_at_the_end() -> None:
    _, generator = scripted("one tw")
    *_, reply = generator.stream(PROMPT, settings(stop=("two",)))
    assert isinstance(reply, Reply)
    assert (reply.text, reply.stop_reason) == ("one tw", "end")


def test_a_stop_text_counts_in_the_reply_only_not_in_the_reasoning() -> None:
    _, generator = scripted("<think>STOP or not</think>\n\nGo on, STOP here")
    *pieces, reply = generator.stream(PROMPT, settings(stop=("STOP",), max_tokens=99))
    assert isinstance(reply, Reply)
    assert (reply.reasoning, reply.text, reply.stop_reason) == ("STOP or not", "Go on, ", "stop")
    assert {piece.kind for piece in pieces if isinstance(piece, Piece)} == {"reasoning", "reply"}


def test_reasoning_that_the_template_opened() -> None:
    _, generator = scripted("Hm.</think>Yes.")
    *_, reply = generator.stream(PROMPT, settings(), reasoning_opened=True)
    assert isinstance(reply, Reply)
    assert (reply.reasoning, reply.text) == ("Hm.", "Yes.")


def test_a_prompt_without_tokens_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="no tokens"):
        list(scripted("")[1].stream([], settings()))


def test_times_are_those_of_the_clock() -> None:
    ticks = count()
    engine = Scripted([*map(ord, "abc"), END])
    generator = Generator(engine, Speech(ascii_text, frozenset({END}), 99), clock=lambda: float(next(ticks)))
    *_, reply = generator.stream(PROMPT, settings())
    assert isinstance(reply, Reply)
    assert (reply.first_token_ms, reply.duration_ms) == (1000, 2000)


# Cancelled, closed, torn


def test_a_cancel_stops_before_the_next_token_and_keeps_what_was_said() -> None:
    engine, generator = scripted("a long reply")
    asked = threading.Event()
    pieces: list[str] = []
    steps = 0
    for item in generator.stream(PROMPT, settings(), cancelled=asked.is_set):
        if isinstance(item, Piece):
            pieces.append(item.text)
            if "".join(pieces) == "a lo":
                steps = len(engine.steps)
                asked.set()
    assert isinstance(item, Reply)
    assert (item.stop_reason, item.output_tokens) == ("cancelled", 5)
    assert item.text == "".join(pieces) == "a lon"  # with the letter that was held until the next one came
    assert len(engine.steps) == steps + 1  # the step that the loop was about to do, and none after it


def test_a_cancelled_reply_leaves_its_cache_to_the_next(long_llama: LlamaForCausalLM) -> None:
    kept, prompt = Kept(long_llama), some_ids(30)
    stream = kept.generator.stream(prompt, settings(), cancelled=lambda: len(said) >= 5)
    said: list[str] = []
    for item in stream:
        if isinstance(item, Piece):
            said.append(item.text)
    other = [*prompt, 5, 6]
    tokens, reply = kept.reply(other)
    assert tokens == theirs(long_llama, other) and reply.cached_tokens == 30


def test_a_cancel_acts_between_the_parts_of_a_long_prompt(long_llama: LlamaForCausalLM) -> None:
    kept, prompt = Kept(long_llama), some_ids(1500)
    asked = iter([False, False, True])
    *pieces, reply = kept.generator.stream(prompt, settings(), cancelled=lambda: next(asked))
    assert isinstance(reply, Reply) and not pieces
    assert (reply.stop_reason, reply.text, reply.output_tokens) == ("cancelled", "", 0)
    # What was computed of it counts the next time.
    said, reply = kept.reply(prompt)
    assert reply.cached_tokens == 1024
    assert said == theirs(long_llama, prompt)


def test_a_cancel_before_anything_computes_nothing() -> None:
    engine, generator = scripted("a")
    (reply,) = generator.stream(PROMPT, settings(), cancelled=lambda: True)
    assert isinstance(reply, Reply) and reply.stop_reason == "cancelled"
    assert engine.steps == []


def test_a_stream_closed_early_leaves_the_generator_usable(long_llama: LlamaForCausalLM) -> None:
    kept, prompt = Kept(long_llama), some_ids(30)
    stream = kept.generator.stream(prompt, settings())
    list(islice(stream, 3))
    stream.close()
    assert kept.reply(prompt)[0] == theirs(long_llama, prompt)


class Flaky(TransformersEngine):
    """The real engine, whose steps end in an error halfway: some layers have the new token, some have not."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__(model)
        self.error: BaseException | None = None
        model.model.layers[1].register_forward_hook(self._hook)

    def _hook(self, *_: object) -> None:
        if self.error is not None:
            error, self.error = self.error, None
            raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("broken"), RuntimeError("broken")], ids=repr)
@pytest.mark.parametrize("step", [0, 4])
def test_a_step_torn_apart_leaves_the_next_reply_right(error: BaseException, step: int) -> None:
    model = networks.llama(**SIZES)
    engine = Flaky(model)
    generator = Generator(engine, Speech(ascii_text, frozenset(), 2048))
    prompt = some_ids(30)
    if step == 0:
        engine.error = error
    with pytest.raises(type(error)):
        for item in generator.stream(prompt, settings()):
            if isinstance(item, Piece) and step:
                step -= 1
                engine.error = error if step == 0 else None
    *_, reply = generator.stream([*prompt, 9], settings())
    assert isinstance(reply, Reply)
    assert list(map(ord, reply.text)) == theirs(model, [*prompt, 9])
    assert reply.cached_tokens == 0


@pytest.mark.parametrize(
    "text", ["DefaultCPUAllocator: can't allocate memory: you tried to allocate", "not enough memory: you tried"]
)
def test_full_memory_is_said_in_our_words(text: str) -> None:
    def fail() -> None:
        raise RuntimeError(text)

    _, generator = scripted("a", at={0: fail})
    with pytest.raises(DeviceError, match="Not enough memory"):
        list(generator.stream(PROMPT, settings()))


def test_the_allocator_s_own_words_are_known() -> None:
    def fail() -> None:
        torch.empty(10**16)

    _, generator = scripted("a", at={0: fail})
    with pytest.raises(DeviceError):
        list(generator.stream(PROMPT, settings()))


def test_two_hundred_replies_take_no_memory_along(long_llama: LlamaForCausalLM) -> None:
    kept = Kept(long_llama)

    def talk(replies: int) -> None:
        for number in range(replies):
            kept.reply(some_ids(100, seed=number), max_tokens=8)

    talk(40)  # the first ones fill pools that are kept
    gc.collect()
    before = psutil.Process().memory_info().rss
    talk(200)
    gc.collect()
    assert psutil.Process().memory_info().rss - before < 8_000_000


def test_pieces_come_while_the_reply_is_made() -> None:
    engine, generator = scripted("abcdef")

    def steps_at_each_piece() -> Iterator[int]:
        for item in generator.stream(PROMPT, settings()):
            if isinstance(item, Piece):
                yield len(engine.steps)

    assert list(steps_at_each_piece()) == [2, 3, 4, 5, 6, 7]
