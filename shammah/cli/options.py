"""Options that several commands share. Those that stand for settings are made from the settings' own declarations."""

import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from shammah.app import App
from shammah.config import Config, GenerationSettings, UiSettings, knobs_of
from shammah.config.knobs import Knob, nearest
from shammah.errors import ConfigError, ShammahError
from shammah.ui.render import Screen

_NOT_PLAIN = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_COMPLETED = 50
F = TypeVar("F", bound=Callable[..., Any])


def common(function: F) -> F:
    """What every command takes."""
    for decorate in (
        click.option("--debug", is_flag=True, help="Log everything, also to stderr, and show tracebacks."),
        click.option("-v", "--verbose", is_flag=True, help="Say on stderr what is being done."),
        click.option("-q", "--quiet", is_flag=True, help="Print the answer and errors, nothing else."),
        click.option(
            "--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Override any setting for this call."
        ),
        *_setting_options("offline", "ui.plain"),
    ):
        function = decorate(function)
    return function


def model_options(function: F) -> F:
    """What every command takes that looks at the model."""
    for decorate in _setting_options("model", "device", "dtype"):
        function = decorate(function)
    return function


def chat_settings(function: F) -> F:
    """The remaining settings that have a flag of their own."""
    for decorate in _setting_options("adapter", "system", "no_log"):
        function = decorate(function)
    return function


def json_option(function: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


def build_app(options: dict[str, Any], assignments: tuple[str, ...] = (), **more: Any) -> App:
    """The App for one call. `options` are the command's parameters.

    Those that are settings win over file and environment.
    """
    return App.build(flags={**given_flags(options), **more}, assignments=assignments, verbosity=verbosity(options))


def verbosity(options: dict[str, Any]) -> int:
    return 2 if options.get("debug") else 1 if options.get("verbose") else 0


def given_flags(options: dict[str, Any]) -> dict[str, Any]:
    """Those of a command's parameters that are settings, as far as they were given."""
    given = {key: options.get(_parameter(key)) for key in knobs_of(Config)}
    return {key: value for key, value in given.items() if value not in (None, False)}


def build_screen(options: dict[str, Any], ui: Callable[[], UiSettings] = UiSettings) -> Screen:
    return Screen(quiet=bool(options.get("quiet")), ui=ui)


@contextmanager
def opened(options: dict[str, Any], assignments: tuple[str, ...] = (), **more: Any) -> Iterator[tuple[App, Screen]]:
    """The App and the screen for one call. The App is closed at the end, the screen can still be written to."""
    app = build_app(options, assignments, **more)
    try:
        yield app, build_screen(options, lambda: app.config.ui)
    finally:
        app.close()


def generation_assignments(pairs: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """`-o KEY VALUE` as assignments to the generation settings, refused by name when there is no such option."""
    knobs = knobs_of(GenerationSettings)
    for name, text in pairs:
        if name not in knobs:
            raise ConfigError(
                f"-o {name}: there is no such option",
                hint=nearest(name.rpartition(".")[2], {key: key for key in knobs}, f"There are {', '.join(knobs)}."),
            )
        knobs[name].read_text(text)
    return tuple(f"generation.{name}={text}" for name, text in pairs)


def to_json(value: Any) -> str:
    """One line of JSON that a person can read too."""
    everywhere = not (sys.stdout.encoding or "").lower().startswith("utf")
    text = json.dumps(value, ensure_ascii=everywhere, default=str)
    # What a terminal would obey and what UTF-8 cannot hold are written as JSON spells them.
    return _NOT_PLAIN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def complete_model(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of the catalog; where none begins like that, files."""
    from shammah.model.catalog import CATALOG

    names = [entry.name for entry in CATALOG if entry.name.startswith(incomplete.lower())]
    return [CompletionItem(name) for name in names] or [CompletionItem(incomplete, type="file")]


def complete_conversation(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """`latest`, the names that are one word, and ids, with what they are called where the shell shows that."""
    from shammah.store.titles import LATEST, Titles

    try:
        app = build_app({})
        found = Titles(app.database).search(limit=_COMPLETED) if app.home.database.exists() else []
        app.close()
    except ShammahError:
        return []
    named = [one.title for one in found if one.title.isprintable() and len(one.title.split()) == 1]
    items = [CompletionItem(name) for name in (*([LATEST] if found else []), *named)]
    items += [CompletionItem(one.id, help=one.title if one.title.isprintable() else None) for one in found]
    return [item for item in items if item.value.startswith(incomplete)]


def conversation_argument(function: F) -> F:
    return click.argument("id", metavar="ID|NAME", shell_complete=complete_conversation)(function)


def _setting_options(*keys: str) -> list[Callable[[F], F]]:
    return [_setting_option(knobs_of(Config)[key]) for key in reversed(keys)]


def _setting_option(knob: Knob) -> Callable[[F], F]:
    text = knob.help[0].upper() + knob.help[1:] + "."
    if knob.kind is bool:
        return click.option(*knob.flags, _parameter(knob.key), is_flag=True, default=None, help=text)
    complete = complete_model if knob.key == "model" else None
    return click.option(
        *knob.flags, _parameter(knob.key), metavar=knob.metavar, default=None, help=text, shell_complete=complete
    )


def _parameter(key: str) -> str:
    """What click calls the option of a setting."""
    return key.replace(".", "_")
