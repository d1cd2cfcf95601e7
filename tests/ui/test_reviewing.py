"""The inbox in a real terminal, in a chat and without one, and what it says would be trained on."""

import subprocess
import sys

import pytest

from shammah.config import Config
from shammah.errors import UsageError
from shammah.records import Buffer, Example, Message
from shammah.ui.reviewing import read_filter, read_weight, summary_words

CTRL_C, CTRL_D, ENTER = "\x03", "\x04", "\r"
NOTE, REPLY, GOOD = "The capital of Australia is Canberra", "It is Sydney.", "Canberra is the capital."
ANSWERS = {f"{NOTE} & Australia?": GOOD, "Australia?": REPLY, "": "Well."}
MARK = "review>"


@pytest.fixture
def with_two(talker):
    """A chat with one example that needs a look and one that needs a target."""

    def start(**options):
        options.setdefault("columns", 140)
        chat = talker(ANSWERS, **options)
        chat.wait_for_prompt()
        chat.say("What is the capital of Australia?", REPLY)
        chat.say(f"/critical {NOTE}", "Fix it?", "fix>")
        chat.press("s" if options.get("TERM") != "dumb" else "s\n", "Skipped")
        chat.say("How are you?", "Well.")
        chat.say("/medium", "What should it have said?", "fix>")
        chat.send(ENTER)
        chat.wait(lambda t: t.line() == ">")
        return chat

    return start


@pytest.fixture
def reviewing(with_two):
    """The same chat in its inbox."""

    def start(words="", shown="1 of 2", **options):
        chat = with_two(**options)
        chat.say(f"/review {words}".rstrip(), shown, MARK)
        return chat

    return start


def outside(terminal, *given, **options):
    code = (
        "from shammah.app import App; from shammah.ui.render import Screen;"
        "from shammah.ui.reviewing import review_on_terminal; import sys; app = App.build();"
        f"code = review_on_terminal(app, Screen(), **dict({list(given)!r})); app.close(); sys.exit(code)"
    )
    options.setdefault("columns", 120)
    return terminal(command=[sys.executable, "-c", code], **options)


class TestInTheChat:
    def test_what_is_shown_and_the_summary(self, reviewing, kept):
        chat = reviewing()
        chat.wait("🔴 1 of 2: needs review, weight 10x (nobody has seen a better reply yet)")
        chat.wait(f"   Asked: What is the capital of Australia?\n   Rejected: {REPLY}\n   Note: {NOTE}\n")
        chat.wait("e: edit · w: weight · r: rewrite · d: delete · x: disable · s: skip · q: quit")
        chat.press("s", "🟡 2 of 2: needs target, weight 3x (it is not known", MARK)
        chat.press(ENTER, "Not: 1 needs a better reply.")
        chat.wait("Would be trained on: 1 example (10.0 weighted): 1 by rewrites made then, at half weight.")
        chat.leave()

    def test_a_rewrite(self, reviewing, kept):
        chat = reviewing()
        chat.press("r", "Fix it?", "fix>")
        chat.press(ENTER, GOOD, "fix>")
        chat.press(ENTER, "Better reply stored", MARK)
        chat.press("q", "1 with a reply you gave or rated")
        chat.leave()
        example = kept().examples.find(level="critical")[0]
        assert (example.target, example.source, example.state) == (GOOD, "rewrite", "ready")

    def test_a_message_typed_at_the_offer_of_a_rewrite_leaves_the_inbox(self, reviewing):
        chat = reviewing()
        chat.press("r", "Fix it?", "fix>")
        chat.say("something else", "Well.")
        chat.leave()

    def test_editing(self, reviewing, kept, editor):
        chat = reviewing("critical", "1 of 1", EDITOR=editor("Canberra."))
        chat.press("e", "Better reply stored")
        chat.leave()
        assert kept().examples.find(level="critical")[0].target == "Canberra."

    def test_weighing(self, reviewing, kept):
        chat = reviewing("needs review", "1 of 1")
        chat.send("w")
        chat.wait(lambda t: t.line() == "weight>")
        chat.say("heavy", "'heavy' is not a weight", MARK)
        chat.send("w")
        chat.wait(lambda t: t.line() == "weight>")
        chat.say("2.5x", "weight 2.5x", MARK)
        chat.press("q", "(2.5 weighted)")
        chat.leave()
        assert kept().examples.find(level="critical")[0].weight == 2.5

    def test_disabling_and_enabling(self, reviewing, kept):
        chat = reviewing("critical", "1 of 1")
        chat.press("x", "Would be trained on: 0 examples (0.0 weighted). Not: ")
        chat.wait("1 disabled")
        chat.say("/review disabled", "x: enable", MARK)
        chat.press("x", "Back among the others")
        chat.leave()
        assert kept().examples.find(level="critical")[0].state == "needs review"

    def test_deleting_asks_first(self, reviewing, kept):
        chat = reviewing("critical", "1 of 1")
        chat.press("d", "Delete it for good?", "Delete it for good? y/N")
        chat.press("n", "1 of 1", MARK)
        assert len(kept().examples.find()) == 2
        chat.press("d", "Delete it for good?", "Delete it for good? y/N")
        chat.press("y", "Deleted")
        chat.leave()
        assert [example.level for example in kept().examples.find()] == ["medium"]

    @pytest.mark.parametrize("key", ["q", CTRL_C, CTRL_D], ids=["q", "ctrl-c", "ctrl-d"])
    def test_leaving_it(self, reviewing, key):
        chat = reviewing()
        chat.press(key, "Would be trained on")
        chat.leave()
        assert "2 of 2" not in chat.text()

    def test_other_keys_do_nothing(self, reviewing, kept):
        chat = reviewing()
        chat.send("az9\x1b[200~q\x1b[201~")
        chat.press("s", "2 of 2", MARK)
        chat.press("s", "Would be trained on")
        chat.leave()
        assert {example.state for example in kept().examples.find()} == {"needs review", "needs target"}

    def test_nothing_waits(self, talker):
        chat = talker(ANSWERS)
        chat.wait_for_prompt()
        chat.say("/review", "Nothing waits for you.")
        chat.say("/review sideways", "/review does not know 'sideways'.")
        chat.leave()


class TestOutside:
    def test_without_a_model_nothing_is_rewritten(self, with_two, terminal, kept):
        with_two().leave()
        desk = kept()
        desk.accept(desk.examples.find(level="critical")[0].id, GOOD)
        inbox = outside(terminal, ("status", "ready"))
        inbox.wait("a: accept · e: edit · w: weight · d: delete · x: disable · s: skip · q: quit")
        inbox.wait(f"   Better: {GOOD}")
        inbox.send("a")
        assert inbox.end() == 0
        assert "Accepted" in inbox.text() and "Would be trained on: 1 example (10.0 weighted)" in inbox.text()

    def test_on_a_dumb_terminal(self, with_two, terminal):
        with_two().leave()
        inbox = outside(terminal, TERM="dumb")
        inbox.wait("[critical] 1 of 2")
        inbox.send("nonsense\n")
        inbox.wait(lambda t: t.text().count(MARK) == 2)
        inbox.send("q\n")
        assert inbox.end() == 0
        assert b"\x1b" not in inbox.raw and "Would be trained on" in inbox.text()

    def test_it_needs_a_terminal(self, tmp_path):
        code = "from shammah.app import App; from shammah.ui.render import Screen; from shammah.ui.reviewing import *\n"
        code += "from shammah.errors import UsageError\ntry: review_on_terminal(App.build(), Screen())\n"
        code += "except UsageError as error: print(error.one_line())"
        done = subprocess.run([sys.executable, "-c", code], input="", capture_output=True, text=True, timeout=60)
        assert done.stdout == (
            "The review needs a terminal. `shammah examples list`, `accept` and `edit` do the same without one.\n"
        ), done.stderr


class TestWords:
    def example(self, **fields):
        given = {"id": "x", "time": "", "source": "rating", "level": "good", "weight": 1, "state": "ready"}
        return Example(**given | {"messages": (Message("user", "q"),)} | fields)

    def test_the_summary(self):
        examples = [
            *[self.example()] * 2,
            self.example(level="critical", state="needs review", note="n", rejected="r"),
            *[self.example(state="needs target")] * 2,
            self.example(state="disabled"),
            self.example(state="disabled", hold="held"),
            self.example(hold="held"),
            self.example(state="needs review", secrets=("API key",)),
        ]
        buffer = Buffer(examples=3, weighted=12.0, new=0, new_weighted=0.0, needs_target=2, needs_review=2)
        assert summary_words(examples, buffer, Config().weights) == (
            "Would be trained on: 3 examples (12.0 weighted): 2 with a reply you gave or rated, 1 by rewrites made "
            "then, at half weight. Not: 2 need a better reply, 2 disabled, 1 stands back for another, "
            "1 with redacted secrets to look at."
        )

    def test_nothing_at_all(self):
        buffer = Buffer(examples=0, weighted=0.0, new=0, new_weighted=0.0, needs_target=0, needs_review=0)
        assert summary_words([], buffer, Config().weights) == "Would be trained on: 0 examples (0.0 weighted)."

    @pytest.mark.parametrize(
        ("argument", "found"),
        [
            ("", ("waiting", None)),
            ("needs target", ("needs target", None)),
            ("high needs-review", ("needs review", "critical")),
            ("Trained GOOD", ("trained", "good")),
        ],
    )
    def test_filters(self, argument, found):
        assert read_filter(argument) == found

    @pytest.mark.parametrize("text", ["", "x", "0", "-1", "nan", "inf", "1001", "1e9"])
    def test_what_is_no_weight(self, text):
        with pytest.raises(UsageError, match="is not a weight"):
            read_weight(text)

    def test_a_weight(self):
        assert (read_weight("3x"), read_weight(" 0.5 ")) == (3, 0.5)
