"""The receipt in a real terminal: above the line that is being typed, which stays as it is; and /report."""

import json
from contextlib import closing

import pytest
from support.receipts import OFFICE, a_body, a_spoiled_one, run_of

from shammah.store import Database
from shammah.store.receipts import Receipts

CTRL_D, ENTER = "\x04", "\r"
ANSWERS = {"capital": "Paris.", "colour": "Blue."}
HEAD = "Trained, better, deployed: v7, from 3 examples in 54 s"


@pytest.fixture
def chat(talker, tmp_path):
    """A chat that trains from two examples on, and waits before the last step until `chat.go_on()`."""

    def start(*arguments, columns=140, **options):
        go = tmp_path / "go"
        plan = {"hold": 60, "until": str(go), "receipt": True}
        started = talker(
            ANSWERS,
            *arguments,
            columns=columns,
            TALKER_TRAINS=json.dumps(plan),
            SHAMMAH_EXAMPLES_THRESHOLD="2",
            **options,
        )
        started.go_on = go.touch
        started.wait_for_prompt()
        return started

    return start


@pytest.fixture
def judged(home):
    home.mkdir(mode=0o700)
    with closing(Database(home / "shammah.db")) as database:
        receipt = a_spoiled_one()
        Receipts(database).put(receipt.run_id, receipt.adapter, receipt.body)


def train(here):
    here.say("capital?", "Paris.")
    here.say("/good", "1 more until training")
    here.say("colour?", "Blue.")
    here.say("/good", "Training threshold reached")
    here.wait("step 59/60")


@pytest.mark.parametrize("columns", [140, 60])
def test_it_appears_above_a_half_typed_line_and_leaves_it_alone(chat, columns):
    here = chat(columns=columns)
    train(here)
    here.send("half a tho")
    here.wait(lambda t: t.line() == "> half a tho")
    here.go_on()
    here.wait(HEAD)
    here.wait(lambda t: t.line() == "> half a tho")
    here.send("ught, capital" + ENTER)
    here.wait(lambda t: t.text().count("Paris.") == 2 and t.line() == ">")
    here.leave()
    lines = here.text().splitlines()
    head, sent = lines.index(HEAD), lines.index("> half a thought, capital")
    receipt = lines[head : head + 9]
    assert 6 <= len(receipt) <= 10 and head < sent and not any(line.startswith(">") for line in lines[head:sent])
    assert [line.split()[0] for line in receipt[1:]] == [
        "Loss", "Why", "Better", "Worse", "Asked", "Before", "After", "Back",
    ]  # fmt: skip
    assert receipt[5].split(maxsplit=1)[1] == OFFICE[0][0]
    assert "Learned from" not in here.text(), "it is said twice"
    assert "goes on with" not in here.text(), "it follows"
    assert here.text().count(HEAD) == 1 and here.text().count("half a tho") == 1


def test_a_receipt_that_comes_while_the_model_loads_is_not_lost(chat, tmp_path):
    first = chat()
    train(first)
    first.leave()
    here = chat(TALKER_WAITS_FOR=str(tmp_path / "loaded"))
    here.go_on()
    (tmp_path / "loaded").touch()
    here.wait(HEAD)
    here.leave()


def test_a_chat_that_does_not_follow_is_told_who_goes_on_answering(chat):
    here = chat("--adapter", "none")
    train(here)
    here.go_on()
    here.wait("This chat goes on with the model itself, as it was begun: /adapters load v7 has v7 answer here too.")
    here.leave()


def test_quiet_it_is_not_said(chat, home):
    here = chat("-q")
    train(here)
    here.go_on()
    here.wait(lambda t: receipts(home))
    here.say("/report", "Your prompts, before and after")
    here.leave()
    assert HEAD not in here.text()


def test_of_runs_that_it_did_not_hear_of_it_tells_once(talker, judged, home):
    """Of one that was refused while no chat was open, and of those that another process trained beside it."""
    here = talker(ANSWERS, columns=140)
    here.wait_for_prompt()
    here.wait("Trained, at too high a price, not deployed: v7, from 3 examples")
    here.wait("Next     your examples are kept, /report shows all of it")
    with closing(Database(home / "shammah.db")) as database:
        for id, model in {"01A": "smollm2-135m", "01B": "smollm2-135m", "01C": "some/other"}.items():
            Receipts(database).put(id, "lora_adapter_x", a_body(run=run_of([], id=id, model=model)))
        here.say("capital?", "One more was judged before it: /report 01A")
        assert [each.run_id for each in Receipts(database).untold()] == ["01C"], "nobody chats with that model"
    here.say("colour?", "Blue.")
    here.leave()
    lines = here.text().splitlines()
    assert lines.index("Paris.") < lines.index(HEAD) < lines.index("> colour?")
    assert "Next    /adapters list, /report shows all of it" in lines, "something else answers by now"
    assert here.text().count("Trained, ") == 2


def receipts(home):
    with closing(Database(home / "shammah.db")) as database:
        return Receipts(database).recent()


class TestTheCommand:
    def test_the_newest_and_one_by_its_run(self, talker, judged):
        here = talker(ANSWERS, columns=100, rows=50)
        here.wait_for_prompt()
        here.say("/report", "As a page: `shammah report 0Run --html receipt.html`")
        assert "Trained, at too high a price, not deployed: v7" in here.text()
        here.say("/report nonsense", "There is no receipt of a run 'nonsense'")
        here.leave()
        assert b"\x1b[1m" in here.raw and "✗ drift 0.22 (limit 0.10)" in here.text()

    def test_side_by_side_or_one_under_the_other(self, talker, judged):
        for columns, beside in ((100, True), (40, False)):
            here = talker(ANSWERS, columns=columns, rows=50)
            here.wait_for_prompt()
            here.say("/report", "receipt.html`")
            here.leave()
            assert (f", from {len(OFFICE)} examples" in here.text()) is beside, "only the first chat tells of it"
            both = [line for line in here.text().splitlines() if "deploy.sh" in line and "Our deploy" in line]
            assert bool(both) is beside
            assert "Now: It is called deploy.sh." in here.text() or beside

    def test_before_there_is_one(self, talker):
        here = talker(ANSWERS)
        here.wait_for_prompt()
        here.say("/report", "There is no receipt yet.")
        here.leave()

    def test_where_nothing_is_stored(self, talker, judged):
        here = talker(ANSWERS, "--no-log")
        here.wait_for_prompt()
        here.say("/report", "Nothing is stored in this chat (--no-log), so there is no receipt")
        here.leave()

    def test_without_colours_where_they_are_not_wanted(self, talker, judged):
        here = talker(ANSWERS, columns=100, rows=50, NO_COLOR="1")
        here.wait_for_prompt()
        here.say("/report", "receipt.html`")
        here.leave()
        assert b"\x1b[31m" not in here.raw and b"\x1b[32m" not in here.raw
