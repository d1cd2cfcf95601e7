"""Conversations in the chat: found, named, gone on with, exported, deleted; replies walked through and gone on with."""

import json
import re
import stat
import time
from contextlib import closing

import pytest

from shammah.store import Conversations, Database
from shammah.store.titles import Titles

ENTER, DOWN, ESC, TAB = "\r", "\x1b[B", "\x1b", "\t"
ANSWERS = {"begun": " and the sea.", "capital": ["Paris.", "It is Paris.", "Paris, of course."], "lichen": "A fungus."}


@pytest.fixture
def stored(home):
    """What is stored now."""

    def read():
        with closing(Database(home / "shammah.db")) as database:
            found = Titles(database).search(limit=None)
            store = Conversations(database)
            return {one.title: [turn.response for turn in store.context(one.id)] for one in found}

    return read


@pytest.fixture
def three(home, a_turn):
    """Three stored conversations."""
    home.mkdir(mode=0o700)
    with closing(Database(home / "shammah.db")) as database:
        store = Conversations(database)
        for day, (id, title, query) in enumerate(
            [
                ("abc1", "Bread", "How is bread baked?"),
                ("abc2", "Cake", "Is it sweet?"),
                ("xyz", "Moss", "Is it green?"),
            ],
            1,
        ):
            fields = {"conversation_id": id, "time": f"2026-01-0{day}T00:00:00.000Z", "system": "Be brief."}
            first = store.add(a_turn(query, "Yes.", **fields), title=title)
            store.add(a_turn("Really?", f"Really: {title}.", parent=first.id, **fields), title=title)
            if title == "Cake":
                store.add(a_turn("Really?", "No cake.", parent=first.id, **fields), title=title)


def test_found_named_gone_on_with_exported_and_deleted(talker, three, stored, home, tmp_path):
    chat = talker(ANSWERS, columns=160)
    chat.wait_for_prompt()
    chat.say("/save", "Nothing was said yet. It is stored with the first reply")
    shown = chat.say("/sessions", "3 ")
    assert re.search(
        r"1 .* d  Moss   2 turns  small\n2 .* d  Cake   3 turns  small\n3 .* d  Bread  2 turns  small", shown
    )
    chat.say("/sessions bake", "Bread  2 turns")
    shown = chat.say("/resume 1", "Going on with 'Bread', 2 turns.")  # of the list that was shown last
    assert shown.split("Going on with")[1].splitlines()[1:3] == ["> Really?", "Really: Bread."]
    chat.say("What is a lichen?", "A fungus.")
    chat.say("/save My bread", "Saved as 'My bread'")
    chat.say("/sessions rename 1 Cake", "Another conversation is called 'Cake' already")
    chat.say('/sessions rename "my bread" Loaf', "'My bread' is now called 'Loaf'.")
    chat.say("/resume nothing", "No conversation holds 'nothing'")
    chat.say("/resume moss", "Going on with 'Moss', 2 turns.")
    chat.say("/undo 2", "Took back 2 turns, 0 left.")
    chat.say("/resume loaf", "Going on with 'Loaf', 3 turns.")
    chat.say("/resume moss", "Going on with 'Moss', from its beginning")
    chat.say("What is a lichen?", "A fungus.")
    chat.say(f"/sessions export Loaf {tmp_path}/loaf.json", "Exported 'Loaf'")
    chat.say(f"/sessions export Loaf {tmp_path}/loaf.json", "there already")
    chat.say(f"/sessions export Loaf {tmp_path}/loaf.doc", "not written as .doc")
    chat.press("/sessions delete Moss" + ENTER, "Delete it for good? y/N", "Delete it for good? y/N")
    chat.press("n", "Nothing was deleted.")
    chat.press("/sessions delete Moss" + ENTER, "Delete it for good? y/N", "Delete it for good? y/N")
    chat.press("y", "A new conversation.")
    chat.say("/replies", "There is no reply yet")
    chat.say("/sessions delete Moss", "There is no conversation 'Moss'")
    chat.say("What is a lichen?", "A fungus.")
    chat.leave()
    assert stored() == {
        "What is a lichen?": ["A fungus."],
        "Loaf": ["Yes.", "Really: Bread.", "A fungus."],
        "Cake": ["Yes.", "No cake."],
    }
    with closing(Database(home / "shammah.db")) as database:
        systems = [turn.system for turn in Conversations(database).search("lichen")]
    assert systems == ["", "Be brief."], "a system prompt goes with its conversation"
    file = tmp_path / "loaf.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [turn["response"] for turn in json.loads(file.read_text())["turns"]] == stored()["Loaf"]
    assert not any(b"Is it green" in path.read_bytes() for path in home.rglob("*") if path.is_file())


def test_picked_from_the_list_while_the_model_loads(talker, three, stored, tmp_path):
    chat = talker(ANSWERS, TALKER_WAITS_FOR=str(tmp_path / "go"))
    chat.wait_for_prompt()
    chat.send("/resume" + ENTER)
    chat.wait(lambda t: "Go on with which?" in t.text() and "Esc leaves" in t.text())
    chat.send(ESC)
    chat.wait(lambda t: t.line() == ">" and "Esc leaves" not in t.text())
    chat.send("/resume" + ENTER)
    chat.wait("Esc leaves")
    chat.send("ca")
    chat.wait(lambda t: "Go on with which? ca" in t.text() and "Moss" not in t.text())
    chat.press(ENTER, "Going on with 'Cake', 2 turns.")
    assert "Go on with which?" not in chat.text(), "the list leaves nothing behind"
    shown = chat.say("/retry prev", "Reply 1 of 2")
    assert "\nReply 1 of 2\nReally: Cake.\n>" in shown
    chat.send("/resume ab" + TAB)
    chat.wait(lambda t: "abc1" in t.text() and "abc2" in t.text())
    chat.send("\x03\x03")
    chat.wait(lambda t: t.line() == ">")
    chat.send("What is a lichen?" + ENTER)
    time.sleep(0.2)
    (tmp_path / "go").touch()
    chat.wait(lambda t: "A fungus." in t.text() and t.line() == ">")
    chat.leave()
    assert stored()["Cake"] == ["Yes.", "Really: Cake.", "A fungus."]


def test_on_a_plain_terminal_a_number_is_typed(talker, three, stored):
    chat = talker(ANSWERS, TERM="dumb")
    chat.wait_for_prompt()
    chat.send("/resume\n")
    chat.wait("or Enter for none:")
    assert re.search(r"^1 +\d+ [dy]  Moss .*\n2 +\d+ [dy]  Cake ", chat.text().replace("\r", ""), re.M)
    chat.send("7\n")
    chat.wait(lambda t: t.text().count("or Enter for none:") == 2)
    chat.send("2\n")
    chat.wait("Going on with 'Cake', 2 turns.")
    chat.send("What is a lichen?\n")
    chat.wait("A fungus.")
    chat.leave()
    assert stored()["Cake"] == ["Yes.", "No cake.", "A fungus."] and b"\x1b" not in chat.raw


def test_replies_are_walked_through_and_one_that_was_stopped_is_gone_on_with(talker, stored, kept):
    chat = talker({**ANSWERS, "sky": "The sky is blue and wide and high and clear and still"}, TALKER_PAUSE="0.12")
    chat.wait_for_prompt()
    chat.say("/continue", "There is no reply to go on with")
    chat.say("/retry 2", "There is no reply to try again")
    chat.say("Which capital?", "Paris.")
    chat.say("/continue", "The reply came to its own end")
    assert "(reply" not in chat.text()
    chat.say("/retry", "(reply 2 of 2; /retry prev goes back to the one before)")
    chat.say("/good", "Feedback recorded")
    chat.say("/retry", "(reply 3 of 3;")
    shown = chat.say("/retry prev", "Reply 2 of 3")
    assert "\nReply 2 of 3\nIt is Paris.\n>" in shown
    chat.say("/retry prev", "Reply 1 of 3")
    chat.say("/retry prev", "This is reply 1 of 3. /retry asks again.")
    chat.say("/retry 4", "There is no reply 4 of 3")
    chat.say("/retry first", "'first' is not a number from 1 on")
    chat.say("/retry 2", "Reply 2 of 3")
    chat.say("/replies", "[good] Which capital?  ->  It is Paris.")
    chat.send("And the sky?" + ENTER)
    chat.wait(lambda t: re.search(r"^The sky", t.text(), re.M))
    chat.interrupt()
    chat.wait(lambda t: "the reply so far is kept" in t.text() and t.line() == ">")
    chat.say("/save Sky", "Saved as 'Sky'")
    chat.say("/clear", "A new conversation.")
    chat.say("/resume sky", "Going on with 'Sky', 2 turns.")
    shown = chat.say("/continue", "and the sea.")
    assert "> /continue\nand the sea.\n" in shown, "what stands on the screen is not shown again"
    chat.say("/continue", "The reply came to its own end. ")
    chat.leave()
    ((first, whole),) = stored().values()
    assert first == "It is Paris." and re.fullmatch(r"The sky.* and the sea\.", whole)
    (example,) = kept().examples.find()
    assert (example.target, example.rejected) == ("It is Paris.", "Paris.")
