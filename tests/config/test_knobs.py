import dataclasses
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shammah.config import Config, knobs_of
from shammah.config.knobs import at_least, between, find_knob, knob, nearest, nearest_key, not_empty, one_of
from shammah.config.writing import toml_value
from shammah.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Paint:
    colour: str = knob("red", "which paint", check=one_of("red", "blue"))
    coats: int = knob(1, "how often", check=between(1, 3))
    size: int = knob(0, "of the brush")


@dataclasses.dataclass(frozen=True)
class House:
    name: str = knob("", "what it is called", check=not_empty, flags=("-n", "--name"), metavar="NAME")
    height: float = knob(2.5, "in metres", check=at_least(1))
    size: int = knob(3, "rooms")
    lit: bool = knob(False, "is the light on")
    guests: tuple[str, ...] = knob((), "who is there")
    paint: Paint = dataclasses.field(default_factory=Paint)


KNOBS = knobs_of(House)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)


def refusal(call, *arguments):
    with pytest.raises(ConfigError) as caught:
        call(*arguments)
    return caught.value.one_line()


def test_knobs_come_by_key_in_the_order_of_declaration():
    assert list(KNOBS) == [
        "name", "height", "size", "lit", "guests", "paint.colour", "paint.coats", "paint.size",
    ]  # fmt: skip
    assert [KNOBS["name"].flags, KNOBS["name"].metavar, KNOBS["height"].flags] == [("-n", "--name"), "NAME", ()]
    assert {key: knob.kind for key, knob in KNOBS.items() if "." not in key} == {
        "name": str, "height": float, "size": int, "lit": bool, "guests": tuple,
    }  # fmt: skip


def test_a_knob_knows_its_names():
    assert (KNOBS["paint.coats"].key, KNOBS["paint.coats"].variable) == ("paint.coats", "SHAMMAH_PAINT_COATS")


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("name", " Villa ", " Villa "),
        ("name", "true", "true"),
        ("height", "3", 3.0),
        ("height", " 1e1 ", 10.0),
        ("size", " -7 ", -7),
        ("lit", "YES", True),
        ("lit", " on ", True),
        ("lit", "1", True),
        ("lit", "off", False),
        ("lit", "0", False),
        ("guests", "", ()),
        ("guests", "Ann", ("Ann",)),
        ("guests", "<|im_end|>", ("<|im_end|>",)),
        ("guests", "\n", ("\n",)),
        ("guests", '["Ann", "a\\nb"]', ("Ann", "a\nb")),
        ("guests", "[]", ()),
        ("guests", '["[INST]"]', ("[INST]",)),
    ],
)
def test_text_is_read_as_the_knobs_type(key, text, value):
    read = KNOBS[key].read_text(text)
    assert (type(read), read) == (type(value), value)


@pytest.mark.parametrize(
    ("key", "text", "words"),
    [
        ("name", " ", "name = ' ' is not valid: it must not be empty"),
        ("name", "\udcff", "must be UTF-8"),
        ("height", "tall", "height = 'tall' is not valid: it must be a number"),
        ("height", "nan", "must be 1 or more"),
        ("height", "0.5", "height = 0.5 is not valid: it must be 1 or more"),
        ("size", "2.0", "must be a whole number"),
        ("size", "9" * 5000, "must be a whole number"),
        ("size", "", "must be a whole number"),
        ("lit", "maybe", "lit = 'maybe' is not valid: it must be true or false"),
        ("lit", "", "must be true or false"),
        ("guests", "[Ann]", 'must be a text, or a list of texts like ["one", "two"]'),
        ("guests", "[1]", "must be a text, or a list of texts"),
        ("guests", '["\\ud800"]', "must be UTF-8"),
        ("paint.colour", "green", "paint.colour = 'green' is not valid: it must be one of red, blue"),
        ("paint.coats", "4", "paint.coats = 4 is not valid: it must be from 1 to 3"),
    ],
)
def test_text_that_is_refused(key, text, words):
    line = refusal(KNOBS[key].read_text, text)
    assert words in line
    assert line.endswith(f"It is: {KNOBS[key].help}")


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("height", 3, 3.0),
        ("guests", ["Ann"], ("Ann",)),
        ("guests", ("Ann",), ("Ann",)),
        ("guests", "Ann", ("Ann",)),
        ("lit", True, True),
        ("size", 0, 0),
    ],
)
def test_a_value_becomes_the_knobs_type(key, value, expected):
    read = KNOBS[key].validated(value)
    assert (type(read), read) == (type(expected), expected)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", 3),
        ("name", None),
        ("height", True),
        ("height", "3"),
        ("height", math.nan),
        ("size", True),
        ("size", 3.0),
        ("lit", 1),
        ("lit", "true"),
        ("guests", [1]),
        ("guests", ["Ann", None]),
        ("guests", {"Ann": 1}),
    ],
)
def test_a_value_of_another_type_is_refused(key, value):
    assert f"{key} = {value!r} is not valid: it must be" in refusal(KNOBS[key].validated, value)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("height", "height"),
        (" height ", "height"),
        ("paint.coats", "paint.coats"),
        ("coats", "paint.coats"),
        ("size", "size"),
    ],
)
def test_found_by_key_or_by_last_word(name, key):
    assert find_knob(House, name) is KNOBS[key]


def test_a_dash_is_as_good_as_an_underscore():
    assert find_knob(Config, "top-p").key == "generation.top_p"


def test_a_last_word_of_two_sections_is_ambiguous():
    @dataclasses.dataclass(frozen=True)
    class Street:
        left: Paint = dataclasses.field(default_factory=Paint)
        right: Paint = dataclasses.field(default_factory=Paint)

    assert refusal(find_knob, Street, "coats") == "Setting 'coats' is ambiguous. Say left.coats or right.coats."


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("hieght", "Did you mean 'height'?"),
        ("HEIGHT", "Did you mean 'height'?"),
        ("colour", "Did you mean 'paint.colour'?"),
        ("color", "Did you mean 'paint.colour'?"),
        ("pant.colour", "Did you mean 'paint.colour'?"),
        ("paint.lit", "Did you mean 'lit'?"),
        ("pain", "Did you mean 'paint'?"),
        ("zzz", "See `shammah config get` for all of them."),
        ("", "See `shammah config get` for all of them."),
    ],
)
def test_the_nearest_key_is_suggested(name, hint):
    assert nearest_key(House, name) == hint


def test_an_unknown_name_is_refused_with_the_nearest():
    assert refusal(find_knob, House, "hieght") == "There is no setting 'hieght'. Did you mean 'height'?"


def test_nearest_says_something_else_when_nothing_is_near():
    assert nearest("zzz", {"a": "b"}, "There are only letters.") == "There are only letters."
    assert nearest("aa", {"a": "b"}) == "Did you mean 'b'?"


VALUES = {
    str: TEXTS,
    int: st.integers(-(2**63), 2**63 - 1),
    float: st.floats(),
    bool: st.booleans(),
    tuple: st.lists(TEXTS.filter(bool), max_size=4).map(tuple),
}


@pytest.mark.parametrize("knob", knobs_of(Config).values(), ids=knobs_of(Config))
@settings(deadline=None)
@given(data=st.data())
def test_what_is_written_reads_back_the_same(knob, data):
    """For every setting: a valid value survives being spelled for the environment, the command line or the file."""
    value = data.draw(VALUES[knob.kind])
    try:
        value = knob.validated(value)
    except ConfigError:
        assert knob.check or knob.kind is float
        value = knob.default
    text = value if knob.kind is str else toml_value(value)
    assert knob.read_text(text) == value
    assert knob.validated(knob.read_text(text)) == value
    assert knob.validated(json.loads(toml_value(value))) == value


@pytest.mark.parametrize("knob", knobs_of(Config).values(), ids=knobs_of(Config))
@settings(deadline=None)
@given(text=st.text())
def test_any_text_is_read_or_refused_by_name(knob, text):
    try:
        value = knob.read_text(text)
    except ConfigError as error:
        assert error.message.startswith(f"{knob.key} = ") and error.hint
    else:
        assert knob.validated(value) == value and type(value) is knob.kind
