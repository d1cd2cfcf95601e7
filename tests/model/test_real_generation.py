"""The default model itself, in fp32: token for token what transformers' `generate` gives, however it is computed."""

import re
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import takewhile

import pytest
import torch

from shammah.config import GenerationSettings
from shammah.model.batching import BatchGenerator
from shammah.model.engine import TransformersEngine
from shammah.model.generation import Generator, Speech
from shammah.model.loading import LoadedModel
from shammah.records import Message, Piece, Reply

pytestmark = pytest.mark.real_model

TOKENS = 64
GREEDY = GenerationSettings(temperature=0.0, max_tokens=TOKENS)
PROMPTS = [
    "How do I read a file in Python?",
    "Hi!",
    "Explain what a prime number is to a child of ten.",
    "Write a haiku about rain.",
    "What is the capital of France?",
    "List five uses for an old newspaper.",
    "Translate 'good morning' into Spanish, French and German.",
    "Summarise in one sentence: the cat, which had slept all day on the sofa in the sun, woke up, stretched, walked "
    "to the kitchen, found its bowl empty, and complained about it at length until somebody came and filled it.",
    "Why is the sky blue?",
    "def fibonacci(n):",
    "Tell me a joke about a computer.",
    "How many legs has a spider?",
    "What should I cook tonight with rice, eggs and spinach? I have twenty minutes and one pan.",
    "Was ist eine Wärmepumpe?",
    "日本の首都はどこですか。",
    "Give me a regular expression that matches an e-mail address, and explain each part of it.",
    "2 + 2 =",
    "Write a short letter of complaint about a parcel that came late and broken.",
    "What is the difference between a list and a tuple?",
    "Describe the colour red without naming it. 🙂",
]
# A family of tokens that no tokenizer has: every id is one character, so that texts can be compared as tokens.
FIRST_CHARACTER = 0x10000


def tokens_of(text: str) -> list[int]:
    return [ord(character) - FIRST_CHARACTER for character in text]


def as_characters(ids: Sequence[int]) -> str:
    return "".join(chr(id + FIRST_CHARACTER) for id in ids)


@pytest.fixture(scope="module")
def loaded(real_loaded: LoadedModel) -> LoadedModel:
    return real_loaded


@pytest.fixture(scope="module")
def speech(loaded: LoadedModel) -> Speech:
    return Speech(as_characters, loaded.speech.end_tokens, loaded.speech.window)


@pytest.fixture(scope="module")
def prompts(loaded: LoadedModel) -> list[list[int]]:
    return [loaded.format.encode([Message("user", text)]) for text in PROMPTS]


@dataclass(frozen=True, slots=True)
class Reference:
    """The greedy replies of transformers' own `generate`."""

    loaded: LoadedModel

    def require(self, prompts: Sequence[Sequence[int]], replies: Sequence[Reply]) -> None:
        """All at once, which takes a tenth of the time. Where two tokens are nearly equal `generate` itself may take
        the other one in a batch: the prompt alone decides then."""
        for prompt, reply, theirs in zip(prompts, replies, self._generate(prompts), strict=True):
            ours = tokens_of(reply.text)
            assert ours == theirs or [ours] == self._generate([prompt])

    def _generate(self, prompts: Sequence[Sequence[int]]) -> list[list[int]]:
        longest, end = max(map(len, prompts)), self.loaded.speech.end_tokens
        filler = [[min(end)] * (longest - len(prompt)) for prompt in prompts]
        ids = torch.tensor([[*left, *prompt] for left, prompt in zip(filler, prompts, strict=True)])
        mask = torch.tensor([[0] * len(left) + [1] * (longest - len(left)) for left in filler])
        output = self.loaded.network.generate(ids, attention_mask=mask, do_sample=False, max_new_tokens=TOKENS)
        return [list(takewhile(lambda token: token not in end, row)) for row in output[:, longest:].tolist()]


@pytest.fixture(scope="module")
def reference(loaded: LoadedModel) -> Reference:
    return Reference(loaded)


def single(generator: Generator, prompt: Sequence[int], tokens: int = TOKENS) -> Reply:
    *_, reply = generator.stream(prompt, replace(GREEDY, max_tokens=tokens))
    assert isinstance(reply, Reply)
    return reply


def test_single_replies_are_those_of_generate(
    loaded: LoadedModel, speech: Speech, prompts: list[list[int]], reference: Reference
) -> None:
    """Every other one: a batch has all of them, and what comes after other turns the rest."""
    engine, prompts = TransformersEngine(loaded.network), prompts[::2]
    reference.require(prompts, [single(Generator(engine, speech), prompt) for prompt in prompts])


def test_one_batch_of_uneven_prompts_gives_those_of_generate(
    loaded: LoadedModel, speech: Speech, prompts: list[list[int]], reference: Reference
) -> None:
    batch = BatchGenerator(TransformersEngine(loaded.network), speech)
    replies = dict(batch.replies(prompts, GREEDY, rows=len(prompts)))
    assert len({len(prompt) for prompt in prompts}) > 10
    reference.require(prompts, [replies[index] for index in range(len(prompts))])


def test_third_turns_with_the_reused_cache_give_those_of_generate(
    loaded: LoadedModel, speech: Speech, reference: Reference
) -> None:
    generator = Generator(TransformersEngine(loaded.network), speech)
    prompts, replies = [], []
    for number in range(1, len(PROMPTS), 2):
        messages: list[Message] = []
        for turn in range(3):
            messages.append(Message("user", PROMPTS[(number + turn - 2) % len(PROMPTS)]))
            prompt = loaded.format.encode(messages)
            # The third turn is the one that is compared: the two before it may be short.
            reply = single(generator, prompt, TOKENS if turn == 2 else 12)
            messages.append(Message("assistant", loaded.format.decode(tokens_of(reply.text))))
        assert reply.cached_tokens > reply.input_tokens // 2
        prompts.append(prompt)
        replies.append(reply)
    reference.require(prompts, replies)


def test_as_shipped_it_mostly_tells_how_to_read_a_file(loaded: LoadedModel) -> None:
    """Three of the first six seeds do; a reply is left as soon as it does."""
    generator = Generator(TransformersEngine(loaded.network), loaded.speech)
    prompt = loaded.format.encode([Message("user", "How do I read a file in Python?")])
    told: list[str] = []
    for seed in range(6):
        text = ""
        settings = GenerationSettings(seed=seed, max_tokens=250)
        with closing(generator.stream(prompt, settings)) as stream:
            for piece in stream:
                text += piece.text if isinstance(piece, Piece) else ""
                if re.search(r"(with|=) open\(.*\.read|for line in", text, re.DOTALL):
                    told.append(text)
                    break
        if len(told) == 3:
            break
    assert len(told) == 3, told


def test_it_tells_how_to_read_a_file(loaded: LoadedModel) -> None:
    generator = Generator(TransformersEngine(loaded.network), loaded.speech)
    prompt = loaded.format.encode([Message("user", "How do I read a file in Python?")])
    *pieces, reply = generator.stream(prompt, replace(GREEDY, max_tokens=200))
    assert isinstance(reply, Reply)
    assert "open(" in reply.text
    assert "".join(piece.text for piece in pieces if isinstance(piece, Piece)) == reply.text
