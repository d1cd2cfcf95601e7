"""`shammah train`: learn from the examples, in a process of its own or in this one, or say what that would take."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from shammah.app import App
from shammah.cli.options import common, json_option, model_options, opened, to_json
from shammah.errors import Interrupted, TrainingError
from shammah.records import Run
from shammah.store.activations import Activations
from shammah.store.adapter_notes import AdapterNotes
from shammah.training.standing import standing, trainer_lock
from shammah.ui.interrupts import CtrlC
from shammah.ui.render import Screen
from shammah.ui.toolbar import counted, duration
from shammah.ui.training_words import KEPT, ended_words

if TYPE_CHECKING:
    from shammah.training.rehearsal import Rehearsal

_ANSWERS = "It answers from now on; `shammah report` shows what changed."
_STATUS = {"finished": "promoted", "rejected": "rejected", "failed": "failed"}


@click.command()
@click.option("--now", is_flag=True, help="Train although too few examples came together.")
@click.option("--wait", is_flag=True, help="Train in this process and end with what came of it.")
@click.option("--dry-run", is_flag=True, help="Say what a run would learn from, and the time and memory it takes.")
@model_options
@json_option
@common
def train(now: bool, wait: bool, dry_run: bool, as_json: bool, assignments: tuple[str, ...], **options: Any) -> int:
    """Learn from the examples: make an adapter of them.

    It is taken into use if it is better than what answers now.

    Without --now this waits for examples.threshold new ones, or goes on with a run that was cut off. Without --wait it
    trains in a process of its own, which goes on when this one ends. Ctrl+C cancels a run that is waited for; its
    examples are kept.

    With --json the "status" of a run is promoted, rejected, failed or cancelled, and "verdict" says why: its reasons,
    and all that was measured. "active" says whether the adapter answers now. The status is started for a run in a
    process of its own, and waiting where too few examples came together.
    """
    with opened(options, assignments) as (app, screen):
        if dry_run:
            return _rehearse(app, screen, as_json)
        if not now and not _goes_on(app):
            missing = app.training.missing(app.desk.buffer())
            if missing:
                return _wait_for_more(app, screen, missing, as_json)
        _require_something(app)
        with trainer_lock(app.home.adapters).held():
            pass  # nobody else trains
        if wait:
            return _train_here(app, screen, as_json)
        return _train_elsewhere(app, screen, as_json, _same_options(options, assignments))


def _goes_on(app: App) -> bool:
    """Whether there is a run that was cut off, of this model and these settings."""
    found = standing(app.training.runs, app.home.adapters)
    return found.cut_off and found.last is not None and not app.training.waits_for(found.last)


def _rehearse(app: App, screen: Screen, as_json: bool) -> int:
    _require_something(app)
    from shammah.training.rehearsal import rehearse

    app.events.subscribe(screen.handle)
    found = rehearse(app.training)
    if as_json:
        screen.line(to_json(asdict(found)))
    else:
        for line in rehearsal_lines(found):
            screen.line(line)
    return 0


def rehearsal_lines(found: "Rehearsal") -> list[str]:
    """What a run would be, as a person reads it."""
    left_out = f" ({found.left_out} left out: too long, or without a better reply)" if found.left_out else ""
    recipe = ", ".join(f"{name} {_short(value)}" for name, value in found.recipe.items())
    return [
        f"examples  {found.examples}{left_out}",
        f"rows      {found.rows:,} in {counted(found.steps, 'step')}, {found.epochs:g} epochs, {found.tokens:,} tokens",
        f"time      about {duration(found.seconds)}",
        f"memory    about {found.memory_bytes / 1e6:,.0f} MB beside the model",
        f"recipe    {recipe}",
    ]


def _wait_for_more(app: App, screen: Screen, missing: int, as_json: bool) -> int:
    buffer = app.desk.buffer()
    if as_json:
        waiting = {"examples": buffer.examples, "weighted": buffer.weighted, "missing": missing}
        screen.line(to_json({**_result("waiting"), **waiting}))
    else:
        screen.line(f"{counted(missing, 'more example')} until training; --now does not wait for them.")
    return 0


def _require_something(app: App) -> None:
    """Before a model is loaded or a process started for nothing."""
    if not app.desk.examples.live():
        hint = "Rate a reply: /good, /medium or /critical."
        raise TrainingError("There is nothing to learn from yet", hint=hint)


def _train_elsewhere(app: App, screen: Screen, as_json: bool, arguments: list[str]) -> int:
    pid, log = app.training.in_background(arguments), app.home.train_log
    if as_json:
        screen.line(to_json({**_result("started"), "pid": pid, "log": str(log)}))
    else:
        screen.line(f"Training starts in a process of its own ({pid}).")
        screen.line(f"`shammah status` shows how far it is; what came of it is also written to {log}.")
    return 0


def _train_here(app: App, screen: Screen, as_json: bool) -> int:
    app.events.subscribe(screen.handle)
    waiting = app.training.waiting(screen.handle)
    control = app.training.control(waiting)
    with CtrlC(tell=control.cancel) as asked:
        run = app.training.in_foreground(control, waiting.publish)
    judged = run.state in ("finished", "rejected")
    active = bool(run.adapter and Activations(app.database).bases_of(run.adapter))
    if as_json:
        note = AdapterNotes(app.database).get(run.adapter) if run.adapter else None
        screen.line(to_json(run_result(run, note.verdict if note else None, active=active)))
    elif judged:
        screen.line(f"{ended_words(run)} {_ANSWERS}" if active else ended_words(run))
    if judged:
        return 0
    if asked():
        raise Interrupted("Training was cancelled", hint=KEPT)
    if not as_json:
        raise TrainingError(ended_words(run).removesuffix(KEPT).strip(), hint=KEPT)
    return 1


def run_result(run: Run, verdict: dict[str, Any] | None = None, *, active: bool = False) -> dict[str, Any]:
    """The stable object of `--json`. `verdict` is None where nothing was judged."""
    checks = verdict["checks"] if verdict else []
    result = {
        "run": run.id,
        "adapter": run.adapter,
        "examples": len(run.example_ids),
        "weighted": run.weighted,
        "steps": run.step,
        "seconds": round(run.seconds, 2),
        "loss": {"first": run.first_loss, "last": run.last_loss},
        "verdict": {
            "reasons": verdict["reasons"] if verdict else [],
            "metrics": {check["name"]: check["value"] for check in checks},
        },
        "active": active,
        "error": run.error,
        "tokens": run.tokens,
    }
    return {**_result(_STATUS.get(run.state, "cancelled")), **result}


def _result(status: str) -> dict[str, Any]:
    """The keys that are always there, as they are while no run has ended."""
    return {
        "run": None,
        "status": status,
        "adapter": None,
        "examples": 0,
        "weighted": 0.0,
        "steps": 0,
        "seconds": 0.0,
        "loss": {"first": None, "last": None},
        "verdict": {"reasons": [], "metrics": {}},
        "active": False,
        "error": "",
        "tokens": 0,
    }


def _same_options(options: dict[str, Any], assignments: tuple[str, ...]) -> list[str]:
    """The options of this call, for another one."""
    named = [f"--{name}={options[name]}" for name in ("model", "device", "dtype") if options.get(name) is not None]
    flags = [f"--{name}" for name in ("offline", "debug") if options.get(name)]
    return [*named, *(f"--set={each}" for each in assignments), *flags]


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
