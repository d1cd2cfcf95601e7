"""/train: learning from what was rated, now or by itself, and what can be said to a run."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from shammah.errors import UsageError
from shammah.ui.commands import by_word, read_count, registry
from shammah.ui.feedback_words import ONLY_WHEN_ASKED, threshold_words
from shammah.ui.talk import require_kept
from shammah.ui.toolbar import counted
from shammah.ui.training_words import fact_lines, last_words, moved_lines, pictures, running_words

if TYPE_CHECKING:
    from pathlib import Path

    from shammah.app import App
    from shammah.records import Buffer
    from shammah.training.standing import Standing
    from shammah.ui.render import Screen
    from shammah.ui.repl import Repl

_USAGE = "/train, /train now, /train pause, /train resume, /train cancel [N] or /train queue."


def recorded_facts(app: "App", buffer: "Buffer", found: "Standing") -> dict[str, str]:
    """How training stands by its records, as facts with their names."""
    facts = {}
    if found.running is not None:
        facts["Training"] = running_words(found.running)
    elif found.trainer is not None:
        facts["Training"] = f"getting ready (process {found.trainer})"
    if found.last is not None:
        facts["Last run"] = last_words(found.last)
    auto = app.config.lora.training.auto
    next = threshold_words(buffer, app.config.examples.threshold, auto)
    if found.cut_off and found.last is not None:
        waits = app.training.waits_for(found.last)
        going_on = "goes on with the run that was cut off" + ("" if auto else f" ({ONLY_WHEN_ASKED})")
        next = f"{next}. A run that was cut off waits for {waits}" if waits else going_on
    return {**facts, "Next": next}


def learning_facts(repl: "Repl") -> dict[str, str]:
    """The same, with what is known of the run of this chat, and a picture of the run that is told of."""
    from shammah.training.standing import standing

    app, training, screen = repl.app, repl.app.training, repl.screen
    found = standing(training.runs, app.home.adapters)
    facts = recorded_facts(app, app.desk.buffer(), found)
    trainer = repl.trainer() if training.started else None
    if trainer is None or trainer.current is None:
        facts = _with_pictures(facts, found, screen, app.home.run_logs)
    if trainer is None:
        return facts
    if trainer.current is not None:
        moved = trainer.last_moved
        now = {"Training": f"begins ({trainer.current.why})"}
        if moved is not None:
            now = moved_lines(moved, trainer.paused, ascii=screen.ascii, columns=screen.columns)
        facts = {**now, **{name: text for name, text in facts.items() if name != "Training"}}
    elif trainer.paused:
        facts = {"Training": "paused: `/train resume` goes on", **facts}
    waiting = len(trainer.queue())
    return {**facts, "Queue": f"{counted(waiting, 'run')} waiting: `/train queue`"} if waiting else facts


def _with_pictures(facts: dict[str, str], found: "Standing", screen: "Screen", logs: "Path") -> dict[str, str]:
    """Those of the run of another process, or of the last one, behind the fact that they belong to."""
    from shammah.training.run_log import losses_of

    run = found.running or found.last
    if run is None:
        return facts
    steps = run.steps if found.running else 0
    seen = pictures(run.step, steps, losses_of(logs, run), ascii=screen.ascii, columns=screen.columns)
    told = "Training" if found.running else "Last run"
    placed: dict[str, str] = {}
    for name, text in facts.items():
        placed |= {name: text, **seen} if name == told else {name: text}
    return placed


def _status(repl: "Repl", argument: str) -> None:
    repl.screen.tell("\n".join(fact_lines(learning_facts(repl), repl.screen.columns)))


def _now(repl: "Repl", argument: str) -> None:
    trainer = repl.trainer()
    words = repl.app.training.start()
    starts = words == "Training starts." and not trainer.paused
    repl.screen.tell(f"{words} You can go on chatting." if starts else words)


def _pause(repl: "Repl", argument: str) -> None:
    repl.screen.tell(repl.trainer().pause())


def _resume(repl: "Repl", argument: str) -> None:
    repl.screen.tell(repl.trainer().resume())


def _cancel(repl: "Repl", argument: str) -> None:
    number = read_count(argument, "/train cancel ends the run, /train cancel 2 the second.", otherwise=0)
    repl.screen.tell(repl.trainer().cancel(number or None))


def _queue(repl: "Repl", argument: str) -> None:
    trainer = repl.trainer()
    now, waiting = trainer.current, trainer.queue()
    if now is None and not waiting:
        repl.screen.tell("No run is under way and none waits.")
    if now is not None:
        repl.screen.tell(f"{now.number:>2}  {'now':<8}  {now.why}")
    for job in waiting:
        repl.screen.tell(f"{job.number:>2}  {job.priority:<8}  {job.why}")


_ACTS: dict[str, Callable[["Repl", str], None]] = {
    "": _status,
    "now": _now,
    "status": _status,
    "pause": _pause,
    "resume": _resume,
    "cancel": _cancel,
    "queue": _queue,
}
_WORDS = {
    "now": ("", "train at once, however few examples there are"),
    "status": ("", "how far it is; /train alone says the same"),
    "pause": ("", "let the run wait, and start no other"),
    "resume": ("", "go on"),
    "cancel": ("[n]", "end the run under way, or the n-th; its examples are kept"),
    "queue": ("", "what runs and what waits"),
}


@registry.command(
    "train", group="learn", arguments="[now|pause|resume|cancel|queue]",
    help="learn from what was rated; alone: how far it is", words=_WORDS,
)  # fmt: skip
def train(repl: "Repl", argument: str) -> None:
    require_kept(repl.app, "there is nothing to learn from")
    act, rest = by_word("train", _ACTS, argument, usage=_USAGE)
    if rest and act is not _cancel:
        raise UsageError(f"/train does not know {argument!r}", hint=_USAGE)
    act(repl, rest)
