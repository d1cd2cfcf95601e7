"""One prompt, one reply on stdout: streamed as text, or as one JSON object at the end."""

from contextlib import closing

from shammah.app import App
from shammah.cli.options import to_json
from shammah.errors import Interrupted
from shammah.events import Notice
from shammah.records import Turn
from shammah.ui.interrupts import CtrlC
from shammah.ui.render import Screen, ending_words


def answer(app: App, screen: Screen, prompt: str, *, latest: bool, resume: str | None, as_json: bool) -> int:
    history = app.history(latest=latest, resume=resume)
    if app.keeps_turns:
        _ = app.conversations  # a database that can't be used is met before the seconds that the model takes
    app.events.subscribe(screen.handle)
    session = app.session(app.load_model(), history)
    view = None if as_json else screen.reply()
    turn: Turn | None = None
    with CtrlC() as cancelled, closing(session.ask(prompt, app.config.generation, cancelled=cancelled)) as items:
        try:
            for item in items:
                if isinstance(item, Notice):
                    screen.notice(item)
                elif isinstance(item, Turn):
                    turn = item
                elif view is not None:
                    view.add(item)
        finally:
            if view is not None:
                view.end()
    assert turn is not None, "a reply ends with its turn"
    if as_json:
        screen.line(to_json(turn_json(turn, stored=app.keeps_turns)))
    if cancelled():
        raise Interrupted("Interrupted; the reply so far is kept" if app.keeps_turns else "Interrupted")
    if ending_words(turn) and not as_json:
        screen.say(ending_words(turn))
    return 0


def turn_json(turn: Turn, *, stored: bool) -> dict[str, object]:
    """The stable object of `--json`."""
    seconds = (turn.latency_ms - turn.first_token_ms) / 1000
    speed = (turn.output_tokens - 1) / seconds if turn.output_tokens > 1 and seconds > 0 else 0.0
    return {
        "prompt": turn.query,
        "response": turn.response,
        "reasoning": turn.reasoning,
        "model": turn.model,
        "adapter": turn.adapter,
        "input_tokens": turn.input_tokens,
        "cached_tokens": turn.cached_tokens,
        "output_tokens": turn.output_tokens,
        "duration_ms": round(turn.latency_ms, 1),
        "first_token_ms": round(turn.first_token_ms, 1),
        "tokens_per_second": round(speed, 1),
        "stop_reason": turn.stop_reason,
        "conversation_id": turn.conversation_id if stored else None,
    }
