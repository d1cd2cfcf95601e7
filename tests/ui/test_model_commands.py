"""/model and /models: what is said of the model that answers, and another one in its place."""

import shutil
from contextlib import closing
from threading import Event
from weakref import ref

import pytest
from support.inside import Inside
from support.standing_adapters import ACCEPTED, FIRST, put_speaking

from shammah.model import opening
from shammah.model.catalog import CATALOG
from shammah.model.machine import Machine

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def chat(tiny_model, tmp_path):
    inside = Inside(tiny_model, tmp_path)
    with closing(inside.app):
        yield inside


@pytest.fixture
def other(tiny_model, tmp_path):
    """Another model: the same network, which ends every reply at once."""
    folder = tmp_path / "other"
    shutil.copytree(tiny_model, folder)
    return folder


@pytest.fixture
def gate(monkeypatch):
    """Models are loaded only when it is opened."""
    opened, load = Event(), opening.load

    def when_opened(*arguments, **options):
        assert opened.wait(30)
        return load(*arguments, **options)

    monkeypatch.setattr(opening, "load", when_opened)
    yield opened
    opened.set()


class TestAnother:
    def test_it_answers_and_the_conversation_goes_on(self, chat, other, tiny_model):
        chat.load().asks("one")
        before = ref(chat.app.load_model())
        assert f"{other} is being loaded" in chat.says(f"/model {other}")
        assert f"From the next message on {other} answers, and is given the 1 turn so far." in chat.says("two")
        first, second = chat.talk.turns
        assert (first.model, second.model) == (str(tiny_model), str(other))
        assert second.conversation_id == first.conversation_id and second.parent == first.id
        assert second.input_tokens > first.input_tokens + first.output_tokens and second.cached_tokens == 0
        assert chat.app.config.model == str(other) and chat.app.base == "other"
        assert chat.app.load_model().name == chat.app.load_base().name == str(other)
        assert before() is None, "the memory of the one before is free again"
        stored = chat.app.conversations.context(first.conversation_id)
        assert [turn.model for turn in stored] == [str(tiny_model), str(other)]

    def test_what_was_set_here_stays(self, chat, other):
        chat.load().says("/set max_tokens 2")
        chat.says("/system Be brief.")
        chat.says(f"/model {other}")
        chat.says("/set seed 9")
        chat.asks("one")
        (turn,) = chat.talk.turns
        assert (turn.output_tokens, turn.system, turn.options["seed"]) == (2, "Be brief.", 9)
        assert chat.app.settings.sources["model"] == "/model"

    def test_where_it_can_t_be_loaded_the_one_before_goes_on(self, chat, tmp_path, tiny_model):
        chat.load()
        bad = tmp_path / "bad"
        bad.mkdir()
        (bad / "config.json").write_text("{}")
        chat.says(f"/model {bad}")
        said = chat.says("one")
        assert "is incomplete" in said and f"{tiny_model} goes on answering." in said
        assert chat.talk.turns[0].model == str(tiny_model) and chat.app.config.model == str(tiny_model)
        assert "goes on answering" not in chat.says("two"), "once"

    @pytest.mark.parametrize(("name", "words"), [("nonsense", "There is no model"), ("smollm2", "Did you mean")])
    def test_a_name_that_means_nothing_changes_nothing(self, chat, name, words):
        chat.load()
        said = chat.says(f"/model {name}")
        assert words in said and said.startswith("shammah: ") and said.count("\n") == 1
        assert not chat.talk.loading

    def test_one_can_stay_with_this_one(self, chat, other, tiny_model, gate):
        gate.set()
        chat.load()
        gate.clear()
        chat.says(f"/model {other}")
        assert chat.talk.loading == str(other) and not chat.talk.loaded
        assert f"until{other}isloaded" in "".join(chat.says("/status").split()), "it may be broken anywhere"
        assert chat.says(f"/model {tiny_model}") == f"{tiny_model} goes on answering, and {other} is left.\n"
        chat.asks("one")
        assert chat.talk.turns[0].model == str(tiny_model)

    def test_it_is_told_when_it_is_there_although_nothing_was_asked(self, chat, other):
        chat.load().says(f"/model {other}")
        chat.wait_for_other()
        assert chat.talk.take_other() is True
        assert f"From the next message on {other} answers.\n" in chat.err.getvalue()
        assert chat.talk.take_other() is None

    @pytest.mark.parametrize("name", ['"{}/my other"', "{}/my\\ other"])
    def test_a_name_with_blanks(self, chat, other, tmp_path, name):
        other.rename(tmp_path / "my other")
        chat.load().says(f"/model {name.format(tmp_path)}")
        assert chat.talk.loading == str(tmp_path / "my other")

    def test_before_the_first_is_loaded(self, chat, other):
        chat.says(f"/model {other}")
        chat.talk.start_loading()
        chat.asks("one")
        assert chat.talk.turns[0].model == str(other)

    def test_there_before_the_first_it_answers_when_that_is_loaded(self, chat, other, monkeypatch):
        opened, ensure = Event(), opening.ensure

        def the_first_is_fetched(source, *arguments, **options):
            assert str(other) in str(source) or opened.wait(30)
            return ensure(source, *arguments, **options)

        monkeypatch.setattr(opening, "ensure", the_first_is_fetched)
        told = Event()
        monkeypatch.setattr(chat.repl.prompt, "above", lambda say: (say(), not chat.talk.loading and told.set()))
        chat.talk.start_loading()
        chat.says(f"/model {other}")
        chat.wait_for_other()
        assert not chat.talk.loaded
        opened.set()
        assert told.wait(30) and chat.talk.loaded and not chat.talk.loading
        assert chat.err.getvalue().count(f"From the next message on {other} answers.") == 1

    def test_turns_are_taken_back_while_it_is_loaded(self, chat, other, gate):
        gate.set()
        chat.load().asks("one")
        chat.asks("two")
        gate.clear()
        chat.says(f"/model {other}")
        assert chat.says("/undo") == "Took back 1 turn, 1 left.\n"

    def test_turns_are_taken_back_before_any_is_loaded(self, chat, tiny_model, tmp_path):
        chat.load().asks("one")
        chat.asks("two")
        chat.app.close()
        again = Inside(tiny_model, tmp_path)
        with closing(again.app):
            again.says("/resume one")
            assert again.says("/undo") == "Took back 1 turn, 1 left.\n"
            (turn,) = again.talk.turns
            assert turn.query == "one" and again.app.conversations.context(turn.conversation_id) == [turn]
            assert again.says("/undo 5") == "Took back 1 turn, 0 left.\n"
            assert "There is nothing to take back" in again.says("/undo")
            again.load().asks("three")
            assert again.talk.turns[0].conversation_id == turn.conversation_id

    def test_the_same_folder_spelt_otherwise_is_the_same(self, chat, tiny_model):
        assert chat.load().says(f"/model {tiny_model}/") == f"{tiny_model} goes on answering.\n"

    def test_what_another_thread_makes_meanwhile_is_for_the_new_one(self, chat, other, monkeypatch):
        chat.load().says(f"/model {other}")
        chat.wait_for_other()
        change = chat.app.change
        monkeypatch.setattr(chat.app, "change", lambda settings: (chat.app.roster, chat.app.voices, change(settings)))
        before = chat.app.voices
        assert chat.talk.take_other()
        assert chat.app.voices is not before and chat.app.voices._base == "other"

    def test_what_is_too_big_is_not_tried(self, chat, monkeypatch):
        from shammah.model import machine

        monkeypatch.setattr(machine, "survey", lambda folder: Machine(ram=10**9, ram_available=10**9, disk_free=1))
        said = chat.says("/model Qwen2.5-7B")
        assert "qwen2.5-7b is too big for this machine: " in said and "shammah -m qwen2.5-7b -c" in said

    def test_nor_what_is_too_big_beside_the_one_that_answers(self, chat, tiny_model, monkeypatch):
        from shammah.model import machine

        enough = int(machine.needed_bytes(CATALOG[0].parameters) / 0.8) + 1000
        there = Machine(ram=enough, ram_available=enough, disk_free=1)
        assert machine.fit(CATALOG[0], there).level == "tight"
        monkeypatch.setattr(machine, "survey", lambda folder: there)
        said = chat.load().says(f"/model {CATALOG[0].name}")
        assert f"too big for this machine beside {tiny_model}: it needs" in said and not chat.talk.loading

    def test_a_second_copy_in_its_folder_is_not_counted(self, other):
        from shammah.model.weights import parameters_in, parameters_of

        once = parameters_in(other / "model.safetensors")
        shutil.copy(other / "model.safetensors", other / "consolidated.safetensors")
        assert parameters_of(other) == once > 0
        shutil.copy(other / "model.safetensors", other / "part-1.safetensors")
        (other / "model.safetensors.index.json").write_text('{"weight_map": {"a": "part-1.safetensors", "b": "gone"}}')
        assert parameters_of(other) == once

    def test_a_folder_is_looked_into(self, chat, other, monkeypatch):
        from shammah.model import machine

        monkeypatch.setattr(machine, "survey", lambda folder: Machine(ram=10**6, ram_available=10**6, disk_free=1))
        assert f"{other} is too big for this machine" in chat.says(f"/model {other}")


class TestAdapters:
    def test_each_model_has_its_own(self, tiny_model, tmp_path, other, home):
        home.mkdir(mode=0o700)
        put_speaking(home, tiny_model, FIRST, verdict=ACCEPTED)
        chat = Inside(tiny_model, tmp_path, adapter=FIRST)
        with closing(chat.app):
            chat.load().asks("one")
            chat.says(f"/model {other}")
            chat.asks("two")
            assert [turn.adapter for turn in chat.talk.turns] == [FIRST, None]
            chat.says(f"/model {tiny_model}")
            chat.wait_for_other()
            chat.talk.take_other()
            chat.says("/adapters load v1")
            chat.asks("three")
            assert chat.talk.turns[-1].adapter == FIRST and chat.talk.turns[-1].model == str(tiny_model)

    def test_none_stays_none(self, tiny_model, tmp_path, other):
        chat = Inside(tiny_model, tmp_path, adapter="none")
        with closing(chat.app):
            chat.load().says(f"/model {other}")
            chat.asks("one")
            assert chat.app.config.adapter == "none" and not chat.app.follows


class TestFacts:
    def test_of_the_one_that_answers(self, chat, tiny_model):
        facts = chat.load().says("/model")
        for words in (
            f"Model    {tiny_model}",
            "90,624 parameters",
            "Window   512 tokens",
            "cpu, 1 thread",
            "float32 (as set)",
        ):
            assert words in facts
        assert "Adapter  none" in facts and "Memory   " in facts

    def test_before_it_is_loaded(self, chat):
        assert "the model is still loading" in chat.says("/model")

    def test_the_catalog(self, chat, monkeypatch):
        shown = chat.says("/models")
        assert shown.startswith("This machine: ") and all(entry.name in shown for entry in CATALOG)
        monkeypatch.setenv("COLUMNS", "40")
        assert max(map(len, chat.says("/models").splitlines()[1:])) <= 40

    def test_the_one_that_answers_is_marked(self, tmp_path):
        chat = Inside("smollm2-135m", tmp_path)
        with closing(chat.app):
            assert [line[2:14] for line in chat.says("/models").splitlines() if line.startswith("*")] == [
                "smollm2-135m"
            ]
