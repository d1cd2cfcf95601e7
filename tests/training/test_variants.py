"""Other ways to ask: never empty, seeded, about the same; what they are exactly is for the benchmark."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shammah.training.variants import key_words, other_forms, variant

PROMPTS = [
    "What is the name of our build server?",
    "How do I reset the office door alarm?",
    "Write a short greeting for Nadia.",
    "Which port does the metrics exporter use?",
    "hi",
    "Wo ist der Schlüssel für Raum 7?",
]
TEXT = st.text(min_size=1, max_size=60).filter(str.strip)


def some(prompt, count=300, seed=0, **changes):
    shares = {"key_words_share": 0.25, "dropout": 0.2, **changes}
    random = Random(seed)
    return [variant(prompt, random, **shares) for _ in range(count)]


@given(TEXT, st.integers(0, 9))
def test_never_empty(prompt, seed):
    assert all(made.strip() for made in some(prompt, 20, seed, dropout=0.9))


@given(TEXT, st.integers(0, 9))
def test_the_same_seed_asks_the_same(prompt, seed):
    assert some(prompt, 10, seed) == some(prompt, 10, seed)


@pytest.mark.parametrize("prompt", PROMPTS[:4])
def test_most_are_different(prompt):
    made = some(prompt)
    assert len(set(made)) > 150 and made.count(prompt) < 60


@pytest.mark.parametrize("prompt", PROMPTS[:4])
def test_nearly_all_keep_something_of_what_it_is_about(prompt):
    words = {word.casefold() for word in key_words(prompt)}
    kept = [any(word in made.casefold() for word in words) for made in some(prompt)]
    assert sum(kept) >= 285


def test_key_words_alone():
    made = some("How do I reset the office door alarm?", key_words_share=1.0)
    assert "reset office door alarm" in {one.casefold() for one in made}
    assert not any(" do i " in f" {one.casefold()} " for one in made)


def test_without_wear_and_key_words_all_of_them_are_there():
    made = some("How do I reset the office door alarm?", key_words_share=0.0, dropout=0.0)
    assert all("office door alarm" in one.casefold() for one in made)


def test_wear_takes_words_of_asking_more_often():
    made = [one.casefold().split() for one in some("the the the the alarm rings", key_words_share=0.0, dropout=0.4)]
    lost_asking = sum(4 - words.count("the") for words in made) / 4
    lost_key = sum(2 - any("alarm" in w for w in words) - any("rings" in w for w in words) for words in made) / 2
    assert lost_asking > 1.4 * lost_key > 0


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("What is the name of our build server?", ["name", "build", "server"]),
        ("Is it?", ["Is", "it"]),
        ("???", []),
        ("Where's «Nadia»?", ["Nadia"]),
    ],
)
def test_key_words(prompt, words):
    assert [word for word in key_words(prompt) if word != "Where's"] == words


@pytest.mark.parametrize("prompt", PROMPTS[:4])
def test_known_forms_stay_whole(prompt):
    forms = other_forms(prompt)
    assert forms and all("{" not in form and "}" not in form for form in forms)


def test_braces_in_a_prompt_are_text():
    for prompt in ("What is {0} in a format {string}?", "How do I write {}?", "{0.__class__} {1}"):
        assert all(some(prompt, 100))
