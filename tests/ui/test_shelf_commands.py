"""/adapters and /base in a real terminal: a tiny model that speaks with real adapters, and a real shelf."""

import io
import re
from types import SimpleNamespace

import pytest
from support.standing_adapters import ACCEPTED, FIRST, REFUSED, SECOND, THIRD, put_silent, put_speaking

from shammah.app import App
from shammah.deployment.shelving import Shelving
from shammah.errors import AdapterError, UsageError
from shammah.store import Conversations, Database
from shammah.store.activations import Activations
from shammah.store.adapter_notes import AdapterNotes
from shammah.ui.adapters_words import age_words, answers_words, size_words, strength_words
from shammah.ui.given import Given, read_given, read_strength
from shammah.ui.render import Screen
from shammah.ui.shelf_commands import adapters

CTRL_C, ENTER = "\x03", "\r"
TITLE = f"{FIRST} (v1)"


@pytest.fixture
def store(home):
    home.mkdir(mode=0o700, exist_ok=True)
    database = Database(home / "shammah.db")
    yield database
    database.close()


@pytest.fixture
def shelf(home, tiny_model, store):
    """Two adapters of the tiny model, the second one refused and called `odd`."""
    put_speaking(home, tiny_model, FIRST, version=1, seed=3)
    put_speaking(home, tiny_model, SECOND, version=2, seed=4, parent=FIRST)
    notes = AdapterNotes(store)
    notes.judged(FIRST, ACCEPTED)
    notes.judged(SECOND, REFUSED)
    notes.label(SECOND, "odd")
    return home / "adapters"


@pytest.fixture
def chat(terminal, shelf):
    """A chat whose replies are the likeliest ones, so that each voice has its own."""

    def start(*arguments, **options):
        options.setdefault("columns", 120)
        started = terminal("-o", "temperature", "0", *arguments, tokens=6, **options)
        started.wait_for_prompt()
        return started

    return start


def ask(chat, text="hello"):
    """Until the reply is there and the next prompt stands."""
    prompts = len(re.findall(r"^> ", chat.text(), re.M))
    chat.send(text + ENTER)
    chat.wait(lambda t: len(re.findall(r"^>", t.text(), re.M)) > prompts + 1 and t.line() == ">")


def turns(store):
    return list(reversed(Conversations(store).search(limit=None)))


class TestWhoAnswers:
    def test_load_strength_rollback_unload(self, chat, store):
        here = chat()
        ask(here)
        here.say("/adapters load v1", f"From the next message on {TITLE} answers.")
        ask(here)
        here.say("/adapters load odd --strength 0.5", f"{SECOND} (v2, odd) answers, at strength 0.5.")
        ask(here)
        here.say("/adapters list", "* v2")
        here.say("/adapters rollback", f"From the next message on {TITLE} answers.")
        ask(here)
        here.say("/adapters rollback", "the model itself answers, without an adapter.")
        ask(here)
        here.say("/adapters load v1", f"From the next message on {TITLE} answers.")
        here.say("/adapters unload", "the model itself answers, without an adapter.")
        here.say("/adapters unload", "shammah: No adapter is active")
        here.leave()
        spoke = turns(store)
        assert [turn.adapter for turn in spoke] == [None, FIRST, SECOND, FIRST, None]
        assert len({turn.response for turn in spoke[:3]}) == 3, "each voice says something else"
        assert "active at strength 0.5" in here.text()

    def test_base_answers_once(self, chat, store):
        here = chat()
        here.say("/adapters load v1", "answers.")
        ask(here, "/base hello")
        ask(here)
        here.say("/base", "Which message?")
        here.leave()
        first, second = turns(store)
        assert (first.query, first.adapter, second.adapter) == ("hello", None, FIRST)
        assert first.response != second.response and second.parent == first.id

    def test_a_chat_that_began_without_an_adapter_loads_one_all_the_same(self, chat, store):
        here = chat("--adapter", "none")
        ask(here)
        here.say("/adapters load v1", "answers.")
        ask(here)
        here.leave()
        assert [turn.adapter for turn in turns(store)] == [None, FIRST]

    def test_what_does_not_fit_or_is_damaged_is_not_loaded(self, chat, home, store):
        put_silent(home, THIRD, version=3)
        (home / "adapters" / SECOND / "adapter_model.safetensors").write_bytes(b"nothing")
        here = chat()
        here.say("/adapters load v3", "was made for smollm2-135m, not for model")
        here.say("/adapters load odd", "adapter_model.safetensors is not what was saved")
        ask(here)
        here.leave()
        assert Activations(store).current("model") is None and turns(store)[0].adapter is None

    @pytest.mark.parametrize("strength", ["2", "-1", "nan", "much"])
    def test_what_is_no_strength(self, strength):
        with pytest.raises(UsageError, match="is not a strength"):
            read_strength(strength)


@pytest.fixture
def commands(tiny_model, shelf, tmp_path, one_thread):
    """/adapters in a chat without its terminal: the App, and a function that says what a command tells."""
    apps = []

    def start(**flags):
        settings = ("dtype=float32", "threads=1", f"models_dir={tmp_path / 'cache' / 'models'}")
        app = App.build(flags={"model": str(tiny_model), **flags}, assignments=settings)
        apps.append(app)
        told = io.StringIO()
        talk = SimpleNamespace(model=app.load_model, loaded=True)
        chat = SimpleNamespace(app=app, screen=Screen(err=told), talk=talk)

        def say(typed):
            told.truncate(told.seek(0))
            adapters(chat, typed)
            return told.getvalue()

        return app, say

    yield start
    for app in apps:
        app.close()


class TestAChatWithAnAdapterOfItsOwn:
    def test_they_speak_of_who_answers_in_it(self, commands, store):
        Activations(store).activate("model", SECOND, actor="user")
        app, say = commands(adapter="v1")
        app.load_model()
        (line,) = (line for line in say("list").splitlines() if line.startswith("*"))
        assert line.split()[:3] == ["*", "v1", "20261121_130101"]
        assert f"Adapter   {TITLE}" in say("show active")
        with pytest.raises(AdapterError, match=f"{FIRST} answers as this chat was begun") as caught:
            say("rollback")
        assert "/adapters load" in caught.value.hint
        with pytest.raises(AdapterError, match="answers in this chat"):
            say("delete v1")
        assert "the model itself answers in this chat" in say("unload") and app.answering() is None
        with pytest.raises(AdapterError, match="The model itself answers here already"):
            say("unload")
        with pytest.raises(AdapterError, match="The model itself answers here"):
            say("show active")
        assert "*" not in say("list") and Activations(store).current("model").adapter == SECOND, (
            "nor is another put aside"
        )
        assert f"{TITLE} answers" in say("load v1") and app.answering() == FIRST
        assert f"{SECOND} (v2, odd) answers" in say("rollback"), "from then on it goes with the others"

    def test_one_that_was_begun_without_has_no_star(self, commands, store):
        Activations(store).activate("model", FIRST, actor="user")
        assert "*" not in commands(adapter="none")[1]("list")
        assert "* v1" in commands()[1]("list")


def test_a_chat_that_stores_nothing_may_look(commands):
    _, say = commands(no_log=True)
    assert "34 % better" in say("list") and TITLE in say("show v1") and "v1" in say("compare v1 odd")
    for typed in ("delete v1", "load v1", "prune"):
        with pytest.raises(UsageError, match="Nothing is stored in this chat"):
            say(typed)


def test_where_all_are_archived_that_is_said(commands):
    app, say = commands()
    for name in (FIRST, SECOND):
        Shelving(app.roster).archive(name)
    with pytest.raises(UsageError, match="No adapter is on the shelf") as caught:
        say("list")
    assert caught.value.hint == "`/adapters list all` shows 2 in the archive."


class TestWhatThereIs:
    def test_the_list(self, chat, store):
        Activations(store).activate("model", FIRST, actor="user")
        here = chat()
        ask(here)
        here.say("/good", "more until training")
        shown = here.say("/adapters", "34 % better")
        first, second = (line for line in shown.splitlines() if re.match(r"[* ]\s+v\d", line))
        assert re.fullmatch(
            r"\* v1 +20261121_130101 +active +\d+ \S+ +2 +34 % better +1x +1g +\d+\.\d kB", first.strip()
        ), first
        assert re.match(r" +v2 +odd +rejected +\d+ \S+ +2 +fails drift +- +- ", second), second
        here.leave()

    def test_forty_columns(self, chat, store):
        here = chat(columns=40)
        shown = here.say("/adapters list", "fails drift")
        here.leave()
        assert "  v1 20261121_130101\n    candidate, " in shown and "  v2 20261121_130102 (odd)\n" in shown
        assert "    2 examples, 34 % better\n    not used yet\n" in shown

    def test_the_archived_ones(self, chat, home):
        here = chat()
        here.say("/adapters archive odd", f"{SECOND} (v2, odd) is archived: `/adapters restore 20261121_130102`")
        assert (home / "archive" / "adapters" / SECOND).is_dir()
        shown = here.say("/adapters list", "34 % better")
        assert "fails drift" not in shown
        here.say("/adapters list all", "fails drift")
        here.say("/adapters restore odd", f"{SECOND} (v2, odd) is back on the shelf.")
        here.leave()
        assert (home / "adapters" / SECOND).is_dir()

    def test_show(self, chat):
        here = chat()
        shown = here.say("/adapters show odd", "it drifted too far: 0.25 of 0.10")
        here.say("/adapters show", "Which adapter?")
        here.leave()
        assert f"Adapter   {SECOND} (v2, odd)\n" in shown and f"Parent    {FIRST}\n" in shown
        assert "Recipe    learning_rate 0.002, steps 60\n" in shown

    def test_compare_shows_the_figures_side_by_side(self, chat, store):
        Activations(store).activate("model", SECOND, actor="user")
        here = chat()
        shown = here.say("/adapters compare v1", "not preferred")
        here.leave()
        assert re.search(r"^ +v1 +odd$", shown, re.M) and re.search(r"^drift +0\.05 +0\.25$", shown, re.M)

    def test_nothing_there(self, terminal):
        here = terminal(columns=100)
        here.wait_for_prompt()
        here.say("/adapters", "There is no adapter yet. `/train now` makes one")
        here.say("/adapters load v1", "There is no adapter yet.")
        here.leave()

    def test_what_is_not_understood_is_one_line_with_the_next_step(self, chat):
        here = chat(columns=200)
        for typed, told in {
            "/adapters load odd x": "'x' is one word too many.",
            "/adapters load 20261121_13019": "There is no adapter '20261121_13019'. There are 3, 20261121_130102 the",
            "/adapters load 2026": "2 adapters have a name that starts with '2026'. Type more of it",
            "/adapters lode v1": "/adapters does not know 'lode'. /adapters takes list, show, load",
            "/adapters show 'v1": "A quote is not closed. /adapters show NAME",
            "/adapters load v1 --strenght 1": "--strenght is not known here, or has no value.",
            "/adapters load v1 --strength 3": "'3' is not a strength. Give a number from 0 to 1",
            "/adapters rollback x": "'x' is not a number from 1 on.",
            "/adapters rollback": "There is no way back",
        }.items():
            here.say(typed, f"shammah: {told}")
        here.leave()


class TestWhatIsKept:
    def test_delete_asks_first(self, chat, shelf, store):
        here = chat()
        here.press("/adapters delete v1" + ENTER, "Delete it for good? y/N", "Delete it for good? y/N")
        here.press("n", "Nothing was deleted.")
        assert (shelf / FIRST).is_dir()
        here.press("/adapters delete v1" + ENTER, "This deletes", "Delete it for good? y/N")
        here.press("y", f"Deleted {TITLE}.")
        here.leave()
        assert not (shelf / FIRST).exists() and AdapterNotes(store).get(FIRST) is None

    def test_never_the_active_one(self, chat, shelf, store):
        Activations(store).activate("model", FIRST, actor="user")
        here = chat(columns=200)
        here.say("/adapters delete v1", "is active. First `/adapters unload`")
        here.leave()
        assert (shelf / FIRST).is_dir()

    def test_names_pins_and_tags(self, chat, store):
        here = chat()
        here.say("/adapters rename v1 invoices", f"{FIRST} is called invoices.")
        here.say("/adapters rename odd invoices", "is called 'invoices' already")
        here.say("/adapters pin inv", "is kept, however old it grows.")
        here.say('/adapters tag inv fast "for work"', "is tagged fast, for work.")
        here.say("/adapters unpin odd", "is kept no longer than the others.")
        here.say("/adapters rename odd", f"{SECOND} has no label any more.")
        here.leave()
        notes = AdapterNotes(store).all()
        assert (notes[FIRST].label, notes[FIRST].pinned, notes[FIRST].tags) == ("invoices", True, ("fast", "for work"))
        assert (notes[SECOND].label, notes[SECOND].pinned) == (None, False)

    def test_prune_says_which_leave_and_asks(self, chat, shelf, home, store):
        here = chat("--set", "adapters.keep_last=1", "--set", "adapters.keep_best=0")
        here.say("/adapters prune", "there is nothing to prune")  # of the refused and of the others one each
        here.leave()
        put = shelf / THIRD
        put_silent(home, THIRD, version=3, base="model")
        AdapterNotes(store).judged(THIRD, ACCEPTED)
        here = chat("--set", "adapters.keep_last=1", "--set", "adapters.keep_best=0")
        here.press("/adapters prune" + ENTER, "These go to the archive", "Go on? y/N")
        assert f"    {TITLE}, 34 % better" in here.text()
        here.press("y", "Archived 1 adapter.")
        here.leave()
        assert put.is_dir() and not (shelf / FIRST).exists() and (home / "archive" / "adapters" / FIRST).is_dir()

    def test_export_and_import(self, chat, shelf, tmp_path):
        out = tmp_path / "out here"
        here = chat(columns=250)
        here.say(f'/adapters export v1 --out "{out}"', f"Exported {TITLE} to {out}")
        here.say("/adapters export v1 --to zip", "There is no form 'zip' to export to")
        here.press("/adapters delete v1" + ENTER, "This deletes", "Delete it for good? y/N")
        here.press("y", "Deleted")
        here.say(f'/adapters import "{out}"', "Imported as")
        here.say("/adapters list", "imported")
        here.say("/adapters import", "Which folder?")
        here.leave()
        assert (out / "adapter_model.safetensors").is_file() and len([*shelf.glob("lora_adapter_*")]) == 2


def test_nothing_is_managed_where_nothing_is_stored(chat):
    here = chat("--no-log")
    here.say("/adapters prune", "Nothing is stored in this chat (--no-log), so no adapter can be managed.")
    here.leave()


class TestCompletion:
    def test_subcommands_then_names_and_labels(self, chat):
        here = chat()
        here.send("/adapters lo\t")
        here.wait(lambda t: t.line() == "> /adapters load")
        here.send(" od\t")
        here.wait(lambda t: t.line() == "> /adapters load odd")
        here.send(CTRL_C + "/adapters compare odd 20261121_130101"[:-3] + "\t")
        here.wait(lambda t: "20261121_130101" in t.text() and "20261121_130102" in t.text())
        here.send(CTRL_C + "/compare lora_adapter_20261121_13010\t")
        here.wait(lambda t: FIRST in t.text())
        here.send(CTRL_C)
        here.leave()

    def test_no_names_after_a_word_that_takes_none(self, chat):
        here = chat()
        here.send("/adapters prune \t\t")
        here.send("x")
        here.wait(lambda t: t.line() == "> /adapters prune x")
        here.send(CTRL_C)
        here.leave()
        assert "odd" not in here.text()


class TestReading:
    def test_words_and_options(self):
        given = read_given("a 'b c' --strength=0.5 --to x --all", "", most=2, values=("strength", "to"), flags=("all",))
        assert given == Given(["a", "b c"], {"strength": "0.5", "to": "x", "all": ""})

    @pytest.mark.parametrize("text", ["a b", "--to", "--all=1", "--other"])
    def test_what_is_refused(self, text):
        with pytest.raises(UsageError, match=r".") as caught:
            read_given(text, "do this", most=1, values=("to",), flags=("all",))
        assert caught.value.hint == "do this"


class TestWords:
    @pytest.mark.parametrize(
        ("created", "age"),
        [
            ("2026-11-21T12:00:00.000Z", "0 s"),
            ("2026-11-21T11:59:15Z", "45 s"),
            ("2026-11-21T11:02:00.000Z", "58 min"),
            ("2026-11-20T13:00:00.000Z", "23 h"),
            ("2026-09-01T12:00:00.000Z", "81 d"),
            ("2023-09-01T12:00:00.000Z", "3 y"),
            ("2027-01-01T12:00:00.000Z", "0 s"),
            ("yesterday", "?"),
            ("2026-11-21", "?"),
        ],
    )
    def test_ages(self, created, age):
        assert age_words(created, "2026-11-21T12:00:00.000Z") == age

    def test_sizes_and_strengths(self):
        assert [size_words(size) for size in (3, 4900, 4_900_000, 2_100_000_000)] == [
            "3 B",
            "4.9 kB",
            "4.9 MB",
            "2.1 GB",
        ]
        assert (strength_words(1.0), strength_words(0.25)) == ("", " at strength 0.25")
        assert answers_words(None) == "From the next message on the model itself answers, without an adapter."
