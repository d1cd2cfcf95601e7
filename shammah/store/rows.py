"""Records as rows and back: what SQLite's columns and the archive's lines hold. Pure.

A row is a plain dict with the fields of its record. What has parts (messages, tags, options) is JSON in a column.
"""

import json
import math
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from typing import Any

from shammah.errors import ExampleDamaged
from shammah.records import (
    Activation,
    AdapterNote,
    AuditEntry,
    Comparison,
    Conversation,
    Example,
    Message,
    Probe,
    Receipt,
    Rule,
    Run,
    Turn,
)

Row = sqlite3.Row | Mapping[str, Any]

_TURN, _CONVERSATION, _EXAMPLE, _RULE, _RUN = (
    tuple(field.name for field in fields(kind)) for kind in (Turn, Conversation, Example, Rule, Run)
)
_NOTE, _ACTIVATION, _AUDIT, _PROBE, _RECEIPT, _COMPARISON = (
    tuple(field.name for field in fields(kind))
    for kind in (AdapterNote, Activation, AuditEntry, Probe, Receipt, Comparison)
)


def storable(text: str) -> str:
    """The text with what UTF-8 cannot write (half a surrogate pair) replaced; it may come from any terminal or file."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def as_columns(row: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a row as SQLite takes them."""
    return {name: _column(value) for name, value in row.items()}


def listed(ids: Iterable[str]) -> str:
    """Ids as SQL can look into them: IN (SELECT value FROM json_each(?))."""
    return storable(json.dumps(list(ids), ensure_ascii=False))


def plain(value: Any) -> Any:
    """A value of dicts, lists and the like as it is read again. JSON has no word for a number that is not finite."""
    if isinstance(value, Mapping):
        return {storable(str(key)): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return storable(value) if isinstance(value, str) else value


def texts_in(value: Any) -> Iterator[str]:
    """Every text in parsed JSON but for its keys."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from texts_in(each)


def with_texts(value: Any, change: Callable[[str], str]) -> Any:
    """Parsed JSON with every text in it passed through `change`, but for its keys."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {key: with_texts(each, change) for key, each in value.items()}
    return [with_texts(each, change) for each in value] if isinstance(value, list) else value


def turn_row(turn: Turn) -> dict[str, Any]:
    return {name: getattr(turn, name) for name in _TURN}


def turn_of(columns: Row) -> Turn:
    row = {name: columns[name] for name in _TURN}
    for name in ("options", "quality_parts", "rules"):
        row[name] = json.loads(row[name])
    return Turn(**{**row, "rules": tuple(row["rules"])})


def conversation_of(columns: Row) -> Conversation:
    return Conversation(**{name: columns[name] for name in _CONVERSATION})


def example_row(example: Example) -> dict[str, Any]:
    """All fields of an example as plain values, each message as a dict of its own."""
    row = {name: getattr(example, name) for name in _EXAMPLE}
    row["messages"] = [{"role": message.role, "content": message.content} for message in example.messages]
    for name in ("rules", "secrets", "tags"):
        row[name] = list(row[name])
    return row


def example_of(row: Row) -> Example:
    """The example that `example_row` wrote down."""
    values = {name: row[name] for name in _EXAMPLE}
    values["messages"] = tuple(Message(**message) for message in values["messages"])
    for name in ("rules", "secrets", "tags"):
        values[name] = tuple(values[name])
    return Example(**values)


def stored_example(columns: Row) -> Example:
    """The example in a row of the table. ExampleDamaged where something else has written over it."""
    row = {name: columns[name] for name in _EXAMPLE}
    try:
        for name in ("messages", "rules", "secrets", "tags", "extra"):
            row[name] = json.loads(row[name])
        example = example_of(row)
    except (ValueError, KeyError, TypeError):
        example = None
    if example is None or not example.messages:
        id = columns["id"]
        raise ExampleDamaged(f"The example {id} is damaged", hint=f"Remove it: `shammah examples delete {id}`.")
    return example


def rule_of(columns: Row) -> Rule:
    row = {name: columns[name] for name in _RULE}
    return Rule(**{**row, "muted": bool(row["muted"])})


def run_row(run: Run) -> dict[str, Any]:
    return {name: getattr(run, name) for name in _RUN}


def run_of(columns: Row) -> Run:
    row = {name: columns[name] for name in _RUN}
    return Run(**{**row, "example_ids": tuple(json.loads(row["example_ids"])), "settings": json.loads(row["settings"])})


def adapter_note_of(columns: Row) -> AdapterNote:
    row = {name: columns[name] for name in _NOTE}
    verdict = None if row["verdict"] is None else json.loads(row["verdict"])
    marks = {name: bool(row[name]) for name in ("pinned", "imported")}
    return AdapterNote(**{**row, **marks, "tags": tuple(json.loads(row["tags"])), "verdict": verdict})


def activation_of(columns: Row) -> Activation:
    return Activation(**{name: columns[name] for name in _ACTIVATION})


def audit_entry_of(columns: Row) -> AuditEntry:
    """What something else has written over its details is shown as it is."""
    row = {name: columns[name] for name in _AUDIT}
    try:
        details = json.loads(row["details"])
    except (TypeError, ValueError):
        details = None
    return AuditEntry(**{**row, "details": details if isinstance(details, dict) else {"unreadable": row["details"]}})


def probe_row(probe: Probe) -> dict[str, Any]:
    return {name: getattr(probe, name) for name in _PROBE}


def probe_of(columns: Row) -> Probe:
    row = {name: columns[name] for name in _PROBE}
    return Probe(**{**row, "contains": tuple(json.loads(row["contains"]))})


def receipt_of(columns: Row) -> Receipt:
    row = {name: columns[name] for name in _RECEIPT}
    return Receipt(**{**row, "body": json.loads(row["body"])})


def comparison_row(comparison: Comparison) -> dict[str, Any]:
    return {name: getattr(comparison, name) for name in _COMPARISON}


def comparison_of(columns: Row) -> Comparison:
    return Comparison(**{name: columns[name] for name in _COMPARISON})


def _column(value: Any) -> Any:
    if isinstance(value, dict | list | tuple):
        value = json.dumps(value, ensure_ascii=False)
    return storable(value) if isinstance(value, str) else value
