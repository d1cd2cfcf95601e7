"""/set, /config, /system and /think: settings of a chat that runs."""

from contextlib import closing

import pytest
from support.inside import Inside

from shammah.config import Config, knobs_of
from shammah.errors import ConfigError

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def chat(tiny_model, tmp_path):
    inside = Inside(tiny_model, tmp_path)
    with closing(inside.app):
        yield inside


def settings_of(chat, number=-1):
    return chat.talk.turns[number].options


class TestSet:
    def test_one_holds_from_the_next_message_on(self, chat):
        chat.load().asks("one")
        assert (
            chat.says("/set max_tokens 2")
            == "generation.max_tokens = 2  (/set) from the next message on, in this chat.\n"
        )
        chat.asks("two")
        assert [turn.output_tokens for turn in chat.talk.turns] == [4, 2]
        assert settings_of(chat)["max_tokens"] == 2
        assert not chat.app.home.config_file.exists()

    @pytest.mark.parametrize("line", ["seed 7", "generation.seed 7", "seed=7", "seed = 7", "SEED  7", 'seed "7"'])
    def test_the_ways_to_write_it(self, chat, line):
        chat.says(f"/set {line}")
        assert chat.app.config.generation.seed == 7

    @pytest.mark.parametrize(("word", "value"), [("on", True), ("off", False), ("no", False)])
    def test_switches(self, chat, word, value):
        chat.says(f"/set rules.active {word}")
        assert chat.app.config.rules.active is value

    def test_texts_and_lists(self, chat):
        chat.says('/set stop ["END", "Stop now"]')
        chat.says("/set system Answer = in French, Please")
        assert chat.app.config.generation.stop == ("END", "Stop now")
        assert chat.app.config.system == "Answer = in French, Please"
        chat.says("/set system=")
        assert chat.app.config.system == ""

    def test_it_shows_one(self, chat):
        shown = chat.says("/set temperature")
        assert shown.startswith("generation.temperature = 0.0  (--set)\n") and "likeliest token" in shown

    def test_it_lists_those_that_matter_in_a_chat(self, chat, home):
        home.mkdir(exist_ok=True)
        chat.says("/set seed 7")
        shown = chat.says("/set").splitlines()
        assert "generation.seed = 7  (/set)" in shown and 'rules.place = "auto"  (default)' in shown
        assert any(line.startswith("model = ") for line in shown)
        assert "threads = 1  (--set)" in shown, "what is not as it comes"
        assert not any(line.startswith(("weights.", "lora.r ", "context")) for line in shown)

    @pytest.mark.parametrize(
        ("line", "words"),
        [
            ("temprature 1", "Did you mean 'generation.temperature'?"),
            ("rules.place qestion", "Did you mean 'question'?"),
            ("temperature hot", "must be a number"),
            ("temperature 11", "must be from 0 to 10"),
            ("nonsense", "See /config get for all of them."),
        ],
    )
    def test_what_is_wrong_is_one_line(self, chat, line, words):
        before = chat.app.settings
        said = chat.says(f"/set {line}")
        assert words in said and said.startswith("shammah: ") and said.count("\n") == 1
        assert chat.app.settings is before

    @pytest.mark.parametrize("key", [key for key, knob in knobs_of(Config).items() if knob.at_start])
    def test_what_is_read_at_the_start_alone_says_so(self, chat, key):
        before, knob = chat.app.settings, knobs_of(Config)[key]
        said = chat.says(f"/set {key} {'on' if knob.kind is bool else knob.default or 1}")
        assert f"{key} can't change in a chat that runs." in said and f"shammah config set {key}" in said
        assert chat.app.settings is before

    def test_a_scorer_that_is_not_there_changes_nothing(self, chat):
        assert "nowhere" in chat.says("/set scorer nowhere:score")
        assert chat.app.config.scorer == ""

    def test_weights_hold_for_the_next_rating(self, chat):
        chat.load().asks("one")
        chat.says("/set weights.good 5")
        chat.says("/good")
        (example,) = chat.app.desk.examples.find()
        assert example.weight == 5

    def test_where_rules_go(self, chat):
        chat.load().says("/rules add Answer in French")
        chat.asks("one")
        chat.says("/set rules.place system")
        chat.asks("one")
        first, second = chat.talk.turns
        assert first.context_hash != second.context_hash
        assert first.conversation_id == second.conversation_id and second.parent == first.id
        chat.says("/set rules.active off")
        chat.asks("one")
        assert [turn.rules for turn in chat.talk.turns] == [("Answer in French",), ("Answer in French",), ()]


class TestSystem:
    def test_it_holds_from_the_next_message_on(self, chat):
        chat.load().asks("one")
        assert chat.says("/system") == "No system prompt is set; the model's own counts.\n"
        assert chat.says("/system Answer in French.") == "From the next message on: Answer in French.\n"
        chat.asks("two")
        assert chat.says("/system none").startswith("From the next message on: no system prompt")
        chat.asks("three")
        assert [turn.system for turn in chat.talk.turns] == ["", "Answer in French.", ""]
        assert chat.says("/set system").startswith('system = ""  (/set)')

    def test_that_of_the_settings_can_be_put_aside(self, tiny_model, tmp_path):
        inside = Inside(tiny_model, tmp_path, system="Be brief.")
        with closing(inside.app):
            assert inside.says("/system") == "System prompt: Be brief.\n"
            inside.says("/system none")
            inside.load().asks("one")
            assert inside.talk.turns[-1].system == ""

    def test_a_conversation_brings_its_own_back(self, chat):
        chat.load().says("/system Be a pirate")
        chat.asks("one")
        chat.says("/clear")
        chat.says("/system Be a nurse")
        chat.asks("two")
        assert "Going on with 'one', 1 turn. System prompt: Be a pirate\n" in chat.says("/resume one")
        for shown in (chat.says("/set system"), chat.says("/config get system")):
            assert shown.startswith('system = "Be a pirate"  (this conversation)\n')
        chat.asks("three")
        assert [turn.system for turn in chat.talk.turns] == ["Be a pirate", "Be a pirate"]

    def test_what_was_typed_leaves_with_its_conversation_and_not_what_was_given(self, chat, tiny_model, tmp_path):
        chat.load().asks("one")
        chat.app.close()
        started = Inside(tiny_model, tmp_path, system="Be brief.")
        with closing(started.app):
            started.says("/system Be a nurse")
            assert "System prompt: Be brief." in started.says("/resume one")
            started.says("/clear")
            assert started.says("/system") == "System prompt: Be brief.\n"

    def test_that_of_a_start_goes_before_it(self, chat, tiny_model, tmp_path):
        chat.load().says("/system Be a pirate")
        chat.asks("one")
        chat.app.close()
        started = Inside(tiny_model, tmp_path, system="Be brief.")
        with closing(started.app):
            assert "System prompt: Be brief." in started.says("/resume one")


class TestConfig:
    def test_it_writes_and_keeps_comments(self, chat, home):
        file = home / "config.toml"
        file.write_text("# mine\n[generation]\n# slow\nmax_tokens = 9\n")
        assert chat.says("/config set top_p 0.4") == f"generation.top_p = 0.4, in {file}\n"
        assert file.read_text() == "# mine\n[generation]\n# slow\nmax_tokens = 9\ntop_p = 0.4\n"
        assert chat.app.config.generation.top_p == 0.4, "it counts here too"
        assert chat.says("/config get top_p") == "generation.top_p = 0.4  (config.toml)\n"

    def test_what_goes_before_it_is_told(self, chat):
        chat.says("/set seed 7")
        assert "This chat goes on with generation.seed = 7  (/set)" in chat.says("/config set seed 3")
        assert chat.app.config.generation.seed == 7

    def test_what_waits_for_the_next_start(self, chat, home):
        assert "context counts from the next start on." in chat.says("/config set context 100")
        assert chat.app.config.context == 0 and "context = 100" in (home / "config.toml").read_text()

    def test_what_differs(self, chat, home):
        shown = chat.says("/config").splitlines()
        assert shown[0] == str(home / "config.toml") and 'dtype = "float32"  (--set)' in shown
        assert not any("(default)" in line for line in shown)
        assert chat.says("/config path") == f"{home / 'config.toml'}\n"

    def test_all_of_them(self, chat):
        assert len(chat.says("/config get").splitlines()) == len(knobs_of(Config))

    @pytest.mark.parametrize(
        ("line", "words"),
        [
            ("set", "Which setting"),
            ("set seed", "Which setting"),
            ("set sed 3", "Did you mean"),
            ("set seed x", "must be a whole number"),
            ("get sed", "Did you mean"),
            ("nonsense", "/config does not know 'nonsense'"),
            ("path here", "/config does not know"),
            ("edit", "The editor needs a terminal"),
        ],
    )
    def test_what_is_wrong_is_one_line(self, chat, home, line, words):
        said = chat.says(f"/config {line}")
        assert words in said and said.count("\n") == 1
        assert not (home / "config.toml").exists()

    def test_in_an_editor(self, talker, home, editor):
        home.mkdir(mode=0o700)
        chat = talker({"": "Well."}, VISUAL=editor("[generation]\ntop_p = 0.3\n"))
        chat.wait_for_prompt()
        chat.send("/config edit\r")
        chat.wait_for_prompt(2)
        chat.say("/set top_p", "generation.top_p = 0.3  (config.toml)")
        chat.leave()
        assert (home / "config.toml").read_text() == "[generation]\ntop_p = 0.3\n"


def test_how_reasoning_is_shown_is_one_setting(chat):
    assert chat.says("/think hide").startswith('ui.reasoning = "hide"  (/set)')
    assert chat.app.config.ui.reasoning == "hide"
    chat.says("/think on")
    assert chat.app.config.ui.reasoning == "show"
    assert chat.says("/think aloud").startswith("shammah: ") and chat.app.config.ui.reasoning == "show"


def test_the_resolved_remember_where_a_value_came_from(chat):
    changed = chat.app.settings.changed({"generation.seed": 4}, "/set")
    assert (changed.value("generation.seed"), changed.sources["generation.seed"]) == (4, "/set")
    assert changed.value("generation.max_tokens") == 4 and changed.sources["generation.max_tokens"] == "--set"
    assert chat.app.settings.value("generation.seed") == -1


def test_a_knob_tells_its_words():
    knobs = knobs_of(Config)
    assert knobs["rules.place"].choices == ("auto", "question", "system")
    assert knobs["offline"].choices == ("on", "off") and knobs["context"].choices == ()
    with pytest.raises(ConfigError, match="must be one of") as caught:
        knobs["rules.place"].read_text("sytem")
    assert caught.value.hint == "Did you mean 'system'?"
