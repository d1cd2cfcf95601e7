"""Where things stand: model, adapter, rules, what waits for training, the last verdict, memory, home. For /status and
`shammah status`."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from shammah.excerpt import excerpt
from shammah.judging.receipt_words import name, reasons, title
from shammah.records import Receipt
from shammah.store.receipts import Receipts
from shammah.ui.adapters_words import strength_words
from shammah.ui.feedback_words import buffer_words
from shammah.ui.render import size_words
from shammah.ui.report_commands import base_of, cleaned
from shammah.ui.toolbar import counted
from shammah.ui.train_commands import learning_facts

if TYPE_CHECKING:
    from shammah.app import App
    from shammah.ui.repl import Repl

_SHOWN = 160


def chat_facts(repl: "Repl") -> dict[str, str]:
    """What /status says."""
    app = repl.app
    facts = standing_facts(app, learning_facts(repl) if app.keeps_turns else None)
    if repl.talk.loading:
        facts["Model"] += f", until {repl.talk.loading} is loaded"
    return facts | {"Memory": memory_words(repl)}


def standing_facts(app: "App", learning: Mapping[str, str] | None) -> dict[str, str]:
    """Facts with their names; None for `learning` where nothing is stored."""
    facts = {
        "Model": app.config.model,
        "Adapter": adapter_words(app),
        "Rules": f"{len(app.rules())} given to the model",
    }
    if not app.config.rules.active:
        facts["Rules"] += " (rules.active is false)"
    if learning is None:
        return {**facts, "Stored": "nothing (--no-log)"}
    buffer = app.desk.buffer()
    waiting = buffer.needs_target + buffer.needs_review
    stored = f"{counted(app.conversations.count(), 'turn')} and {counted(app.desk.examples.count(), 'example')}"
    verdict = last_verdict(app)
    return {
        **facts,
        "Buffer": buffer_words(buffer) + (f"; {waiting} in /review" if waiting else ""),
        **learning,
        **({"Verdict": verdict_words(verdict)} if verdict else {}),
        "Stored": f"{stored} in {app.home.database}",
        "Home": str(app.home.root),
    }


def standing_json(app: "App") -> dict[str, Any]:
    """What `--json` has of the same beside its facts."""
    _, strength = app.speaking()
    verdict, rated = last_verdict(app), probation_of(app)
    return {
        "strength": strength,
        "probation": rated and {"rated": rated[0], "of": rated[1]},
        "verdict": verdict and {"run": verdict.run_id, "title": title(verdict.body), "reasons": reasons(verdict.body)},
    }


def adapter_words(app: "App") -> str:
    """Who answers, how strongly, and whether it is on probation."""
    adapter, strength = app.speaking()
    if adapter is None:
        return "none"
    probation = probation_of(app)
    proves = ", on probation: {} of {} replies rated".format(*probation) if probation else ""
    return f"{adapter}{strength_words(strength)}{proves}"


def probation_of(app: "App") -> tuple[int, int] | None:
    """How many replies of the adapter in use were rated, and of how many, as long as that decides whether it stays."""
    return app.probation.progress(app.base) if app.follows and app.keeps_turns else None


def last_verdict(app: "App") -> Receipt | None:
    """What the newest run of this model that was judged came to."""
    newest = (receipt for receipt in Receipts(app.database).recent() if base_of(receipt) == app.base)
    found = next(newest, None)
    return found and cleaned(found)


def verdict_words(receipt: Receipt) -> str:
    return excerpt(f"{title(receipt.body)}: {name(receipt.body)}; {'; '.join(reasons(receipt.body))}", _SHOWN)


def memory_words(repl: "Repl") -> str:
    """What this program takes, and what of it is the model's."""
    import psutil

    whole = size_words(psutil.Process().memory_info().rss)
    if not repl.talk.loaded:
        return f"{whole}; the model is still loading"
    return f"{whole}, of it {size_words(repl.talk.model().bytes)} the model's numbers"
