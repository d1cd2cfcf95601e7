"""The `shammah` command: finds out whether a call is a chat, a prompt or a subcommand, and turns every failure
into one line.

    shammah [OPTIONS]            chat
    shammah [OPTIONS] PROMPT     one reply
    shammah COMMAND ...          a subcommand, whose module is imported only then
"""

import logging
import os
import sys
from importlib import import_module
from typing import Any, TextIO

import click
from click.shell_completion import CompletionItem

from shammah import logs
from shammah.durable import is_out_of_room
from shammah.errors import DiskFull, Interrupted, ShammahError, UsageError
from shammah.ui.render import Screen

log = logging.getLogger(__name__)
COMMANDS = {
    "demo": "shammah.cli.demo_command:demo",
    "models": "shammah.cli.models_commands:models",
    "config": "shammah.cli.config_commands:config",
    "logs": "shammah.cli.logs_commands:logs",
    "adapters": "shammah.cli.adapters_commands:adapters",
    "examples": "shammah.cli.examples_commands:examples",
    "train": "shammah.cli.train_command:train",
    "status": "shammah.cli.status_command:status",
    "report": "shammah.cli.report_command:report",
    "stats": "shammah.cli.stats_command:stats",
    "doctor": "shammah.cli.doctor:doctor",
    "completion": "shammah.cli.completion:completion",
}
_COMPLETION = "_SHAMMAH_COMPLETE"
_CHAT = "shammah.cli.chat:chat"


class ShammahGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        target = _CHAT if cmd_name == "chat" else COMMANDS.get(cmd_name)
        return None if target is None else _imported(target)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, route(args, completing=ctx.resilient_parsing))

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_usage("shammah", "[OPTIONS] [PROMPT]")
        formatter.write_usage("shammah", "COMMAND ...", prefix=" " * len("Usage: "))

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Options"):
            records = [option.get_help_record(ctx) for option in _imported(_CHAT).get_params(ctx)]
            formatter.write_dl([record for record in records if record])
        self.format_commands(ctx, formatter)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        found = super().shell_complete(ctx, incomplete)
        if incomplete.startswith("-"):
            found += [item for item in _imported(_CHAT).shell_complete(ctx, incomplete) if item not in found]
        return found


@click.group(
    cls=ShammahGroup,
    add_help_option=False,  # the chat has it
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="shammah COMMAND -h explains a command.",
)
def shammah() -> None:
    """Chat with a language model on this machine. Nothing leaves it.

    Without a prompt a chat begins; with one (as argument, by -p, on stdin, or several of them) one reply is printed.
    """


def route(args: list[str], *, completing: bool = False) -> list[str]:
    """Put the command's name first: options may stand before it, and a call without one is a chat."""
    at = _first_word(args)
    if at < len(args) and args[at] in COMMANDS and args[at - 1 : at] != ["--"]:
        rest = args[at + 1 :]
        end = rest.index("--") if "--" in rest else len(rest)
        return [args[at], *rest[:end], *args[:at], *rest[end:]]
    if completing and at == len(args):
        return []  # what is being typed may be a command
    return ["chat", *args]


def _first_word(args: list[str]) -> int:
    """Where the first argument stands that is neither an option nor an option's value.

    Just behind the end where there is none, further behind it where an option still waits for values.
    """
    takes = {name: p.nargs for p in _imported(_CHAT).params if not getattr(p, "is_flag", False) for name in p.opts}
    at = 0
    while at < len(args):
        word = args[at]
        if word == "--":
            return at + 1
        if not word.startswith("-") or word == "-":
            return at
        if word.startswith("--"):
            name, equals, _ = word.partition("=")
            at += 1 + max(0, takes.get(name, 0) - len(equals))
        else:
            at += 1 + _values_after(word[1:], takes)
    return at


def _values_after(letters: str, takes: dict[str, int]) -> int:
    """How many arguments a cluster of short options takes from those that follow: -nqm NAME one, -mNAME none."""
    for position, letter in enumerate(letters, 1):
        values = takes.get("-" + letter, 0)
        if values:
            return values - (1 if position < len(letters) else 0)
    return 0


def _imported(target: str) -> click.Command:
    module, _, name = target.partition(":")
    command: click.Command = getattr(import_module(module), name)
    return command


def main() -> None:
    """Run the call in the arguments and leave with its exit code. All failures end here, in one line on stderr."""
    code = run(sys.argv[1:])
    leave(code)


def run(args: list[str]) -> int:
    _prepare_streams()
    logs.set_up(None, verbosity=2 if "--debug" in args else 0)  # until the App knows more
    try:
        if _COMPLETION in os.environ:
            shammah.main(args, prog_name="shammah", complete_var=_COMPLETION)
        # Not through main(), which has its own ideas of closed pipes and of Ctrl+C.
        with shammah.make_context("shammah", args) as context:
            result: Any = shammah.invoke(context)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as end:
        return end.exit_code
    except ShammahError as error:
        return _failed(error)
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message(), file=sys.stderr)
        return UsageError.exit_code
    except click.UsageError as error:
        return _failed(UsageError(error.format_message(), hint=f"See `{_command_path(error)} --help`."))
    except click.ClickException as error:
        return _failed(ShammahError(error.format_message()))
    except KeyboardInterrupt:
        return _failed(Interrupted())
    except BrokenPipeError:
        _forget(sys.stdout)
        return _failed(ShammahError("The reader closed the pipe"), code=0)
    except Exception as error:
        if is_out_of_room(error):
            return _failed(DiskFull(f"No room left: {error}", hint="Free some space and try again."))
        log.exception("unexpected")
        hint = "--debug shows where; the log keeps it: `shammah logs path`."
        return _failed(ShammahError(f"Unexpected {type(error).__name__}: {error}", hint=hint))


def leave(code: int) -> None:
    """Exit. A thread inside a library can't be stopped, and taking Python down under it crashes."""
    import threading

    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # what could not be written was reported
            _forget(stream)
    if any(thread.name in ("load-model", "train") for thread in threading.enumerate()):
        os._exit(code)
    sys.exit(code)


def _failed(error: ShammahError, code: int | None = None) -> int:
    if log.isEnabledFor(logging.DEBUG):
        log.debug("failed", exc_info=True)
    Screen().error(error)
    return error.exit_code if code is None else code


def _command_path(error: click.UsageError) -> str:
    path = error.ctx.command_path if error.ctx else "shammah"
    return path.removesuffix(" chat")


def _prepare_streams() -> None:
    """Neither a stream that is closed nor a locale that lacks a character may end the program."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115  # stays open as long as the program runs
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]


def _forget(stream: TextIO) -> None:
    """Python flushes its streams once more at its end; without this it would complain again, with an exit code of its
    own."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
