from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shammah.training import near_misses as module
from shammah.training.near_misses import near_miss, near_misses
from shammah.training.variants import key_words

PROMPTS = [
    "What is the name of our build server?",
    "How do I reset the office door alarm?",
    "Which port does the metrics exporter use?",
]


@pytest.mark.parametrize("prompt", PROMPTS)
def test_the_frame_is_kept_and_what_it_is_about_is_not(prompt):
    for seed in range(20):
        made = near_miss(prompt, Random(seed))
        assert made and made.endswith("?") and made.split()[0] == prompt.split()[0]
        own = {word.casefold() for word in key_words(prompt)}
        left = own & {word.casefold() for word in key_words(made)}
        assert len(left) * 2 < len(own), made


@pytest.mark.parametrize("prompt", ["", "hi", "Nadia?", "Who is Nadia?"])
def test_of_too_little_none_is_made(prompt):
    assert near_miss(prompt, Random(0)) is None


def test_very_long_prompts_are_no_trouble():
    long = " ".join(f"word{number}" for number in range(400))
    assert near_miss(long, Random(0)) != long


@given(st.lists(st.sampled_from([*PROMPTS, "hi"]), max_size=4, unique=True), st.integers(0, 12), st.integers(0, 5))
def test_so_many_all_different_and_none_that_is_taught(prompts, count, seed):
    made = near_misses(prompts, count, Random(seed))
    assert len(made) <= count and len(set(made)) == len(made) and not set(made) & set(prompts)
    assert made == near_misses(prompts, count, Random(seed))
    if set(prompts) & set(PROMPTS):
        assert len(made) == count


def test_they_are_spread_over_the_prompts():
    made = near_misses(PROMPTS, 6, Random(0))
    starts = [one.split()[0] for one in made]
    assert all(starts.count(prompt.split()[0]) == 2 for prompt in PROMPTS)


def test_one_that_is_taught_is_no_near_miss(monkeypatch):
    monkeypatch.setattr(module, "_THINGS", ("garden", "river", "tiger"))
    taught = ["Where is garden river?", "Where is river garden?", "Where is tiger river?"]
    made = near_misses(taught, 20, Random(0))
    assert set(made) == {"Where is garden tiger?", "Where is tiger garden?", "Where is river tiger?"}
