"""What an adapter says about itself: which files it has, which model it fits, what it came from. Pure.

It holds no text of the user's, only the ids of examples. Keys that this version does not know are kept. The last key,
`digest`, is the SHA-256 of the file's own bytes with that digest's digits as zeros: no byte can change unseen.
"""

import hashlib
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

from shammah.errors import AdapterDamaged

# What began an adapter that was not trained here.
IMPORT = "import"

_HINT = "Put back a whole copy of the adapter, or train anew."
_DIGEST = "digest"
_ZEROS = "0" * 64
_END = re.compile(rb'"digest": "([0-9a-f]{64})"\n}\n\Z')


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """`files` gives the SHA-256 of each. The hashes of base and chat template tell whether a model is the one meant.

    `version` counts the adapters of a shelf. `verdict` is None until one was given. `inherited_ids` are examples that
    it was not trained on, and knows from the adapter that it was trained on from.
    """

    name: str
    version: int
    parent: str | None = None
    created: str
    files: dict[str, str] = field(default_factory=dict)
    base: str
    base_hash: str
    template_hash: str
    shape: dict[str, Any]
    recipe: dict[str, Any]
    seed: int
    example_ids: tuple[str, ...]
    inherited_ids: tuple[str, ...] = ()
    trigger: str
    run_id: str
    metrics: dict[str, Any] = field(default_factory=dict)
    verdict: dict[str, Any] | None = None
    libraries: dict[str, str] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """A number that is not finite becomes null: JSON has no word for it."""
        known = {name: getattr(self, name) for name in _KINDS}
        return signed(_finite({**known, **_unknown(self.extra)}))

    @classmethod
    def from_json(cls, text: str | bytes) -> "Manifest":
        try:
            values = json.loads(text)
        except (ValueError, RecursionError):
            raise _damaged("it is not JSON") from None
        if not isinstance(values, dict):
            raise _damaged("it is not an object")
        _require_digest(text.encode() if isinstance(text, str) else text)
        values = {**_CAME_LATER, **values}
        for name, (fits, kind) in _KINDS.items():
            if name not in values:
                raise _damaged(f"it has no {name!r}")
            if not fits(values[name]):
                raise _damaged(f"its {name!r} is not {kind}")
        known = {name: values[name] for name in _KINDS}
        ids = {name: tuple(known[name]) for name in ("example_ids", "inherited_ids")}
        return cls(**{**known, **ids}, extra=_unknown(values))

    @property
    def known_ids(self) -> set[str]:
        """All examples that its numbers hold something of."""
        return {*self.example_ids, *self.inherited_ids}


def signed(values: dict[str, Any]) -> str:
    """The text of a file that holds these values and its digest. ASCII can be written whatever a name may hold."""
    text = json.dumps({**values, _DIGEST: _ZEROS}, indent=2, allow_nan=False) + "\n"
    head, _, tail = text.rpartition(_ZEROS)
    return head + hashlib.sha256(text.encode("ascii")).hexdigest() + tail


def _require_digest(data: bytes) -> None:
    found = _END.search(data, max(0, len(data) - 2 * len(_ZEROS)))
    if found is None:
        raise _damaged("it has no digest")
    zeroed = data[: found.start(1)] + _ZEROS.encode() + data[found.end(1) :]
    if hashlib.sha256(zeroed).hexdigest().encode() != found[1]:
        raise _damaged("it is not what was written")


def is_plain_name(name: object) -> bool:
    """Whether it names something right inside a folder: no path, nothing hidden, nothing that a screen can't show."""
    return (
        isinstance(name, str)
        and name.isprintable()
        and bool(name.strip())
        and not name.startswith(".")
        and not set(name) & set("/\\:")
    )


def _unknown(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in _KINDS and name != _DIGEST}


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _damaged(why: str) -> AdapterDamaged:
    return AdapterDamaged(f"The manifest is damaged: {why}", hint=_HINT)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_whole_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


def _is_texts_by_name(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_text, value.values()))


def _is_list_of_texts(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _or_null(fits: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: value is None or fits(value)


# What each key of the file holds, in the order in which they are written.
_KINDS: dict[str, tuple[Callable[[object], bool], str]] = {
    "name": (is_plain_name, "the name of a folder"),
    "version": (_is_whole_number, "a whole number"),
    "parent": (_or_null(_is_text), "a text or null"),
    "created": (_is_text, "a text"),
    "files": (_is_texts_by_name, "an object of texts"),
    "base": (_is_text, "a text"),
    "base_hash": (_is_text, "a text"),
    "template_hash": (_is_text, "a text"),
    "shape": (_is_object, "an object"),
    "recipe": (_is_object, "an object"),
    "seed": (_is_whole_number, "a whole number"),
    "example_ids": (_is_list_of_texts, "a list of texts"),
    "inherited_ids": (_is_list_of_texts, "a list of texts"),
    "trigger": (_is_text, "a text"),
    "run_id": (_is_text, "a text"),
    "metrics": (_is_object, "an object"),
    "verdict": (_or_null(_is_object), "an object or null"),
    "libraries": (_is_texts_by_name, "an object of texts"),
}
# What an older one has not.
_CAME_LATER: dict[str, Any] = {"inherited_ids": []}
assert {*_KINDS, "extra"} == {each.name for each in fields(Manifest)}, "every field has its kind"
