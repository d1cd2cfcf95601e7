"""`shammah` itself: the chat on a terminal, or one reply, or a batch of them."""

import os
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click

from shammah import __version__
from shammah.cli.options import (
    chat_settings,
    common,
    complete_conversation,
    generation_assignments,
    json_option,
    model_options,
    opened,
)
from shammah.errors import UsageError
from shammah.file_parts import composed
from shammah.ui.attaching import file_part
from shammah.ui.render import Screen


def _complete_option(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    from shammah.config import GenerationSettings, knobs_of

    return [name for name in knobs_of(GenerationSettings) if name.startswith(incomplete)]


class ChatCommand(click.Command):
    """The command behind a call without a command's name; its help is that of the program."""

    def get_help(self, ctx: click.Context) -> str:
        return ctx.parent.get_help() if ctx.parent else super().get_help(ctx)


@click.command(cls=ChatCommand)
@click.argument("words", nargs=-1, metavar="[PROMPT]")
@click.option("-p", "--prompt", "prompt_text", metavar="TEXT", help="The prompt, where it is also a command's name.")
@model_options
@chat_settings
@click.option("-c", "--continue", "latest", is_flag=True, help="Go on with the last conversation.")
@click.option(
    "--resume", metavar="ID|NAME", shell_complete=complete_conversation,
    help="Go on with a conversation of `shammah logs sessions`.",
)  # fmt: skip
@click.option(
    "-f", "--file", "files", multiple=True, type=click.Path(), metavar="PATH", help="Put a file before the prompt."
)
@click.option(
    "-o", "--option", "pairs", nargs=2, type=(str, str), multiple=True, metavar="KEY VALUE",
    shell_complete=_complete_option, help="Set a generation option: temperature, top_p, top_k, max_tokens, seed, ...",
)  # fmt: skip
@click.option(
    "--batch", type=click.Path(), metavar="FILE|-", help='Answer JSON lines {"id"?, "prompt"}, several at once.'
)
@json_option
@common
@click.version_option(__version__, message="shammah %(version)s")
def chat(
    words: tuple[str, ...],
    prompt_text: str | None,
    pairs: tuple[tuple[str, str], ...],
    files: tuple[str, ...],
    batch: str | None,
    assignments: tuple[str, ...],
    **options: Any,
) -> int:
    if options["latest"] and options["resume"] is not None:
        raise UsageError("-c and --resume exclude each other", hint="Give one of them.")
    words, prompt_text = tuple(map(_as_typed, words)), prompt_text and _as_typed(prompt_text)
    given = (*([prompt_text] if prompt_text is not None else []), *([" ".join(words)] if words else []))
    with opened(options, (*generation_assignments(pairs), *assignments)) as (app, screen):
        if batch is not None:
            from shammah.cli.batch import answer_batch

            if given or files or options["latest"] or options["resume"]:
                raise UsageError("--batch has its own prompts", hint="Leave out the prompt, -f, -c and --resume.")
            return answer_batch(app, screen, batch)
        if not given and not files and sys.stdin.isatty():
            from shammah.ui.interrupts import ending_tidily
            from shammah.ui.repl import Repl

            if options["as_json"]:
                raise UsageError("--json needs a prompt", hint="Give one as argument, with -p, or on stdin.")
            repl = Repl(app, screen, latest=options["latest"], resume=options["resume"])
            with ending_tidily(app.stop_training, repl.prompt.away):
                return repl.run()
        from shammah.cli.one_shot import answer

        _point_at_command(screen, words)
        prompt = compose_prompt(given, files, piped=None if sys.stdin.isatty() else _read_stdin())
        return answer(
            app, screen, prompt, latest=options["latest"], resume=options["resume"], as_json=options["as_json"]
        )


def _as_typed(text: str) -> str:
    """An argument as it was typed: a locale that is not UTF-8 hands its bytes on as odd characters."""
    try:
        return os.fsencode(text).decode("utf-8")
    except UnicodeError:
        return text


def _point_at_command(screen: Screen, words: tuple[str, ...]) -> None:
    """A single word that nearly is a command was probably meant as one."""
    from shammah.cli.main import COMMANDS

    near = get_close_matches(words[0], COMMANDS, n=1, cutoff=0.8) if len(words) == 1 else []
    if near:
        screen.say(f"({words[0]!r} is taken as a prompt; the command is `shammah {near[0]}`)")


def compose_prompt(given: tuple[str, ...], files: tuple[str, ...], *, piped: str | None) -> str:
    """Files first, then what came on stdin, then the words of the call: material before the question."""
    parts = [file_part(Path(name), called=f"-f {name}") for name in files]
    parts += [piped.strip("\n")] if piped and piped.strip() else []
    parts += [text for text in given if text.strip()]
    if not parts:
        raise UsageError("The prompt is empty", hint="Give a text as argument, with -p, or on stdin.")
    return composed(parts)


def _read_stdin() -> str:
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"stdin is not UTF-8 (byte {error.start + 1})", hint="Convert it first, for example with iconv -t UTF-8."
        ) from None
