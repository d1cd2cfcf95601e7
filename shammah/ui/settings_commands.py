"""/set and /config: the settings, for this chat or from now on; /system and /think, which are one setting each."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from shammah.config import Config, Knob, knobs_of
from shammah.config.knobs import find_knob
from shammah.config.layers import read_file
from shammah.errors import ConfigError, UsageError
from shammah.excerpt import excerpt
from shammah.ui.commands import by_word, first_word, registry
from shammah.ui.feedback_words import unquoted
from shammah.ui.talk import TYPED

if TYPE_CHECKING:
    from shammah.config import Resolved
    from shammah.ui.repl import Repl

# What is changed in a chat; of other sections only what is not as it comes.
_IN_A_CHAT = ("", "generation", "rules", "files", "ui")
_SHOWN = 60
_USAGE = "/config get [KEY], /config set KEY VALUE, /config path or /config edit."
_INSTEAD = {"model": "/model NAME changes it here", "adapter": "/adapters load NAME changes it here"}
# Other words for how reasoning is shown.
_SHOWN_AS = {"on": "show", "off": "hide"}


# For this chat


@registry.command(
    "set", arguments="[KEY [VALUE]]", help="show the settings, or change one for this chat",
    takes={"": "setting"},
)  # fmt: skip
def set_here(repl: "Repl", argument: str) -> None:
    name, text = read_pair(argument)
    if not name:
        for knob in knobs_of(Config).values():
            if _matters(repl.app.settings, knob):
                repl.screen.tell(_words(repl, knob))
        repl.screen.tell("/set KEY VALUE changes one for this chat; /config get shows all.")
        return
    knob = _knob(name)
    if text is None:
        repl.screen.tell(_words(repl, knob))
        repl.screen.tell(f"  {knob.help}")
        return
    value = knob.read_text(text)
    if knob.at_start:
        raise _fixed(knob, text)
    change(repl, {knob.key: value}, TYPED)
    repl.screen.tell(f"{setting_words(repl.app.settings, knob)} from the next message on, in this chat.")


def change(repl: "Repl", values: dict[str, Any], source: str) -> None:
    """Go on with other settings, from the next message on."""
    app, before = repl.app, repl.app.settings
    app.change(before.changed(values, source))
    try:
        if app.keeps_turns:
            _ = app.desk  # a scorer that can't be found is met here
    except ConfigError:
        app.change(before)
        raise
    if "system" in values:
        repl.talk.system = values["system"]
    repl.talk.renew()


def read_pair(argument: str) -> tuple[str, str | None]:
    """`KEY`, `KEY VALUE`, `KEY=VALUE` or `KEY = VALUE` as key and value; None for a value that is not there."""
    name, text = first_word(argument)
    name, equals, _ = name.partition("=")
    if equals:  # the word was read in small letters, which a value need not be
        return name, unquoted(argument.strip()[len(name) + 1 :])
    if text.startswith("="):
        return name, unquoted(text[1:])
    return name, unquoted(text) if text else None


def setting_words(settings: "Resolved", knob: Knob) -> str:
    """`generation.seed = 7  (/set)`"""
    from shammah.config.writing import toml_value  # with a library for TOML, which no prompt should wait for

    source = settings.sources[knob.key]
    return f"{knob.key} = {excerpt(toml_value(settings.value(knob.key)), _SHOWN)}  ({_short(source)})"


def _words(repl: "Repl", knob: Knob) -> str:
    """The same, but for the system prompt that a conversation brought with it."""
    settings, system = repl.app.settings, repl.talk.system
    if knob.key == "system" and system != settings.config.system:
        settings = settings.changed({"system": system}, "this conversation")
    return setting_words(settings, knob)


def _short(source: str) -> str:
    return "config.toml" if source.endswith("config.toml") else source


def _matters(settings: "Resolved", knob: Knob) -> bool:
    in_a_chat = knob.key in _INSTEAD or (".".join(knob.path[:-1]) in _IN_A_CHAT and not knob.at_start)
    return in_a_chat or settings.sources[knob.key] != "default"


def _knob(name: str) -> Knob:
    try:
        return find_knob(Config, name)
    except ConfigError as error:
        raise ConfigError(error.message, hint=error.hint.replace("`shammah config get`", "/config get")) from None


def _fixed(knob: Knob, text: str) -> UsageError:
    instead = f"{_INSTEAD[knob.key]}; from" if knob.key in _INSTEAD else "From"
    return UsageError(
        f"{knob.key} can't change in a chat that runs",
        hint=f"{instead} the next start on: shammah config set {knob.key} {text}",
    )


# From now on


def _get(repl: "Repl", argument: str) -> None:
    knobs = [_knob(argument)] if argument else list(knobs_of(Config).values())
    repl.screen.tell("\n".join(_words(repl, knob) for knob in knobs))


def _write(repl: "Repl", argument: str) -> None:
    from shammah.config.writing import set_value, toml_value

    name, text = read_pair(argument)
    if not name or text is None:
        raise UsageError("Which setting, and what is it to be?", hint=_USAGE)
    file = repl.app.home.config_file
    knob, written = set_value(file, _knob(name).key, text)
    repl.screen.tell(f"{knob.key} = {toml_value(written)}, in {file}")
    _take_file(repl, [knob])


def _path(repl: "Repl", argument: str) -> None:
    repl.screen.tell(str(repl.app.home.config_file))


def _edit(repl: "Repl", argument: str) -> None:
    from shammah.ui.editing import edit_config

    if not repl.prompt.asks:
        raise UsageError("The editor needs a terminal", hint="/config set KEY VALUE does without it.")
    with repl.prompt.away():
        edit_config(repl.app.home.config_file)
    _take_file(repl, knobs_of(Config).values())


def _take_file(repl: "Repl", knobs: Iterable[Knob]) -> None:
    """What config.toml says now counts here too, as far as nothing else goes before it and a chat can change it."""
    file = repl.app.home.config_file
    said, settings = read_file(file), repl.app.settings
    changed = {}
    for knob in knobs:
        value, source = said.get(knob.key, knob.default), settings.sources[knob.key]
        if value == settings.value(knob.key):
            continue
        if source not in ("default", str(file)):
            if knob.key in said:
                repl.screen.tell(f"This chat goes on with {setting_words(settings, knob)}, which goes before it.")
        elif knob.at_start:
            repl.screen.tell(f"{knob.key} counts from the next start on.")
        else:
            changed[knob.key] = value
    for source, keys in ((str(file), changed.keys() & said.keys()), ("default", changed.keys() - said.keys())):
        if keys:
            change(repl, {key: changed[key] for key in keys}, source)


def _all(repl: "Repl", argument: str) -> None:
    """What was changed, and where."""
    settings = repl.app.settings
    repl.screen.tell(str(repl.app.home.config_file))
    for knob in knobs_of(Config).values():
        if settings.sources[knob.key] != "default":
            repl.screen.tell(setting_words(settings, knob))
    repl.screen.tell("All else is as it comes: /config get shows it.")


_ACTS: dict[str, Callable[["Repl", str], None]] = {
    "": _all,
    "get": _get,
    "set": _write,
    "path": _path,
    "edit": _edit,
}
_WORDS = {
    "get": ("[KEY]", "one setting or all, each with where its value is from"),
    "set": ("KEY VALUE", "write one to config.toml; comments stay"),
    "path": ("", "where config.toml is, or would be"),
    "edit": ("", "open config.toml in your editor"),
}


@registry.command(
    "config", group="machine", arguments="[get|set|path|edit ...]",
    help="the settings as config.toml keeps them; alone: what differs from how it comes", words=_WORDS,
    takes={"get": "setting", "set": "setting"},
)  # fmt: skip
def config(repl: "Repl", argument: str) -> None:
    act, rest = by_word("config", _ACTS, argument, usage=_USAGE)
    if rest and act in (_path, _edit):
        raise UsageError(f"/config does not know {argument!r}", hint=_USAGE)
    act(repl, rest)


# One setting each


@registry.command(
    "system", arguments="[TEXT|none]", help="show the system prompt, or change it for this chat",
    words={"none": ("", "leave it to the model's own")},
)  # fmt: skip
def system(repl: "Repl", argument: str) -> None:
    if not argument:
        now = repl.talk.system
        repl.screen.tell(f"System prompt: {now}" if now else "No system prompt is set; the model's own counts.")
        return
    text = "" if argument.lower() == "none" else unquoted(argument)
    change(repl, {"system": text}, TYPED)
    repl.screen.tell("From the next message on: " + (text or "no system prompt, but the model's own."))


@registry.command(
    "think", arguments="[show|fold|hide]", help="how a model's reasoning before its reply is shown",
    words={
        "show": ("", "all of it, dim; on is the same"),
        "fold": ("", "in one line"),
        "hide": ("", "not at all; off is the same"),
    },
)  # fmt: skip
def think(repl: "Repl", argument: str) -> None:
    word = argument.lower()
    set_here(repl, f"ui.reasoning {_SHOWN_AS.get(word, word)}".strip())
