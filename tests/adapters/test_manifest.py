import json
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shammah.adapters.manifest import Manifest, is_plain_name, signed
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


def values_of(manifest):
    """What the file of a manifest holds beside its digest."""
    values = json.loads(manifest.to_json())
    assert list(values)[-1] == "digest"
    return {name: value for name, value in values.items() if name != "digest"}


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=CHANGES)
def test_what_is_written_is_read_again(a_manifest, changes):
    manifest = a_manifest(**changes)
    assert Manifest.from_json(manifest.to_json()) == manifest


def test_keys_of_a_later_version_are_kept(a_manifest):
    written = values_of(a_manifest()) | {"signature": {"by": "me"}, "pinned": True}
    manifest = Manifest.from_json(signed(written))
    assert manifest.extra == {"signature": {"by": "me"}, "pinned": True}
    assert values_of(replace(manifest, version=2)) == written | {"version": 2}


def test_an_unknown_key_never_hides_a_known_one(a_manifest):
    assert values_of(a_manifest(extra={"version": 99}))["version"] == 1
    signed_twice = a_manifest(extra={"digest": "mine"}).to_json()
    assert Manifest.from_json(signed_twice) == a_manifest()


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


def test_an_older_one_lacks_what_came_later(a_manifest):
    values = values_of(a_manifest(inherited_ids=("three",)))
    assert values.pop("inherited_ids") == ["three"]
    assert Manifest.from_json(signed(values)) == a_manifest()


@pytest.mark.parametrize("name", [name for name in Manifest.__dataclass_fields__ if name != "extra"])
def test_what_is_missing_or_wrong_is_named(a_manifest, name):
    values = values_of(a_manifest())
    without = {key: value for key, value in values.items() if key != name}
    if name != "inherited_ids":
        with pytest.raises(AdapterDamaged, match=f"has no '{name}'"):
            Manifest.from_json(signed(without))
    for wrong in (True, 1.5, [1], {"a": 1}, "../up"):
        kept = {"shape", "recipe", "metrics", "verdict"} if isinstance(wrong, dict) else set()
        if wrong == "../up":
            kept = {"parent", "created", "base", "base_hash", "template_hash", "trigger", "run_id"}
        if name not in kept:
            with pytest.raises(AdapterDamaged, match=f"'{name}' is not an? |'{name}' is not the "):
                Manifest.from_json(signed(values | {name: wrong}))


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "lora_adapter_20260131_090500_2", "mine é", "a..b"])
def test_plain_names(name):
    assert is_plain_name(name)


@pytest.mark.parametrize(
    "name", ["", " ", ".", "..", "../a", "a/b", "/a", "a\\b", "C:a", ".a", "a\0", "a\n", "\x1b[2J", 1]
)
def test_names_that_lead_elsewhere_or_hide(name):
    assert not is_plain_name(name)


class TestDigest:
    def test_any_byte_that_changes_shows(self, a_manifest):
        data = a_manifest(verdict={"accepted": True}).to_json().encode()
        assert Manifest.from_json(data).version == 1
        for place in range(len(data)):
            for bit in (0, 5):
                changed = data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]
                with pytest.raises(AdapterDamaged):
                    Manifest.from_json(changed)

    @pytest.mark.parametrize("more", [b" ", b"\n", b"}"])
    def test_bytes_that_come_or_go_show(self, a_manifest, more):
        data = a_manifest().to_json().encode()
        for other in (data + more, more + data, data[:-1], data[1:], data.replace(b"\n", b"\r\n")):
            with pytest.raises(AdapterDamaged):
                Manifest.from_json(other)

    def test_one_without_is_damaged(self, a_manifest):
        with pytest.raises(AdapterDamaged, match="has no digest"):
            Manifest.from_json(json.dumps(values_of(a_manifest()), indent=2) + "\n")

    def test_one_of_another_manifest_is_not_its_own(self, a_manifest):
        one, other = a_manifest(version=1).to_json(), a_manifest(version=2).to_json()
        with pytest.raises(AdapterDamaged, match="not what was written"):
            Manifest.from_json(one[:-80] + other[-80:])
        assert len(one) == len(other)
