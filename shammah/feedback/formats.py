"""Examples as rows of JSON, in our own form and in those that other programs read. Pure.

    shammah     {"prompt", "reply"?, "rating", "note"?, "better"?, "weight"?, "tags"?, "system"?, "messages"?, ...}
    chatml      {"messages": [{"role", "content"}, ...]} or {"text": "<|im_start|>user ..."}, the reply last
    alpaca      {"instruction", "input"?, "output", "system"?}
    sharegpt    {"conversations": [{"from", "value"}, ...], "system"?}, the reply last
    completion  {"prompt", "completion"}
    dpo         {"prompt", "chosen", "rejected"}
    kto         {"prompt", "completion", "label"}

Texts of the last three may be lists of messages, as in TRL. A row of any form may carry a rating, a note, a weight and
tags, and the first five a better reply. Keys that are not known are kept. Our own form keeps all of an example but what
each home finds out for itself: whether another example stands before it, and which adapters know it. The others get
what training here would get.

A row says what was said and what was thought of it. What follows from that is for `lessons` alone to say.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, get_args

from shammah.config.knobs import nearest
from shammah.errors import RowError
from shammah.feedback.levels import HEAVIEST, level_words, read_level
from shammah.feedback.row_writing import FORMATS, Format, Row, why_not, write_row
from shammah.feedback.secrets import KINDS
from shammah.records import Level, Message, Role, Source, State
from shammah.store.identity import same_reply

_ROLES: dict[str, Role] = {role: role for role in get_args(Role)}
_SPEAKERS: dict[str, Role] = {
    **_ROLES,
    "human": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
}
# How many lists and objects may lie in one another, the row itself among them.
DEEPEST = 100
_ID = re.compile("[0-9a-hjkmnp-tv-z]{26}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_CHATML = re.compile(r"\s*<\|im_start\|>(\w+)\n(.*?)(?:<\|im_end\|>|\Z)", re.DOTALL)


__all__ = ["FORMATS", "Draft", "Format", "Row", "read_row", "why_not", "write_row"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What a row says, before it is decided what can be learned from it.

    Only our own form has the fields after `tags`. `secrets_seen` is set where an example with redacted secrets was
    looked at by the user of the home that it comes from.
    """

    messages: tuple[Message, ...]
    level: Level
    reply: str | None = None
    better: str | None = None
    note: str | None = None
    weight: float | None = None
    tags: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    id: str | None = None
    time: str | None = None
    turn_id: str | None = None
    source: Source = "import"
    state: State | None = None
    reason: str = ""
    secrets: tuple[str, ...] = ()
    secrets_seen: bool = False
    quality: float | None = None
    model: str = ""
    adapter: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Said:
    """What a form makes of its own keys: an exchange, and the level that they imply."""

    messages: tuple[Message, ...]
    reply: str | None
    better: str | None = None
    level: Level | None = None


def read_row(format: Format, row: object, *, rating: Level) -> Draft:
    """The draft in a row, or a RowError. `rating` is for rows that neither have nor imply one; ours must have one."""
    if not isinstance(row, dict):
        raise RowError("not an object")
    _check(row)
    rest = dict(row)
    said = _READERS[format](rest)
    if not said.messages or said.messages[-1].role != "user":
        raise RowError("the last message before the reply is not the user's")
    if _blank(said.messages[-1].content):
        raise RowError("the prompt is empty")
    level = _rating(rest)
    if level is None and format == "shammah":
        raise RowError('no "rating"')
    if format == "kto" and level == "good" and said.level != "good":
        raise RowError("rated good, but its label is false")
    level = level or said.level or rating
    better = said.better if format in ("dpo", "kto") else _text(rest, "better")
    reply, better = (None if _blank(text) else text for text in (said.reply, better))
    if reply is None and better is None:
        good = level == "good" and said.reply is not None
        raise RowError("rated good, but the reply is empty" if good else "neither a reply nor a better one")
    if level != "good" and better is not None and same_reply(better, reply):
        raise RowError(f"the better reply is the one that was rated {level}")
    note, weight, tags = _text(rest, "note"), _weight(rest), _tags(rest)
    draft = Draft(messages=said.messages, level=level, reply=reply, better=better, note=note, weight=weight, tags=tags)
    return _with_our_fields(draft, rest) if format == "shammah" else replace(draft, extra=rest)


# Reading. Each reader takes its keys out of the row; what is left is extra.


def _read_ours(rest: Row) -> _Said:
    prompt, given, reply = _text(rest, "prompt"), rest.pop("messages", None), _text(rest, "reply")
    if given is None:
        if prompt is None:
            raise RowError('no "prompt"')
        return _Said(_with_system(rest, (Message("user", prompt),)), reply)
    messages = _messages(given, "messages")
    if prompt is not None and prompt != messages[-1].content:
        raise RowError('"prompt" is not the last of its messages')
    return _Said(_with_system(rest, messages), reply)


def _read_chatml(rest: Row) -> _Said:
    if "messages" in rest:
        return _answered(_messages(rest.pop("messages"), "messages"))
    text = _text(rest, "text")
    if text is None:
        raise RowError('no "messages" and no "text"')
    found, end = [], 0
    while part := _CHATML.match(text, end):
        found.append({"role": part[1], "content": part[2]})
        end = part.end()
    if not found or text[end:].strip():
        raise RowError('"text" is not ChatML: <|im_start|>role, a line break, the message, <|im_end|>')
    return _answered(_messages(found, "text"))


def _read_alpaca(rest: Row) -> _Said:
    instruction, more = _text(rest, "instruction"), _text(rest, "input")
    if instruction is None:
        raise RowError('no "instruction"')
    if rest.get("history"):
        raise RowError('earlier turns in "history"')
    prompt = instruction if _blank(more) else f"{instruction}\n\n{more}"
    return _Said(_with_system(rest, (Message("user", prompt),)), _needed(rest, "output"))


def _read_sharegpt(rest: Row) -> _Said:
    if "conversations" not in rest:
        raise RowError('no "conversations"')
    said = _answered(_messages(rest.pop("conversations"), "conversations", "from", "value"))
    return replace(said, messages=_with_system(rest, said.messages))


def _read_completion(rest: Row) -> _Said:
    return _Said(_prompt(rest), _reply(rest, "completion")[1])


def _read_dpo(rest: Row) -> _Said:
    """Without a prompt, or with a text as one, the replies may have the messages before them with them."""
    before, chosen = _reply(rest, "chosen")
    other, rejected = _reply(rest, "rejected")
    messages = _prompt(rest) if rest.get("prompt") is not None or not before else before
    if before != other or (before and before != messages and before[-1:] != messages):
        raise RowError("chosen and rejected do not reply to the same messages")
    return _Said(before or messages, rejected, chosen, "medium")


def _read_kto(rest: Row) -> _Said:
    label = rest.pop("label", None)
    if not isinstance(label, bool):
        raise RowError('"label" is neither true nor false')
    return _Said(_prompt(rest), _reply(rest, "completion")[1], None, "good" if label else "medium")


_READERS: dict[Format, Callable[[Row], _Said]] = {
    "shammah": _read_ours,
    "chatml": _read_chatml,
    "alpaca": _read_alpaca,
    "sharegpt": _read_sharegpt,
    "completion": _read_completion,
    "dpo": _read_dpo,
    "kto": _read_kto,
}


def _messages(value: object, name: str, role: str = "role", content: str = "content") -> tuple[Message, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(item, dict) for item in value):
        raise RowError(f'"{name}" is not a list of messages')
    found = []
    for number, item in enumerate(value, 1):
        word = item.get(role)
        meant = (_ROLES if role == "role" else _SPEAKERS).get(word) if isinstance(word, str) else None
        if meant is None:
            raise RowError(f"unknown role {str(word)[:40]!r} in message {number}")
        if not isinstance(item.get(content), str):
            raise RowError(f"message {number} has no text")
        if meant == "system" and number > 1:
            raise RowError(f"message {number} is a system prompt, which only the first can be")
        found.append(Message(meant, item[content]))
    return tuple(found)


def _answered(messages: tuple[Message, ...]) -> _Said:
    if messages[-1].role != "assistant":
        raise RowError("the last message is not the assistant's")
    return _Said(messages[:-1], messages[-1].content)


def _with_system(rest: Row, messages: tuple[Message, ...]) -> tuple[Message, ...]:
    system = _text(rest, "system")
    if system is None or _blank(system) or messages[0] == Message("system", system):
        return messages
    if messages[0].role == "system":
        raise RowError("two system prompts")
    return (Message("system", system), *messages)


def _prompt(rest: Row) -> tuple[Message, ...]:
    if isinstance(rest.get("prompt"), list):
        return _messages(rest.pop("prompt"), "prompt")
    return (Message("user", _needed(rest, "prompt")),)


def _reply(rest: Row, name: str) -> tuple[tuple[Message, ...], str]:
    """A reply, and the messages before it where it is given as a list of messages."""
    if isinstance(rest.get(name), list):
        said = _answered(_messages(rest.pop(name), name))
        return said.messages, said.reply or ""
    return (), _needed(rest, name)


def _needed(rest: Row, name: str) -> str:
    text = _text(rest, name)
    if text is None:
        raise RowError(f'no "{name}"')
    return text


def _text(rest: Row, name: str) -> str | None:
    value = rest.pop(name, None)
    if value is not None and not isinstance(value, str):
        raise RowError(f'"{name}" is not a text')
    return value


def _rating(rest: Row) -> Level | None:
    word = _text(rest, "rating")
    if word is None:
        return None
    level = read_level(word)
    if level is None:
        hint = nearest(word, {word: word for word in level_words()}, "It is good, medium or critical.")
        raise RowError(f"unknown rating {word[:40]!r}. {hint}")
    return level


def _weight(rest: Row) -> float | None:
    weight = rest.pop("weight", None)
    if weight is None:
        return None
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not weight > 0:
        raise RowError('"weight" is not a positive number')
    if weight > HEAVIEST:
        raise RowError(f'"weight" is more than {HEAVIEST:,}')
    return float(weight)


def _tags(rest: Row) -> tuple[str, ...]:
    tags = rest.pop("tags", None)
    if tags is not None and not _is_texts(tags):
        raise RowError('"tags" is not a list of texts')
    return tuple(tags or ())


def _with_our_fields(draft: Draft, rest: Row) -> Draft:
    """The fields that an export of ours has. A key of the same name that means something else is an extra one."""
    kinds: dict[str, Callable[[Any], bool]] = {
        "id": lambda value: _matches(_ID, value),
        "turn_id": lambda value: _matches(_ID, value),
        "time": lambda value: _matches(_TIME, value) and _is_time(value),
        "source": lambda value: value in get_args(Source),
        "state": lambda value: value in get_args(State),
        "reason": lambda value: isinstance(value, str),
        "model": lambda value: isinstance(value, str),
        "adapter": lambda value: isinstance(value, str),
        "quality": lambda value: isinstance(value, int | float) and abs(value) <= 1e12 and not isinstance(value, bool),
        "rules": _is_texts,
        "secrets": _is_texts,
    }
    ours: dict[str, Any] = {name: rest.pop(name) for name, fits in kinds.items() if name in rest and fits(rest[name])}
    for name in kinds:
        if rest.get(name, ...) is None:
            del rest[name]
    nested = rest.pop("extra") if isinstance(rest.get("extra"), dict) else {}
    seen = "secrets" in ours and not ours["secrets"]
    if "rules" in ours:
        ours["rules"] = tuple(ours["rules"])
    if "secrets" in ours:
        ours["secrets"] = tuple(kind for kind in dict.fromkeys(ours["secrets"]) if kind in KINDS)
    return replace(draft, **ours, secrets_seen=seen, extra={**rest, **nested})


def _matches(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _is_time(value: str) -> bool:
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _blank(text: str | None) -> bool:
    return text is None or not text.strip()


def _check(row: Row) -> None:
    """Refuse what no part of the program could go through without running out of stack, and what no text can hold."""
    waiting: list[tuple[object, int]] = [(row, 1)]
    while waiting:
        item, depth = waiting.pop()
        if depth > DEEPEST:
            raise RowError("nested too deeply")
        if isinstance(item, str) and "\0" in item:
            raise RowError("a null byte in a text")
        inside = [*item.keys(), *item.values()] if isinstance(item, dict) else item if isinstance(item, list) else ()
        waiting += [(part, depth + isinstance(part, dict | list)) for part in inside]
