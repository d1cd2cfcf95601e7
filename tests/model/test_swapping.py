"""Another voice in a model that runs: between two replies, while one streams, two hundred times."""

import gc
import weakref
from itertools import cycle, islice
from statistics import median
from threading import Thread
from time import perf_counter

import pytest
import torch
from support.peft_folders import save_adapter

from shammah.config import GenerationSettings
from shammah.model.adapted import adapted
from shammah.model.chat_model import ChatModel
from shammah.model.device import Compute
from shammah.model.loading import load
from shammah.model.speaking import Voice
from shammah.records import Message, Piece, Reply

pytestmark = pytest.mark.usefixtures("one_thread")
GREEDY = GenerationSettings(temperature=0, max_tokens=40, stop_loops=False)
SWAPS = 200
ASKED = (Message("user", "What is it that you see?"),)


@pytest.fixture(scope="module")
def folders(tiny_model, tmp_path_factory):
    """Two adapters that speak otherwise than the base, and than each other."""
    made = {}
    for name, seed in (("first", 3), ("second", 4)):
        folder = tmp_path_factory.mktemp("adapters") / name
        made[name] = save_adapter(load_tiny(tiny_model).network, folder, seed=seed, by=0.5)
    return made


def load_tiny(folder):
    return load(folder, Compute("cpu", "float32", 1, "", {}))


@pytest.fixture
def model(tiny_model):
    return ChatModel("tiny", load_tiny(tiny_model))


@pytest.fixture
def take_up(model, folders):
    """Have one of the adapters speak; None is the base."""

    def take_up(name):
        model.speak_as(voice_of(model, folders, name))
        return model.voice

    return take_up


def voice_of(model, folders, name):
    if name is None:
        return model.base_voice()
    return Voice(adapted(model.loaded.network, folders[name]), model.loaded.speech, name)


@pytest.fixture(scope="module")
def fresh(tiny_model, folders):
    """What each says in a process of its own, as far as that can be had here: on a model that nobody else used."""

    def say(name):
        model = ChatModel("tiny", load_tiny(tiny_model))
        return whole(model.reply(model.encode(ASKED), GREEDY, voice=voice_of(model, folders, name)))

    said = {name: say(name) for name in (None, *folders)}
    beginnings = {reply.text[:3] for reply in said.values()}
    assert len(beginnings) == 3, "a reply of two voices would look like that of one"
    return {name: reply.text for name, reply in said.items()}


def whole(stream):
    *_, reply = stream
    assert isinstance(reply, Reply)
    return reply


def ask(model, **changes):
    return model.reply(model.encode(ASKED), GREEDY, **changes)


def test_each_says_what_it_says_in_a_process_of_its_own(model, take_up, fresh):
    for name in ("first", None, "second", "first", "second", None):
        take_up(name)
        assert (model.adapter, whole(ask(model)).text) == (name, fresh[name])


def test_a_reply_keeps_its_voice_to_its_last_token(model, take_up, fresh):
    take_up("first")
    stream = ask(model)
    begun = "".join(piece.text for piece in islice(stream, 5))
    take_up("second")
    rest = whole(stream).text
    assert rest == fresh["first"] and rest.startswith(begun)
    assert whole(ask(model)).text == fresh["second"]


def test_many_at_once_keep_theirs(model, take_up, fresh):
    take_up("first")
    prompts = [model.encode(ASKED)] * 3
    stream = model.replies(prompts, GREEDY, rows=1)
    said = [next(stream)[1].text]
    take_up("second")
    said += [reply.text for _, reply in stream]
    assert said == [fresh["first"]] * 3


def test_what_was_computed_for_one_is_not_used_for_another(model, take_up, fresh):
    take_up("first")
    assert whole(ask(model)).cached_tokens == 0
    again = whole(ask(model))
    assert again.cached_tokens == again.input_tokens - 1, "its own is used"
    for name in ("second", None, "first"):
        take_up(name)
        reply = whole(ask(model))
        assert (reply.cached_tokens, reply.text) == (0, fresh[name])


def test_one_may_reply_once_without_being_the_one_that_speaks(model, take_up, folders, fresh):
    mine = take_up("first")
    whole(ask(model))
    for name in (None, "second"):
        assert whole(ask(model, voice=voice_of(model, folders, name))).text == fresh[name]
    assert model.voice is mine
    reply = whole(ask(model))
    assert reply.text == fresh["first"] and reply.cached_tokens == reply.input_tokens - 1


def test_two_speak_at_once(model, take_up, folders, fresh):
    take_up("first")
    one, other = ask(model), ask(model, voice=voice_of(model, folders, "second"))
    said = {"first": [], "second": []}
    for name, stream in islice(cycle({"first": one, "second": other}.items()), 60):
        said[name] += [piece.text for piece in islice(stream, 1) if isinstance(piece, Piece)]
    assert fresh["first"].startswith("".join(said["first"])) and fresh["second"].startswith("".join(said["second"]))
    assert all(len(pieces) > 20 for pieces in said.values())


class TestFreeing:
    @pytest.fixture(autouse=True)
    def without_the_collector(self):
        """What is freed only now and then would be held just when memory is short."""
        gc.collect()
        gc.disable()
        yield
        gc.enable()

    def parts(self, voice):
        tensors = [t for name, t in voice.network.named_buffers() if name.endswith((".up", ".down"))]
        assert len(tensors) > 20
        return [weakref.ref(part) for part in (voice, voice.network, voice.generator, *tensors)]

    def test_the_old_one_goes_when_another_speaks(self, model, take_up):
        parts = self.parts(take_up("first"))
        whole(ask(model))
        take_up("second")
        assert not any(part() for part in parts)

    def test_but_not_while_it_speaks(self, model, take_up, fresh):
        parts = self.parts(take_up("first"))
        stream = ask(model)
        next(stream)
        take_up("second")
        assert all(part() is not None for part in parts)
        assert whole(stream).text == fresh["first"]
        del stream
        assert not any(part() for part in parts)

    def test_nor_does_one_that_could_not_be_made_stay(self, model, take_up, folders, tmp_path):
        before = len(tensors())
        for _ in range(3):
            with pytest.raises(Exception, match="damaged|cannot be"):
                adapted(model.loaded.network, tmp_path)
        assert len(tensors()) == before


def tensors():
    return [each for each in gc.get_objects() if issubclass(type(each), torch.Tensor)]


def test_two_hundred_swaps_while_replies_stream(model, take_up, folders, fresh):
    take_up("first")
    whole(ask(model))
    gc.collect()
    before, voices = len(tensors()), [weakref.ref(model.voice)]
    failures = []

    def swap():
        try:
            for name in islice(cycle(("second", None, "first")), SWAPS):
                voices.append(weakref.ref(take_up(name)))
        except BaseException as error:
            failures.append(error)
            raise

    swapping = Thread(target=swap)
    swapping.start()
    replies = []
    while swapping.is_alive() or len(replies) < 20:
        replies.append(whole(ask(model)).text)
    swapping.join()
    assert not failures
    assert set(replies) <= set(fresh.values()), "a reply that no single voice gives"
    assert len(set(replies)) > 1, "nothing was swapped while it spoke"
    assert whole(ask(model)).text == fresh[model.adapter]
    gc.collect()
    assert [voice() for voice in voices if voice()] == [model.voice] and len(voices) == SWAPS + 1
    take_up("first")
    whole(ask(model))
    gc.collect()
    assert abs(len(tensors()) - before) < 5


@pytest.mark.real_model
def test_a_swap_of_the_default_model_is_short_and_speaks_as_a_fresh_one(real_model, tmp_path):
    """In the format that it chats in, with an adapter of the shape that it is trained with."""
    compute = Compute("cpu", "bfloat16", 1, "", {})
    folder = save_adapter(load(real_model, compute).network, tmp_path / "first", r=8, by=0.1)
    model = ChatModel("real", load(real_model, compute))
    greedy = GenerationSettings(temperature=0, max_tokens=12)
    prompt = model.encode(ASKED)

    def voice():
        return Voice(adapted(model.loaded.network, folder), model.loaded.speech, "first")

    before = whole(model.reply(prompt, greedy)).text
    expected = whole(model.reply(prompt, greedy, voice=voice())).text
    assert before != expected
    seconds = []
    for _ in range(5):
        begun = perf_counter()
        model.speak_as(voice())
        seconds.append(perf_counter() - begun)
        assert whole(model.reply(prompt, greedy)).text == expected
    model.speak_as(model.base_voice())
    assert whole(model.reply(prompt, greedy)).text == before
    # benchmarks/swapping.py measures; this only tells a tenth of a second from several.
    assert median(seconds) < 1, seconds
