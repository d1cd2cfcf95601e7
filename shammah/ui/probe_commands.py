"""/probe: what a reply must hold whatever is learned next. Each new adapter is asked before it may answer."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from shammah.errors import UsageError
from shammah.records import Probe
from shammah.ui.commands import by_word, registry
from shammah.ui.feedback_words import indented, read_probe
from shammah.ui.talk import require_kept

if TYPE_CHECKING:
    from shammah.app import App
    from shammah.store.probes import Probes
    from shammah.ui.repl import Repl

_USAGE = '/probe "when asked X it must contain Y", /probe X => Y, /probe list or /probe delete N.'


def probes_of(app: "App") -> "Probes":
    from shammah.store.probes import Probes

    return Probes(app.database)


def probe_lines(probe: Probe) -> list[str]:
    return [f"   Asked: {indented(probe.prompt)}", f"   Must contain: {contains_words(probe)}"]


def contains_words(probe: Probe) -> str:
    return " or ".join(map(indented, probe.contains))


def _add(repl: "Repl", prompt: str, contains: tuple[str, ...]) -> None:
    from shammah.feedback.secrets import find

    if repl.app.config.redact and any(map(find, (prompt, *contains))):
        # Redacted it would ask for something else, and no reply could pass it.
        raise UsageError("That probe holds a secret, which is not stored", hint="Ask for something beside it.")
    probe = probes_of(repl.app).add(prompt, contains)
    repl.screen.tell(
        "\n".join(["A probe: once what answers passes it, no new adapter may lose it.", *probe_lines(probe)])
    )


def _list(repl: "Repl", argument: str) -> None:
    known = probes_of(repl.app).all()
    if not known:
        raise UsageError("There is no probe yet", hint='/probe "when asked X it must contain Y" makes one.')
    for number, probe in enumerate(known, 1):
        origin = "  (from an example)" if probe.source == "example" else ""
        repl.screen.tell(f"{number:>2}  {indented(probe.prompt)}  ->  {contains_words(probe)}{origin}")


def _delete(repl: "Repl", argument: str) -> None:
    if not argument:
        raise UsageError("Which probe?", hint="/probe list shows their numbers.")
    probes = probes_of(repl.app)
    probe = probes.get(argument.lstrip("#"))
    if probe.source == "example":  # the next adapter would bring it back
        gone = f"It goes with its example: `shammah examples delete {probe.id}`."
        raise UsageError("That probe is of something that was learned", hint=gone)
    probes.delete(probe.id)
    repl.screen.tell("\n".join(["Deleted", *probe_lines(probe)]))


_ACTS: dict[str, Callable[["Repl", str], None]] = {"": _list, "list": _list, "delete": _delete}


@registry.command(
    "probe", group="learn", arguments='"when asked X it must contain Y"',
    help="what no new adapter may lose; /probe lists them, /probe delete N takes one away",
    words={"list": ("", "all of them, with their numbers"), "delete": ("N", "take one away")},
)  # fmt: skip
def probe(repl: "Repl", argument: str) -> None:
    require_kept(repl.app, "no probe is either")
    given = read_probe(argument)
    if given is not None:
        _add(repl, *given)
        return
    act, rest = by_word("probe", _ACTS, argument, usage=_USAGE)
    if rest and act is _list:
        raise UsageError(f"/probe does not know {argument!r}", hint=_USAGE)
    act(repl, rest)
