"""`shammah status`: where things stand, in a few lines. Nothing is loaded for it."""

from dataclasses import asdict
from typing import Any

import click

from shammah.app import App
from shammah.cli.options import common, json_option, model_options, opened, to_json
from shammah.records import Run
from shammah.training.standing import Standing, standing
from shammah.ui.render import printable
from shammah.ui.standing_words import standing_facts, standing_json
from shammah.ui.train_commands import recorded_facts


@click.command()
@model_options
@json_option
@common
def status(as_json: bool, assignments: tuple[str, ...], **options: Any) -> int:
    """Show model, adapter, rules, training, and what is stored."""
    with opened(options, assignments) as (app, screen):
        found = standing(app.training.runs, app.home.adapters)
        if as_json:
            screen.line(to_json(status_json(app, found)))
            return 0
        facts = standing_facts(app, recorded_facts(app, app.desk.buffer(), found))
    for name, text in facts.items():
        screen.line(f"{name:<8}  {printable(text)}")
    return 0


def status_json(app: App, found: Standing) -> dict[str, Any]:
    """The stable object of `--json`."""
    config, buffer = app.config, app.desk.buffer()
    return {
        "model": config.model,
        "adapter": app.answering(),
        **standing_json(app),
        "rules": len(app.rules()),
        "buffer": {
            **asdict(buffer),
            "threshold": config.examples.threshold,
            "missing": app.training.missing(buffer),
        },
        "auto": config.lora.training.auto,
        "cut_off": found.cut_off,
        "running": found.running and run_json(found.running),
        "last_run": found.last and run_json(found.last),
        "stored": {"turns": app.conversations.count(), "examples": app.desk.examples.count()},
        "home": str(app.home.root),
    }


def run_json(run: Run) -> dict[str, Any]:
    """A run as its record has it."""
    return {
        "run": run.id,
        "state": run.state,
        "started": run.started,
        "ended": run.ended,
        "trigger": run.trigger,
        "attempt": run.attempt,
        "model": run.model,
        "adapter": run.adapter,
        "examples": len(run.example_ids),
        "weighted": run.weighted,
        "step": run.step,
        "steps": run.steps,
        "tokens": run.tokens,
        "seconds": round(run.seconds, 1),
        "loss": {"first": run.first_loss, "last": run.last_loss},
        "error": "" if run.state == "running" else run.error,
        "waiting": run.error if run.state == "running" else "",
        "pid": run.pid,
    }
