"""The line below the prompt: what waits for training, how many rules are active, which keys rate. Pure."""

from collections.abc import Sequence

from shammah.records import Buffer

RATING_KEYS = {"g": "good", "m": "medium", "c": "critical"}


def toolbar_parts(buffer: Buffer | None, threshold: int, rules: int, *, rateable: bool) -> list[list[str]]:
    """What to show, most important first: groups of parts."""
    parts = [] if buffer is None else [[f"{buffer.examples}/{threshold} examples, {amount(buffer.weighted)} weighted"]]
    if rules:
        parts.append([counted(rules, "rule")])
    if rateable:
        parts.append([f"Alt+{key.upper()} {level}" for key, level in RATING_KEYS.items()])
    return parts


def fitting(groups: Sequence[Sequence[str]], columns: int, separator: str) -> str:
    """As many of the parts as there is room for, from the left."""
    line = ""
    for group in groups:
        for place, part in enumerate(group):
            longer = line + ("" if not line else "  " if place else separator) + part
            if len(longer) > columns:
                return line or part[:columns]
            line = longer
    return line


def amount(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
