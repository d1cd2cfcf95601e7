"""What is forgotten is in no byte of the home any more, and nothing else is lost. Homes are filled as chats do it."""

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prompt_toolkit.history import FileHistory
from support.talking import Talker

import shammah
from shammah import logs
from shammah.config import Config, GenerationSettings
from shammah.errors import StoreError, UsageError
from shammah.feedback.desk import Desk
from shammah.forgetting import Forgotten, Stores, forget_conversation, forget_text, forget_turn
from shammah.home import Home
from shammah.records import Run, Turn
from shammah.session import Memory, Session
from shammah.store import Archive, Conversations, Database, Examples, Rules, new_id, utc_now
from shammah.store.adapter_notes import AdapterNotes
from shammah.store.probes import Probes
from shammah.store.receipts import Receipts
from shammah.store.runs import Runs

ROOT = Path(shammah.__file__).parents[1]
GREEDY = GenerationSettings(temperature=0.0)
# Where spelled with escapes, each of these looks different in JSON, in SQL or in a log.
TEXTS = [
    "xylophonist",
    'the "old" mill',
    "first line\nsecond \\ line",
    "Grüße aus Köln",
    "party 🎉 at nine",
    "it's 50% of C:\\temp",
]


class Place:
    """A whole home: what the program opens, and the ways in which a user fills it."""

    def __init__(self, root: Path) -> None:
        self.home = Home(root)
        self.home.prepare()
        self.database = Database(self.home.database, busy_timeout=0.1)
        self.conversations = Conversations(self.database)
        self.rules = Rules(self.database)
        self.archive = Archive(self.home.archive)
        self.examples = Examples(self.database, archive=self.archive)
        self.receipts = Receipts(self.database)
        self.probes = Probes(self.database)
        self.notes = AdapterNotes(self.database)
        self.desk = Desk(self.database, self.conversations, self.examples, self.rules, Config())
        self.history = FileHistory(str(self.home.history))
        self.talker = Talker()

    @property
    def stores(self) -> Stores:
        return Stores(self.database, self.examples, self.rules, self.home)

    def session(self, **more: Any) -> Session:
        return Session(self.talker, Memory(self.conversations, self.desk), **more)  # type: ignore[arg-type]

    def say(self, session: Session, query: str, reply: str = "Well.") -> Turn:
        self.talker.says = [reply]
        self.typed(query)
        *_, turn = session.ask(query, GREEDY)
        assert isinstance(turn, Turn)
        return turn

    def typed(self, line: str) -> None:
        self.history.append_string(line)

    def lines(self) -> list[str]:
        return list(reversed(list(self.history.load_history_strings())))

    def turns(self) -> list[str]:
        return sorted(turn.query for turn in self.conversations.search(limit=None))

    def holds(self, text: str) -> list[str]:
        """The files with this text in them, however it is spelled: `grep -a` over the whole home. The database is only
        read here, in another process: to close it in this one would drop SQLite's locks."""
        forms = {text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], repr(text)[1:-1]}
        forms.add(text.replace("\n", "\n+"))
        script = (
            "import sys, pathlib\n"
            "forms = [bytes.fromhex(form) for form in sys.argv[2:]]\n"
            "for file in pathlib.Path(sys.argv[1]).rglob('*'):\n"
            "    content = file.read_bytes().lower() if file.is_file() else b''\n"
            "    if any(form in content for form in forms): print(file.name)"
        )
        hexes = [form.lower().encode().hex() for form in forms]
        command = [sys.executable, "-c", script, str(self.home.root), *hexes]
        return sorted(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


@pytest.fixture
def place(home: Path) -> Iterator[Place]:
    place = Place(home)
    with closing(place.database):
        yield place
    logs.set_up(None, verbosity=0)


def fill(place: Place, text: str) -> Session:
    """The text at every place where one can come to lie, beside others that stay."""
    session = place.session()
    place.say(session, "An innocent question", "An innocent answer")
    asked = place.say(session, f"What about {text}, then?", "No idea.")
    told = place.say(session, "And what else?", f"There is also {text}.")
    place.say(session, "Thanks", "You are welcome.")
    place.desk.rate(asked.id, "good")
    place.desk.rate(told.id, "critical", f"Always say {text} first")
    place.desk.rate(session.turns[3].id, "good")  # its prompt holds the conversation so far
    place.desk.rate(session.turns[0].id, "good")
    place.typed(f"/critical Always say {text} first")
    place.typed(f"/forget {text}")
    place.typed("Thanks again")
    titled = place.session()
    place.say(titled, f"{text} is the title here", "Yes.")
    place.say(titled, "Go on", "I do.")
    lone = place.session()
    place.say(lone, "Alone", f"with {text}")
    place.desk.teach("What is kept?", "This lesson.")
    archived = place.desk.teach(f"Who is {text}?", "Nobody.").example
    place.examples.mark_trained([archived.id], "adapter")
    kept = place.desk.teach("What leaves?", "This too.").example
    place.examples.mark_trained([kept.id], "adapter")
    Examples(place.database, limit=1, archive=place.archive).trim()
    for run, prompt in (("told", f"And {text}?"), ("kept", "And the rest?")):
        place.receipts.put(run, None, {"asked": [{"prompt": prompt, "after": "Well."}]})
        place.probes.add(prompt, ["Well"])
    place.probes.add("Who is it?", ["Nobody", text])
    place.notes.tag("lora-1", [text, "kept"])
    log(place, f"the prompt was {text!r}", f"and as it is: {text}", "nothing of the kind")
    return session


def log(place: Place, *lines: str) -> None:
    logs.set_up(place.home.log_file, verbosity=0)
    for line in lines:
        logging.getLogger("shammah.test").info(line)
    for name in ("shammah.log.1", "train.log", "train.log.1"):
        (place.home.logs / name).write_text("".join(f"older: {line}\n" for line in lines), "utf-8")


# A text


@pytest.mark.parametrize("text", TEXTS)
def test_no_byte_of_the_home_holds_it_any_more_and_the_rest_stays(place: Place, text: str) -> None:
    fill(place, text)
    files = {"shammah.db-wal", "history", "examples.jsonl", "shammah.log", "shammah.log.1", "train.log", "train.log.1"}
    assert files <= set(place.holds(text))
    with closing(Database(place.home.database)) as other:  # a second chat that is open meanwhile
        other.rows("SELECT count(*) FROM turns")
        forgotten = forget_text(place.stores, text)
        assert place.holds(text) == []
    assert not forgotten.lingers and forgotten.elsewhere == ()
    assert place.turns() == ["An innocent question", "Go on", "Thanks"]
    assert [rule.text for rule in place.rules.all()] == []
    assert [example.prompt for example in place.examples.find(limit=None)] == [
        "What is kept?",
        "An innocent question",
    ]
    assert place.lines()[0] == "An innocent question" and "Thanks again" in place.lines()
    assert [json.loads(line)["target"] for line in place.archive.path.read_text("utf-8").splitlines()] == ["This too."]
    assert "nothing of the kind" in place.home.log_file.read_text("utf-8")
    assert [receipt.run_id for receipt in place.receipts.recent()] == ["kept"]
    assert [probe.prompt for probe in place.probes.all()] == ["And the rest?"]
    note = place.notes.get("lora-1")
    assert note is not None and note.tags == ("kept",)
    assert place.holds("innocent") != []


def test_where_a_run_stands_goes_with_any_of_its_examples(place: Place) -> None:
    turn = place.say(place.session(), "Who is a xylophonist?", "Nobody.")
    rated = place.desk.rate(turn.id, "good").example
    other = place.desk.teach("What is kept?", "This lesson.").example
    runs = Runs(place.database)
    checkpoint = place.home.checkpoint
    checkpoint.parent.mkdir()
    for forget in (
        lambda: forget_text(place.stores, "What is kept?"),
        lambda: forget_turn(place.stores, turn.id),
        lambda: forget_text(place.stores, "it was forgotten by a program that was killed"),
    ):
        ids = tuple(example.id for example in (rated, other) if place.examples.has(example.id))
        if ids:
            run = Run(id=new_id(), started=utc_now(), updated="", trigger="user", model="m", example_ids=ids)
            runs.begin(run)
        for name in (checkpoint.name, f".{checkpoint.name}.abc"):  # a program was killed while it wrote it anew
            checkpoint.with_name(name).write_bytes(b"learned")
        if ids:
            forget_text(place.stores, "nothing of the kind")
            forget_text(place.stores, "xylophonist", preview=True)
            assert len(list(checkpoint.parent.iterdir())) == 2, "it learned nothing of that, or only was looked at"
        forget()
        assert list(checkpoint.parent.iterdir()) == []


def test_the_preview_counts_what_goes_and_changes_nothing(place: Place) -> None:
    fill(place, "xylophonist")
    before = place.holds("xylophonist")
    lines = place.lines()
    counted = forget_text(place.stores, "XYLOphonist", preview=True)
    assert place.holds("xylophonist") == before and place.lines() == lines and len(place.turns()) == 7
    assert (counted.turns, counted.conversations, counted.titles) == (4, 1, 1)
    assert (counted.examples, counted.rules, counted.archived, counted.history) == (3, 1, 1, 4)
    assert (counted.receipts, counted.probes, counted.labels) == (1, 2, 1)
    assert counted.words() == (
        "4 turns, 1 title, 3 examples, 1 rule, 1 archived example, 1 receipt, 2 probes, 1 label, 4 history lines, "
        "8 log lines"
    )
    assert forget_text(place.stores, "XYLOphonist") == counted
    assert not forget_text(place.stores, "xylophonist", preview=True)


def test_a_text_that_is_nowhere(place: Place) -> None:
    fill(place, "xylophonist")
    assert not forget_text(place.stores, "zebra crossing")
    assert len(place.turns()) == 7 and forget_text(place.stores, "zebra") == Forgotten()


@pytest.mark.parametrize("text", ["", "ab", "  a  ", "\n\n\n\n"])
def test_a_text_that_nearly_everything_holds_is_refused(place: Place, text: str) -> None:
    with pytest.raises(UsageError, match="3 letters"):
        forget_text(place.stores, text)


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ("We met in STRASSE nine", "straße"),
        ("a  secret\n plan", "A secret plan"),
        ("Cafe\u0301 Mozart", "Caf\u00e9 mozart"),
        ("cafe\u0301 Mozart", "cafe"),
        ("\ufb01re and water", "fire and"),
    ],
)
def test_case_white_space_and_forms_of_a_letter_do_not_matter(place: Place, said: str, text: str) -> None:
    place.say(place.session(), said)
    place.say(place.session(), "Something else")
    assert forget_text(place.stores, text).turns == 1
    assert place.turns() == ["Something else"] and place.lines() == ["Something else"]


def test_what_was_stored_redacted_is_found_by_the_words_that_were_typed(place: Place) -> None:
    place.say(place.session(), "Write to anna@example.org about the harvest")
    place.say(place.session(), "Write to ben@example.org about the wine")
    assert place.turns()[0] == "Write to [redacted e-mail address] about the harvest"
    assert forget_text(place.stores, "Write to anna@example.org about the harvest").turns == 1
    # A secret alone is not there, and its mark is that of all the others too.
    assert forget_text(place.stores, "ben@example.org").turns == 0
    assert len(place.turns()) == 1


@pytest.mark.parametrize("field", ["query", "response", "reasoning", "system", "note", "options"])
def test_every_text_of_a_turn_counts(place: Place, a_turn: Callable[..., Turn], field: str) -> None:
    value: Any = {"stop": ["the xylophonist"]} if field == "options" else "the xylophonist"
    place.conversations.add(replace(a_turn(), **{field: value}), title="t")
    place.conversations.add(a_turn("another"), title="t")
    assert forget_text(place.stores, "xylophonist").turns == 1
    assert place.turns() == ["another"] and place.holds("xylophonist") == []
    assert place.conversations.conversation("talk").system == ""


def test_turns_and_examples_that_were_only_given_a_rule_lose_it(place: Place, a_turn: Callable[..., Turn]) -> None:
    rules = ("Call me Xaver", "Be brief")
    turn = place.conversations.add(a_turn("Hi", rules=rules), title="t")
    place.desk.rate(turn.id, "good")
    place.desk.add_rule("Call me Xaver")
    forgotten = forget_text(place.stores, "xaver")
    assert (forgotten.turns, forgotten.examples, forgotten.rules) == (0, 0, 1)
    assert place.conversations.turn(turn.id).rules == ("Be brief",)
    (example,) = place.examples.find()
    assert example.rules == ("Be brief",) and example.turn_id == turn.id
    assert place.holds("xaver") == []


def test_what_came_from_a_turn_and_does_not_hold_it_stands_for_itself(
    place: Place, a_turn: Callable[..., Turn]
) -> None:
    turn = place.conversations.add(a_turn("Hi", reasoning="the xylophonist"), title="t")
    place.desk.rate(turn.id, "critical", "Always be brief")
    assert forget_text(place.stores, "xylophonist").examples == 0
    (example,), (rule,) = place.examples.find(), place.rules.all()
    assert example.turn_id is rule.turn_id is None and rule.text == "Always be brief"


def test_a_title_that_holds_the_beginning_of_it_goes_too(place: Place) -> None:
    session = place.session()
    long = "The combination of the safe in the cellar of the old house is 12 34 56"
    place.say(session, long)
    place.say(session, "Anything else?")
    assert "combination" in place.conversations.conversation(session.conversation_id).title
    forget_text(place.stores, "of the old house is 12 34 56")
    assert place.conversations.conversation(session.conversation_id).title == "Anything else?"


def test_files_that_are_not_ours_to_change_are_named(place: Place) -> None:
    place.home.config_file.write_text('system = "You help the \\"xylophonist\\""\n')
    assert forget_text(place.stores, 'the "xylophonist"').elsewhere == (place.home.config_file,)
    assert "xylophonist" in place.home.config_file.read_text()


def test_what_a_killed_program_left_beside_a_file_goes(place: Place) -> None:
    for name in (".history.abcd1234", ".config.toml.x"):
        (place.home.root / name).write_text("+the xylophonist\n")
    (place.home.root / ".history.other").write_text("+else\n")
    assert forget_text(place.stores, "xylophonist").elsewhere == ()
    assert place.holds("xylophonist") == [] and (place.home.root / ".history.other").exists()


def test_lines_that_a_crash_tore_are_found(place: Place) -> None:
    place.home.archive.mkdir()
    place.archive.path.write_text('{"id": "1", "note": "the \\"old\\" mi\n{"id": "2"}\n')
    with place.home.history.open("ab") as file:
        file.write(b"\n# 2026-01-01\n+torn \xff xylophonist\n+second")
    assert forget_text(place.stores, 'the "old"').archived == 1
    assert forget_text(place.stores, "xylophonist").history == 1
    assert place.archive.path.read_text() == '{"id": "2"}\n' and place.lines() == []


def test_lines_that_stay_are_byte_for_byte_what_they_were(place: Place) -> None:
    place.home.history.write_bytes(b"\n# one\n+a\r\n+b\n\n# two\n+xylophonist\n+more\n\n# three\n+\xff\n")
    assert forget_text(place.stores, "xylophonist").history == 1
    assert place.home.history.read_bytes() == b"\n# one\n+a\r\n+b\n\n# three\n+\xff\n"


def test_the_log_goes_on_in_the_same_file(place: Place) -> None:
    log(place, "the xylophonist")
    forget_text(place.stores, "xylophonist")
    logging.getLogger("shammah.test").info("still here")
    assert "still here" in place.home.log_file.read_text() and place.holds("xylophonist") == []


# What is left of a conversation


def test_the_turns_that_stay_follow_each_other(place: Place) -> None:
    session = place.session()
    for text in ("one", "the xylophonist", "three", "xylophonist again", "five"):
        place.say(session, text, f"reply to {text}")
    forget_text(place.stores, "xylophonist")
    left = place.conversations.context(session.conversation_id)
    assert [turn.query for turn in left] == ["one", "three", "five"]
    assert [turn.parent for turn in left] == [None, left[0].id, left[1].id]


def test_a_conversation_goes_on_from_the_last_turn_that_stays(place: Place) -> None:
    session = place.session()
    for text in ("one", "two", "the xylophonist"):
        place.say(session, text)
    forget_text(place.stores, "xylophonist")
    again = place.session(history=place.conversations.context(session.conversation_id))
    assert place.say(again, "three").parent == again.turns[1].id
    assert [turn.query for turn in place.conversations.context(session.conversation_id)] == ["one", "two", "three"]


def test_turns_that_had_left_the_window_are_counted_anew(place: Place, a_turn: Callable[..., Turn]) -> None:
    def add(query: str, parent: Turn | None, **more: Any) -> Turn:
        return place.conversations.add(a_turn(query, parent=parent and parent.id, **more), title="t")

    first = add("the xylophonist", None)
    silent = add("xylophonist without a word", first, response="")
    second = add("two", silent)
    third = add("three", second, dropped=1)
    fourth = add("four", third, dropped=2)
    forget_text(place.stores, "xylophonist")
    assert [place.conversations.turn(turn.id).dropped for turn in (third, fourth)] == [0, 1]


def test_a_second_try_outlives_the_first(place: Place) -> None:
    session = place.session()
    place.say(session, "Who plays?", "The xylophonist.")
    place.talker.says = ["Nobody."]
    *_, second = session.retry(GREEDY)
    assert isinstance(second, Turn) and second.retry_of is not None
    place.desk.rate(second.id, "good")
    forget_text(place.stores, "xylophonist")
    assert place.conversations.turn(second.id).retry_of is None
    assert place.examples.find() == [] and place.holds("xylophonist") == []


# A turn


def test_a_turn_goes_with_all_that_was_made_of_it(place: Place) -> None:
    session = place.session()
    first = place.say(session, "Tell me of the xylophonist", "He is gone.")
    second = place.say(session, "And then?", "Nothing.")
    place.desk.rate(first.id, "critical", "Always say that he is here")
    place.desk.fix(first.id, "He is here, of course.")
    place.desk.rate(second.id, "good")
    kept = place.desk.teach("What is kept?", "This lesson.").example
    for line in (
        "/critical Always say that he is here",
        "/fix He is here, of course.",
        "/good",
        "He is here, of course.",
    ):
        place.typed(line)
    counted = forget_turn(place.stores, first.id, preview=True)
    assert (counted.turns, counted.examples, counted.rules, counted.history, counted.titles) == (1, 2, 1, 3, 1)
    assert len(place.turns()) == 2
    assert forget_turn(place.stores, first.id) == counted
    assert place.turns() == ["And then?"]
    assert [example.id for example in place.examples.find()] == [kept.id], "the other's prompt held the exchange"
    assert place.rules.all() == [] and place.lines() == ["And then?", "/good", "He is here, of course."]
    assert place.conversations.conversation(session.conversation_id).title == "And then?"
    for text in ("xylophonist", "he is gone", "Always say"):
        assert place.holds(text) == []


@pytest.mark.parametrize(
    ("typed", "asked"),
    [
        ("what says @secret.txt?", "what says secret.txt?"),
        ('is @"deep/secret.txt" true, @ada?', "is secret.txt true, @ada?"),
        ("/read deep/secret.txt about @other.txt, and me", "about other.txt, and me"),
        ("/read secret.txt", ""),
        ("@secret.txt.", "secret.txt."),
        ("@secret.txt", ""),
    ],
)
def test_the_line_in_which_it_was_typed_with_a_file_goes_with_it(place: Place, typed: str, asked: str) -> None:
    others = ["what says @secret.txt then?", "what says @another.txt?", "/read another.txt", "/good 1", "@another.txt"]
    for line in (typed, *others):
        place.typed(line)
    message = "secret.txt:\n````\nthe body\n\n```\nx\n```\n````" + (f"\n\n{asked}" if asked else "")
    session = place.session()
    place.talker.says = ["Well."]
    *_, turn = session.ask(message, GREEDY)
    assert isinstance(turn, Turn)
    assert place.conversations.conversation(turn.conversation_id).title == (asked or "secret.txt")
    assert forget_conversation(place.stores, turn.conversation_id).history == 1
    assert sorted(place.lines()) == sorted(others)


def test_other_turns_that_say_the_same_stay(place: Place) -> None:
    first, second = (place.say(place.session(), "Same", "Same") for _ in range(2))
    place.desk.rate(second.id, "good")
    assert forget_turn(place.stores, first.id).turn_ids == {first.id}
    assert [turn.id for turn in place.conversations.search(limit=None)] == [second.id]
    assert len(place.examples.find()) == 1


def test_a_better_try_forgets_the_reply_it_was_better_than(place: Place) -> None:
    session = place.session()
    first = place.say(session, "Who plays?", "The xylophonist.")
    place.talker.says = ["Nobody."]
    *_, second = session.retry(GREEDY)
    assert isinstance(second, Turn)
    assert place.desk.rate(second.id, "good").example.rejected == "The xylophonist."
    forget_turn(place.stores, first.id)
    (example,) = place.examples.find()
    assert (example.target, example.rejected, example.turn_id) == ("Nobody.", None, second.id)
    assert place.holds("xylophonist") == []


def test_an_archived_example_of_the_turn_goes(place: Place) -> None:
    turn = place.say(place.session(), "Who?", "The xylophonist.")
    example = place.desk.rate(turn.id, "good").example
    place.examples.mark_trained([example.id], "adapter")
    other = place.desk.teach("What is kept?", "This lesson.").example
    place.examples.mark_trained([other.id], "adapter")
    Examples(place.database, limit=0, archive=place.archive).trim()
    assert forget_turn(place.stores, turn.id).archived == 1
    assert [json.loads(line)["id"] for line in place.archive.path.read_text().splitlines()] == [other.id]


@pytest.mark.parametrize("archived", [False, True])
def test_what_was_told_of_its_example_goes_with_a_turn(place: Place, archived: bool) -> None:
    turn = place.say(place.session(), "Who plays?", "The xylophonist.")
    mine = place.desk.rate(turn.id, "good").example
    other = place.desk.teach("What is kept?", "This lesson.").example
    place.probes.keep([mine, other])
    if archived:
        place.examples.mark_trained([mine.id], "adapter")
        Examples(place.database, limit=1, archive=place.archive).trim()
        assert not place.examples.has(mine.id)
    place.receipts.put("mine", None, {"after": {mine.id: "The xylophonist."}})
    place.receipts.put("both", None, {"asked": [{"example": id} for id in (other.id, mine.id)]})
    place.receipts.put("other", None, {"asked": [{"example": other.id, "prompt": "Who plays?"}]})
    place.probes.add("Who plays?", ["somebody"])
    rule = place.rules.add("Praise the xylophonist", turn_id=turn.id)
    place.receipts.put("rule", None, {"graduated": [{"rule": rule.id, "text": rule.text}]})
    place.receipts.put("probe", None, {"probes": {"gained": [{"id": f"example {mine.id}", "contains": ["xylo"]}]}})
    counted = forget_turn(place.stores, turn.id, preview=True)
    mine_there = 0 if archived else 1  # it goes where its example goes
    assert (counted.receipts, counted.probes, len(place.receipts.recent())) == (4, mine_there, 5)
    assert len(place.probes.all()) == 2 + mine_there
    assert forget_turn(place.stores, turn.id) == counted
    assert [receipt.run_id for receipt in place.receipts.recent()] == ["other"]
    assert [probe.contains for probe in place.probes.all()] == [("This lesson.",), ("somebody",)], (
        "the user's own stays"
    )
    assert place.holds("xylophonist") == []


@pytest.mark.parametrize("whole", [False, True])
def test_what_was_told_of_an_example_that_is_gone_goes_with_its_turn(place: Place, whole: bool) -> None:
    turn = place.say(place.session(), "Who plays?", "The xylophonist.")
    mine = place.desk.rate(turn.id, "good").example
    place.receipts.put(
        "mine", None, {"lessons": [{"example": mine.id, "prompt": "who  PLAYS?", "said": "xylophonist"}]}
    )
    place.receipts.put("other", None, {"lessons": [{"example": "other", "prompt": "Who sings?"}]})
    place.examples.delete([mine.id])
    gone = forget_conversation(place.stores, turn.conversation_id) if whole else forget_turn(place.stores, turn.id)
    assert gone.receipts == 1
    assert [receipt.run_id for receipt in place.receipts.recent()] == ["other"]
    assert place.holds("xylophonist") == []


def test_a_probe_goes_with_the_example_that_it_was(place: Place) -> None:
    """Also where the text is in another part of the example."""
    lesson = place.desk.teach("Who plays?", "Nobody.").example
    place.examples.put(replace(lesson, rejected="The xylophonist.", level="critical"))
    place.probes.keep([lesson])
    counted = forget_text(place.stores, "xylophonist", preview=True)
    assert (counted.examples, counted.probes, len(place.probes.all())) == (1, 1, 1)
    assert forget_text(place.stores, "xylophonist") == counted and place.probes.all() == []


def test_the_keys_of_a_receipt_are_no_texts(place: Place) -> None:
    place.receipts.put("run", None, {"prompts": [{"before": "Well."}]})
    assert not forget_text(place.stores, "prompts") and len(place.receipts.recent()) == 1


def test_a_label_goes_and_its_adapter_stays_known(place: Place) -> None:
    place.notes.label("lora-1", "xylophonist")
    place.notes.pin("lora-1")
    kept = place.notes.label("lora-2", "mine")
    place.notes.judged("lora-1", {"accepted": False, "checks": [{"words": "the xylophonist was lost"}]})
    assert forget_text(place.stores, "Xylophonist").words() == "1 label"
    assert place.notes.get("lora-2") == kept and place.holds("xylophonist") == []
    note = place.notes.get("lora-1")
    assert note is not None and note.pinned and note.label is None
    assert note.verdict == {"accepted": False, "checks": [{"words": ""}]}


def test_a_turn_that_is_not_there(place: Place) -> None:
    with pytest.raises(StoreError, match="There is no turn"):
        forget_turn(place.stores, "nowhere")


# Others, and sudden ends


def test_a_reader_that_keeps_traces_is_told_of_and_the_next_time_they_go(place: Place) -> None:
    place.say(place.session(), "the xylophonist")
    with closing(Database(place.home.database)) as other:
        other.connection.execute("BEGIN")
        other.rows("SELECT count(*) FROM turns")
        assert forget_text(place.stores, "xylophonist").lingers
        assert place.turns() == [] and place.holds("xylophonist") != []
        other.connection.execute("COMMIT")
        assert not forget_text(place.stores, "xylophonist").lingers
        assert place.holds("xylophonist") == []


# Ends itself like `kill -9` at a given step: a statement of SQL, or a file of the home that is opened or renamed.
FORGETTER = """
import os, signal, sys
from pathlib import Path
from shammah.forgetting import Stores, forget_text
from shammah.home import Home
from shammah.store import Database, Examples, Rules

home, last, steps = Home(Path(sys.argv[1])), int(sys.argv[2]), 0
database = Database(home.database)

def step(*_):
    global steps
    steps += 1
    if steps == last:
        os.kill(os.getpid(), signal.SIGKILL)

database.connection.set_trace_callback(step)
in_home = lambda event, arguments: event in ("open", "os.rename") and str(arguments[0]).startswith(str(home.root))
sys.addaudithook(lambda event, arguments: step() if in_home(event, arguments) else None)
forget_text(Stores(database, Examples(database), Rules(database), home), "xylophonist")
print(steps)
os._exit(0)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_killed_at_any_step_the_next_time_finishes_it(home: Path) -> None:
    rounds = 0

    def forget_until(last: int) -> int:
        """Talk, then forget up to a step; once more without an end. How many steps there were if all were taken."""
        nonlocal rounds
        rounds += 1
        place = Place(home)
        fill(place, "xylophonist")
        place.say(place.session(), f"harmless {rounds}")
        place.database.close()
        command = [sys.executable, "-c", FORGETTER, str(home), str(last)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == (-signal.SIGKILL if last else 0), done.stderr
        place = Place(home)
        with closing(place.database):
            forget_text(place.stores, "xylophonist")
            assert place.holds("xylophonist") == [], f"killed at step {last}"
            harmless = [f"harmless {number}" for number in range(1, rounds + 1)]
            assert sorted(text for text in place.turns() if text.startswith("harmless")) == sorted(harmless)
            assert [line for line in place.lines() if line.startswith("harmless")] == harmless
            assert len([text for text in place.turns() if text == "An innocent question"]) == rounds
        return int(done.stdout or 0)

    steps = min(forget_until(0) for _ in range(2))  # a fresh home takes some more than one that was used
    assert steps > 50
    for last in [*range(1, steps, steps // 12), steps - 2, steps - 1, steps]:
        forget_until(last)


def test_a_deleted_conversation_leaves_nothing_but_its_rules(place: Place) -> None:
    other = place.say(place.session(), "Something else?", "Indeed.")
    session = place.session()
    turn = place.say(session, "What about the xylophonist?", "Never heard of xylophonists.")
    place.desk.rate(turn.id, "critical", "Always greet politely")
    second = place.say(session, "And now?", "No.")
    example = place.desk.rate(second.id, "good").example
    place.examples.mark_trained([example.id], "lora-1")
    with place.database.transaction():
        place.archive.append([example])
    gone = forget_conversation(place.stores, session.conversation_id)
    assert (gone.turns, gone.examples, gone.archived) == (2, 2, 1)
    assert place.holds("xylophonist") == [] and place.turns() == [other.query]
    assert [rule.text for rule in place.rules.all()] == ["Always greet politely"]
    assert place.lines() == ["Something else?"]


def test_the_second_try_keeps_its_own_words_when_the_first_is_forgotten(place: Place) -> None:
    session = place.session()
    first = place.say(session, "What port?", "It is 80.")
    place.talker.says = ["It is 80."]
    *_, second = session.retry(GREEDY)
    assert isinstance(second, Turn)
    place.desk.rate(second.id, "critical", "Staging uses port 8443")
    place.desk.fix(second.id, "8443")
    forget_turn(place.stores, first.id)
    example = place.examples.of_turn(second.id)
    assert example is not None and example.rejected == "It is 80."
