"""The chat that runs follows the adapter in use, whoever took it into use, and whatever becomes of its folder."""

import shutil
import sqlite3
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from threading import Barrier, Thread

import pytest
import torch
from safetensors.torch import load, save
from support.standing_adapters import FIRST, SECOND, THIRD, put_silent, put_speaking

from shammah.adapters.bundle import CONFIG, MANIFEST, WEIGHTS, read_bundle, write_bundle
from shammah.config import Config, GenerationSettings
from shammah.deployment.live import LiveAdapter, Voices
from shammah.errors import AdapterError, AdapterMisfit
from shammah.events import Notice
from shammah.feedback.desk import Desk
from shammah.model import loading
from shammah.model.chat_model import ChatModel
from shammah.model.device import Compute
from shammah.records import Message, Turn
from shammah.session import Guidance, Memory, Session
from shammah.store import Examples
from shammah.store.activations import Activations
from shammah.store.audit import Audit
from shammah.store.database import Database
from shammah.store.rules import Rules

pytestmark = pytest.mark.usefixtures("one_thread")
GREEDY = GenerationSettings(temperature=0, max_tokens=24, stop_loops=False)
ASKED = (Message("user", "What is it that you see?"),)


@pytest.fixture
def base(tiny_model):
    return tiny_model.name


@pytest.fixture
def shelf(home, tiny_model):
    for version, name in enumerate((FIRST, SECOND), 1):
        put_speaking(home, tiny_model, name, version=version, seed=version)
    return home / "adapters"


@pytest.fixture
def loaded(tiny_model):
    return loading.load(tiny_model, Compute("cpu", "float32", 1, "", {}))


@pytest.fixture
def model(loaded):
    return ChatModel("tiny", loaded)


@pytest.fixture
def activations(database):
    return Activations(database)


@pytest.fixture
def audit(database):
    return Audit(database)


@pytest.fixture
def notices():
    return []


@pytest.fixture
def voices(shelf, base, tmp_path):
    return Voices(shelf, base=base, weights_cache=tmp_path / "cache")


@pytest.fixture
def start(voices, activations, audit, base, notices):
    """The program, as often as it starts."""
    return lambda: LiveAdapter(voices, activations, base=base, publish=notices.append, audit=audit)


@pytest.fixture
def live(start):
    return start()


@pytest.fixture
def take_up(activations, base):
    def take_up(adapter, **changes):
        return activations.activate(base, adapter, **{"actor": "user", **changes})

    return take_up


def says(model, **changes):
    *_, reply = model.reply(model.encode(ASKED), GREEDY, **changes)
    return reply.text


@pytest.fixture
def fresh(tiny_model, voices):
    """What each says on a model that nobody else used."""

    def say(adapter):
        loaded = loading.load(tiny_model, Compute("cpu", "float32", 1, "", {}))
        model = ChatModel("tiny", loaded)
        return says(model, voice=voices.voice(loaded, adapter) if adapter else None)

    return say


class TestFollowing:
    def test_nothing_was_ever_taken_into_use(self, live, model):
        voice = model.voice
        assert live.follow(model) is None
        assert model.voice is voice and model.adapter is None

    def test_the_newest_answers(self, live, model, take_up, fresh):
        take_up(FIRST, cause="found better", actor="training")
        change = live.follow(model)
        assert (change.adapter, change.previous, change.actor, change.cause) == (
            FIRST,
            None,
            "training",
            "found better",
        )
        assert model.adapter == FIRST and says(model) == fresh(FIRST)
        take_up(SECOND)
        take_up(FIRST)
        take_up(SECOND)
        change = live.follow(model)
        assert (change.adapter, change.previous) == (SECOND, FIRST)
        assert says(model) == fresh(SECOND) != fresh(FIRST)
        take_up(None)
        assert live.follow(model).adapter is None
        assert says(model) == fresh(None)

    def test_without_a_change_one_row_is_read_and_nothing_else(self, live, model, take_up, database, monkeypatch):
        take_up(FIRST)
        live.follow(model)
        read = []
        database.connection.set_trace_callback(read.append)
        assert live.follow(model) is None
        assert len(read) == 1

    def test_the_same_again_stays_as_it_is(self, live, model, take_up):
        take_up(FIRST)
        live.follow(model)
        voice = model.voice
        take_up(FIRST)
        assert live.follow(model) is None and model.voice is voice

    def test_another_strength_is_another_voice(self, live, model, take_up, fresh):
        take_up(FIRST)
        live.follow(model)
        take_up(FIRST, strength=0.0)
        change = live.follow(model)
        assert (change.adapter, change.strength, model.voice.strength) == (FIRST, 0.0, 0.0)
        assert says(model) == fresh(None)

    def test_what_is_taken_into_use_for_another_model_is_not(self, live, model, take_up, activations):
        take_up(FIRST)
        live.follow(model)
        activations.activate("another", SECOND, actor="user")
        assert live.follow(model) is None and model.adapter == FIRST

    def test_what_another_process_takes_into_use(self, live, model, database, base):
        live.follow(model)
        other = Database(database.path)
        Activations(other).activate(base, SECOND, actor="user")
        other.close()
        assert live.follow(model).adapter == SECOND

    def test_two_threads_load_it_once(self, live, model, take_up, voices, monkeypatch):
        made = []
        make = voices.voice
        monkeypatch.setattr(voices, "voice", lambda *given: made.append(given) or make(*given))
        take_up(FIRST)
        together = Barrier(2)
        changes = []

        def follow():
            together.wait()
            changes.append(live.follow(model))

        threads = [Thread(target=follow) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(made) == 1 and sorted(map(bool, changes)) == [False, True]

    def test_an_interrupt_while_it_is_loaded_leaves_it_to_the_next_time(
        self, live, model, take_up, voices, monkeypatch
    ):
        def interrupted(*given):
            raise KeyboardInterrupt

        take_up(FIRST)
        with monkeypatch.context() as patched:
            patched.setattr(voices, "voice", interrupted)
            with pytest.raises(KeyboardInterrupt):
                live.follow(model)
        assert model.adapter is None
        assert live.follow(model).adapter == FIRST

    def test_a_store_that_cannot_be_read_leaves_who_answers(self, live, model, take_up, database):
        take_up(FIRST)
        live.follow(model)
        take_up(SECOND)
        connection = sqlite3.connect(database.path)
        connection.execute("ALTER TABLE activations RENAME TO elsewhere")
        connection.close()
        assert live.follow(model) is None and model.adapter == FIRST


def without_the_folder(folder: Path) -> None:
    shutil.rmtree(folder)


def without_a_manifest(folder: Path) -> None:
    (folder / MANIFEST).unlink()


def with_one_other_byte(folder: Path) -> None:
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[-7] ^= 1
    (folder / WEIGHTS).write_bytes(data)


def with_a_number_that_is_none(folder: Path) -> None:
    tensors = load((folder / WEIGHTS).read_bytes())
    next(iter(tensors.values()))[0, 0] = torch.nan
    written_anew(folder, **{WEIGHTS: save(tensors)})


def of_another_shape(folder: Path) -> None:
    tensors = load((folder / WEIGHTS).read_bytes())
    written_anew(folder, **{WEIGHTS: save({name: torch.cat([t, t], 1) for name, t in tensors.items()})})


def for_another_base(folder: Path) -> None:
    written_anew(folder, base_hash="0" * 64 + "-" + "0" * 64)


def for_another_template(folder: Path) -> None:
    written_anew(folder, template_hash="0" * 64)


def written_anew(folder: Path, **changes: object) -> None:
    """The same adapter, honestly written, but for this."""
    manifest = read_bundle(folder)
    files = {name: (folder / name).read_bytes() for name in manifest.files} | {
        name: changes.pop(name) for name in (WEIGHTS, CONFIG) if name in changes
    }
    shutil.rmtree(folder)
    write_bundle(folder.parent, folder.name, files, replace(manifest, **changes))


HARM = {
    without_the_folder: "not on the shelf any more",
    without_a_manifest: "no manifest",
    with_one_other_byte: "is not what was saved",
    with_a_number_that_is_none: "not finite",
    of_another_shape: "does not fit",
    for_another_base: "other weights",
    for_another_template: "another chat template",
}


@pytest.mark.parametrize("harm", HARM, ids=lambda harm: harm.__name__)
class TestFailing:
    def test_who_answered_goes_on_and_it_is_said_once(
        self, harm, live, start, model, shelf, take_up, notices, audit, fresh
    ):
        take_up(FIRST)
        live.follow(model)
        voice, expected = model.voice, fresh(FIRST)
        harm(shelf / SECOND)
        take_up(SECOND)
        for _ in range(3):
            assert live.follow(model) is None
            assert model.voice is voice and says(model) == expected
        (notice,) = notices
        assert isinstance(notice, Notice) and HARM[harm] in notice.text and SECOND in notice.text
        assert notice.text.endswith(f"{FIRST} goes on answering.") and "\n" not in notice.text
        assert len(notice.text.split(". ")) >= 3, "it says what to do next"
        failed = [entry for entry in audit.entries() if entry.action == "failed"]
        assert [(entry.actor, entry.subject) for entry in failed] == [("failure", SECOND)]
        assert audit.broken() is None
        take_up(FIRST)
        take_up(None)
        assert live.follow(model).adapter is None

    def test_at_the_start_the_base_answers(self, harm, start, model, shelf, take_up, notices, audit, fresh):
        harm(shelf / FIRST)
        take_up(FIRST)
        for starts in (1, 2, 3):
            assert start().follow(model) is None
            assert model.adapter is None and says(model) == fresh(None)
            assert len(notices) == starts and notices[-1].text.endswith("The model itself goes on answering.")
        assert [entry.action for entry in audit.entries()].count("failed") == 1

    def test_put_right_it_is_tried_again_when_somebody_asks(self, harm, live, model, shelf, take_up, tmp_path):
        shutil.copytree(shelf / FIRST, tmp_path / "whole")
        harm(shelf / FIRST)
        take_up(FIRST)
        assert live.follow(model) is None
        shutil.rmtree(shelf / FIRST, ignore_errors=True)
        shutil.copytree(tmp_path / "whole", shelf / FIRST)
        assert live.follow(model) is None, "not by itself"
        assert live.follow(model, again=True).adapter == FIRST


@pytest.mark.parametrize("before", [None, FIRST])
def test_what_somebody_asked_for_here_and_cannot_have_is_taken_back(
    live, model, shelf, take_up, activations, audit, base, before
):
    """No other chat is left with it; what is not asked for here may yet answer elsewhere."""
    if before is not None:
        take_up(before, strength=0.5)
        live.follow(model)
    for_another_template(shelf / SECOND)
    take_up(SECOND)
    assert live.follow(model) is None and activations.current(base).adapter == SECOND
    assert live.follow(model, again=True) is None and model.adapter == before
    back = activations.current(base)
    assert (back.adapter, back.strength, back.actor) == (before, 0.5 if before else 1.0, "failure")
    assert SECOND not in {each.adapter for each in activations.way_back(base)}
    assert [entry.action for entry in audit.entries(2)] == ["rolled back", "failed"]
    assert live.follow(model) is None and model.adapter == before


def test_a_failure_that_nobody_foresaw_ends_no_chat(live, model, take_up, voices, notices, monkeypatch):
    def broken(*given):
        raise MemoryError("no room")

    monkeypatch.setattr(voices, "voice", broken)
    take_up(FIRST)
    assert live.follow(model) is None and model.adapter is None
    assert "no room" in notices[0].text and "/adapters rollback" in notices[0].text


def test_one_that_was_made_for_another_model(voices, loaded, home):
    put_silent(home, THIRD, version=3, base="elsewhere")
    with pytest.raises(AdapterMisfit, match="was made for elsewhere, not for") as caught:
        voices.voice(loaded, THIRD)
    assert caught.value.hint.startswith("Use -m elsewhere, ")


def test_one_that_nobody_has(voices, loaded):
    with pytest.raises(AdapterError, match="not on the shelf"):
        voices.voice(loaded, "lora_adapter_of_nobody")


def test_merged_it_answers_the_same_on_weights_of_its_own(shelf, base, loaded, tmp_path):
    beside, merged = (
        Voices(shelf, base=base, weights_cache=tmp_path / "cache", merged=merged).voice(loaded, FIRST)
        for merged in (False, True)
    )
    ids = torch.tensor([ChatModel("tiny", loaded).encode(ASKED)])
    with torch.no_grad():
        expected, found = (voice.network(ids).logits for voice in (beside, merged))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)
    assert {type(module) for module in merged.network.modules()} == {type(m) for m in loaded.network.modules()}


@pytest.fixture
def a_session(model, database, conversations):
    desk = Desk(database, conversations, Examples(database), Rules(database), Config())
    return lambda rules: Session(model, Memory(conversations, desk), guidance=Guidance(rules))


def test_who_was_asked_answers_whatever_is_taken_into_use_meanwhile(live, model, take_up, a_session, fresh):
    """Its rules are those for it, and the turn has its name."""

    def rules(adapter, strength):
        take_up({None: FIRST, FIRST: SECOND}[adapter])
        live.follow(model)
        return ()

    session = a_session(rules)
    *_, turn = session.ask(ASKED[0].content, GREEDY)
    assert (turn.adapter, turn.response) == (None, fresh(None))
    session.clear()
    *_, turn = session.ask(ASKED[0].content, GREEDY)
    assert (turn.adapter, turn.response) == (FIRST, fresh(FIRST))
    assert model.adapter == SECOND


def test_turns_say_who_really_spoke_while_others_are_taken_into_use(
    live, model, take_up, a_session, conversations, fresh
):
    """Two hundred activations by another thread, as training has one, while the chat goes on."""
    asked_for = []
    session = a_session(lambda adapter, strength: asked_for.append(adapter) or ())
    expected = {name: fresh(name) for name in (None, FIRST, SECOND)}
    assert len({text[:3] for text in expected.values()}) == 3
    failures = []

    def train():
        try:
            for name in islice(cycle((FIRST, SECOND, None)), 200):
                take_up(name, actor="training")
                assert live.follow(model) is not None
        except BaseException as error:
            failures.append(error)
            raise

    training = Thread(target=train)
    training.start()
    turns = []
    while training.is_alive():
        session.clear()
        *_, turn = session.ask(ASKED[0].content, GREEDY)
        assert isinstance(turn, Turn)
        turns.append(turn)
    training.join()
    assert not failures
    assert [turn.response for turn in turns] == [expected[turn.adapter] for turn in turns]
    assert [turn.adapter for turn in turns] == asked_for, "the rules are those for who speaks"
    assert len({turn.adapter for turn in turns}) > 1
    assert [conversations.turn(turn.id).adapter for turn in turns] == [turn.adapter for turn in turns]
