"""/compare in a real terminal: two voices of a tiny model, one of them picked before it is told who is who."""

import re

import pytest
from support.standing_adapters import ACCEPTED, FIRST, SECOND, put_speaking

from shammah.app import App
from shammah.errors import AdapterError
from shammah.store import Conversations, Database
from shammah.store.activations import Activations
from shammah.store.adapter_notes import AdapterNotes
from shammah.store.comparisons import Comparisons
from shammah.ui.comparing import read_comparison, side_by_side
from shammah.ui.render import printable

ENTER, CTRL_C = "\r", "\x03"
ASKED = "Which is better? 1 · 2 · =: alike · Enter: neither"
MARK = "compare>"


@pytest.fixture
def store(home):
    home.mkdir(mode=0o700)
    database = Database(home / "shammah.db")
    yield database
    database.close()


@pytest.fixture
def shelf(home, tiny_model, store):
    put_speaking(home, tiny_model, FIRST, version=1, seed=3)
    put_speaking(home, tiny_model, SECOND, version=2, seed=4)
    AdapterNotes(store).judged(SECOND, ACCEPTED)


@pytest.fixture
def chat(terminal, shelf, store):
    """A chat in which the first adapter answers, with the likeliest replies."""

    def start(*arguments, active=FIRST, tokens=6, **options):
        if active:
            Activations(store).activate("model", active, actor="user")
        options.setdefault("columns", 96)
        started = terminal("-o", "temperature", "0", *arguments, tokens=tokens, **options)
        started.wait_for_prompt()
        return started

    return start


def kept(store):
    return Comparisons(store).all("model")


def who(text):
    """Who was 1 and who was 2, as it was told last."""
    told = re.findall(r"1 was (.+), 2 was (.+)\.", text)[-1]
    return [{f"{FIRST} (v1)": FIRST, f"{SECOND} (v2)": SECOND, "the model itself": None}[each] for each in told]


def test_a_pick_is_one_key_and_kept(chat, store):
    here = chat()
    for place, (key, picked) in enumerate({"1": "first", "2": "second", "=": None, ENTER: None}.items()):
        shown = here.say("/compare hello", ASKED, MARK)
        shown = shown[shown.rindex("/compare") :]
        assert re.search(r"^1$.+^2$", shown, re.M | re.S)
        assert "lora_adapter" not in shown and "the model itself" not in shown, "nobody is told who is who yet"
        shown = here.press(key, "1 was")
        made = kept(store)
        assert len(made) == place + 1 and [made[-1].first, made[-1].second] == who(shown)
        assert made[-1].picked == picked
        told = re.findall(r"\(v1\): preferred (\d) times?, the other one (\d) times?(?:, (\d) undecided)?", shown)[-1]
        assert tuple(int(number or 0) for number in told) == Comparisons(store).tally("model")[FIRST]
    for _ in range(5):
        Comparisons(store).add("model", None, FIRST, "first")
    here.say("/compare hello", ASKED, MARK)
    here.press("=", "Went back to the model itself: ")  # it was on probation
    here.leave()
    assert Conversations(store).search(limit=None) == [], "nothing of it goes into the conversation"


def test_chance_decides_the_order_and_both_speak_in_their_own_voice(chat, store):
    here = chat()
    seen, said = set(), {}
    for _ in range(12):
        before = here.text().count(ASKED)
        here.send("/compare hello" + ENTER)
        here.wait(lambda t, before=before: t.text().count(ASKED) > before and t.line() == MARK)
        shown = here.press("=", "1 was")
        order = who(shown)
        replies = re.findall(r"^[12]\n(.+)$", shown[shown.rindex("/compare") :], re.M)
        for voice, reply in zip(order, replies, strict=True):
            assert said.setdefault(voice, reply) == reply, "each says the same whether it comes first or second"
        seen.add(tuple(order))
        if len(seen) == 2:
            break
    here.leave()
    assert len(seen) == 2 and len(set(said.values())) == 2


def test_the_last_question_with_what_came_before_it(chat, store):
    """Greedy, the active one says again what it said: it was given the same conversation."""
    here = chat()
    here.say("hello", "(stopped at 6 tokens")
    here.say("and then?", "(stopped at 6 tokens")
    here.say("/compare", ASKED, MARK)
    shown = here.press("1", "1 was")
    replies = re.findall(r"^[12]\n(.+)$", shown[shown.rindex("/compare") :], re.M)
    here.leave()
    stored = Conversations(store).search(limit=None)
    assert len(stored) == 2
    assert replies[who(shown).index(FIRST)].strip() == printable(stored[0].response).strip()


def test_two_that_are_named(chat, store):
    here = chat(active=None)
    here.say("/compare v2 v1: hello", ASKED, MARK)
    shown = here.press("2", "1 was")
    assert sorted(who(shown)) == [FIRST, SECOND]
    here.say("/compare v1 base: hello", ASKED, MARK)
    assert sorted(who(here.press("2", "1 was")), key=str) == [None, FIRST]
    here.say("/compare v1 v1: hello", "v1 and v1 are the same.")
    here.say("/compare v1 v9: hello", "There is no adapter 'v9'.")
    here.leave()
    assert len(kept(store)) == 2


def test_where_the_model_itself_answers_the_newest_adapter_is_tried(chat, store):
    here = chat(active=None)
    here.say("/compare hello", ASKED, MARK)
    assert sorted(who(here.press("1", "1 was")), key=str) == [None, SECOND]
    here.leave()


def test_on_a_wide_terminal_they_stand_side_by_side(chat, store):
    here = chat(columns=120)
    here.say("/compare hello", ASKED, MARK)
    shown = here.press("2", "1 was")
    here.leave()
    told, _, _ = shown[shown.rindex("/compare") :].partition("Which is better?")
    _, *lines = told.splitlines()
    head = next(line for line in lines if line.startswith("1"))
    right = head.index("2")
    assert right > 50
    for column in ({line[:right].strip() for line in lines}, {line[right:].strip() for line in lines}):
        assert "(stopped at 6 tokens: max_tokens)" in column and len(column - {""}) == 3
    assert kept(store)[-1].picked == "second"


def test_in_two_columns_each_line_fits_and_what_has_room_stays_as_it_is():
    code = "def f():\n\n    return 1"
    assert side_by_side(code, "A 日本 word " * 3, 33) == [
        f"{'def f():':<18}A 日本 word A",
        f"{'':<18}日本 word A",
        f"{'    return 1':<18}日本 word",
    ]
    assert side_by_side("", "b", 33) == [" " * 18 + "b"]


def test_a_message_in_place_of_a_pick_comes_next_and_nothing_is_kept(chat, store):
    here = chat()
    here.say("/compare hello", ASKED, MARK)
    here.say("what else?", "(stopped at 6 tokens")
    here.leave()
    assert [turn.query for turn in Conversations(store).search(limit=None)] == ["what else?"]
    assert kept(store) == [] and "Nothing was picked. 1 was" in here.text()


def test_a_key_typed_as_a_line_is_the_pick(chat, store):
    here = chat()
    for key, picked in {"1": "first", "2": "second", "=": None}.items():
        here.say("/compare hello", ASKED, MARK)
        here.press(f" {key}{ENTER}", "1 was")
        assert kept(store)[-1].picked == picked
    here.leave()
    assert len(kept(store)) == 3 and Conversations(store).search(limit=None) == []


def test_ctrl_c_ends_it(chat, store):
    here = chat(tokens=400)
    here.send("/compare hello" + ENTER)
    here.wait(lambda t: re.search(r"^1\n.+", t.text(), re.M))
    here.interrupt()
    here.wait("Stopped; nothing was picked.")
    here.wait(lambda t: t.line() == ">")
    here.leave()
    assert kept(store) == [] and "the reply so far is kept" not in here.text()


def test_an_adapter_that_changes_nothing_is_told(chat, home, tiny_model, store):
    put_speaking(home, tiny_model, "lora_adapter_20261121_130109", version=9, seed=3, example_ids=("other",))
    here = chat()
    here.say("/compare v1 v9: hello", "They say the same. 1 was")
    here.leave()
    assert kept(store) == []


def test_nothing_to_compare(chat, terminal, shammah, tiny_model):
    here = chat()
    here.say("/compare", "There is no reply yet. Ask something first.")
    here.leave()
    here = chat("--no-log")
    here.say("/compare hello", "Nothing is stored in this chat (--no-log), so a pick can't be kept.")
    here.leave()


@pytest.mark.parametrize(
    ("argument", "found"),
    [
        ("", (None, "")),
        ("v1 v2", (("v1", "v2"), "")),
        ("v1 v2:", (("v1", "v2"), "")),
        ("base 130101: How  are\nyou?", "130101"),
        ("20261121_130101 NONE: hello: you", (("20261121_130101", "NONE"), "hello: you")),
        ("v2 v99", "v99"),
        ("a b: hi", "'a'"),
        ("latest news", "news"),
        ("v1 v2 v3: hi", (None, "v1 v2 v3: hi")),
        ("what is it", (None, "what is it")),
    ],
)
def test_what_is_a_name_and_what_the_message(shelf, argument, found, tiny_model):
    app = App.build(flags={"model": str(tiny_model)})
    if isinstance(found, str):
        with pytest.raises(AdapterError, match=found) as caught:
            read_comparison(app, argument)
        assert "/compare latest base: MESSAGE" in caught.value.hint
    else:
        assert read_comparison(app, argument) == found
    app.close()
