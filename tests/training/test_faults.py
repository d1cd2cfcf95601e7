"""What may go wrong while training: the chat beside it goes on, the user is told once, and no example is lost."""

import json
import random
import shutil
import sys
import threading
import time

import pytest
import torch
from safetensors.torch import load_file, save_file
from support import beside, starting
from support.beside import Chat
from support.networks import save_chat_model
from support.small_runs import LENIENT, back_to_the_base
from tokenizers import Tokenizer

pytestmark = pytest.mark.usefixtures("one_thread")
STEPS = 6
SMALL = ("device=cpu", "dtype=float32", "threads=1", f"lora.training.steps={STEPS}", "lora.r=4", "lora.training.auto=0",
         "lora.training.learning_rate=0.005", *LENIENT)  # fmt: skip
NAMES = ("A", "B", "C")
CANCELS = 20
MB = 1 << 20


@pytest.fixture(scope="module")
def wide_model(tiny_model, tmp_path_factory):
    """Its adapter can be made to take tens of megabytes."""
    tokenizer = Tokenizer.from_file(str(tiny_model / "tokenizer.json"))
    template = (tiny_model / "chat_template.jinja").read_text()
    sizes = {"hidden_size": 256, "intermediate_size": 512, "max_position_embeddings": 512}
    return save_chat_model(tmp_path_factory.mktemp("wide") / "model", tokenizer, template, torch.float32, **sizes)


@pytest.fixture
def chat_with(models_dir, tiny_model):
    """A chat that has learned nothing yet."""
    chats = []

    def start(*settings, model=tiny_model):
        chats.append(Chat(model, *SMALL, f"models_dir={models_dir}", *settings))
        return chats[-1]

    yield start
    for chat in chats:
        chat.close()


@pytest.fixture
def short_of(models_dir, tiny_model):
    """How a run ends in a process that may take so many bytes more."""

    def run(what, room, *settings, model=tiny_model):
        told = {
            "what": what,
            "room": room,
            "model": str(model),
            "settings": [*SMALL, f"models_dir={models_dir}", *settings],
            "names": NAMES,
        }
        child = starting.run([sys.executable, beside.__file__, json.dumps(told)], timeout=180)
        assert child.returncode == 0, child.stderr
        return json.loads(child.stdout)

    return run


def unharmed(report):
    """The chat answers (the report asks it), all that was said is stored, and nothing is left by halves."""
    assert report["unstored"] == [] and report["integrity"] == "ok"
    assert report["halves"] == []


def learned(report):
    """All that there was to learn, which is told in one notice."""
    unharmed(report)
    (notice,) = report["told"]
    assert notice.startswith("Learned from 3 examples") and report["state"] == "finished"
    assert set(report["trained"].values()) == {1} and len(report["adapters"]) == 1


def judged(report):
    """An adapter was made, whatever was found of it."""
    unharmed(report)
    assert report["state"] in ("finished", "rejected"), report["error"]
    assert len(report["adapters"]) == 1


def told_once(report, words):
    """Nothing was learned, which the user was told in one notice, and all examples wait as before."""
    unharmed(report)
    (notice,) = report["told"]
    assert words in notice, notice
    assert len(report["trained"]) == len(NAMES) and set(report["trained"].values()) == {0}
    assert report["adapters"] == []


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a process cannot be kept short of memory")
class TestOutOfMemory:
    # The adapter takes 33 MB, its gradients too, and the optimizer twice that; a file is made of three copies.
    @pytest.mark.parametrize(
        ("room", "steps"),
        [(24 * MB, 0), (192 * MB, 0), (280 * MB, STEPS)],
        ids=["for the adapter", "for the optimizer", "for its file"],
    )
    def test_beside_a_chat(self, short_of, wide_model, room, steps):
        short, freed = short_of("memory", room, "lora.r=1024", "lora.training.save_seconds=1000", model=wide_model)
        told_once(short, "Not enough memory")
        assert short["state"] == "failed" and short["step"] == steps
        assert "Not enough memory" in short["error"]
        judged(freed)


class TestFullDisk:
    def test_at_the_end(self, short_of):
        """There is room for all that the chat writes, and not for what was learned."""
        short, freed = short_of("disk", 800_000, "lora.r=128", "lora.training.save_seconds=1000")
        told_once(short, "No room left to write")
        assert short["state"] == "failed" and "lora_adapter" in short["error"]
        learned(freed)

    def test_on_the_way(self, short_of):
        """The checkpoint needs three times what the adapter does: a run that cannot be gone on with is not lost."""
        short, _ = short_of("disk", 800_000, "lora.r=64", "lora.training.save_seconds=0")
        unharmed(short)
        full, done = short["told"]
        assert "No room left to write" in full and done.startswith("Learned from 3 examples")
        assert short["state"] == "finished" and set(short["trained"].values()) == {1}

    def test_not_even_room_for_what_is_said(self, short_of):
        short, freed = short_of("disk", 1)
        told_once(short, "No room left")
        learned(freed)


class TestNotFinite:
    @pytest.fixture
    def spoiled(self, tiny_model, tmp_path):
        """A base whose last weights are so many times what they were."""

        def spoil(by):
            folder = shutil.copytree(tiny_model, tmp_path / "spoiled")
            tensors = load_file(folder / "model.safetensors")
            tensors["model.norm.weight"] = tensors["model.norm.weight"] * by
            save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
            return folder

        return spoil

    def test_a_run_and_its_gentler_tries(self, chat_with, spoiled):
        """The base answers, and its losses are numbers, but their gradients are beyond any."""
        chat = chat_with("lora.training.retries=2", model=spoiled(1e25))
        chat.teach(*NAMES)
        chat.train()
        report = chat.report()
        told_once(report, "not a finite number")
        runs = chat.app.training.runs.recent()
        assert [run.state for run in runs] == ["failed"] * 3
        assert all("not a finite number" in run.error for run in runs)

    def test_a_base_that_is_broken_itself(self, chat_with, spoiled):
        folder = spoiled(float("nan"))
        chat = chat_with(model=folder)
        chat.teach(*NAMES)
        chat.train()
        report = chat.report()
        told_once(report, f"{folder} itself")
        assert report["state"] == "failed" and len(chat.app.training.runs.recent()) == 1


class TestDeletedModel:
    @pytest.fixture
    def folder(self, tiny_model, tmp_path):
        return shutil.copytree(tiny_model, tmp_path / "model")

    def test_before_a_run(self, chat_with, folder):
        chat = chat_with(model=folder)
        chat.teach(*NAMES)
        shutil.rmtree(folder)
        chat.train()
        report = chat.report()
        told_once(report, str(folder))
        assert report["state"] in (None, "failed")

    def test_in_the_middle_of_one(self, chat_with, folder):
        """What is loaded is enough: the run comes to its end, and the next one tells."""
        chat = chat_with(model=folder)
        chat.teach(*NAMES)
        chat.then = lambda moved: (moved.phase, moved.step) == ("training", 2) and shutil.rmtree(folder)
        chat.train()
        report = chat.report()
        unharmed(report)
        assert not folder.exists() and report["state"] == "finished" and len(report["adapters"]) == 1
        assert report["told"][-1].startswith("Learned from") and set(report["trained"].values()) == {1}
        chat.then = lambda moved: None
        chat.teach("D")
        chat.train()
        after = chat.report()
        unharmed(after)
        assert len(after["told"]) == 1 and str(folder) in after["told"][0]
        assert after["adapters"] == report["adapters"] and sorted(after["trained"].values()) == [0, 1, 1, 1]


class TestDamagedExample:
    @pytest.mark.parametrize("messages", ['[{"role": "us', "[]", '[{"role": "user"}]', "null"])
    def test_is_named_and_harms_nothing_else(self, chat_with, messages):
        chat = chat_with()
        damaged, *others = chat.teach(*NAMES)
        with chat.app.database.transaction() as connection:
            connection.execute("UPDATE examples SET messages = ? WHERE id = ?", (messages, damaged))
        chat.train()
        told_once(chat.report(), f"`shammah examples delete {damaged}`")
        chat.app.desk.examples.delete([damaged])
        chat.train()
        report = chat.report()
        unharmed(report)
        assert report["trained"] == dict.fromkeys(others, 1) and len(report["adapters"]) == 1


class TestCancelled:
    def test_at_random_moments(self, chat_with):
        """Of all phases: as one begins, or some of its time later. What is judged already is not cancelled."""
        chat = chat_with("lora.training.save_seconds=0")
        chat.teach(*NAMES)
        lasted = self.lengths_of_phases(chat)
        chance, ended = random.Random(13), []
        new = chat.teach("D")
        for number in range(CANCELS):
            phase = ("preparing", "training", "saving", "judging", "recording")[number % 5]
            step = chance.randint(1, STEPS) if phase == "training" else 0
            later = max(0.0, chance.uniform(-1, 1))
            cancel = Cancel(chat, phase, step, later * lasted[phase])
            back_to_the_base(chat.app)
            before = len(chat.report()["adapters"])
            chat.then = cancel
            chat.train()
            cancel.over()
            report = chat.report()
            unharmed(report)
            (told,) = report["told"]
            ended.append((phase, report["state"], later))
            assert len(report["adapters"]) == before + (report["state"] == "finished")
            if report["state"] == "finished":  # it came too late
                assert told.startswith("Learned from") and report["trained"][new[-1]] == 1
                new += chat.teach(f"late {number}")
            else:
                assert report["state"] == "cancelled" and told.startswith("Training was cancelled")
                assert told.endswith("Your examples are kept.") and "cancelled" in report["error"]
                assert report["trained"][new[-1]] == 0
            assert len(report["trained"]) == len(NAMES) + len(new) - (report["state"] == "finished")
        at_once = {"preparing", "training", "saving", "judging"}
        assert {phase for phase, state, _ in ended if state == "cancelled"} >= at_once
        assert all(state == "finished" for phase, state, _ in ended if phase == "recording")
        assert all(state == "cancelled" for phase, state, later in ended if phase in at_once and not later)
        assert sum(state == "cancelled" for _, state, _ in ended) > CANCELS / 2
        chat.then = lambda moved: None
        back_to_the_base(chat.app)
        chat.train()
        report = chat.report()
        unharmed(report)
        assert report["state"] == "finished" and 0 not in report["trained"].values()

    def lengths_of_phases(self, chat):
        """The seconds of each in a run that is left alone; of training, a step's."""
        began = {}
        chat.then = lambda moved: began.setdefault(moved.phase, time.monotonic())
        chat.train()
        preparing, training, saving, judging, recording, end = (*began.values(), time.monotonic())
        assert list(began) == ["preparing", "training", "saving", "judging", "recording"]
        return {
            "preparing": training - preparing,
            "training": (saving - training) / STEPS,
            "saving": judging - saving,
            "judging": recording - judging,
            "recording": end - recording,
        }


class Cancel:
    """Cancels the run so many seconds after it came to a step of a phase."""

    def __init__(self, chat, phase, step, seconds):
        self._chat, self._wanted, self._seconds = chat, (phase, step), seconds
        self._timer = None

    def __call__(self, moved):
        if self._timer is None and (moved.phase, moved.step if moved.phase == "training" else 0) == self._wanted:
            self._timer = threading.Timer(self._seconds, self._chat.app.training.worker.cancel)
            self._timer.start()
            if not self._seconds:
                self._timer.join()  # before the phase has done anything

    def over(self):
        if self._timer is not None:
            self._timer.cancel()
            self._timer.join()
