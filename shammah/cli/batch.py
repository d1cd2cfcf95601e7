"""`--batch`.

JSON lines of prompts in, JSON lines of replies out in the same order, several prompts in one forward pass.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shammah.app import App
from shammah.cli.options import to_json
from shammah.durable import expand
from shammah.errors import Interrupted, PromptTooLong, ShammahError, UsageError
from shammah.records import Reply
from shammah.session import Question, require_text
from shammah.ui.interrupts import CtrlC
from shammah.ui.render import Screen

if TYPE_CHECKING:
    from shammah.model.chat_model import ChatModel

# Prompts are sorted by length within a stretch of this many passes: enough to pad little, and replies keep coming.
_PASSES_A_STRETCH = 8


@dataclass(frozen=True, slots=True)
class Request:
    id: Any
    prompt: str


def answer_batch(app: App, screen: Screen, name: str) -> int:
    """0 when every prompt was answered, 1 when some were too long; those have an "error" instead of a response."""
    requests = list(read_requests(_lines(name), name))
    app.require_store()
    app.events.subscribe(screen.handle)
    model = app.load_model()
    stretch = app.config.batch_rows * _PASSES_A_STRETCH
    failures = 0
    with CtrlC() as cancelled:
        for start in range(0, len(requests), stretch):
            part = requests[start : start + stretch]
            for request, outcome in _answered(app, model, part, cancelled):
                failures += isinstance(outcome, PromptTooLong)
                screen.line(to_json(result_json(request, outcome, model)))
            if cancelled():
                raise Interrupted("Interrupted; the replies printed so far are whole")
    if failures:
        screen.say(f"{failures} of {len(requests)} prompts were too long for the context window.")
    return 1 if failures else 0


def read_requests(lines: list[str], name: str) -> Iterator[Request]:
    """Every line is checked before the first is answered."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{name}, line {number}: not JSON: {error}", hint='A line is {"prompt": "..."}.') from None
        if not isinstance(row, dict) or not isinstance(row.get("prompt"), str):
            raise UsageError(f'{name}, line {number}: no "prompt" with a text', hint='A line is {"prompt": "..."}.')
        try:
            require_text(row["prompt"])
        except UsageError as error:
            raise UsageError(f"{name}, line {number}: {error.message}", hint=error.hint) from None
        yield Request(row.get("id", number), row["prompt"])


def result_json(request: Request, outcome: Reply | PromptTooLong, model: "ChatModel") -> dict[str, object]:
    reply = outcome if isinstance(outcome, Reply) else None
    return {
        "id": request.id,
        "prompt": request.prompt,
        "response": reply.text if reply else "",
        "reasoning": reply.reasoning if reply else "",
        "model": model.name,
        "adapter": model.adapter,
        "input_tokens": reply.input_tokens if reply else 0,
        "output_tokens": reply.output_tokens if reply else 0,
        "duration_ms": round(reply.duration_ms, 1) if reply else 0.0,
        "stop_reason": reply.stop_reason if reply else None,
        "error": None if reply else str(outcome),
    }


def _answered(
    app: App, model: "ChatModel", requests: list[Request], cancelled: CtrlC
) -> Iterator[tuple[Request, Reply | PromptTooLong]]:
    """Each request with its outcome, in order, as soon as all before it are there."""
    settings = app.config.generation
    sessions = [app.session(model) for _ in requests]
    outcomes: dict[int, Reply | PromptTooLong] = {}
    questions: dict[int, Question] = {}
    for index, request in enumerate(requests):
        try:
            questions[index] = sessions[index].prepare(request.prompt, settings)
        except PromptTooLong as error:
            outcomes[index] = error
    order = list(questions)
    shown = 0
    unstored: ShammahError | None = None
    prompts = [question.prompt for question in questions.values()]
    for position, reply in model.replies(prompts, settings, rows=app.config.batch_rows, cancelled=cancelled):
        index = order[position]
        outcomes[index] = reply
        try:
            sessions[index].finish(questions[index], reply)
        except ShammahError as error:
            unstored = error  # the replies are worth printing all the same
        while shown in outcomes:
            yield requests[shown], outcomes.pop(shown)
            shown += 1
    for index in sorted(outcomes):
        yield requests[index], outcomes[index]
    if unstored is not None:
        raise unstored


def _lines(name: str) -> list[str]:
    try:
        data = sys.stdin.buffer.read() if name == "-" else expand(name).read_bytes()
        return data.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError:
        raise UsageError(
            f"--batch {name}: not UTF-8", hint="Convert it first, for example with iconv -t UTF-8."
        ) from None
    except OSError as error:
        reason = (error.strerror or "unreadable").lower()
        raise UsageError(f"--batch {name}: {reason}", hint="Give a file that can be read, or - for stdin.") from None
