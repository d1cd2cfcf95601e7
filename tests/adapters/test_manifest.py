import json
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shammah.adapters.manifest import Manifest, is_plain_name
from shammah.errors import AdapterDamaged

NAMES = st.text(max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | NAMES,
    lambda part: st.lists(part, max_size=3) | st.dictionaries(NAMES, part, max_size=3),
    max_leaves=8,
)
OBJECT = st.dictionaries(NAMES, JSON, max_size=4)
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "parent": st.none() | NAMES,
        "base": NAMES,
        "shape": OBJECT,
        "metrics": OBJECT,
        "verdict": st.none() | OBJECT,
        "example_ids": st.lists(NAMES, max_size=3).map(tuple),
        "libraries": st.dictionaries(NAMES, NAMES, max_size=3),
        "extra": st.dictionaries(NAMES.map("x-{}".format), JSON, max_size=3),
    },
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=CHANGES)
def test_what_is_written_is_read_again(a_manifest, changes):
    manifest = a_manifest(**changes)
    assert Manifest.from_json(manifest.to_json()) == manifest


def test_keys_of_a_later_version_are_kept(a_manifest):
    written = json.loads(a_manifest().to_json()) | {"signature": {"by": "me"}, "pinned": True}
    manifest = Manifest.from_json(json.dumps(written))
    assert manifest.extra == {"signature": {"by": "me"}, "pinned": True}
    assert json.loads(replace(manifest, version=2).to_json()) == written | {"version": 2}


def test_an_unknown_key_never_hides_a_known_one(a_manifest):
    assert json.loads(a_manifest(extra={"version": 99}).to_json())["version"] == 1


def test_a_base_in_a_folder_of_any_name_can_be_written(a_manifest):
    manifest = a_manifest(base="/mod\udcffels/é")
    assert manifest.to_json().isascii()
    assert Manifest.from_json(manifest.to_json()) == manifest


def test_other_programs_can_read_what_is_not_a_number(a_manifest):
    text = a_manifest(metrics={"loss": float("nan"), "all": [float("inf"), 1.5]}).to_json()

    def refuse(word):
        raise AssertionError(word)

    assert json.loads(text, parse_constant=refuse)["metrics"] == {"loss": None, "all": [None, 1.5]}


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\xff", "{}garbage"])
def test_what_is_not_json_is_damaged(text):
    with pytest.raises(AdapterDamaged, match="not JSON") as caught:
        Manifest.from_json(text)
    assert caught.value.hint


@pytest.mark.parametrize("text", ["[]", "null", '"manifest"', "1"])
def test_what_is_no_object_is_damaged(text):
    with pytest.raises(AdapterDamaged, match="not an object"):
        Manifest.from_json(text)


@pytest.mark.parametrize("name", [name for name in Manifest.__dataclass_fields__ if name != "extra"])
def test_what_is_missing_or_wrong_is_named(a_manifest, name):
    values = json.loads(a_manifest().to_json())
    without = {key: value for key, value in values.items() if key != name}
    with pytest.raises(AdapterDamaged, match=f"has no '{name}'"):
        Manifest.from_json(json.dumps(without))
    for wrong in (True, 1.5, [1], {"a": 1}, "../up"):
        kept = {"shape", "recipe", "metrics", "verdict"} if isinstance(wrong, dict) else set()
        if wrong == "../up":
            kept = {"parent", "created", "base", "base_hash", "template_hash", "trigger", "run_id"}
        if name not in kept:
            with pytest.raises(AdapterDamaged, match=f"'{name}' is not an? |'{name}' is not the "):
                Manifest.from_json(json.dumps(values | {name: wrong}))


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "lora_adapter_20260131_090500_2", "mine é", "a..b"])
def test_plain_names(name):
    assert is_plain_name(name)


@pytest.mark.parametrize(
    "name", ["", " ", ".", "..", "../a", "a/b", "/a", "a\\b", "C:a", ".a", "a\0", "a\n", "\x1b[2J", 1]
)
def test_names_that_lead_elsewhere_or_hide(name):
    assert not is_plain_name(name)
