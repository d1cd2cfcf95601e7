"""What the demo says between the lines of its chat, and what it came to, as lines and as an object. Pure."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from wcwidth import wrap

from shammah.excerpt import excerpt
from shammah.ui.comparing import side_by_side
from shammah.ui.render import printable
from shammah.ui.toolbar import duration
from shammah.ui.training_words import ended_words

if TYPE_CHECKING:
    from shammah.cli.demo_tour import Asked, Found

PARTS = 5
OPENING = (
    "Shammah learns from what you tell it. This shows it in about two minutes. All of it is real, the replies, the "
    "training and the verdict; it happens in a home of its own that is deleted at the end. Ctrl+C ends it at any time."
)
ASK = "Questions about an office that the model can't know. Each wrong reply is corrected, as you would, with /fix."
TRAIN = "That was enough to learn from: a LoRA adapter is trained in the background."
MEANWHILE = "The chat goes on meanwhile. The first question in other words, which training never sees:"
AGAIN = "The same model, now with the adapter that was swapped into this chat. The same questions again:"
BACK = "And one word takes it back."
GONE = "Its home is deleted; yours was not touched."
NEXT = (
    "Now yours: `shammah` starts a chat. /fix says what a reply should have been, /good that it was right; "
    "ten such start the training."
)
_WORSE = "It is not better this time, so it does not answer. That is what the judging is for."
# Narrower than this, before and after stand below each other.
_SIDE_BY_SIDE = 60
_WIDEST = 100
_SHOWN = 120
_INDENT = "  "


def heading(number: int, told: str) -> str:
    return f"[{number}/{PARTS}] {told}"


def load_words(model: str) -> str:
    return f"{model} is loaded, as it came from its makers."


def meanwhile_words(seconds: float) -> str:
    return f"(answered in {seconds:.1f} s while training went on; it has not learned it yet)"


def told(text: str, columns: int) -> str:
    """Broken between words."""
    return "\n".join(_broken(text.split("\n"), min(columns, _WIDEST)))


def result_lines(found: "Found", columns: int) -> list[str]:
    """Before and after, side by side where there is room, and the verdict."""
    room, lines = min(columns, _WIDEST), []
    if found.deployed:
        lines = _beside(found.asked, room) if room >= _SIDE_BY_SIDE else _below(found.asked, room)
        lines += _broken(_gone_back(found.asked), room)
    return [*lines, "", *_broken(_verdict(found), room)]


def _beside(questions: Sequence["Asked"], room: int) -> list[str]:
    lines = ["", *side_by_side("BEFORE", "AFTER", room)]
    for asked in questions:
        lines += _broken([_question(asked)], room)
        beside = side_by_side(_said(asked, asked.before), _said(asked, asked.after), room - len(_INDENT))
        lines += [_INDENT + line for line in beside]
    return lines


def _below(questions: Sequence["Asked"], room: int) -> list[str]:
    lines = []
    for asked in questions:
        lines += ["", _question(asked), f"BEFORE {_said(asked, asked.before)}", f"AFTER {_said(asked, asked.after)}"]
    return _broken(lines, room)


def _broken(lines: Sequence[str], room: int) -> list[str]:
    return [part for line in lines for part in (wrap(line, room) or [""])]


def _question(asked: "Asked") -> str:
    return asked.lesson.question + (" (in other words)" if asked.reworded else "")


def _said(asked: "Asked", reply: str | None) -> str:
    right = asked.lesson.passed_by(reply or "")
    return f"{'right' if right else 'wrong'}: {printable(excerpt(reply or '', _SHOWN))}"


def _gone_back(questions: Sequence["Asked"]) -> list[str]:
    gone = [asked for asked in questions if asked.back is not None]
    return [text for asked in gone for text in ("", "GONE BACK", _question(asked), _said(asked, asked.back))]


def _verdict(found: "Found") -> list[str]:
    count, seconds = len(found.asked), duration(sum(step.seconds for step in found.steps))
    if not found.deployed:
        ended = ended_words(found.run) if found.run else "Nothing came of the training."
        return [ended, _WORSE, f"It took {seconds}. {GONE}"]
    lines = [f"{found.right_after} of {count} right after the training, {found.right_before} before it. {_took(found)}"]
    if not found.better:
        lines.append("That is no better, although its measurements were. More examples would help.")
    lines += [f"Gone back, {_again(asked)}." for asked in found.asked if asked.back is not None]
    return [*lines, f"The whole demo took {seconds}. {GONE}", *([NEXT] if found.better else [])]


def _took(found: "Found") -> str:
    return next((f"The training took {duration(step.seconds)}." for step in found.steps if step.name == "train"), "")


def _again(asked: "Asked") -> str:
    wrong = not asked.lesson.passed_by(asked.back or "")
    return "the reply is wrong again: the adapter alone made the difference" if wrong else "the reply is right still"


def result_json(found: "Found", *, cpu_seconds: float, seconds: float) -> dict[str, Any]:
    """The stable object of `--json`."""
    return {
        "model": found.model,
        "better": found.better,
        "deployed": found.deployed,
        "asked": len(found.asked),
        "right_before": found.right_before,
        "right_after": found.right_after,
        "seconds": round(seconds, 2),
        "cpu_seconds": round(cpu_seconds, 2),
        "steps": [
            {"name": step.name, "seconds": round(step.seconds, 2), "cpu_seconds": round(step.cpu_seconds, 2)}
            for step in found.steps
        ],
        "questions": [
            {
                "question": asked.lesson.question,
                "reworded": asked.reworded,
                "taught": asked.lesson.answer,
                "expects": asked.lesson.expects,
                "before": asked.before,
                "after": asked.after,
                "back": asked.back,
            }
            for asked in found.asked
        ],
        "run": _run_json(found),
    }


def _run_json(found: "Found") -> dict[str, Any] | None:
    run = found.run
    if run is None:
        return None
    return {
        "state": run.state,
        "adapter": run.adapter,
        "examples": len(run.example_ids),
        "steps": run.step,
        "seconds": round(run.seconds, 2),
        "loss": {"first": run.first_loss, "last": run.last_loss},
        "reasons": found.receipt.body["verdict"]["reasons"] if found.receipt else [],
        "error": run.error,
    }
