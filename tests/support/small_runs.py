"""Whole runs on a tiny model, as a test does them and looks at what they left."""

from shammah.adapters.shelf import Shelf
from shammah.events import Notice, TrainingMoved
from shammah.training.control import Control
from shammah.training.jobs import Job
from shammah.training.standing import trainer_lock

STEPS = 6
SMALL = ("device=cpu", "dtype=float32", "threads=1", f"lora.training.steps={STEPS}", "lora.r=4", "examples.threshold=3")
JOB = Job("high", "user", "asked for")


class Heard:
    def __init__(self, then=lambda event: None):
        self.events, self._then = [], then

    def __call__(self, event):
        self.events.append(event)
        self._then(event)

    def notices(self):
        return [event.text for event in self.events if isinstance(event, Notice)]

    def moves(self):
        return [event for event in self.events if isinstance(event, TrainingMoved)]


def run(app, control=None, heard=None):
    return app.training.cycle().run(JOB, control or Control(), heard or Heard())


def cut_off(app, step):
    """A run whose program ended after this step."""
    control = Control()
    heard = Heard(lambda event: control.cancel(ending=True) if getattr(event, "step", 0) == step else None)
    return run(app, control, heard)


def shelf(app):
    return Shelf(app.home.adapters)


def nothing_left_behind(app):
    """No half adapter, no checkpoint, nobody who holds the lock."""
    names = {path.name for path in app.home.adapters.iterdir()}
    assert names <= {".training", *(manifest.name for manifest in shelf(app).all())}
    assert shelf(app).broken() == []
    assert {path.name for path in (app.home.adapters / ".training").iterdir()} <= {"lock", "way"}
    with trainer_lock(app.home.adapters).held():
        pass


def kept(app, ids):
    examples = {example.id: example for example in app.desk.examples.live()}
    assert set(ids) <= set(examples) and not any(examples[id].trained for id in ids)
