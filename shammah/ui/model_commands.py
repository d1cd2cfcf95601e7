"""/model and /models: which model answers, which there are, and another in the place of this one."""

from functools import partial
from typing import TYPE_CHECKING

from shammah.durable import expand
from shammah.errors import ModelError, UsageError
from shammah.file_parts import unescaped
from shammah.ui.commands import registry
from shammah.ui.feedback_words import unquoted
from shammah.ui.training_words import fact_lines

if TYPE_CHECKING:
    from shammah.ui.repl import Repl


@registry.command(
    "model", group="machine", arguments="[NAME]",
    help="the model that answers; with a name: go on with another one", takes={"": "model"},
)  # fmt: skip
def model(repl: "Repl", argument: str) -> None:
    if argument:
        _go_on_with(repl, unescaped(unquoted(argument)))
        return
    from shammah.ui.model_words import known_facts, loaded_facts
    from shammah.ui.standing_words import adapter_words, memory_words

    app, talk = repl.app, repl.talk
    facts = loaded_facts(talk.model()) if talk.loaded else known_facts(app.config.model)
    facts |= {"Adapter": adapter_words(app), "Memory": memory_words(repl)}
    if talk.loading:
        facts["Loading"] = talk.loading
    repl.screen.tell("\n".join(fact_lines(facts, repl.screen.columns)))


@registry.command("models", group="machine", help="the models there are, and which of them fit this machine")
def models(repl: "Repl", argument: str) -> None:
    from shammah.model.machine import survey
    from shammah.ui.model_words import machine_words, model_lines, model_rows

    cache = repl.app.model_cache
    machine = survey(cache.root)
    rows = model_rows(repl.app, cache.models(), machine)
    repl.screen.tell("\n".join([machine_words(machine), *model_lines(rows, repl.screen.columns)]))


def _go_on_with(repl: "Repl", typed: str) -> None:
    """In the background, as at the start: what is asked meanwhile waits for it."""
    from shammah.model.catalog import entry_named

    entry = entry_named(typed)
    name, now = entry.name if entry else typed, repl.app.config.model
    if name == now or _same_place(name, now):
        stops = f", and {repl.talk.loading} is left" if repl.talk.loading else ""
        repl.talk.stay()
        repl.screen.tell(f"{now} goes on answering{stops}.")
        return
    _require_room(repl, name)
    repl.talk.load_other(name, partial(_when_loaded, repl, name))
    repl.screen.tell(f"{name} is being loaded and then answers; /model {now} stays with this one.")


def _same_place(name: str, now: str) -> bool:
    """Whether both are one folder or file."""
    try:
        return expand(name).samefile(expand(now))
    except (OSError, UsageError):
        return False


def _when_loaded(repl: "Repl", name: str, error: BaseException | None) -> None:
    """On the thread that loaded it."""
    if repl.talk.loading in ("", name):  # that of another one goes on
        repl.prompt.status("")
    repl.prompt.above(partial(take_other, repl))


def take_other(repl: "Repl") -> None:
    if repl.talk.take_other():
        repl.show_counts()


def _require_room(repl: "Repl", name: str) -> None:
    """Before a model that can't fit takes the chat down with it: until then the one before stays."""
    from shammah.model.machine import beside, fit_of, survey

    parameters = _parameters_of(name)
    if not parameters:
        return
    now = repl.talk.model() if repl.talk.loaded else None
    machine = survey(repl.app.model_cache.root)
    found = fit_of(parameters, beside(machine, now.bytes) if now else machine)
    if found.level == "too big":
        place = f"this machine beside {now.name}" if now else "this machine"
        raise ModelError(
            f"{name} is too big for {place}: it {found.why}", hint=f"`shammah -m {name} -c` tries it all the same."
        )


def _parameters_of(name: str) -> int:
    """As far as it can be told before the model is fetched and read; else 0."""
    from shammah.model.catalog import entry_named
    from shammah.model.weights import parameters_of

    entry = entry_named(name)
    if entry is not None:
        return entry.parameters
    try:
        return parameters_of(expand(name))
    except UsageError:
        return 0  # no path: loading it will say what it is
