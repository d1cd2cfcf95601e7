"""/report: what a training run came to; and how a receipt is shown in a terminal, in short and whole."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TextIO, cast

from shammah.judging.receipt_lines import report_lines, short_lines
from shammah.judging.receipt_words import Body, called, holds, name
from shammah.records import Receipt
from shammah.store.activations import Activations
from shammah.store.receipts import Receipts
from shammah.store.rows import with_texts
from shammah.ui.commands import registry
from shammah.ui.render import ForgivingStream, Screen, can_write, columns, printable
from shammah.ui.swap_words import own_words
from shammah.ui.talk import require_kept
from shammah.ui.training_words import loss_curve

if TYPE_CHECKING:
    from shammah.app import App
    from shammah.ui.repl import Repl

_SIGNS = "✓✗▁"


@registry.command(
    "report", group="learn", arguments="[run]", help="what the last training came to: your prompts before and after"
)
def report(repl: "Repl", argument: str) -> None:
    app = repl.app
    require_kept(app, "there is no receipt")
    receipt = find_receipt(app, argument or None)
    holds, back = still_holds(receipt, app.activations), back_to(receipt, app)
    repl.screen.progress.clear()
    print_report(receipt, repl.screen, cast(TextIO, ForgivingStream(sys.stderr)), holds=holds, back=back)


def notice_lines(newest_first: Sequence[Receipt], app: "App", *, holds: bool) -> list[str]:
    """What is said above the prompt when runs were judged: what the last one came to. `holds` says whether that is
    still so."""
    receipt, *earlier = newest_first
    body = cleaned(receipt).body
    curve = _curve(body, ascii=not can_write(_SIGNS, sys.stderr.encoding))
    lines = short_lines(body, columns=columns(sys.stderr), curve=curve, holds=holds)
    if body["deployed"] and holds and not app.follows:
        lines.append(own_words(app.answering(), name(body)))
    if earlier:
        more = "One more was" if len(earlier) == 1 else f"{len(earlier)} more were"
        lines.append(f"{more} judged before it: /report {earlier[0].run_id}")
    return lines


def missed(app: "App") -> list[Receipt]:
    """The receipts of this model that no chat has told, newest first: of runs in another process, or that ended when
    nobody was there any more. From now on they are told."""
    receipts = Receipts(app.database)
    found = [receipt for receipt in receipts.untold() if base_of(receipt) == app.base]
    new = receipts.tell([receipt.run_id for receipt in found]) if found else ()
    return [receipt for receipt in found if receipt.run_id in new]


def find_receipt(app: "App", run: str | None) -> Receipt:
    """Of a run, or the newest. Older ones hold the model as it was configured: where that is a path, it says no more
    than its last part."""
    receipt = Receipts(app.database).get(run)
    body = receipt.body
    return replace(receipt, body={**body, "run": {**body["run"], "model": base_of(receipt)}})


def base_of(receipt: Receipt) -> str:
    """The model's name, as adapters are made for it."""
    from shammah.model.catalog import name_to_share

    return name_to_share(receipt.body["run"]["model"])


def still_holds(receipt: Receipt, activations: Activations) -> bool:
    """Whether what the run decided is still so, for it may be shown long after."""
    current = activations.current(base_of(receipt))
    return holds(receipt.body, current.adapter if current else None)


def back_to(receipt: Receipt, app: "App") -> str:
    """Who answers after a step back from what the run brought; empty where it does not answer."""
    if not (receipt.body["deployed"] and still_holds(receipt, app.activations)):
        return ""
    return called(app.helm.step_back(base_of(receipt)))


def print_report(receipt: Receipt, screen: Screen, stream: TextIO, *, holds: bool, back: str = "") -> None:
    """All of it: with colours on a terminal, as plain lines that nothing breaks elsewhere."""
    receipt, ascii = cleaned(receipt), not can_write(_SIGNS, stream.encoding)
    lines = report_lines(
        receipt,
        columns=None if screen.is_plain(stream) else columns(stream),
        curve=_curve(receipt.body, ascii=ascii),
        ascii=ascii,
        holds=holds,
        back=back,
    )
    theme = screen.theme(stream)
    for line in lines:
        parts = [(part, style) for part, style in line.parts if part]
        while parts and not parts[-1][0].strip():
            parts.pop()
        last = len(parts) - 1
        painted = (theme.paint(part.rstrip() if at == last else part, style) for at, (part, style) in enumerate(parts))
        stream.write("".join(painted) + "\n")
    stream.flush()


def cleaned(receipt: Receipt) -> Receipt:
    """Without what a terminal would obey: in it are texts of a model, and of files that were imported."""
    return replace(receipt, body=with_texts(receipt.body, printable))


def _curve(body: Body, *, ascii: bool) -> str:
    losses = [loss for loss in body["loss"]["curve"] if loss is not None]
    return loss_curve(losses, ascii=ascii) if losses else ""
