"""Which adapter answers: as the settings say, and as the one in use changes while the program runs."""

import json
from contextlib import ExitStack

import pytest
from support.standing_adapters import ACCEPTED, FIRST, SECOND, put_speaking

from shammah.app import App
from shammah.config import GenerationSettings
from shammah.deployment.shelving import Shelving
from shammah.errors import AdapterDamaged, AdapterError
from shammah.events import AdapterSwapped, Notice
from shammah.records import Message
from shammah.ui.adapters_travel import import_folder

pytestmark = pytest.mark.usefixtures("one_thread")
GREEDY = GenerationSettings(temperature=0, max_tokens=16, stop_loops=False)


@pytest.fixture
def shelf(home, tiny_model):
    home.mkdir(mode=0o700)
    for version, name in enumerate((FIRST, SECOND), 1):
        put_speaking(home, tiny_model, name, version=version, seed=version, verdict=ACCEPTED)
    return home / "adapters"


@pytest.fixture
def an_app(tiny_model, tmp_path):
    """The program, as often as a test starts it."""
    with ExitStack() as apps:

        def start(*assignments, **flags):
            settings = ("dtype=float32", "threads=1", f"models_dir={tmp_path / 'cache' / 'models'}", *assignments)
            app = App.build(flags={"model": str(tiny_model), **flags}, assignments=settings)
            apps.callback(app.close)
            return app

        yield start


def says(app, **changes):
    model = app.load_model()
    *_, reply = model.reply(model.encode([Message("user", "What is A?")]), GREEDY, **changes)
    return reply.text


def notices(app):
    heard = []
    app.events.subscribe(lambda event: heard.append(event.text) if isinstance(event, Notice) else None)
    return heard


@pytest.fixture
def expected(shelf, an_app):
    """What each of them says."""
    said = {name: says(an_app(adapter=name or "none")) for name in (None, FIRST, SECOND)}
    assert len(set(said.values())) == 3
    return said


class TestAtTheStart:
    def test_nothing_is_in_use(self, expected, an_app):
        app = an_app()
        assert app.answering() is None and says(app) == expected[None]

    def test_the_one_in_use(self, expected, an_app):
        app = an_app()
        app.helm.load(FIRST, base=app.base, strength=1.0)
        assert app.answering() == FIRST, "before the model is loaded"
        assert says(app) == expected[FIRST] and app.load_model().adapter == FIRST

    @pytest.mark.parametrize("name", ["v2", "2", SECOND, SECOND.removeprefix("lora_adapter_"), "latest"])
    def test_one_by_a_name_whatever_is_in_use(self, expected, an_app, name):
        app = an_app(adapter=name)
        app.helm.load(FIRST, base=app.base)
        assert app.answering() == SECOND and says(app) == expected[SECOND]

    def test_none(self, expected, an_app):
        app = an_app(adapter="none")
        app.helm.load(FIRST, base=app.base)
        assert app.answering() is None and says(app) == expected[None]

    def test_the_one_in_use_is_broken(self, expected, an_app, shelf):
        app = an_app()
        heard = notices(app)
        app.helm.load(FIRST, base=app.base)
        (shelf / FIRST / "adapter_model.safetensors").unlink()
        assert says(app) == expected[None]
        assert app.answering() is None, "who really answers"
        (notice,) = heard
        assert "adapter_model.safetensors is missing" in notice and notice.endswith("goes on answering.")

    @pytest.mark.parametrize("adapter", [FIRST, "nobody"])
    def test_a_named_one_that_is_broken_or_not_there_is_an_error(self, an_app, shelf, adapter):
        (shelf / FIRST / "adapter_model.safetensors").unlink()
        with pytest.raises(AdapterDamaged if adapter == FIRST else AdapterError):
            an_app(adapter=adapter).load_model()

    def test_a_named_one_that_is_archived_is_told_to_be(self, an_app, shelf):
        Shelving(an_app().roster).archive(FIRST)
        with pytest.raises(AdapterError, match="is archived") as caught:
            an_app(adapter="v1").load_model()
        assert "shammah adapters restore" in caught.value.hint

    def test_one_that_is_not_there_is_no_need_of_who_only_computes_with_the_model(self, an_app, shelf, tmp_path):
        folder = (shelf / SECOND).rename(tmp_path / SECOND)
        app = an_app(adapter="nobody")
        assert import_folder(app, str(folder), any_base=False).name == SECOND
        assert app.training.cycle()._shop.base().loaded is app.load_base().loaded
        with pytest.raises(AdapterError, match="nobody"):
            app.load_model()

    def test_the_model_is_loaded_once_whoever_asks_first(self, expected, an_app):
        app = an_app(adapter=FIRST)
        base = app.load_base()
        assert app.answering() == FIRST and app.follow() is None, "nobody answers yet"
        assert app.load_model() is base and says(app) == expected[FIRST]

    def test_it_is_kept_from_whoever_tidies_up(self, an_app, shelf):
        with pytest.raises(AdapterError, match="by the setting"):
            Shelving(an_app(adapter="v1").roster).delete(FIRST)
        few = ("adapters.keep_last=1", "adapters.keep_best=0")
        for adapter, left in (("v1", {FIRST, SECOND}), ("v2", {SECOND})):
            an_app(*few, adapter=adapter).training.cycle()._prune()
            assert {path.name for path in shelf.glob("lora_*")} == left, "as after each training"

    @pytest.mark.parametrize("adapter", ["active", "none"])
    def test_where_nothing_is_stored_no_home_is_made(self, an_app, home, adapter):
        app = an_app(no_log=True, adapter=adapter)
        says(app)
        assert app.answering() is None and app.rules() == () and not home.exists()

    def test_nor_for_a_name(self, an_app, home):
        with pytest.raises(AdapterError, match="no adapter yet"):
            an_app(no_log=True, adapter="latest").load_model()
        assert not home.exists()

    def test_what_is_in_use_answers_where_nothing_is_stored_too(self, expected, an_app, home):
        app = an_app()
        app.helm.load(FIRST, base=app.base)
        app.close()
        before = (home / "shammah.db").stat().st_mtime_ns
        assert says(an_app(no_log=True)) == expected[FIRST]
        assert (home / "shammah.db").stat().st_mtime_ns == before

    def test_with_weights_of_its_own(self, expected, an_app):
        app = an_app("adapters.merged=true")
        app.helm.load(FIRST, base=app.base)
        assert app.load_model().adapter == FIRST
        kinds = {type(module) for module in app.load_model().voice.network.modules()}
        assert kinds == {type(module) for module in app.load_model().loaded.network.modules()}


class TestWhileItRuns:
    def test_the_one_in_use_is_followed_between_turns(self, expected, an_app):
        app, other = an_app(), an_app()
        assert app.follow() is None, "nothing is loaded yet"
        assert says(app) == expected[None]
        for name in (FIRST, SECOND, FIRST):
            other.helm.load(name, base=other.base, cause="found better")
            assert says(app) != expected[name], "not within a turn"
            change = app.follow()
            assert (change.adapter, change.cause) == (name, "found better")
            assert says(app) == expected[name] and app.answering() == name
            assert app.follow() is None
        other.helm.unload(other.base)
        assert app.follow().adapter is None and says(app) == expected[None]

    @pytest.mark.parametrize(("adapter", "speaks"), [("none", None), (SECOND, SECOND)])
    def test_another_than_the_settings_name_only_where_it_is_asked_for(self, expected, an_app, adapter, speaks):
        app, other = an_app(adapter=adapter), an_app()
        assert says(app) == expected[speaks]
        other.helm.load(FIRST, base=other.base)
        assert app.follow() is None and says(app) == expected[speaks]
        assert app.follow(asked=True).adapter == FIRST and says(app) == expected[FIRST]
        other.helm.unload(other.base)
        assert app.follow().adapter is None, "from then on"

    def test_what_training_has_found_answers_at_once(self, expected, an_app):
        app = an_app()
        says(app)
        made = app.helm.load(FIRST, base=app.base, actor="training", cause="found better")
        app.events.publish(AdapterSwapped(adapter=FIRST, previous=None, cause=made.cause))
        assert says(app) == expected[FIRST]
        assert app.follow() is None, "the next turn finds nothing to do"

    def test_one_may_answer_once(self, expected, an_app):
        app = an_app()
        app.helm.load(FIRST, base=app.base)
        assert says(app, voice=app.voice(None)) == expected[None]
        assert says(app, voice=app.voice("v2")) == expected[SECOND]
        assert says(app, voice=app.voice("v2", strength=0.0)) == expected[None]
        assert says(app) == expected[FIRST]

    def test_the_rules_are_those_that_who_answers_still_has_to_be_told(self, shelf, an_app):
        app = an_app()
        kept, graduated = (app.desk.rules.add(text) for text in ("Be brief.", "Answer in French."))
        app.desk.rules.graduate([graduated.id], FIRST)
        assert app.rules() == (kept.text, graduated.text)
        app.helm.load(FIRST, base=app.base)
        assert app.rules() == (kept.text,), "before the model is loaded"
        model = app.load_model()
        *_, turn = app.session(model).ask("What is A?", GREEDY)
        assert (turn.adapter, turn.rules) == (FIRST, (kept.text,))
        *_, turn = app.session(model).ask("What is A?", GREEDY, voice=app.voice(None))
        assert (turn.adapter, turn.rules) == (None, (kept.text, graduated.text))
        assert app.rules_for(SECOND) == (kept.text, graduated.text)

    def test_at_less_than_full_strength_it_is_told_the_rules_that_it_obeys(self, shelf, an_app):
        app = an_app()
        rule = app.desk.rules.add("Answer in French.")
        app.desk.rules.graduate([rule.id], FIRST)
        app.helm.load(FIRST, base=app.base, strength=0.1)
        assert app.rules() == (rule.text,), "before the model is loaded"
        model = app.load_model()
        assert app.rules() == (rule.text,)
        *_, turn = app.session(model).ask("What is A?", GREEDY)
        assert (turn.adapter, turn.rules) == (FIRST, (rule.text,))
        *_, turn = app.session(model).ask("What is A?", GREEDY, voice=app.voice(FIRST))
        assert (turn.adapter, turn.rules) == (FIRST, ())

    def test_a_new_one_that_is_rated_worse_is_gone_back_from(self, expected, an_app, a_turn):
        app = an_app("adapters.probation_ratings=2")
        says(app)

        def rate(adapter, level):
            turn = app.conversations.add(a_turn(adapter=adapter, model=app.config.model), title="talk")
            app.desk.rate(turn.id, level)
            return app.after_rating()

        assert rate(None, "good") is rate(None, "good") is None
        app.helm.load(FIRST, base=app.base, actor="training")
        app.follow()
        assert rate(FIRST, "critical") is None
        made = rate(FIRST, "medium")
        assert (made.adapter, made.actor) == (None, "probation") and "2 of 2" in made.cause
        assert app.follow().previous == FIRST and says(app) == expected[None]


@pytest.mark.parametrize("how", ["one prompt", "a batch"])
def test_without_a_chat_the_one_in_use_answers(expected, an_app, shammah, tiny_model, tmp_path, how):
    app = an_app()
    app.helm.load(FIRST, base=app.base)
    app.close()
    few = ("-m", str(tiny_model), "-o", "temperature", "0", "-o", "max_tokens", "16")
    asked, stdin = (("--json", "What is A?"), b"")
    if how == "a batch":
        asked, stdin = ("--batch", "-"), b'{"prompt": "What is A?"}\n'
    environment = {
        "SHAMMAH_MODELS_DIR": str(tmp_path / "cache" / "models"),
        "SHAMMAH_DTYPE": "float32",
        "SHAMMAH_GENERATION_STOP_LOOPS": "false",
    }
    for adapter, name in (((), FIRST), (("--adapter", "none"), None), (("--adapter", "v2"), SECOND)):
        result = shammah(*few, *adapter, *asked, stdin=stdin, **environment)
        assert result.returncode == 0, result.stderr
        row = json.loads(result.stdout)
        assert (row["adapter"], row["response"].strip()) == (name, expected[name].strip())
