"""Runs that learn nothing and take as long as a test wants: the thread, the lock, the records and the events are real.

How a run goes is JSON: how many "steps", how many seconds each "pause"s, the step "hold" before which it waits until
the file "until" is there, how full the "battery" is that the machine runs on, the error with which it "fails" at its
end or "refuses" to begin, why what it made is "rejected", whether a "receipt" comes of it, and whether it "deploys" an
adapter, which is on the shelf and in use then and says nothing.
"""

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import psutil
from support.receipts import a_body, run_of
from support.standing_adapters import put_silent

from shammah.errors import TrainingCancelled, TrainingError
from shammah.events import ReceiptReady, TrainingMoved
from shammah.judging.verdict import Check, Verdict
from shammah.records import Run
from shammah.store.activations import Activations
from shammah.store.adapter_notes import AdapterNotes
from shammah.store.identity import new_id, utc_now
from shammah.store.receipts import Receipts
from shammah.training.launch import Training
from shammah.training.recipe import recipe_for
from shammah.training.standing import trainer_lock

ADAPTER = "lora_adapter_20261121_130102"


@dataclass
class Plan:
    steps: int = 60
    pause: float = 0.0
    hold: int = 0
    until: str = ""
    battery: float | None = None
    fails: str = ""
    refuses: str = ""
    rejected: str = ""
    receipt: bool = False
    deploys: bool = False


def take_over(told):
    plan = Plan(**json.loads(told))
    if plan.battery is not None:
        psutil.sensors_battery = lambda: SimpleNamespace(percent=plan.battery, power_plugged=False)
    Training._run = lambda training, job, control, publish: learn(training._owner, plan, job, control, publish)


def learn(app, plan, job, control, publish):
    if plan.refuses:
        raise TrainingError(plan.refuses)
    with trainer_lock(app.home.adapters).held():
        run = begun(app, job, plan.steps)
        try:
            publish(TrainingMoved(run_id=run.id, phase="preparing"))
            walk(app, run, plan, control, publish)
            if plan.fails:
                return app.training.runs.end(run.id, "failed", error=plan.fails)
            if plan.deploys:
                put_silent(app.home.root, ADAPTER, base=app.base)
                Activations(app.database).activate(app.base, ADAPTER, actor="training")
            finished = judged(app, run, plan.rejected)
            if plan.receipt:
                told = a_body(run=run_of([], id=run.id), learns=not plan.rejected)
                publish(ReceiptReady(Receipts(app.database).put(run.id, ADAPTER, told)))
            return finished
        except TrainingCancelled as error:
            state = "interrupted" if control.ending else "cancelled"
            return app.training.runs.end(run.id, state, error=error.one_line())


def judged(app, run, why):
    better = Check("held_out", -0.1 if why else 0.3, 0.02, not why, why or "30 % better than the base model")
    verdict = Verdict(accepted=not why, too_far=False, improvement=-0.1 if why else 0.3, checks=(better,))
    AdapterNotes(app.database).judged(ADAPTER, verdict.as_json())
    if why:
        return app.training.runs.reject(run.id, ADAPTER, why=why)
    return app.training.runs.finish(run.id, ADAPTER, app.desk.examples)


def begun(app, job, steps):
    live = app.desk.examples.live()
    if not live:
        raise TrainingError("There is nothing to learn from yet", hint="Rate a reply.")
    now = utc_now()
    return app.training.runs.begin(
        Run(
            id=new_id(),
            started=now,
            updated=now,
            trigger=job.trigger,
            model=app.config.model,
            example_ids=tuple(example.id for example in live),
            weighted=sum(example.weight for example in live if not example.trained),
            steps=steps,
            settings=recipe_for(app.config.lora, app.load_model().parameters).as_json(),
            pid=os.getpid(),
        )
    )


def walk(app, run, plan, control, publish):
    losses = []
    for step in range(1, plan.steps + 1):
        while step == plan.hold and not Path(plan.until).exists():
            control.check()
            time.sleep(0.01)
        control.check()
        time.sleep(plan.pause)
        losses.append(2.31 - 2.19 * (step - 1) / max(1, plan.steps - 1))
        app.training.runs.update(
            run.id, step=step, tokens=100 * step, seconds=48.0, first_loss=losses[0], last_loss=losses[-1]
        )
        publish(
            TrainingMoved(
                run_id=run.id,
                phase="training",
                step=step,
                steps=plan.steps,
                epoch=1 + 5 * (step - 1) // plan.steps,
                epochs=5,
                losses=tuple(losses),
                tokens_per_second=1234.4,
                seconds_left=38.2,
            )
        )
