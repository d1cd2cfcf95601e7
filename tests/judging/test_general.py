"""Our own prompts and prose: never practised, and on nothing that is taught."""

import json
import re
from pathlib import Path

import pytest

from shammah.judging.general import CORE, GENERAL, TEXTS
from shammah.training.anchors import PROMPTS

SUITES = Path(__file__).parents[2] / "benchmarks" / "suites"
OURS = (*GENERAL, *(prompt for prompt, *_ in CORE))


def words(text):
    return re.findall(r"\w+", text.casefold())


def runs(text, size):
    found = words(text)
    return {tuple(found[at : at + size]) for at in range(len(found) - size + 1)}


def suite_texts():
    for file in SUITES.glob("*.jsonl"):
        for line in file.read_text().splitlines():
            row = json.loads(line)
            yield row["prompt"]
            yield from row.get("probes", ())


def test_there_are_enough_of_them_and_none_twice():
    assert len(GENERAL) == 16 and len(set(map(str.casefold, OURS))) == len(OURS)
    assert 550 <= sum(len(words(text)) for text in TEXTS) <= 750


@pytest.mark.parametrize("prompt", OURS)
def test_none_is_practised_or_measured_elsewhere(prompt):
    others = [*PROMPTS, *suite_texts()]
    assert words(prompt) not in map(words, others)
    assert not any(runs(prompt, 5) & runs(other, 5) for other in others)


@pytest.mark.parametrize(("prompt", "right", "wrong"), CORE)
def test_right_and_wrong_are_of_one_length(prompt, right, wrong):
    assert right != wrong and len(words(right)) == len(words(wrong))


@pytest.mark.parametrize("text", TEXTS)
def test_prose_is_whole_and_plain(text):
    assert text.isascii() and text.endswith(".") and "  " not in text
