"""The default model itself, in fp32: token for token what transformers' `generate` gives, however it is computed."""

import re
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
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
    """The greedy replies of transformers' own `generate`, each computed once."""

    loaded: LoadedModel
    _together: dict[tuple[int, ...], list[int]] = field(default_factory=dict)
    _alone: dict[tuple[int, ...], list[int]] = field(default_factory=dict)

    def require(self, prompts: Sequence[Sequence[int]], replies: Sequence[Reply]) -> None:
        """All at once, which takes a tenth of the time. Where two tokens are nearly equal `generate` itself may take
        the other one in a batch: the prompt alone decides then."""
        asked = [tuple(prompt) for prompt in prompts]
        if new := [prompt for prompt in asked if prompt not in self._together]:
            self._together.update(zip(new, self._generate(new), strict=True))
        for prompt, reply in zip(asked, replies, strict=True):
            ours = tokens_of(reply.text)
            if ours != self._together[prompt]:
                assert ours == self._to_it_alone(prompt)

    def _to_it_alone(self, prompt: tuple[int, ...]) -> list[int]:
        if prompt not in self._alone:
            (self._alone[prompt],) = self._generate([prompt])
        return self._alone[prompt]

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


def test_one_batch_of_uneven_prompts_gives_those_of_generate(
    loaded: LoadedModel, speech: Speech, prompts: list[list[int]], reference: Reference
) -> None:
    batch = BatchGenerator(TransformersEngine(loaded.network), speech)
    replies = dict(batch.replies(prompts, GREEDY, rows=len(prompts)))
    assert len({len(prompt) for prompt in prompts}) > 10
    reference.require(prompts, [replies[index] for index in range(len(prompts))])


def test_first_turns_and_third_ones_with_the_reused_cache_give_those_of_generate(
    loaded: LoadedModel, speech: Speech, reference: Reference
) -> None:
    """Every prompt is asked alone: half of them begin a conversation, which ends with one of the others."""
    generator = Generator(TransformersEngine(loaded.network), speech)
    prompts: dict[int, list[list[int]]] = {0: [], 2: []}
    replies: dict[int, list[Reply]] = {0: [], 2: []}
    for number in range(0, len(PROMPTS), 2):
        messages: list[Message] = []
        for turn, question in enumerate((PROMPTS[number], "Go on.", PROMPTS[number + 1])):
            messages.append(Message("user", question))
            prompt = loaded.format.encode(messages)
            # The second turn is not compared: it may be short.
            reply = single(generator, prompt, TOKENS if turn in prompts else 4)
            messages.append(Message("assistant", loaded.format.decode(tokens_of(reply.text))))
            if turn in prompts:
                prompts[turn].append(prompt)
                replies[turn].append(reply)
        assert reply.cached_tokens > reply.input_tokens // 2
    for turn in prompts:
        reference.require(prompts[turn], replies[turn])


def test_as_shipped_it_mostly_tells_how_to_read_a_file(loaded: LoadedModel) -> None:
    """Two of the first three seeds do, soon; a reply is left as soon as it does."""
    generator = Generator(TransformersEngine(loaded.network), loaded.speech)
    prompt = loaded.format.encode([Message("user", "How do I read a file in Python?")])
    told: list[str] = []
    for seed in range(3):
        text = ""
        settings = GenerationSettings(seed=seed, max_tokens=100)
        with closing(generator.stream(prompt, settings)) as stream:
            for piece in stream:
                text += piece.text if isinstance(piece, Piece) else ""
                if re.search(r"(with|=) open\(.*\.read|for line in", text, re.DOTALL):
                    told.append(text)
                    break
        if len(told) == 2:
            break
    assert len(told) == 2, told


def test_it_tells_how_to_read_a_file(loaded: LoadedModel) -> None:
    generator = Generator(TransformersEngine(loaded.network), loaded.speech)
    prompt = loaded.format.encode([Message("user", "How do I read a file in Python?")])
    *pieces, reply = generator.stream(prompt, replace(GREEDY, max_tokens=50))
    assert isinstance(reply, Reply)
    assert "open(" in reply.text
    assert "".join(piece.text for piece in pieces if isinstance(piece, Piece)) == reply.text
