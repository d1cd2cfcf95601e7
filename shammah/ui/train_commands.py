"""/train: learning from what was rated, now or by itself, and what can be said to a run."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from shammah.errors import UsageError
from shammah.ui.commands import by_word, read_count, registry
from shammah.ui.feedback_words import ONLY_WHEN_ASKED, threshold_words
from shammah.ui.render import can_write
from shammah.ui.talk import require_kept
from shammah.ui.toolbar import counted
from shammah.ui.training_words import last_words, moved_lines, running_words

if TYPE_CHECKING:
    from shammah.app import App
    from shammah.records import Buffer
    from shammah.training.standing import Standing
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
    """The same, with what is known of the run of this chat."""
    from shammah.training.standing import standing

    app, training = repl.app, repl.app.training
    facts = recorded_facts(app, app.desk.buffer(), standing(training.runs, app.home.adapters))
    if not training.started:
        return facts
    trainer = repl.trainer()
    if trainer.current is not None:
        moved, ascii = trainer.last_moved, not can_write("▁", sys.stderr.encoding)
        words = f"begins ({trainer.current.why})"
        now = moved_lines(moved, trainer.paused, ascii=ascii) if moved else {"Training": words}
        facts = {**now, **{name: text for name, text in facts.items() if name != "Training"}}
    elif trainer.paused:
        facts = {"Training": "paused: `/train resume` goes on", **facts}
    waiting = len(trainer.queue())
    return {**facts, "Queue": f"{counted(waiting, 'run')} waiting: `/train queue`"} if waiting else facts


def _status(repl: "Repl", argument: str) -> None:
    for name, text in learning_facts(repl).items():
        repl.screen.tell(f"{name:<8} {text}")


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


@registry.command(
    "train", group="learn", arguments="[now|pause|resume|cancel|queue]",
    help="learn from what was rated; alone: how far it is", words=tuple(filter(None, _ACTS)),
)  # fmt: skip
def train(repl: "Repl", argument: str) -> None:
    require_kept(repl.app, "there is nothing to learn from")
    act, rest = by_word("train", _ACTS, argument, usage=_USAGE)
    if rest and act is not _cancel:
        raise UsageError(f"/train does not know {argument!r}", hint=_USAGE)
    act(repl, rest)
