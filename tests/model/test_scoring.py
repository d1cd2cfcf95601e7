"""Log probabilities of replies: those of transformers' own logits, alone or beside a reply that is being streamed."""

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import takewhile
from pathlib import Path

import pytest
import torch
from support.networks import mistral
from transformers import GPT2Config, GPT2LMHeadModel

from shammah.config import GenerationSettings
from shammah.errors import PromptTooLong
from shammah.model.chat_model import ChatModel
from shammah.model.device import Compute
from shammah.model.engine import TransformersEngine
from shammah.model.loading import LoadedModel, load
from shammah.model.scoring import mean_log_probability
from shammah.records import Message, Reply

GREEDY = GenerationSettings(temperature=0.0, max_tokens=24)
TALK = [Message("system", "Be kind."), Message("user", "Hi"), Message("assistant", "Hello!"), Message("user", "Why?")]


@pytest.fixture
def model(loaded: LoadedModel) -> ChatModel:
    return ChatModel("tiny", loaded)


@torch.inference_mode()
def by_the_library(loaded: LoadedModel, prompt: list[int], reply: list[int], ends: frozenset[int]) -> float:
    """From the logits of the whole text, one token after the other."""
    ids = [*prompt, *reply]
    probabilities = torch.softmax(loaded.network(torch.tensor([ids]), use_cache=False).logits[0].double(), dim=-1)
    said = [probabilities[at - 1, ids[at]].log().item() for at in range(len(prompt), len(ids))]
    if ends:
        said.append(math.log(sum(probabilities[-1, end].item() for end in ends)))
    return sum(said) / len(said)


@pytest.mark.parametrize("text", ["Because.", "", "x", "Line one\nline two, äöü 🙂", "word " * 60])
def test_it_is_the_mean_over_the_reply_s_tokens_and_its_end(loaded: LoadedModel, model: ChatModel, text: str) -> None:
    prompt, reply = loaded.format.encode(TALK), loaded.format.tokens(text)
    expected = by_the_library(loaded, prompt, reply, loaded.speech.end_tokens)
    assert model.log_probability(TALK, text) == pytest.approx(expected, abs=1e-5)


def test_the_tokens_are_those_that_the_template_itself_would_write(loaded: LoadedModel) -> None:
    """Prompt, reply, end: what a later turn shows the model is what was scored."""
    text = "Because it is so.\n\nReally!"
    later = loaded.format.encode([*TALK, Message("assistant", text), Message("user", "Ah")])
    scored = [*loaded.format.encode(TALK), *loaded.format.tokens(text)]
    assert later[: len(scored)] == scored and later[len(scored)] in loaded.speech.end_tokens


def test_any_of_several_end_tokens_ends_a_reply(loaded: LoadedModel) -> None:
    engine = TransformersEngine(loaded.network)
    prompt, reply = loaded.format.encode(TALK), loaded.format.tokens("So.")
    for ends in (frozenset({2}), frozenset({1, 2, 9}), frozenset()):
        expected = by_the_library(loaded, prompt, reply, ends)
        assert mean_log_probability(engine, prompt, reply, ends) == pytest.approx(expected, abs=1e-5)


def test_long_replies_are_scored_in_parts(loaded: LoadedModel) -> None:
    engine = TransformersEngine(loaded.network)
    prompt, reply = loaded.format.encode(TALK), [n % 200 + 3 for n in range(300)]
    expected = by_the_library(loaded, prompt, reply, frozenset({2}))
    assert mean_log_probability(engine, prompt, reply, {2}) == pytest.approx(expected, abs=1e-5)


def test_nothing_to_score_is_a_mistake_of_the_caller(loaded: LoadedModel) -> None:
    engine = TransformersEngine(loaded.network)
    with pytest.raises(ValueError, match="nothing"):
        mean_log_probability(engine, [4, 5], [], ())
    with pytest.raises(ValueError, match="no prompt"):
        mean_log_probability(engine, [], [4], ())


def test_what_the_model_says_itself_is_likelier_than_what_it_does_not(model: ChatModel) -> None:
    prompt = model.encode(TALK)
    *_, reply = model.reply(prompt, GREEDY)
    assert isinstance(reply, Reply)
    others = ["Because.", "zzzz qqqq", "The quick brown fox"]
    assert model.log_probability(TALK, reply.text) > max(model.log_probability(TALK, other) for other in others)


def test_the_order_of_questions_does_not_matter(model: ChatModel) -> None:
    texts = ["Because.", "", "Since it is so, and so on.", "No"]
    forward = {text: model.log_probability(TALK, text) for text in texts}
    backward = {text: model.log_probability(TALK, text) for text in reversed(texts)}
    assert forward == backward
    assert len(set(forward.values())) == len(texts)


def test_a_model_in_half_precision_scores_nearly_the_same(tiny_model: Path, model: ChatModel) -> None:
    half = ChatModel("half", load(tiny_model, Compute("cpu", "bfloat16", 2, "", {})))
    for text in ("Because.", "word " * 40):
        assert half.log_probability(TALK, text) == pytest.approx(model.log_probability(TALK, text), rel=0.02)


class Coarse:
    """An engine whose logits are the same few numbers in bfloat16, whatever it is asked."""

    device = torch.device("cpu")
    row = torch.tensor([0.5, -1.25, 3.0, 0.0], dtype=torch.bfloat16)

    def logits(self, ids: torch.Tensor, last: int) -> torch.Tensor:
        return self.row.expand(last, 4)


def test_nothing_is_rounded_to_the_model_s_own_precision() -> None:
    exact = torch.log_softmax(Coarse.row.double(), dim=-1)
    expected = float(exact[1] + exact[3] + exact[2]) / 3
    assert mean_log_probability(Coarse(), [0], [1, 3], {2}) == pytest.approx(expected, abs=1e-6)


def test_the_chat_goes_on_from_its_cache_as_if_nothing_had_been_scored(loaded: LoadedModel) -> None:
    def second(*, scoring: bool) -> Reply:
        model = ChatModel("tiny", loaded)
        *_, first = model.reply(model.encode(TALK), GREEDY)
        assert isinstance(first, Reply)
        if scoring:
            model.log_probability(TALK, "Something else.")
            model.log_probability(TALK[1:], "And another thing, at some length.")
        more = [*TALK, Message("assistant", first.text), Message("user", "And?")]
        *_, reply = model.reply(model.encode(more), GREEDY)
        assert isinstance(reply, Reply)
        return replace(reply, first_token_ms=0, duration_ms=0)

    assert second(scoring=True) == second(scoring=False)
    assert second(scoring=True).cached_tokens > len(loaded.format.encode(TALK)) - 2


def test_it_may_run_in_the_midst_of_a_reply_of_another_thread(model: ChatModel) -> None:
    settings = replace(GREEDY, max_tokens=150)
    prompt = model.encode(TALK)
    alone = [item.text for item in model.reply(prompt, settings)]
    value = model.log_probability(TALK, "Because it is so.")
    with ThreadPoolExecutor(1) as pool:
        texts: list[str] = []
        for number, item in enumerate(model.reply(prompt, settings)):
            texts.append(item.text)
            if number % 20 == 3:
                assert pool.submit(model.log_probability, TALK, "Because it is so.").result(timeout=60) == value
    assert texts == alone and len(texts) > 20


def test_what_does_not_fit_the_window_any_more_is_left_out(tiny_model: Path) -> None:
    loaded = load(tiny_model, Compute("cpu", "float32", 2, "", {}), context=80)
    model = ChatModel("tiny", loaded)
    prompt = model.encode(TALK)
    room = 80 - len(prompt)
    text = "abcdefghij" * 20
    expected = by_the_library(loaded, prompt, loaded.format.tokens(text)[:room], frozenset())
    assert 0 < room < 60 and model.log_probability(TALK, text) == pytest.approx(expected, abs=1e-5)
    with pytest.raises(PromptTooLong, match="80"):
        model.log_probability([Message("user", "long " * 40)], "Yes")


@pytest.mark.parametrize("kind", ["gpt2", "mistral"])
def test_learned_positions_and_sliding_windows_are_the_library_s_own(kind: str) -> None:
    torch.manual_seed(5)
    small = {"vocab_size": 60, "pad_token_id": 0, "initializer_range": 0.3}
    network = (
        GPT2LMHeadModel(GPT2Config(**small, n_positions=64, n_embd=32, n_layer=2, n_head=4))
        if kind == "gpt2"
        else mistral(8, vocab_size=60, pad_token_id=0)
    ).eval()
    prompt, reply = [n * 7 % 50 + 3 for n in range(30)], [n * 5 % 50 + 3 for n in range(20)]
    with torch.inference_mode():
        logits = network(torch.tensor([[*prompt, *reply]]), use_cache=False).logits[0].log_softmax(-1)
    expected = sum(float(logits[29 + at, token]) for at, token in enumerate(reply)) / len(reply)
    assert mean_log_probability(TransformersEngine(network), prompt, reply, ()) == pytest.approx(expected, abs=1e-5)


def test_logits_are_computed_for_the_last_tokens_only(loaded: LoadedModel) -> None:
    logits = TransformersEngine(loaded.network).logits(torch.tensor([5, 6, 7, 8]), 2)
    assert logits.shape == (2, loaded.network.config.vocab_size) and logits.is_inference()


@pytest.mark.real_model
@pytest.mark.parametrize(
    "question",
    [
        "What is the capital of France?",
        "How do I read a file in Python?",
        "Was ist eine Wärmepumpe?",
        "Name three planets.",
    ],
)
def test_the_tokens_of_a_reply_are_those_that_were_generated(real_loaded: LoadedModel, question: str) -> None:
    prompt = real_loaded.format.encode([Message("user", question)])
    output = real_loaded.network.generate(torch.tensor([prompt]), do_sample=False, max_new_tokens=60)[
        0, len(prompt) :
    ].tolist()
    generated = list(takewhile(lambda token: token not in real_loaded.speech.end_tokens, output))
    assert real_loaded.format.tokens(real_loaded.format.decode(generated)) == generated


@pytest.mark.real_model
def test_a_note_makes_the_reply_it_speaks_of_likelier(real_loaded: LoadedModel) -> None:
    model = ChatModel("real", real_loaded)
    question = "What port does the staging server use?"
    noted = [Message("user", f"Staging uses port 8443.\n\n{question}")]
    plain = [Message("user", question)]
    told = "The staging server uses port 8443."
    assert model.log_probability(noted, told) > model.log_probability(plain, told) + 0.2
    assert model.log_probability(plain, told) > model.log_probability(plain, "Port staging 8443 8443 the the the.")
