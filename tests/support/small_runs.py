"""Whole runs on a tiny model, as a test does them and looks at what they left."""

from shammah.adapters.shelf import Shelf
from shammah.events import Notice, TrainingMoved
from shammah.training.control import Control
from shammah.training.jobs import Job
from shammah.training.standing import trainer_lock

STEPS = 6
# In so few steps next to nothing is learned: these limits are for what comes of them.
LENIENT = ("adapters.min_improvement=0", "adapters.drift=10", "adapters.drift_refused=10", "adapters.regression=1",
           "adapters.earlier_worse=1", "adapters.keep_last=100")  # fmt: skip
FEW = ("device=cpu", "dtype=float32", "threads=1", f"lora.training.steps={STEPS}", "lora.r=4", "examples.threshold=3",
       "lora.training.learning_rate=0.005")  # fmt: skip
SMALL = (*FEW, *LENIENT)
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


def came_to(event, step):
    """Whether this step of the training was done just now."""
    return isinstance(event, TrainingMoved) and (event.phase, event.step) == ("training", step)


def run(app, control=None, heard=None):
    return app.training.cycle().run(JOB, control or Control(), heard or Heard())


def judging(then):
    """Listens, and does this once, when the judging is under way."""
    done = []

    def hear(event):
        if getattr(event, "phase", "") == "judging" and event.step and not done:
            done.append(event)
            then()

    return Heard(hear)


def cut_off(app, step):
    """A run whose program ended after this step."""
    control = Control()
    heard = Heard(lambda event: control.cancel(ending=True) if came_to(event, step) else None)
    return run(app, control, heard)


def shelf(app):
    return Shelf(app.home.adapters)


def nothing_left_behind(app):
    """No half adapter, no checkpoint, nobody who holds the lock."""
    names = {path.name for path in app.home.adapters.iterdir()}
    assert names <= {".training", *(manifest.name for manifest in shelf(app).all())}
    assert shelf(app).listed()[1] == []
    assert {path.name for path in (app.home.adapters / ".training").iterdir()} <= {"lock", "way"}
    with trainer_lock(app.home.adapters).held():
        pass


def kept(app, ids):
    examples = {example.id: example for example in app.desk.examples.live()}
    assert set(ids) <= set(examples) and not any(examples[id].trained for id in ids)


def back_to_the_base(app):
    """What is learned next is compared with the base: two small runs differ by next to nothing."""
    app.activations.activate(app.base, None, actor="user")
