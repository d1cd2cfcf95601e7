"""Rows, recipes and learners that compute in no time."""

from random import Random

import pytest
import torch
from support.networks import llama, some_ids
from support.small_runs import SMALL

from shammah.app import App
from shammah.judging import measuring
from shammah.model.device import Compute
from shammah.model.loading import load
from shammah.records import Message
from shammah.training.encoding import Encoder
from shammah.training.learner import Learner
from shammah.training.loop import Trainer
from shammah.training.packing import Row
from shammah.training.recipe import Recipe


@pytest.fixture
def a_recipe():
    def make(**changes):
        fields = {"preset": "default", "r": 4, "alpha": 8.0, "learning_rate": 1e-2, "batch_size": 8}
        return Recipe(**(fields | changes))

    return make


@pytest.fixture
def a_row():
    """A row of so many tokens that begins as all others do, with tokens of its own after that."""

    def make(length=20, start=12, seed=0, common=6, **changes):
        ids = (*some_ids(common, 99), *some_ids(length - common, seed + 1))
        return Row(ids=ids, start=start, **changes)

    return make


@pytest.fixture
def some_rows(a_row):
    """Eight lessons of different lengths."""
    return [a_row(14 + 3 * number, 10 + number, number) for number in range(8)]


@pytest.fixture
def a_learner(one_thread, a_recipe):
    """A learner whose adapter already changes something, on a network of its own."""

    def make(network=None, *, moved=True, courtesy=lambda: None, **changes):
        learner = Learner(network or llama(vocab_size=128), a_recipe(**changes), courtesy)
        if moved:
            move(learner)
        return learner

    return make


def move(learner, seed=3, by=0.05):
    noise = torch.randn(learner.flat.values.shape, generator=torch.Generator().manual_seed(seed))
    learner.flat.load(learner.flat.values.detach() + by * noise)


@pytest.fixture
def a_trainer(a_learner):
    """A trainer of these steps on a learner of its own; anchors are held to that learner's base."""

    def make(steps, *, learner=None, moved=False, held_out=(), preference=None, **changes):
        learner = learner or a_learner(moved=moved, **{name: changes.pop(name) for name in _SHAPE & changes.keys()})

        def base_states(row):
            with torch.no_grad(), learner.as_base():
                return learner.hidden([row]).clone()

        limits = {"limits": changes.pop("limits")} if "limits" in changes else {}
        fields = {"preset": "default", "learning_rate": 1e-2, "kl_weight": 0.5, **changes}
        return Trainer(
            learner,
            Recipe(**fields),
            [tuple(step) for step in steps],
            base_states=base_states,
            held_out=held_out,
            preference=preference,
            **limits,
        )

    return make


_SHAPE = {"r", "alpha", "dropout", "targets"}


@pytest.fixture(scope="session")
def tiny_loaded(tiny_model):
    return load(tiny_model, Compute("cpu", "float32", 1, "", {}))


@pytest.fixture
def encoder(tiny_loaded):
    return Encoder(tiny_loaded.format, tiny_loaded.speech.end_tokens, longest=200)


@pytest.fixture
def question():
    return lambda text: (Message("user", text),)


@pytest.fixture
def seeded():
    return lambda seed=0: Random(seed)


# Whole runs (support/small_runs.py)


@pytest.fixture(scope="session")
def models_dir(tmp_path_factory):
    """What the base says to our own prompts is asked once for all tests."""
    return tmp_path_factory.mktemp("cache") / "models"


@pytest.fixture(autouse=True)
def judged_by_their_first_tokens(monkeypatch):
    """Replies of a model that never learned to end one."""
    monkeypatch.setattr(measuring, "MOST_TOKENS", 8)


@pytest.fixture
def an_app(request, models_dir, tiny_model):
    """The program, as often as a test starts it in its home, with the settings of the test's file."""
    small = getattr(request.module, "SMALL", SMALL)
    apps = []

    def build(*assignments, model=tiny_model, **flags):
        settings = (*small, f"models_dir={models_dir}", *assignments)
        apps.append(App.build(flags={"model": str(model), **flags}, assignments=settings))
        return apps[-1]

    yield build
    for app in apps:
        app.close()


@pytest.fixture
def teach(an_example):
    def teach(app, *names):
        """Three examples, or one for each name."""
        examples = app.desk.examples
        return [examples.put(an_example(f"What is {n}?", f"It is {n}, no more.")).id for n in names or "ABC"]

    return teach
