"""/sessions, /resume and /save: the stored conversations, their names, and going on with one of them."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shammah.errors import ShammahError, UsageError
from shammah.records import Conversation
from shammah.store.identity import utc_now
from shammah.ui.adapters_words import learned_lines
from shammah.ui.commands import first_word, registry
from shammah.ui.feedback_words import unquoted
from shammah.ui.render import printable
from shammah.ui.session_words import (
    as_json,
    as_markdown,
    file_name_of,
    going_on_words,
    last_exchange_lines,
    listed_lines,
    numbered,
    title_of,
)
from shammah.ui.shelf_commands import list_columns
from shammah.ui.talk import require_kept
from shammah.ui.toolbar import counted

if TYPE_CHECKING:
    from shammah.app import App
    from shammah.forgetting import Forgotten
    from shammah.store.titles import Titles
    from shammah.ui.repl import Repl

_SHOWN = 20
_PICKED_FROM = 200
# A number of more digits is the beginning of an id.
_DIGITS = 4
_USAGE = {
    "rename": '/sessions rename 2 NEW; a name with blanks stands in quotes: /sessions rename "OLD NAME" NEW.',
    "delete": "/sessions delete 2, or an id or a name of /sessions.",
    "export": "/sessions export 2 [FILE.md|FILE.json]; a name with blanks stands in quotes.",
}
_LIST = "/sessions lists them."
_FIRST = re.compile(r"""\s*(?:(["'])(?P<quoted>.*?)\1(?=\s|$)|(?P<bare>\S+))\s*(?P<rest>.*)""", re.DOTALL)


@registry.command(
    "sessions", arguments="[text|rename|delete|export]",
    help="the stored conversations, newest first, or those that hold a text; rename, delete, export one",
    words=tuple(_USAGE), takes=dict.fromkeys(_USAGE, "session"),
)  # fmt: skip
def sessions(repl: "Repl", argument: str) -> None:
    word, rest = first_word(argument)
    acts: dict[str, Callable[[Repl, str], None]] = {"rename": _rename, "delete": _delete, "export": _export}
    if word not in acts:
        _list(repl, argument)
        return
    if not rest:
        raise UsageError("Which conversation?", hint=_USAGE[word])
    if word != "export":
        require_kept(repl.app, "no conversation is changed from it")
    acts[word](repl, rest)


@registry.command(
    "resume", arguments="[n|ID|NAME|text]", help="go on with a stored conversation: pick one, or say which",
    takes={"": "session"},
)  # fmt: skip
def resume(repl: "Repl", argument: str) -> None:
    name = unquoted(argument)
    by_place = _at_place(repl, name)
    titles = _titles(repl.app)
    found = [by_place] if by_place else (titles.meant_by(name) if name else []) or titles.search(name, _PICKED_FROM)
    if not found:
        raise UsageError(f"No conversation holds {name!r}" if name else "Nothing is stored yet", hint=_LIST)
    chosen = found[0] if name and len(found) == 1 else _picked(repl, found)
    if chosen is not None:
        repl.talk.resume(chosen)
        turns = repl.talk.turns
        lines = [going_on_words(chosen, turns, repl.talk.system), *(last_exchange_lines(turns[-1]) if turns else [])]
        repl.screen.tell("\n".join(lines))


@registry.command("save", arguments="[name]", help="give this conversation a name; it is stored with or without one")
def save(repl: "Repl", argument: str) -> None:
    require_kept(repl.app, "this conversation is lost when you leave")
    repl.talk.store()
    id = repl.talk.conversation_id
    if id is None or not repl.talk.turns:
        raise UsageError("Nothing was said yet", hint="It is stored with the first reply; /save NAME names it then.")
    name = unquoted(argument)
    if not name:
        stored = _titles(repl.app).find(id)
        repl.screen.tell(f"It is stored as it goes: {title_of(stored)!r}, {stored.id}. /save NAME gives it a name.")
        return
    named = rename(repl.app, id, name)
    repl.screen.tell(f"Saved as {title_of(named)!r}. /resume {named.title} goes on with it.")


# Which one is meant


def _titles(app: "App") -> "Titles":
    """Of what is stored; a chat that stores nothing may look at it all the same."""
    from shammah.store.titles import Titles

    if not app.home.database.exists():  # which is made for nobody who only looks
        require_kept(app, "there is no conversation to look at")
    return Titles(app.database)


def _at_place(repl: "Repl", name: str) -> Conversation | None:
    """The conversation at this place of the list that was shown last; None where the name is no place."""
    if not (name.isascii() and name.isdigit() and len(name) <= _DIGITS):
        return None
    titles = _titles(repl.app)
    listed = repl.listed or [one.id for one in titles.search(limit=_PICKED_FROM)]
    if not 1 <= int(name) <= len(listed):
        raise UsageError(f"There is no conversation {name} in the list", hint=_LIST)
    return titles.find(listed[int(name) - 1])


def _named(repl: "Repl", name: str) -> Conversation:
    return _at_place(repl, name) or _titles(repl.app).find(name)


def _first_name(argument: str) -> tuple[str, str]:
    """The name that an argument begins with, in quotes or a word, and the rest."""
    found = _FIRST.fullmatch(argument)
    assert found is not None, "an argument is not empty"
    return found["quoted"] or found["bare"] or "", found["rest"].strip()


def _picked(repl: "Repl", found: Sequence[Conversation]) -> Conversation | None:
    """The one that the user takes."""
    place = repl.prompt.pick(numbered(_lines(repl, found)), "Go on with which?")
    return None if place is None else found[place]


# The list


def _list(repl: "Repl", text: str) -> None:
    titles = _titles(repl.app)
    found = titles.search(text, _SHOWN + 1)
    if not found:
        raise UsageError(f"No conversation holds {text!r}" if text else "Nothing is stored yet", hint="Ask something.")
    _tell(repl, found[:_SHOWN])
    if len(found) > _SHOWN:
        repl.screen.tell(f"These are the last {_SHOWN}; /sessions TEXT finds those that hold a text.")


def _tell(repl: "Repl", found: Sequence[Conversation]) -> None:
    repl.listed = [one.id for one in found]
    repl.screen.tell("\n".join(numbered(_lines(repl, found))))


def _lines(repl: "Repl", found: Sequence[Conversation]) -> list[str]:
    places = len(str(len(found))) + 1
    return listed_lines(found, now=utc_now(), cells=list_columns() - places, open_id=repl.talk.conversation_id)


# What is done with one


def rename(app: "App", id: str, name: str) -> Conversation:
    """A name may hold a secret as any other text."""
    from shammah.feedback.secrets import redact

    return _titles(app).rename(id, redact(name).text if app.config.redact else name)


def _rename(repl: "Repl", argument: str) -> None:
    name, new = _first_name(argument)
    if not new:
        raise UsageError("Rename it to what?", hint=_USAGE["rename"])
    before = _named(repl, name)
    renamed = rename(repl.app, before.id, unquoted(new))
    repl.screen.tell(f"{title_of(before)!r} is now called {title_of(renamed)!r}.")


def _delete(repl: "Repl", argument: str) -> None:
    conversation = _named(repl, unquoted(argument))
    screen = repl.screen
    turns = counted(conversation.turns, "turn")
    screen.tell(f"This deletes {title_of(conversation)!r} with {turns}, and what was made of them, off the disk.")
    if repl.prompt.choose("Delete it for good? y/N ", "yn") != "y":
        screen.tell("Nothing was deleted.")
        return
    repl.talk.store()  # or what is not stored yet would come back
    is_open = conversation.id == repl.talk.conversation_id
    _, words, lines = delete_conversation(repl.app, conversation, "/adapters")
    if is_open:
        repl.talk.clear()
    repl.prompt.reload_history()
    screen.tell("\n".join((words + (" A new conversation." if is_open else ""), *lines)))


def delete_conversation(app: "App", conversation: Conversation, command: str) -> "tuple[Forgotten, str, list[str]]":
    """What went, the same in words, and what is left to be done; `command` is where adapters are managed."""
    from shammah.forgetting import Stores, forget_conversation

    gone = forget_conversation(Stores(app.database, app.desk.examples, app.desk.rules, app.home), conversation.id)
    lines = ["Another program uses the database: traces stay in its file until this is done once more."]
    learned = learned_lines(app.roster.entries(archived=True), gone.example_ids | gone.archived_ids, command)
    return (
        gone,
        f"Deleted {title_of(conversation)!r} with {gone.words()}.",
        [*(lines if gone.lingers else []), *learned],
    )


def _export(repl: "Repl", argument: str) -> None:
    name, file = _first_name(argument)
    conversation = _named(repl, name)
    path = export_conversation(repl.app, conversation, unquoted(file) or file_name_of(conversation))
    repl.screen.tell(f"Exported {title_of(conversation)!r} to {path}.")


def export_conversation(app: "App", conversation: Conversation, file: str, form: str | None = None) -> Path:
    """Write it to a file that is not there yet, in the form that its name ends with, where none is told."""
    from shammah.durable import expand, touch_private, write_file

    path = expand(file).absolute()
    if (form or _form_of(path)) == "md":
        text = exported_page(app, conversation)
    else:
        text = json.dumps(exported_whole(app, conversation), ensure_ascii=False, indent=2) + "\n"
    if path.exists() or path.is_symlink():
        raise UsageError(f"{path} is there already", hint="Name another file, or remove that one first.")
    try:
        touch_private(path)
        write_file(path, text.encode(errors="replace"))
    except ShammahError as error:
        raise UsageError(error.message, hint="Name a file that you can write.") from None
    return path


def exported_page(app: "App", conversation: Conversation) -> str:
    return printable(as_markdown(conversation, app.conversations.context(conversation.id)))


def exported_whole(app: "App", conversation: Conversation) -> dict[str, Any]:
    store = app.conversations
    return as_json(conversation, store.turns(conversation.id), store.context(conversation.id))


def _form_of(path: Path) -> str:
    forms = {".md": "md", ".markdown": "md", ".txt": "md", "": "md", ".json": "json"}
    form = forms.get(path.suffix.lower())
    if form is None:
        raise UsageError(f"A conversation is not written as {path.suffix}", hint="Name a FILE.md or a FILE.json.")
    return form


# For completion


def session_names(app: "App", begun: str) -> list[str]:
    """What may be meant, as it would be typed; ids only where one was begun."""
    if not app.home.database.exists():
        return []
    try:
        found = _titles(app).search(limit=_PICKED_FROM)
    except ShammahError:
        return []
    quote = begun[:1] if begun[:1] in ("'", '"') else ""
    letters = begun[len(quote) :].lower()
    titles = (one.title for one in found if one.title and printable(one.title) == one.title)
    names = [_typed(title, quote) for title in titles if title.lower().startswith(letters)]
    ids = [one.id for one in found if begun and one.id.startswith(begun)]
    return [*dict.fromkeys(filter(None, names)), *ids]


def _typed(title: str, quote: str) -> str:
    """In quotes where it needs some; empty where it holds both kinds."""
    if not quote and _first_name(title) == (title, ""):
        return title
    mark = next((mark for mark in (quote or "\"'") if mark not in title), "")
    return f"{mark}{title}{mark}" if mark else ""
