import click
import pytest

from shammah.cli.options import build_app, build_screen, complete_model, generation_assignments, model_options, to_json
from shammah.config import resolve
from shammah.errors import ConfigError


class TestGeneration:
    def test_pairs_become_assignments(self, tmp_path):
        pairs = (("temperature", "0"), ("stop", "<|end|>"), ("seed", "1"), ("seed", "2"))
        settings = resolve(tmp_path / "none", environment={}, assignments=generation_assignments(pairs))
        generation = settings.config.generation
        assert (generation.temperature, generation.stop, generation.seed) == (0.0, ("<|end|>",), 2)

    def test_no_pairs_are_no_assignments(self):
        assert generation_assignments(()) == ()

    @pytest.mark.parametrize(
        ("pair", "words"),
        [
            (("temprature", "1"), ["-o temprature: there is no such option", "Did you mean 'temperature'?"]),
            (("zzz", "1"), ["-o zzz", "There are temperature, top_p, top_k"]),
            (("model", "x"), ["-o model"]),
            (("generation.seed", "1"), ["-o generation.seed", "'seed'"]),
            (("seed", "x"), ["seed = 'x' is not valid: it must be a whole number"]),
            (("top_p", "7"), ["top_p = 7.0 is not valid: it must be from 0.01 to 1"]),
        ],
    )
    def test_a_wrong_one_is_refused(self, pair, words):
        with pytest.raises(ConfigError) as caught:
            generation_assignments((("top_k", "1"), pair))
        assert [word for word in words if word not in caught.value.one_line()] == []


class TestApp:
    def test_options_that_were_given_are_settings(self, home, monkeypatch):
        monkeypatch.setenv("SHAMMAH_MODEL", "from-variable")
        monkeypatch.setenv("SHAMMAH_SYSTEM", "from-variable")
        monkeypatch.setenv("SHAMMAH_OFFLINE", "yes")
        options = {"model": "from-flag", "device": None, "system": "", "no_log": True, "offline": None, "quiet": True}
        app = build_app(options, ("threads=2",))
        settings = app.settings
        assert (app.config.model, app.config.system, app.config.offline) == ("from-flag", "", True)
        assert {key: source for key, source in settings.sources.items() if source != "default"} == {
            "model": "flag",
            "system": "flag",
            "no_log": "flag",
            "offline": "SHAMMAH_OFFLINE",
            "threads": "--set",
        }
        assert not home.exists(), "nothing is stored, so no home is needed"

    def test_what_the_command_itself_wants_is_a_flag_too(self):
        assert build_app({}, no_log=True).config.no_log is True

    def test_a_home_is_made_where_turns_are_kept(self, home):
        build_app({}).close()
        assert (home / "logs").is_dir()


def test_flags_of_settings_are_made_from_their_declaration():
    @click.command()
    @model_options
    def command(**options):
        return options

    with click.Context(command) as context:
        assert [(param.name, param.opts, param.metavar) for param in command.get_params(context)][:3] == [
            ("model", ["-m", "--model"], "NAME|DIR"),
            ("device", ["--device"], "NAME"),
            ("dtype", ["--dtype"], "NAME"),
        ]
    assert command.main(["--dtype", "float32"], standalone_mode=False) == {
        "model": None,
        "device": None,
        "dtype": "float32",
    }


def test_models_complete_by_name_then_by_file():
    def found(text):
        return [(item.type, item.value) for item in complete_model(None, None, text)]

    assert ("plain", "smollm2-135m") in found("") and all(kind == "plain" for kind, _ in found(""))
    assert found("SMOL") == found("smol") == [("plain", "smollm2-135m")]
    assert found("./x") == [("file", "./x")]


def test_quiet_goes_to_the_screen(capsys):
    build_screen({"quiet": True}).say("beside")
    build_screen({}).say("beside")
    assert capsys.readouterr().err == "beside\n"


def test_json_is_one_line_that_a_person_can_read(tmp_path):
    assert to_json({"text": "caf\u00e9\n\U0001f600", "path": tmp_path}) == (
        '{"text": "caf\u00e9\\n\U0001f600", "path": "' + str(tmp_path) + '"}'
    )
