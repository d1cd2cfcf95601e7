"""`shammah report`: what a training run came to, in a terminal, as JSON, or as a page."""

import os
import sys
from pathlib import Path
from typing import Any

import click

from shammah.cli.options import common, json_option, opened, to_json
from shammah.durable import expand, explained, write_file
from shammah.errors import UsageError
from shammah.judging.receipt_page import is_page, page
from shammah.ui.render import Screen
from shammah.ui.report_commands import back_to, cleaned, find_receipt, print_report, still_holds


@click.command()
@click.argument("run", required=False)
@click.option("--html", metavar="FILE", help="Write a page that needs nothing else; - for stdout.")
@json_option
@common
def report(run: str | None, html: str | None, as_json: bool, assignments: tuple[str, ...], **options: Any) -> int:
    """Show what a training run came to.

    It is the last one, or RUN by its id or the beginning of it.

    What it learned from, your own prompts before and after, what got better and what got worse, the decision and why,
    and how to go back.
    """
    if html is not None and as_json:
        raise UsageError("--json and --html exclude each other", hint="Call it once for each.")
    with opened(options, assignments) as (app, screen):
        receipt = find_receipt(app, run)
        holds, back = still_holds(receipt, app.activations), back_to(receipt, app)
    if html is not None:
        _write_page(page(cleaned(receipt), holds=holds, back=back), html, screen)
    elif as_json:
        screen.line(to_json({"time": receipt.time, **receipt.body}))
    else:
        print_report(receipt, screen, sys.stdout, holds=holds, back=back)
    return 0


def _write_page(text: str, name: str, screen: Screen) -> None:
    """Nothing is overwritten but an earlier page."""
    if name == "-":
        screen.line(text.rstrip("\n"))
        return
    path, hint = expand(name), "Name another file, as in receipt.html."
    if path.is_dir():
        raise UsageError(f"{name} is a folder", hint=hint)
    if not path.parent.is_dir():
        raise UsageError(f"There is no folder {path.parent}", hint=hint)
    if os.path.lexists(path) and not _holds_page(path):
        raise UsageError(f"{name} is there already, and is no receipt", hint=hint)
    write_file(path, text.encode())
    screen.say(f"Written: {path}")


def _holds_page(path: Path) -> bool:
    with explained(path):
        return path.is_file() and is_page(path.read_bytes())
