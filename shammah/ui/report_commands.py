"""/report: what a training run came to; and how a receipt is shown in a terminal, in short and whole."""

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, TextIO, cast

from shammah.judging.receipt_lines import report_lines, short_lines
from shammah.judging.receipt_words import Body, holds
from shammah.records import Receipt
from shammah.store.activations import Activations
from shammah.store.receipts import Receipts
from shammah.store.rows import with_texts
from shammah.ui.commands import registry
from shammah.ui.render import ForgivingStream, can_write, columns, is_plain, printable
from shammah.ui.talk import require_kept
from shammah.ui.training_words import loss_curve

if TYPE_CHECKING:
    from shammah.ui.repl import Repl

_SIGNS = "✓✗▁"
_STYLES = {"": "", "title": "bold", "heading": "bold underline", "good": "green", "bad": "red", "dim": "dim"}


@registry.command(
    "report", group="learn", arguments="[run]", help="what the last training came to: your prompts before and after"
)
def report(repl: "Repl", argument: str) -> None:
    require_kept(repl.app, "there is no receipt")
    receipt = Receipts(repl.app.database).get(argument or None)
    repl.screen.progress.clear()
    print_report(receipt, cast(TextIO, ForgivingStream(sys.stderr)), holds=still_holds(receipt, repl.app.activations))


def notice_lines(receipt: Receipt) -> list[str]:
    """What is said above the prompt when a run was judged."""
    body = cleaned(receipt).body
    return short_lines(
        body, columns=columns(sys.stderr), curve=_curve(body, ascii=not can_write(_SIGNS, sys.stderr.encoding))
    )


def still_holds(receipt: Receipt, activations: Activations) -> bool:
    """Whether what the run decided is still so, for it may be shown long after."""
    current = activations.current(receipt.body["run"]["model"])
    return holds(receipt.body, current.adapter if current else None)


def print_report(receipt: Receipt, stream: TextIO, *, holds: bool) -> None:
    """All of it: with colours on a terminal, as plain lines that nothing breaks elsewhere."""
    from rich.console import Console
    from rich.text import Text

    receipt, ascii = cleaned(receipt), not can_write(_SIGNS, stream.encoding)
    lines = report_lines(
        receipt,
        columns=None if is_plain(stream) else columns(stream),
        curve=_curve(receipt.body, ascii=ascii),
        ascii=ascii,
        holds=holds,
    )
    console = Console(file=stream, highlight=False)
    for line in lines:
        text = Text.assemble(*((part, _STYLES[style]) for part, style in line.parts))
        text.rstrip()
        console.print(text, soft_wrap=True)


def cleaned(receipt: Receipt) -> Receipt:
    """Without what a terminal would obey: in it are texts of a model, and of files that were imported."""
    return replace(receipt, body=with_texts(receipt.body, printable))


def _curve(body: Body, *, ascii: bool) -> str:
    losses = [loss for loss in body["loss"]["curve"] if loss is not None]
    return loss_curve(losses, ascii=ascii) if losses else ""
