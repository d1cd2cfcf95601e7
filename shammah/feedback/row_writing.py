"""Examples written as rows: see `formats` for the forms. Pure.

ChatML and ShareGPT do not say which of the replies in them is the target, and trainers learn every one. An earlier one
may have been rated critical: so an example of a later turn has no place there. The forms with a prompt of its own keep
it, since what stands in a prompt is not learned.
"""

from collections.abc import Callable
from typing import Any, Literal, get_args

from shammah.records import Example, Message

Format = Literal["shammah", "chatml", "alpaca", "sharegpt", "completion", "dpo", "kto"]
FORMATS: tuple[Format, ...] = get_args(Format)
Row = dict[str, Any]

OWN_KEYS = (
    *("prompt", "reply", "rating", "better", "note", "weight", "tags", "system", "messages", "rules", "id", "time"),
    *("source", "state", "reason", "secrets", "quality", "model", "adapter", "turn_id", "extra"),
)


def write_row(format: Format, example: Example, *, as_messages: bool = False) -> Row | None:
    """The row of an example, None where the form has no place for it: see `why_not`.

    Forms with plain texts write lists of messages where the prompt is more than one, or always if asked to: most
    readers want a whole file of one kind.
    """
    if why_not(format, example):
        return None
    if format in ("completion", "dpo", "kto"):
        return _pair_row(format, example, as_messages or len(example.messages) > 1)
    return _WRITERS[format](example)


def why_not(format: Format, example: Example) -> str:
    """What keeps an example out of a form, empty if nothing does."""
    if format == "shammah":
        # A good rating of the rejected reply would make a target of it.
        held = example.target is not None or (example.rejected is not None and example.level != "good")
        return "" if held else "neither a reply nor a better one"
    if example.state == "disabled" or example.hold:
        return "disabled"
    if example.secrets:
        return "redacted secrets that were not looked at"
    if example.target is None:
        return "" if format == "kto" and example.rejected is not None else "no target"
    if example.state != "ready":
        return example.state
    if format == "dpo" and example.rejected is None:
        return "no rejected reply"
    if format in ("chatml", "sharegpt") and any(message.role == "assistant" for message in example.messages):
        return "earlier replies in its prompt"
    if format == "alpaca" and any(message.role != "system" for message in example.messages[:-1]):
        return "earlier turns in its prompt"
    return ""


def _write_ours(example: Example) -> Row:
    good = example.level == "good" and example.rejected is None
    messages = example.messages
    short = len(messages) == 1 or (len(messages) == 2 and messages[0].role == "system" and messages[0].content.strip())
    row: Row = {
        "prompt": example.prompt,
        "reply": example.target if good else example.rejected,
        "rating": example.level,
        "better": None if good else example.target,
        "note": example.note,
        "weight": example.weight,
        "tags": list(example.tags) or None,
        "system": messages[0].content if short and len(messages) == 2 else None,
        "messages": None if short else [_as_dict(message) for message in messages],
        "rules": list(example.rules) or None,
        "id": example.id,
        "time": example.time,
        "source": example.source,
        "state": example.state,
        "reason": example.reason or None,
        "secrets": list(example.secrets),
        "quality": example.quality,
        "model": example.model or None,
        "adapter": example.adapter,
        "turn_id": example.turn_id,
    }
    row = {name: value for name, value in row.items() if value is not None}
    nested = {name: value for name, value in example.extra.items() if name in OWN_KEYS}
    plain = {name: value for name, value in example.extra.items() if name not in OWN_KEYS}
    return {**row, **plain, **({"extra": nested} if nested else {})}


def _write_chatml(example: Example) -> Row:
    return {"messages": [*map(_as_dict, example.messages), _as_dict(_target(example))]}


def _write_alpaca(example: Example) -> Row:
    row: Row = {"instruction": example.prompt, "input": "", "output": example.target}
    return {**row, "system": example.messages[0].content} if len(example.messages) > 1 else row


def _write_sharegpt(example: Example) -> Row:
    names = {"user": "human", "assistant": "gpt", "system": "system"}
    said = (*example.messages, _target(example))
    return {"conversations": [{"from": names[message.role], "value": message.content} for message in said]}


_WRITERS: dict[Format, Callable[[Example], Row]] = {
    "shammah": _write_ours,
    "chatml": _write_chatml,
    "alpaca": _write_alpaca,
    "sharegpt": _write_sharegpt,
}


def _pair_row(format: Format, example: Example, as_messages: bool) -> Row:
    def reply(text: str | None) -> Any:
        return [{"role": "assistant", "content": text}] if as_messages else text

    prompt = list(map(_as_dict, example.messages)) if as_messages else example.prompt
    if format == "dpo":
        return {"prompt": prompt, "chosen": reply(example.target), "rejected": reply(example.rejected)}
    row = {"prompt": prompt, "completion": reply(example.target or example.rejected)}
    return {**row, "label": example.target is not None} if format == "kto" else row


def _target(example: Example) -> Message:
    return Message("assistant", example.target or "")


def _as_dict(message: Message) -> Row:
    return {"role": message.role, "content": message.content}
