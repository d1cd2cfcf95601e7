import re

import yaml

from shammah.adapters import card

BASE = "some/model"


def card_of(manifest, base=BASE):
    return card.card_of(manifest, base)


def front_matter(card):
    _, matter, _ = card.split("---\n", 2)
    return yaml.safe_load(matter)


def test_the_front_matter_is_what_peft_writes(a_manifest):
    assert front_matter(card_of(a_manifest())) == {
        "base_model": "some/model",
        "library_name": "peft",
        "pipeline_tag": "text-generation",
        "tags": ["lora"],
    }


def test_a_base_of_any_name_stays_in_its_place(a_manifest):
    base = 'C:\\models\\my "own": é\n---\nlibrary_name: evil'
    card = card_of(a_manifest(), base)
    assert front_matter(card)["base_model"] == base
    assert front_matter(card)["library_name"] == "peft"
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert base in compile(code, "card", "exec").co_consts


def test_it_tells_numbers(a_manifest):
    card = card_of(a_manifest(metrics={"held_out": 0.123456, "count": 3}, libraries={"peft": "0.21.2"}))
    rows = dict(re.findall(r"^\| (.+?) \| (.+?) \|$", card, re.MULTILINE))
    assert rows == {
        "examples": "2",
        "seed": "7",
        "r": "8",
        "alpha": "16",
        "dropout": "0",
        "targets": "q_proj, v_proj",
        "learning_rate": "0.002",
        "steps": "60",
        "held_out": "0.1235",
        "count": "3",
        "peft": "0.21.2",
    }
    assert "from 2 rated examples." in card
    assert "from 1 rated example." in card_of(a_manifest(example_ids=("one",)))


def test_it_tells_no_text_that_could_be_the_users(a_manifest):
    said = "call me Ada"
    card = card_of(
        a_manifest(
            recipe={"system": said, "steps": 60},
            metrics={"reply": said, "by_prompt": {said: 1}},
            verdict={"reasons": [said]},
            extra={"note": said},
        )
    )
    assert said not in card


def test_one_from_elsewhere_was_not_trained_here(a_manifest):
    card = card_of(a_manifest(recipe={}, example_ids=()))
    assert "made elsewhere and imported into Shammah." in card and "trained by" not in card
