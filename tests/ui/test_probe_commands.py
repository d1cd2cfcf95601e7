"""/probe: how it is read, stored, listed and deleted."""

from contextlib import closing

import pytest

from shammah.store import Database
from shammah.store.probes import Probes
from shammah.ui.feedback_words import read_probe

ADDED = "A probe: once what answers passes it, no new adapter may lose it."


def stored(home):
    with closing(Database(home / "shammah.db")) as database:
        return [(probe.prompt, probe.contains, probe.source) for probe in Probes(database).all()]


def test_it_is_added_listed_and_deleted(talker, home, an_example):
    chat = talker(columns=100)
    chat.wait_for_prompt()
    chat.say("/probe", "There is no probe yet.")
    chat.say('/probe "when asked Which port? it must contain 8443"', ADDED)
    chat.wait("   Asked: Which port?\n   Must contain: 8443\n")
    chat.say('/probe Who are we? => "Acme" or "ACME Ltd"', "   Must contain: Acme or ACME Ltd")
    chat.say("/probe which port?  => 8443", ADDED)
    chat.say("/probe list", " 2  Who are we?  ->  Acme or ACME Ltd")
    chat.say("/probe delete 1", "Deleted\n   Asked: Which port?")
    chat.say("/probe delete 7", "There is no probe '7'. See `/probe list`")
    chat.say("/probe delete", "Which probe? /probe list shows their numbers.")
    chat.say("/probe tell me", "/probe does not know 'tell'. /probe \"when asked X")
    chat.say("/probe list all", "/probe does not know 'list all'.")
    lesson = an_example("Which one?", "This one.")
    with closing(Database(home / "shammah.db")) as database:
        Probes(database).keep([lesson])
    chat.say("/probe list", " 2  Which one?  ->  This one.  (from an example)")
    chat.say("/probe delete 2", "That probe is of something that was learned. It goes with its example: `shammah")
    chat.leave()
    assert stored(home) == [
        ("Who are we?", ("Acme", "ACME Ltd"), "user"),
        ("Which one?", ("This one.",), "example"),
    ]


def test_a_secret_is_not_stored(talker, home):
    chat = talker(columns=120)
    chat.wait_for_prompt()
    secret = "ghp_" + "a1B2" * 9
    chat.say(f"/probe when asked the token, it must contain {secret}", "That probe holds a secret")
    chat.leave()
    assert stored(home) == []


def test_not_where_nothing_is_stored(talker):
    chat = talker({}, "--no-log", columns=120)
    chat.wait_for_prompt()
    chat.say("/probe X => Y", "Nothing is stored in this chat (--no-log), so no probe is either.")
    chat.leave()


@pytest.mark.parametrize(
    ("text", "probe"),
    [
        ("when asked X it must contain Y", ("X", ("Y",))),
        ('"when asked X it must contain Y"', ("X", ("Y",))),
        ('when asked "X", it must contain "Y"', ("X", ("Y",))),
        ("If I ask: how old? you should say 12", ("how old?", ("12",))),
        ("when asked where? the reply must mention a port", ("where?", ("a port",))),
        ("when asked must it be, it must include black or white", ("must it be", ("black or white",))),
        ('X => "a" or "b", "c"', ("X", ("a", "b", "c"))),
        ("X => a | b | a |", ("X", ("a", "b"))),
        ("when asked X it must contain", None),
        ("X =>", None),
        ("X => |", None),
        ("delete 3", None),
        ("when asked X, say Y", None),
        ("", None),
    ],
)
def test_how_it_is_read(text, probe):
    assert read_probe(text) == probe
