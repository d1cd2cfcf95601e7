"""/why: what it names, and which examples are nearest."""

from contextlib import closing

import pytest
from support.standing_adapters import FIRST, put_speaking

from shammah.app import App
from shammah.records import Message
from shammah.store import Conversations, Database
from shammah.store.activations import Activations
from shammah.store.adapter_notes import AdapterNotes
from shammah.store.examples import Examples
from shammah.store.rules import Rules
from shammah.ui.why_commands import nearest, why_lines

WIFI = "What is the guest wifi password?"


@pytest.fixture
def taught(home, tiny_model, an_example):
    """An adapter at half strength that learned two examples; of a third it knows nothing."""
    home.mkdir(mode=0o700)
    with closing(Database(home / "shammah.db")) as database:
        examples = Examples(database)
        wifi = examples.put(an_example(WIFI, "It is blue-heron."))
        invoice = examples.put(an_example("Where do invoices go?", "To the office."))
        examples.put(an_example("Is the wifi password secret?", "Yes."))
        Rules(database).add("Answer in French")
        put_speaking(home, tiny_model, FIRST, example_ids=(wifi.id, invoice.id))
        AdapterNotes(database).label(FIRST, "office")
        Activations(database).activate("model", FIRST, strength=0.5, actor="user")
    return wifi, invoice


def test_adapter_strength_rules_and_the_nearest_examples(terminal, taught, home):
    chat = terminal(columns=100, tokens=4)
    chat.wait_for_prompt()
    chat.say("/why", "There is no reply yet.")
    chat.say("the wifi password, please", "(stopped at 4 tokens")
    chat.say("/adapters unload", "the model itself answers")
    chat.say("nothing else", "(stopped at 4 tokens")
    shown = chat.say("/why", "none: the model answered as it is")
    assert "Learned" not in shown
    shown = chat.say("/why 1", "Shares: ")
    chat.say("/why 9", "There is no reply 9 in this conversation")
    chat.say("/why the sky is blue", "'the sky is blue' is not the number of a reply")
    chat.leave()
    told = shown[shown.rindex("> /why 1") :]
    assert told.splitlines()[1:8] == [
        "Reply    the wifi password, please",
        f"Adapter  {FIRST} (v1, office) at strength 0.5",
        "Learned  from 2 examples; nearest to this reply:",
        f"   Asked: {WIFI}",
        "   Learned: It is blue-heron.",
        "   Shares: password, wifi",
        "Rule     Answer in French",
    ]
    assert "secret" not in told, "what the adapter did not learn is not behind its reply"


def test_what_is_gone_is_said(terminal, taught, home):
    with closing(Database(home / "shammah.db")) as database:
        Examples(database).delete([taught[0].id])
    chat = terminal(columns=100, tokens=4)
    chat.wait_for_prompt()
    chat.say("the wifi password, please", "(stopped at 4 tokens")
    chat.say("/why", "from 2 examples (1 of them deleted since), none of which shares a telling word")
    chat.say("/adapters unload", "answers")
    chat.press(f"/adapters delete {FIRST}\r", "Delete it for good? y/N", "Delete it for good? y/N")
    chat.press("y", "Deleted")
    chat.say("/why", f"{FIRST} at strength 0.5, which is no longer on the shelf")
    chat.leave()
    with closing(Database(home / "shammah.db")) as database:
        assert len(Conversations(database).search()) == 1


def test_a_rule_that_the_adapter_obeys_untold_is_behind_its_reply(home, tiny_model, a_turn):
    app = App.build(flags={"model": str(tiny_model)})
    put_speaking(home, tiny_model, FIRST)
    rules = app.desk.rules
    learned, other, muted = (rules.add(text) for text in ("Answer in French", "Be brief", "Never joke"))
    rules.mute(muted.id)
    rules.graduate([learned.id, muted.id], FIRST)

    def told(**changes):
        return [line for line in why_lines(app, a_turn(**{"adapter": FIRST, **changes})) if line.startswith("Rule")]

    assert told() == ["Rule     Answer in French (obeyed untold)"]
    assert told(rules=(other.text,)) == ["Rule     Be brief", "Rule     Answer in French (obeyed untold)"]
    assert told(rules=(learned.text,)) == ["Rule     Answer in French"], "it was given all the same"
    assert told(adapter=None) == told(time="2026-01-01T00:00:00.000Z") == ["Rules    none were given with it"]
    app.activations.activate(app.base, FIRST, strength=0.5, actor="user")
    assert told() == ["Rules    none were given with it"]
    app.close()


class TestNearest:
    def test_rare_words_count_more_and_endings_do_not(self, a_turn, an_example):
        turn = a_turn("Which port has the staging server?", "It has 8443.")
        common = [an_example(f"Which servers have ports of {kind}?", "None.") for kind in ("oak", "elm", "ash")]
        rare = an_example("How do I get to staging?", "By ssh.")
        found = nearest(turn, [*common, rare], 2)
        assert [(near.example, near.shared) for near in found] == [
            (rare, ("staging",)),
            (common[0], ("port", "server")),
        ]

    def test_words_that_only_ask_share_nothing(self, a_turn, an_example):
        assert nearest(a_turn("What is it?", "It is that."), [an_example("What is this?", "It is.")]) == []

    def test_the_target_counts_as_well_as_the_prompt(self, a_turn, an_example):
        turn = a_turn("Who?", "Ada Lovelace.")
        conversation = (Message("user", "Ada"), Message("assistant", "Yes?"), Message("user", "Who was it?"))
        named, other = an_example("Who was first?", "Ada Lovelace"), an_example(messages=conversation, target="Nobody")
        assert [near.example for near in nearest(turn, [other, named])] == [named]
