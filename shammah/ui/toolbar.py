"""The line below the prompt: how far training is, what waits for it, how many rules are active, which keys rate.
Pure."""

from collections.abc import Sequence

from shammah.events import TrainingMoved
from shammah.records import Buffer

RATING_KEYS = {"g": "good", "m": "medium", "c": "critical"}
_PHASES = {
    "preparing": "getting ready",
    "saving": "saving what was learned",
    "judging": "judging what was learned",
    "recording": "writing down what was found",
}


def toolbar_parts(buffer: Buffer | None, threshold: int, rules: int, *, rateable: bool) -> list[list[str]]:
    """What to show, most important first: groups of parts."""
    parts = []
    if buffer is not None:
        parts.append([f"{buffer.new}/{threshold} examples, {amount(buffer.new_weighted)} weighted"])
    if rules:
        parts.append([counted(rules, "rule")])
    if rateable:
        parts.append([f"Alt+{key.upper()} {level}" for key, level in RATING_KEYS.items()])
    return parts


def training_parts(moved: TrainingMoved, waiting: str = "") -> list[str]:
    """How far a run has come, most important first. `waiting` is why it does not move."""
    waiting = waiting or moved.waiting
    held = [waiting if waiting == "paused" else f"waiting: {waiting}"] if waiting else []
    if moved.phase != "training":
        done = f" {100 * moved.step // moved.steps} %" if moved.steps and moved.phase != "saving" else ""
        return [f"training: {_PHASES.get(moved.phase, moved.phase)}{done}", *held]
    first, *more = [f"epoch {moved.epoch}/{moved.epochs}", *held, f"step {moved.step}/{moved.steps}"]
    parts = [f"training {first}", *more]
    if moved.losses:
        parts.append(f"loss {moved.losses[-1]:.2f}")
    if moved.seconds_left is not None and not held:
        parts.append(f"{duration(moved.seconds_left)} left")
    return parts


def fitting(groups: Sequence[Sequence[str]], columns: int, separator: str) -> str:
    """As many of the parts as there is room for, from the left."""
    line = ""
    for group in groups:
        for place, part in enumerate(group):
            longer = line + ("" if not line else "  " if place else separator) + part
            if len(longer) > columns:
                return line or part[:columns]
            line = longer
    return line


def duration(seconds: float) -> str:
    """A time as short as it can be told."""
    whole = round(seconds)
    if whole < 100:
        return f"{whole}s"
    minutes = round(whole / 60)
    return f"{minutes}min" if minutes < 100 else f"{minutes // 60}h {minutes % 60:02}min"


def amount(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
