"""What is said about training. Pure."""

from collections.abc import Mapping, Sequence

from shammah.events import TrainingMoved
from shammah.records import Run
from shammah.ui.help_words import wrapped
from shammah.ui.render import sparkline
from shammah.ui.toolbar import counted, training_parts

KEPT = "Your examples are kept."
_SPARKS = 32
_WIDE = 80
# What stands beside a bar, brackets and share included, and beside a curve: the fact's name and blanks.
_BESIDE_BAR, _BESIDE_CURVE = 9 + 8, 9 + 3


def fact_lines(facts: Mapping[str, str], columns: int) -> list[str]:
    """Facts below each other, each with its name; a long one goes on where it began."""
    lines = []
    for name, text in facts.items():
        head = f"{name:<8} "
        lines += wrapped(text, columns, initial_indent=head, subsequent_indent=" " * len(head)) or [head.rstrip()]
    return lines


def ended_words(run: Run) -> str:
    """What became of a run, once; empty where there is nothing to say."""
    if run.state == "finished":
        loss = f" (loss {loss_words(run.first_loss, run.last_loss)})" if run.first_loss is not None else ""
        return f"Learned from {counted(len(run.example_ids), 'example')} in {run.seconds:.0f} s: {run.adapter}{loss}."
    if run.state == "rejected":
        return f"Trained, not taken into use: {_sentence(run.error)} {KEPT}"
    if run.state == "failed":
        return f"Training failed: {_sentence(run.error)} {KEPT}"
    if run.state == "cancelled" and run.lost:
        return "Training ended: all that it learned from was deleted or taken back."
    if run.state == "cancelled":
        return f"Training was cancelled{_place(run)}. {KEPT}"
    return ""


def last_words(run: Run) -> str:
    """What became of an earlier run, in a list of facts."""
    if run.state == "finished":
        loss = f", loss {loss_words(run.first_loss, run.last_loss)}" if run.first_loss is not None else ""
        return f"{run.adapter} from {counted(len(run.example_ids), 'example')} in {run.seconds:.0f} s{loss}"
    if run.state == "rejected":
        return f"not taken into use: {_sentence(run.error)}"
    if run.state == "interrupted":
        return f"cut off{_place(run)}"
    return f"failed: {_sentence(run.error)}" if run.state == "failed" else f"cancelled{_place(run)}"


def running_words(run: Run) -> str:
    """A run of which only the record is known: another process trains."""
    step = f"step {run.step}/{run.steps}" if run.steps else "getting ready"
    if run.step >= run.steps > 0:
        step = "judging what was learned"
    loss = f", loss {loss_words(run.first_loss, run.last_loss)}" if run.first_loss is not None else ""
    held = f", waiting: {run.error}" if run.error else ""
    return f"{step}{loss}{held} (process {run.pid})"


def moved_lines(moved: TrainingMoved, waiting: str, *, ascii: bool, columns: int = _WIDE) -> dict[str, str]:
    """How far a run of this chat has come, as facts with their names."""
    parts = [part for part in training_parts(moved, waiting) if not part.startswith("loss ")]
    lines = {"Training": ", ".join(parts).removeprefix("training").lstrip(": ")}
    steps = moved.steps if moved.phase == "training" else 0
    lines |= pictures(moved.step, steps, moved.losses, ascii=ascii, columns=columns)
    if moved.losses:
        lines["Speed"] = f"{moved.tokens_per_second:,.0f} tokens/s"
    return lines


def pictures(step: int, steps: int, losses: Sequence[float], *, ascii: bool, columns: int) -> dict[str, str]:
    """The way of a run as a bar, and its losses as a curve, as far as there are any."""
    lines = {}
    if steps:
        width, share = min(_SPARKS, columns - _BESIDE_BAR), min(1.0, step / steps)
        lines["Progress"] = f"{bar(share, width, ascii=ascii)} {int(100 * share)} %"
    if losses:
        words = loss_words(losses[0], losses[-1])
        room = max(1, min(_SPARKS, columns - _BESIDE_CURVE - len(words)))
        lines["Loss"] = f"{words}  {loss_curve(losses, ascii=ascii, most=room)}"
    return lines


def bar(share: float, width: int, *, ascii: bool) -> str:
    filled = int(share * width)
    return f"[{'#' * filled}{'.' * (width - filled)}]" if ascii else f"{'█' * filled}{'░' * (width - filled)}"


def loss_words(first: float | None, last: float | None) -> str:
    return f"{first or 0:.2f} -> {last or 0:.2f}"


def loss_curve(losses: Sequence[float], *, ascii: bool, most: int = _SPARKS) -> str:
    """The losses from 0 to the highest, in so few characters that they fit on a line; nothing before the first step."""
    if not losses:
        return ""
    groups = min(len(losses), most)
    bounds = [round(place * len(losses) / groups) for place in range(groups + 1)]
    means = [sum(losses[a:b]) / (b - a) for a, b in zip(bounds, bounds[1:], strict=False)]
    top = max(max(means), 1e-9)
    return sparkline([mean / top for mean in means], ascii=ascii)


def _place(run: Run) -> str:
    return f" at step {run.step} of {run.steps}" if run.steps else ""


def _sentence(text: str) -> str:
    return " ".join(text.split()).rstrip(".") + "."
