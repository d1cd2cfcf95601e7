import json
import re
import stat
import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shammah.config import Config, knobs_of, resolve
from shammah.config.layers import read_file
from shammah.config.writing import set_value, settings_table, template, toml_value
from shammah.errors import ConfigError

KNOBS = knobs_of(Config)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
MINE = """\
# my settings
threads = 2   # one is not enough

model   =   "x"  # the big one
[generation] # how it talks
# hot:
temperature = 1.5
  seed = 7
"""


def comments(text):
    return [line for line in text.splitlines() if line.startswith("#")]


@pytest.fixture
def file(tmp_path):
    return tmp_path / "home" / "config.toml"


@pytest.fixture
def mine(file):
    file.parent.mkdir()
    file.write_text(MINE)
    return file


class TestSetValue:
    @pytest.mark.parametrize(
        ("name", "text", "before", "after"),
        [
            ("threads", "4", "threads = 2   #", "threads = 4   #"),
            ("model", "org/y", 'model   =   "x"  #', 'model   =   "org/y"  #'),
            ("generation.temperature", "0", "temperature = 1.5\n", "temperature = 0.0\n"),
            ("seed", "8", "  seed = 7\n", "  seed = 8\n"),
        ],
    )
    def test_changes_one_value_and_no_other_character(self, mine, name, text, before, after):
        set_value(mine, name, text)
        assert mine.read_text() == MINE.replace(before, after)

    def test_adds_to_a_section_and_before_it(self, mine):
        set_value(mine, "top_k", "5")
        set_value(mine, "offline", "yes")
        assert read_file(mine) == {
            "threads": 2,
            "model": "x",
            "generation.temperature": 1.5,
            "generation.seed": 7,
            "generation.top_k": 5,
            "offline": True,
        }
        lines = mine.read_text().splitlines()
        assert [line for line in lines if line not in ("top_k = 5", "offline = true", "")] == [
            line for line in MINE.splitlines() if line
        ]

    def test_makes_home_and_file(self, file):
        knob, value = set_value(file, "temperature", "0.5")
        assert (knob.key, value) == ("generation.temperature", 0.5)
        assert file.read_text() == "[generation]\ntemperature = 0.5\n"
        assert [stat.S_IMODE(path.stat().st_mode) for path in (file, file.parent)] == [0o600, 0o700]

    def test_a_list(self, file):
        set_value(file, "stop", '["a", "b\\n"]')
        assert read_file(file) == {"generation.stop": ("a", "b\n")}

    def test_line_ends_stay_as_they_are(self, mine):
        mine.write_bytes(MINE.replace("\n", "\r\n").encode())
        set_value(mine, "threads", "4")
        assert mine.read_bytes() == MINE.replace("= 2", "= 4").replace("\n", "\r\n").encode()

    def test_a_link_to_a_file_elsewhere_stays(self, mine, tmp_path):
        elsewhere = tmp_path / "dotfiles.toml"
        mine.rename(elsewhere)
        mine.symlink_to(elsewhere)
        set_value(mine, "threads", "4")
        assert mine.is_symlink()
        assert read_file(elsewhere)["threads"] == 4

    @pytest.mark.parametrize(
        "text",
        [
            "generation.seed = 1\nmodel = 'x'\n",
            "generation = { seed = 1 }\nmodel = 'x'\n",
            "generation = {}\n",
            '"generation"."seed" = 1\n',
            "[generation]\n\n",
            "model = 'x'\n\n\n# the end",
            "\ufeff# with a mark\n[generation]\nseed = 1\n",
            template(),
        ],
    )
    @pytest.mark.parametrize(("name", "value"), [("generation.seed", 5), ("generation.top_k", 6), ("threads", 7)])
    def test_however_the_file_is_written(self, file, text, name, value):
        file.parent.mkdir()
        file.write_bytes(text.encode())
        before = read_file(file)
        set_value(file, name, str(value))
        assert read_file(file) == before | {name: value}
        assert comments(file.read_text("utf-8")) == comments(text.removeprefix("\ufeff"))

    @pytest.mark.parametrize(
        "data",
        [b"model = \n", b"threads = -1\n", b"colour = 'red'\n", b"# caf\xe9\n", b"threads = 1\nthreads = 2\n"],
    )
    def test_a_broken_file_is_left_as_it_is(self, file, data):
        file.parent.mkdir()
        file.write_bytes(data)
        with pytest.raises(ConfigError, match="line"):
            set_value(file, "threads", "3")
        assert file.read_bytes() == data
        assert list(file.parent.iterdir()) == [file]

    @pytest.mark.parametrize(
        ("name", "text", "words"),
        [
            ("threds", "1", "no setting 'threds'"),
            ("threads", "many", "whole number"),
            ("device", "gpu", "one of"),
            ("system", "\udcff", "UTF-8"),
        ],
    )
    def test_what_is_not_valid_is_not_written(self, file, name, text, words):
        with pytest.raises(ConfigError, match=words):
            set_value(file, name, text)
        assert not file.parent.exists()

    @settings(deadline=None, max_examples=50)
    @given(text=TEXTS, seed=st.integers(-1, 2**63 - 1), stop=st.lists(TEXTS.filter(bool)))
    def test_whatever_is_written_is_read_again(self, tmp_path_factory, text, seed, stop):
        file = tmp_path_factory.mktemp("written") / "config.toml"
        set_value(file, "stop", json.dumps(stop))
        set_value(file, "system", text)
        set_value(file, "seed", str(seed))
        assert read_file(file) == {"system": text, "generation.seed": seed, "generation.stop": tuple(stop)}


class TestTemplate:
    def test_it_changes_nothing(self, file):
        file.parent.mkdir()
        file.write_text(template())
        sections: dict[str, object] = {
            "adapters": {},
            "examples": {},
            "files": {},
            "generation": {},
            "rules": {},
            "ui": {},
            "weights": {},
        }
        assert tomllib.loads(template()) == {**sections, "lora": {"training": {}}}
        assert resolve(file, environment={}).config == Config()
        assert set(resolve(file, environment={}).sources.values()) == {"default"}

    @pytest.mark.parametrize("key", KNOBS)
    def test_each_line_can_be_taken_into_use(self, file, key):
        word = KNOBS[key].path[-1]
        text, changed = re.subn(rf"^# ({word} = )", r"\1", template(), flags=re.MULTILINE)
        assert changed == 1
        file.parent.mkdir()
        file.write_text(text)
        assert read_file(file) == {key: KNOBS[key].default}

    def test_all_of_them_can(self, file):
        file.parent.mkdir()
        file.write_text(re.sub(r"^# (\w+ = )", r"\1", template(), flags=re.MULTILINE))
        assert read_file(file) == {key: knob.default for key, knob in KNOBS.items()}

    def test_it_says_what_each_is(self):
        assert [knob.key for knob in KNOBS.values() if f"# {knob.help}\n# {knob.path[-1]} = " not in template()] == []


def test_the_table_has_a_row_for_each_setting():
    head, rule, *rows = settings_table().splitlines()
    assert head == "| key | default | variable | flag | meaning |"
    assert set(rule) <= set("|- ")
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]
    assert all(len(row) == 5 for row in cells)
    assert [row[0] for row in cells] == [f"`{key}`" for key in KNOBS]
    by_key = {row[0].strip("`"): row[1:] for row in cells}
    assert by_key["model"][:3] == ['`"smollm2-135m"`', "`SHAMMAH_MODEL`", "`-m`, `--model`"]
    assert by_key["generation.seed"] == [
        "`-1`",
        "`SHAMMAH_GENERATION_SEED`",
        "`-o seed`",
        KNOBS["generation.seed"].help,
    ]
    assert by_key["threads"][2] == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [(True, "true"), (0.2, "0.2"), (-1, "-1"), ('a "b"', '"a \\"b\\""'), ((), "[]"), (("é", "\n"), '["é", "\\n"]')],
)
def test_a_value_as_toml_spells_it(value, text):
    assert toml_value(value) == text
    read = tomllib.loads(f"x = {text}")["x"]
    assert (tuple(read) if isinstance(read, list) else read) == value
