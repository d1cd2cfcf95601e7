"""What /help says of the commands, as wide as the terminal. Pure."""

from collections.abc import Iterable, Sequence

from shammah.ui.commands import GROUPS, Command

# Narrower than this, what a command does stands below its name.
_NARROW = 60
# A left side that is longer, and takes more than a third of the width, does not push the others to the right.
_LONG = 30


def overview(commands: Sequence[Command], columns: int) -> str:
    """All of them in their groups."""
    lines = []
    for group, title in GROUPS.items():
        rows = [(command.usage, command.help) for command in commands if command.group == group]
        lines += [title, *two_columns(rows, columns)]
    return "\n".join(lines)


def of_command(command: Command, columns: int) -> str:
    """One of them: what it does, how else it is called, and each of its words."""
    also = f"  (also {', '.join('/' + alias for alias in command.aliases)})" if command.aliases else ""
    head = wrapped(f"{command.usage}  {command.help}{also}", columns, subsequent_indent="  ")
    rows = [
        (f"/{command.name} {word} {arguments}".rstrip(), help)
        for word, (arguments, help) in command.words.items()
        if help
    ]
    bare = ", ".join(word for word, (_, help) in command.words.items() if not help)
    if bare:
        rows.append(("its words", bare))
    return "\n".join([*head, *two_columns(rows, columns)])


def wrapped(text: str, columns: int, *, initial_indent: str = "", subsequent_indent: str = "") -> list[str]:
    """At blanks alone: an option is no word with a hyphen."""
    from wcwidth import wrap  # lists that are read by programs never need it

    return wrap(
        text, columns, initial_indent=initial_indent, subsequent_indent=subsequent_indent, break_on_hyphens=False
    )


def two_columns(rows: Iterable[tuple[str, str]], columns: int, indent: str = "  ") -> list[str]:
    """What is on the left, and what is to be said of it beside or below."""
    rows = list(rows)
    longest = max(_LONG, columns // 3)
    width = max((len(left) for left, _ in rows if len(left) <= longest), default=0)
    lines = []
    for left, right in rows:
        if columns >= _NARROW and len(left) <= longest:
            first, further = f"{indent}{left:<{width}}  ", indent + " " * (width + 2)
            lines += wrapped(right, columns, initial_indent=first, subsequent_indent=further) or [first.rstrip()]
        else:
            lines += wrapped(left, columns, initial_indent=indent, subsequent_indent=indent * 2)
            lines += wrapped(right, columns, initial_indent=indent * 3, subsequent_indent=indent * 3)
    return lines
