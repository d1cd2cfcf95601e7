"""The line below the prompt: how far training is, who answers, how full the context is, what waits for training, how
many rules are active, which keys rate. Pure."""

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


# Groups of parts, most important first.
Bar = Sequence[Sequence[str]]


def toolbar_forms(
    speaker: Sequence[str], context: float | None, buffer: Buffer | None, threshold: int, rules: int, *, rateable: bool
) -> list[Bar]:
    """What to show, in as many words as there is room for: the longest form first."""
    begun = [[part] for part in speaker]
    if context is not None:
        begun.append([f"ctx {round(100 * context)} %"])
    new = f"{buffer.new}/{threshold} examples" if buffer is not None else ""
    weighted = f"{new}, {amount(buffer.new_weighted)} weighted" if buffer is not None else ""
    given = [[counted(rules, "rule")]] if rules else []
    keys = [f"Alt+{key.upper()} {level}" for key, level in RATING_KEYS.items()] if rateable else []
    short = [f"Alt+{'/'.join(key.upper() for key in RATING_KEYS)} rates"] if rateable else []
    forms = ((weighted, keys), (weighted, short), (new, short))
    return [[group for group in (*begun, [waiting] * bool(waiting), *given, last) if group] for waiting, last in forms]


def training_parts(moved: TrainingMoved, waiting: str = "", curve: str = "") -> list[str]:
    """How far a run has come, most important first. `waiting` is why it does not move, `curve` its losses as one."""
    waiting = waiting or moved.waiting
    held = [waiting if waiting == "paused" else f"waiting: {waiting}"] if waiting else []
    if moved.phase != "training":
        done = f" {100 * moved.step // moved.steps} %" if moved.steps and moved.phase != "saving" else ""
        return [f"training: {_PHASES.get(moved.phase, moved.phase)}{done}", *held]
    first, *more = [f"epoch {moved.epoch}/{moved.epochs}", *held, f"step {moved.step}/{moved.steps}"]
    parts = [f"training {first}", *more]
    if moved.losses:
        parts.append(f"{curve} loss {moved.losses[-1]:.2f}".lstrip())
    if moved.seconds_left is not None and not held:
        parts.append(f"{duration(moved.seconds_left)} left")
    return parts


def line_below(begun: Bar, forms: Sequence[Bar], columns: int, separator: str) -> str:
    """What a line begins with, the first of its forms that fits; then the rest, so much as there is room for."""
    first = next((part for part in begun if width("  ".join(part)) <= columns), begun[-1] if begun else ())
    return best_fitting([[first, *form] for form in forms], columns, separator)


def best_fitting(forms: Sequence[Bar], columns: int, separator: str) -> str:
    """The first form that fits whole; as much as there is room for of the last one where none does."""
    whole = (_joined(form, separator) for form in forms)
    return next((line for line in whole if width(line) <= columns), fitting(forms[-1], columns, separator))


def fitting(groups: Bar, columns: int, separator: str) -> str:
    """As many of the parts as there is room for, from the left."""
    line = ""
    for group in groups:
        for place, part in enumerate(group):
            longer = line + ("" if not line else "  " if place else separator) + part
            if width(longer) > columns:
                return line or _cut(part, columns)
            line = longer
    return line


def _joined(groups: Bar, separator: str) -> str:
    return separator.join("  ".join(group) for group in groups if group)


def width(text: str) -> int:
    """In cells of a terminal."""
    if text.isascii():
        return len(text)
    from wcwidth import width as cells  # most calls of the program never need it

    return cells(text)


def _cut(text: str, columns: int) -> str:
    if text.isascii():
        return text[:columns]
    from wcwidth import clip

    return clip(text, 0, columns)


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
