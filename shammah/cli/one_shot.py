"""One prompt, one reply on stdout: streamed as text, or as one JSON object at the end."""

from contextlib import closing

from shammah.app import App
from shammah.cli.options import to_json
from shammah.errors import Interrupted
from shammah.events import Notice
from shammah.records import Turn
from shammah.session import require_text
from shammah.ui.interrupts import CtrlC
from shammah.ui.render import Answer, Screen, ending_words
from shammah.ui.reply_figures import tell_figures


def answer(app: App, screen: Screen, prompt: str, *, latest: bool, resume: str | None, as_json: bool) -> int:
    require_text(prompt)
    history = app.history(latest=latest, resume=resume)
    app.require_store()
    app.events.subscribe(screen.handle)
    session = app.session(app.load_model(), history)
    with CtrlC() as cancelled:
        items = session.ask(prompt, app.config.generation, cancelled=cancelled)
        turn = _collect(items, app, screen) if as_json else screen.show(items)
    if cancelled():
        raise Interrupted("Interrupted; the reply so far is kept" if app.keeps_turns else "Interrupted")
    if not as_json:
        if ending_words(turn):
            screen.say(ending_words(turn))
        tell_figures(screen, app, turn)
    return 0


def _collect(items: Answer, app: App, screen: Screen) -> Turn:
    """Print the finished turn as JSON, also when storing it fails afterwards; give it back."""
    turns: list[Turn] = []
    with closing(items):
        for item in items:
            if isinstance(item, Notice):
                screen.notice(item)
            elif isinstance(item, Turn):
                turns.append(item)
                screen.line(to_json(turn_json(item, stored=app.keeps_turns)))
    (turn,) = turns
    return turn


def turn_json(turn: Turn, *, stored: bool) -> dict[str, object]:
    """The stable object of `--json`."""
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
        "tokens_per_second": round(turn.tokens_per_second, 1),
        "stop_reason": turn.stop_reason,
        "conversation_id": turn.conversation_id if stored else None,
    }
