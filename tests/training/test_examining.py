"""The voices that are judged, against the same computed the plain way."""

import math
from dataclasses import replace

import pytest
import torch
from support.small_runs import run

from shammah.config import GenerationSettings
from shammah.errors import AdapterDamaged, TrainingCancelled
from shammah.judging.general import GENERAL
from shammah.model.adapted import adapted
from shammah.model.chat_model import ChatModel
from shammah.records import Message
from shammah.training import examining
from shammah.training.attempt import Base
from shammah.training.control import Control
from shammah.training.courtesy import Courtesy
from shammah.training.examining import Examiner
from shammah.training.fitting import Limits

pytestmark = pytest.mark.usefixtures("one_thread")
QUESTION = (Message("system", "Be brief."), Message("user", "What is A?"))
EXCHANGES = [(QUESTION, "It is A."), ((Message("user", "And what is B, then?"),), "B, I think, is what it is.")]


@pytest.fixture
def learned(an_app, teach):
    """A home, its base, and the folder of an adapter for it."""
    app = an_app()
    teach(app)
    folder = app.home.adapters / run(app).adapter
    return app, Base("model", app.load_model().loaded, "ba5e"), folder


@pytest.fixture
def an_examiner(learned, tmp_path):
    def make(courtesy=None, computed=lambda rows: None):
        app, base, _ = learned
        courtesy = courtesy or Courtesy(app.right_of_way, Control(), torch.device("cpu"))
        return Examiner(base, courtesy, tmp_path / "books", computed)

    return make


def log_probabilities(network, format, messages, reply):
    """Of each token of the reply, and of the one that ends it."""
    prompt = format.encode(messages)
    said = [*format.tokens(reply), *format.tokens("<|im_end|>")]
    with torch.no_grad():
        logits = network(torch.tensor([[*prompt, *said]])).logits[0].log_softmax(-1)
    return torch.stack([logits[len(prompt) - 1 + place] for place in range(len(said))]), said


def mean(network, format, messages, reply):
    found, said = log_probabilities(network, format, messages, reply)
    return float(sum(found[place, token] for place, token in enumerate(said)) / len(said))


class TestTheSameAsComputedPlainly:
    @pytest.fixture(params=["base", "adapter", "half of it"])
    def both(self, request, learned, an_examiner):
        """A voice, and the network that answers so in a chat."""
        _, base, folder = learned
        network, strength = base.loaded.network, 0.5 if request.param == "half of it" else 1.0
        if request.param != "base":
            network = adapted(network, folder, strength=strength)
        with an_examiner().voice(None if request.param == "base" else folder, strength) as voice:
            yield voice, network, base.loaded

    def test_how_likely_replies_are(self, both):
        voice, network, loaded = both
        expected = [mean(network, loaded.format, *exchange) for exchange in EXCHANGES]
        assert voice.log_probabilities(EXCHANGES) == pytest.approx(expected, abs=1e-4)
        assert voice.log_probabilities([*EXCHANGES, EXCHANGES[0]])[2] == pytest.approx(expected[0], abs=1e-4)

    def test_what_it_says(self, both):
        voice, network, loaded = both
        plain = ChatModel("it", replace(loaded, network=network))
        how = GenerationSettings(temperature=0.0, max_tokens=12)
        prompts = [QUESTION, *((Message("user", prompt),) for prompt in GENERAL[:2])]
        expected = [list(plain.reply(plain.encode(prompt), how))[-1].text for prompt in prompts]
        assert [reply.text for reply in voice.replies(prompts, 12)] == expected

    def test_how_surprising_prose_is(self, both):
        voice, network, loaded = both
        text = "The ferry left before dawn."
        ids = torch.tensor([loaded.format.tokens(text)])
        with torch.no_grad():
            logits = network(ids).logits[0].log_softmax(-1)
        losses = [-float(logits[place, ids[0, place + 1]]) for place in range(ids.shape[1] - 1)]
        assert voice.perplexity([text]) == pytest.approx(math.exp(sum(losses) / len(losses)), rel=1e-3)

    def test_how_far_it_is_from_the_base(self, both):
        voice, network, loaded = both
        apart = []
        for exchange in EXCHANGES:
            base, _ = log_probabilities(loaded.network, loaded.format, *exchange)
            this, _ = log_probabilities(network, loaded.format, *exchange)
            apart.append((base.exp() * (base - this)).sum(-1))
        assert voice.drift(EXCHANGES) == pytest.approx(float(torch.cat(apart).mean()), abs=1e-4)
        assert (voice.drift(EXCHANGES) > 0.001) == (network is not loaded.network)

    def test_how_fast_it_is(self, both):
        assert 1 < both[0].tokens_per_second() < 1e6


def test_where_memory_runs_out_it_is_computed_in_smaller_parts(learned, an_examiner, monkeypatch):
    _, _, folder = learned
    with an_examiner().voice(folder) as voice:
        expected, sizes = voice.log_probabilities(EXCHANGES), []
        own = voice._losses

        def short_of_memory(rows):
            sizes.append(len(rows))
            if len(rows) > 1:
                raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")
            return own(rows)

        monkeypatch.setattr(voice, "_losses", short_of_memory)
        assert voice.log_probabilities(EXCHANGES) == pytest.approx(expected, abs=1e-5)
        assert max(sizes) > 1 and voice._limits != examining._LIMITS == Limits(16, 512)


def test_what_does_not_fit_is_told(an_examiner):
    with an_examiner().voice() as voice:
        found = voice.log_probabilities([EXCHANGES[0], ((Message("user", "why " * 600),), "So.")])
    assert found[0] is not None and found[1] is None


def test_what_the_base_says_to_prompts_of_ours_is_asked_once_and_nothing_else_is_kept(an_examiner, tmp_path):
    computed = []
    prompts = [(Message("user", GENERAL[1]),), QUESTION, (Message("user", GENERAL[0]),)]
    with an_examiner().voice() as voice:
        first = voice.replies(prompts, 8)
    (book,) = (tmp_path / "books").iterdir()
    assert GENERAL[0] in book.read_text() and "What is A?" not in book.read_text()
    with an_examiner(computed=computed.append).voice() as voice:
        own = voice._replies
        voice._replies = lambda asked, most: own(asked, most) if asked == [QUESTION] else pytest.fail("asked again")
        again = voice.replies(prompts, 8)
    assert [reply.text for reply in again] == [reply.text for reply in first] and sum(computed) == len(prompts)
    assert [reply.stop_reason == "end" for reply in again] == [reply.stop_reason == "end" for reply in first]


def test_a_damaged_adapter_is_met_by_every_question(learned, an_examiner):
    _, _, folder = learned
    weights = folder / "adapter_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    with an_examiner().voice(folder) as voice:
        for ask in (voice.load, voice.tokens_per_second, lambda: voice.log_probabilities(EXCHANGES)):
            with pytest.raises(AdapterDamaged, match="not what was saved"):
                ask()


@pytest.mark.parametrize("ask", ["log_probabilities", "drift", "replies", "perplexity", "tokens_per_second"])
def test_it_stops_before_any_layer_where_it_is_told_to(learned, an_examiner, ask):
    app, _, folder = learned
    control = Control()
    asked = {
        "log_probabilities": (EXCHANGES,),
        "drift": (EXCHANGES,),
        "replies": ([QUESTION], 8),
        "perplexity": (GENERAL,),
    }
    with an_examiner(Courtesy(app.right_of_way, control, torch.device("cpu"))).voice(folder) as voice:
        voice.load()
        layers = []

        def computed(*_):
            layers.append(1)
            control.cancel()

        for layer in voice._learner.network.get_decoder().layers:
            layer.register_forward_hook(computed)
        with pytest.raises(TrainingCancelled):
            getattr(voice, ask)(*asked.get(ask, ()))
        assert len(layers) == 1
