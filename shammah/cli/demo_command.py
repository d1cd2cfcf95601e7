"""`shammah demo`: a guided, real run of all that Shammah does, in a home of its own that is gone at the end."""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TextIO

import click

from shammah.app import App
from shammah.cli.demo_lessons import LESSONS
from shammah.cli.demo_tour import Found, Tour
from shammah.cli.demo_words import result_json, result_lines
from shammah.cli.options import common, given_flags, json_option, model_options, to_json, verbosity
from shammah.config import Resolved, resolve
from shammah.durable import explained
from shammah.home import Home
from shammah.ui.interrupts import CtrlC, ending_tidily
from shammah.ui.render import Screen, columns

# Whatever is set elsewhere, this is what makes the demo what it is; --set goes further.
_SETTINGS = (
    f"examples.threshold={len(LESSONS)}",
    "adapter=active",
    "no_log=false",
    "generation.temperature=0",
    "generation.max_tokens=40",
    "lora.training.auto=true",
    "lora.training.battery=0",
    "lora.training.run_seed=1",
    "adapters.auto_swap=true",
)
# What a user has set of the machine and of the screen is true here too; the rest of the settings is not looked at.
_OF_THE_PLACE = ("models_dir", "device", "dtype", "threads", "offline", "ui.plain", "ui.theme")


@click.command()
@model_options
@json_option
@common
def demo(as_json: bool, assignments: tuple[str, ...], **options: Any) -> int:
    """See it learn: a guided, real run of all of it.

    In about two minutes the default model, or the one of -m, is asked what it can't know, corrected, trained in the
    background while the chat goes on, and asked again: before and after stand side by side. Then it goes back. All of
    it happens in a home of its own, which is deleted at the end; yours is not touched.

    Exit code 0 if it knows more than before, 1 if not, 130 after Ctrl+C. --json gives one object: what each step took,
    all questions with the replies before and after, the run with its verdict.
    """
    begun = time.perf_counter(), time.process_time()
    with ExitStack() as kept:
        told = _stream(kept, as_json=as_json, quiet=bool(options.get("quiet")))
        found = _guided(told, assignments, options)
    seconds, cpu_seconds = time.perf_counter() - begun[0], time.process_time() - begun[1]
    screen = Screen()
    if as_json:
        screen.line(to_json(result_json(found, seconds=seconds, cpu_seconds=cpu_seconds)))
    else:
        for line in result_lines(found, columns(sys.stdout)):
            screen.line(line)
    return 0 if found.better else 1


def _stream(kept: ExitStack, *, as_json: bool, quiet: bool) -> TextIO:
    """Where the demo is told: it is the answer itself, unless only the result was asked for."""
    if quiet:
        return kept.enter_context(open(os.devnull, "w", encoding="utf-8"))
    return sys.stderr if as_json else sys.stdout


def _guided(told: TextIO, assignments: tuple[str, ...], options: dict[str, Any]) -> Found:
    with _home_for_once() as home, CtrlC() as stopped:
        app = App(home, _settings(home, assignments, options), verbosity=verbosity(options))
        try:
            with ending_tidily(lambda: _end(app)):
                return Tour(app, told, stopped).run()
        finally:
            app.close()


def _settings(home: Home, assignments: tuple[str, ...], options: dict[str, Any]) -> Resolved:
    flags = given_flags(options)
    users = resolve(Home.find().config_file, flags=flags, assignments=assignments)
    place = {key: users.value(key) for key in _OF_THE_PLACE}
    return resolve(home.config_file, environment={}, flags={**place, **flags}, assignments=(*_SETTINGS, *assignments))


@contextmanager
def _home_for_once() -> Iterator[Home]:
    with explained(Path(tempfile.gettempdir())):
        folder = Path(tempfile.mkdtemp(prefix="shammah-demo-"))
    try:
        yield Home(folder)
    finally:
        _remove(folder)


def _end(app: App) -> None:
    """The program is ended from outside: nothing of the demo stays."""
    app.stop_training()
    _remove(app.home.root)


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)  # of a run that does not end in time something may be left
