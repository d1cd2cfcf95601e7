import json
import os
import subprocess

import pytest

from shammah.config import Config, knobs_of, resolve
from shammah.config.layers import read_assignment, read_environment, read_file
from shammah.errors import ConfigError, HomeError


@pytest.fixture
def file(tmp_path):
    return tmp_path / "config.toml"


def settle(file, environment=None, **layers):
    return resolve(file, environment=environment or {}, **layers)


def refusal(call, *arguments, **options):
    with pytest.raises(ConfigError) as caught:
        call(*arguments, **options)
    assert caught.value.exit_code == 2
    return caught.value.one_line()


class TestPrecedence:
    LAYERS = (
        ("default", "smollm2-135m"),
        ("file", "from-file"),
        ("SHAMMAH_MODEL", "from-variable"),
        ("flag", "from-flag"),
        ("--set", "from-set"),
    )

    @pytest.mark.parametrize("spoken", range(32))
    def test_the_strongest_layer_that_speaks_wins(self, file, spoken):
        given = {source: value for at, (source, value) in enumerate(self.LAYERS) if spoken >> at & 1 and at}
        if "file" in given:
            file.write_text("model = 'from-file'\n")
        resolved = settle(
            file,
            {"SHAMMAH_MODEL": given["SHAMMAH_MODEL"]} if "SHAMMAH_MODEL" in given else {},
            flags={"model": given["flag"]} if "flag" in given else None,
            assignments=(f"model={given['--set']}",) if "--set" in given else (),
        )
        source, value = next((s, v) for s, v in reversed(self.LAYERS) if s in given or s == "default")
        assert resolved.config.model == value
        assert resolved.sources["model"] == (str(file) if source == "file" else source)

    def test_each_setting_has_its_own_source(self, file):
        file.write_text("threads = 2\n[generation]\ntop_k = 5\nseed = 1\n")
        environment = {"SHAMMAH_GENERATION_SEED": "2", "SHAMMAH_DEVICE": "cpu", "HOME": "/x", "SHAMMAH_HOME": "/y"}
        resolved = settle(file, environment, flags={"device": "mps"}, assignments=("temperature=0", "top_p=1"))
        told = {key: source for key, source in resolved.sources.items() if source != "default"}
        assert told == {
            "threads": str(file),
            "generation.top_k": str(file),
            "generation.seed": "SHAMMAH_GENERATION_SEED",
            "device": "flag",
            "generation.temperature": "--set",
            "generation.top_p": "--set",
        }
        generation = resolved.config.generation
        assert (generation.top_k, generation.seed, generation.temperature, generation.top_p) == (5, 2, 0.0, 1.0)
        assert (resolved.config.threads, resolved.config.device) == (2, "mps")

    def test_nothing_said_is_the_defaults(self, file):
        resolved = settle(file)
        assert resolved.config == Config()
        assert resolved.sources == dict.fromkeys(knobs_of(Config), "default")

    def test_the_last_assignment_wins(self, file):
        assert settle(file, assignments=("seed=1", "generation.seed=2", "seed=3")).config.generation.seed == 3

    def test_a_value_by_its_key(self, file):
        resolved = settle(file, assignments=("seed=1",))
        assert (resolved.value("generation.seed"), resolved.value("model")) == (1, "smollm2-135m")

    def test_the_environment_of_the_program_is_the_default(self, file, monkeypatch):
        monkeypatch.setenv("SHAMMAH_THREADS", "3")
        assert resolve(file).config.threads == 3

    @pytest.mark.parametrize("name", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
    @pytest.mark.parametrize(("text", "offline"), [("1", True), ("TRUE", True), ("0", False), ("", False)])
    def test_the_hubs_own_variables_mean_offline_too(self, file, name, text, offline):
        resolved = settle(file, {name: text})
        assert resolved.config.offline is offline
        assert resolved.sources["offline"] == (name if offline else "default")

    def test_ours_wins_over_the_hubs(self, file):
        assert settle(file, {"HF_HUB_OFFLINE": "1", "SHAMMAH_OFFLINE": "no"}).config.offline is False

    def test_an_empty_variable_says_nothing(self, file):
        file.write_text("model = 'x'\n")
        assert settle(file, {"SHAMMAH_MODEL": "", "SHAMMAH_NONSENSE": ""}).config.model == "x"


class TestFile:
    def test_every_kind_of_value(self, file):
        file.write_text('model = "x"\nthreads = 2\noffline = true\n[generation]\ntemperature = 1\nstop = ["a", "b"]\n')
        assert read_file(file) == {
            "model": "x",
            "threads": 2,
            "offline": True,
            "generation.temperature": 1.0,
            "generation.stop": ("a", "b"),
        }

    @pytest.mark.parametrize(
        "text",
        [
            "[generation]\nseed = 7\n",
            "[ generation ]\nseed = 7",
            "generation.seed = 7",
            "generation . seed = 7",
            '"generation"."seed" = 7',
            "generation = { seed = 7 }",
            '["generation"]\n"seed" = 7',
            "\ufeff[generation]\r\nseed = 7\r\n",
        ],
    )
    def test_every_way_to_write_a_key(self, file, text):
        file.write_bytes(text.encode())
        assert read_file(file) == {"generation.seed": 7}

    @pytest.mark.parametrize("text", ["", "# nothing\n", "[generation]\n"])
    def test_a_file_that_sets_nothing(self, file, text):
        file.write_text(text)
        assert read_file(file) == {}

    def test_no_file_sets_nothing(self, file):
        assert read_file(file) == {}
        assert not file.exists()

    @pytest.mark.parametrize(
        ("text", "line", "words"),
        [
            ("threads = -1", 1, "threads = -1 is not valid: it must be from 0 to 1024"),
            ("# a\n\nthreads = 'two'\n", 3, "threads = 'two' is not valid: it must be a whole number"),
            ("threads = 2.5", 1, "whole number"),
            ("threads = true", 1, "whole number"),
            ("model = 3", 1, "must be text"),
            ("offline = 'yes'", 1, "true or false"),
            ("offline = 1", 1, "true or false"),
            ("model = 2001-01-01", 1, "must be text"),
            ("[generation]\n\ntemperature = 'hot'", 3, "generation.temperature = 'hot' is not valid: it must be a"),
            ("[generation]\ntop_p = 0.9\ntemperature = nan", 3, "from 0 to 10"),
            ("[generation]\nstop = [1]", 2, "generation.stop = [1]"),
            ("[generation]\nstop = [\n  'a',\n  '',\n]\n", 2, "empty text"),
            ("temperature = 1\n", 1, "no setting 'temperature'. Did you mean 'generation.temperature'?"),
            ("top_k = 1\n", 1, "no setting 'top_k'. Did you mean 'generation.top_k'?"),
            ("modle = 'x'\n", 1, "no setting 'modle'. Did you mean 'model'?"),
            ("[generation]\ntemprature = 1\n", 2, "'generation.temprature'. Did you mean 'generation.temperature'?"),
            ("[generation]\nmodel = 'x'\n", 2, "no setting 'generation.model'. Did you mean 'model'?"),
            ("a = 1\n", 1, "no setting 'a'. See `shammah config get` for all of them."),
            ("\n[genration]\nseed = 1\n", 2, "no setting 'genration'. Did you mean 'generation'?"),
            ("[server]\n", 1, "no setting 'server'"),
            ("[generation]\nseed = 1\n[generation.deep]\n", 3, "no setting 'generation.deep'"),
            ("\n[[generation]]\nseed = 1\n", 2, "'generation' is a section. Write [generation] and its"),
            ("generation = 1", 1, "'generation' is a section"),
            ("[model]\nname = 'x'\n", 1, "must be text"),
            ("model = 'x'\ngeneration.temperature = 99\n", 2, "generation.temperature = 99.0"),
            ("\ngeneration . 'temperature' = 99\n", 2, "generation.temperature = 99.0"),
            ('\n"threads" = -1\n', 2, "threads = -1"),
            ("\n'threads' = -1\n", 2, "threads = -1"),
            ('\n["generation"]\n"temperature" = 99\n', 3, "generation.temperature = 99.0"),
            ("\n\ngeneration = { seed = 1, temperature = 99 }\n", 3, "generation.temperature = 99.0"),
            ('\n"my key" = 1\n', 2, "no setting 'my key'"),
            ('system = """\nthreads = -1\n[generation]\n"""\nthreads = -1\n', 5, "threads = -1"),
            ('system = """\n[generation]\nseed = -9\n"""\n[generation]\n# seed = -9\nseed = -9\n', 7, "seed = -9"),
            ("# -*-\r\n[generation]\r\ntemperature = 99\r\n", 3, "generation.temperature = 99.0"),
        ],
    )  # fmt: skip
    def test_a_bad_value_is_refused_with_its_line(self, file, text, line, words):
        file.write_bytes(text.encode())
        said = refusal(read_file, file)
        assert said.startswith(f"{file}, line {line}: ")
        assert words in said

    @pytest.mark.parametrize(
        ("text", "line", "words"),
        [
            ("model = 'x'\n\n[generation\nseed = 1\n", 3, "expected ']'"),
            ("model = x\n", 1, "invalid value"),
            ("model\n", 1, "expected '='"),
            ("\nmodel = 'x' threads = 2\n", 2, "expected newline or end of document"),
            ("model = 'x\nthreads = 2\n", 1, ""),
            ("threads = 1\n\nthreads = 2\nmodel = 'x'\n", 3, "cannot overwrite a value"),
            ("threads = 1\nmodel = 'x'\nthreads = 2", 3, "cannot overwrite a value"),
            ("[generation]\nseed = 1\n[generation]\n", 3, "cannot declare"),
            ("# a\nsystem = '''\nnever\nclosed\n", 2, "expected"),
            ("threads = 1\n[generation]\nstop = [\n 'a',\n", 3, ""),
            ("threads = " + "9" * 5000, 1, "limit"),
            ("model = 'x'\nthreads = " + "[" * 5000, 2, ""),
        ],
    )
    def test_broken_toml_is_refused_with_its_line(self, file, text, line, words):
        file.write_text(text)
        said = refusal(read_file, file)
        assert said.startswith(f"{file}, line {line}: not valid TOML: ")
        assert words in said
        assert said.endswith("Mend it with `shammah config edit`.")
        assert "(at" not in said

    @pytest.mark.parametrize(
        ("data", "line"), [(b"\xff", 1), (b"# a\n# caf\xe9\n", 2), ("model = 'x'".encode("utf-16"), 1)]
    )
    def test_a_file_that_is_not_utf8_is_refused_with_its_line(self, file, data, line):
        file.write_bytes(data)
        assert refusal(read_file, file) == f"{file}, line {line}: not UTF-8. Save it as UTF-8: `shammah config edit`."

    def test_a_file_that_cannot_be_read_is_no_empty_file(self, file):
        file.mkdir()
        with pytest.raises(HomeError, match="is a directory"):
            read_file(file)


class TestEnvironment:
    @pytest.mark.parametrize("knob", knobs_of(Config).values(), ids=knobs_of(Config))
    def test_every_setting_has_a_variable(self, knob):
        text = knob.default if knob.kind is str else json.dumps(knob.default)
        text = {"model": "x", "system": "x", "models_dir": "x", "scorer": "x:y", "lora.targets": "x"}.get(
            knob.key, text
        )
        assert read_environment({knob.variable: text})[knob.key] == (knob.variable, knob.read_text(text))

    @pytest.mark.parametrize(
        ("name", "text", "words"),
        [
            ("SHAMMAH_THREADS", "many", "SHAMMAH_THREADS: threads = 'many' is not valid: it must be a whole number"),
            ("SHAMMAH_DEVICE", "gpu", "SHAMMAH_DEVICE: device = 'gpu' is not valid: it must be one of auto, cuda"),
            ("SHAMMAH_OFFLINE", "maybe", "true or false"),
            ("SHAMMAH_GENERATION_TOP_P", "2", "generation.top_p = 2.0"),
            ("SHAMMAH_SYSTEM", "\udcff", "UTF-8"),
            ("SHAMMAH_MODLE", "x", "The variable SHAMMAH_MODLE is not a setting. Did you mean 'SHAMMAH_MODEL'?"),
            ("SHAMMAH_TEMPERATURE", "1", "Did you mean 'SHAMMAH_GENERATION_TEMPERATURE'?"),
            ("SHAMMAH_TOP_K", "1", "Did you mean 'SHAMMAH_GENERATION_TOP_K'?"),
            ("SHAMMAH_GENERATION_SED", "1", "Did you mean 'SHAMMAH_GENERATION_SEED'?"),
            ("SHAMMAH_HOEM", "x", "Did you mean 'SHAMMAH_HOME'?"),
            ("SHAMMAH_XYZZY", "x", "See `shammah config get` for all of them."),
        ],
    )
    def test_a_bad_variable_is_refused_by_name(self, name, text, words):
        assert words in refusal(read_environment, {name: text})

    def test_variables_of_others_are_not_ours(self):
        others = {"PATH": "/bin", "_SHAMMAH_COMPLETE": "x", "shammah_model": "x", "MY_SHAMMAH_MODEL": "x"}
        assert read_environment(others) == {}

    @pytest.mark.skipif(os.name == "nt", reason="bytes in variables are POSIX")
    def test_bytes_that_are_not_utf8_are_refused(self, shammah):
        result = shammah("config", "get", SHAMMAH_SYSTEM=os.fsdecode(b"caf\xe9"))
        assert isinstance(result, subprocess.CompletedProcess)
        assert (result.returncode, result.stdout) == (2, b"")
        assert b"SHAMMAH_SYSTEM" in result.stderr and b"UTF-8" in result.stderr


class TestFlagsAndAssignments:
    @pytest.mark.parametrize(
        ("flags", "words"),
        [
            ({"device": "gpu"}, "device = 'gpu' is not valid: it must be one of"),
            ({"model": ""}, "model = '' is not valid: it must not be empty"),
            ({"offline": "yes"}, "true or false"),
        ],
    )
    def test_a_bad_flag_is_refused(self, file, flags, words):
        assert words in refusal(settle, file, flags=flags)

    @pytest.mark.parametrize(
        ("text", "key", "value"),
        [
            ("seed=3", "generation.seed", 3),
            ("generation.seed=3", "generation.seed", 3),
            ("top-k = 3", "generation.top_k", 3),
            ("system=a=b", "system", "a=b"),
            ("system=", "system", ""),
            ("stop=", "generation.stop", ()),
            ("stop=a|b", "generation.stop", ("a|b",)),
            ('stop=["a", "b"]', "generation.stop", ("a", "b")),
        ],
    )
    def test_an_assignment(self, text, key, value):
        assert read_assignment(text) == (key, value)

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("seed", "--set 'seed' has no '='. Write --set key=value."),
            ("seed=x", "generation.seed = 'x' is not valid: it must be a whole number"),
            ("sed=1", "There is no setting 'sed'. Did you mean 'generation.seed'?"),
            ("=1", "There is no setting ''"),
            ("generation=1", "There is no setting 'generation'"),
        ],
    )
    def test_a_bad_assignment_is_refused(self, file, text, words):
        assert words in refusal(settle, file, assignments=(text,))

    def test_a_bad_layer_is_refused_even_when_a_stronger_one_speaks(self, file):
        file.write_text("threads = -1\n")
        assert "line 1" in refusal(settle, file, assignments=("threads=1",))
