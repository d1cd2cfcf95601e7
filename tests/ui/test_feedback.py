"""Rating in a real terminal: what is printed, what is stored, and what the model is given from then on."""

import re

import pytest

from shammah.adapters.bundle import write_bundle
from shammah.adapters.manifest import Manifest
from shammah.store import Conversations

CTRL_D, ALT, UP = "\x04", "\x1b", "\x1b[A"
QUESTION = "How do I read a file in Rust?"
ANSWERS = {
    "in French": "Bonjour.",
    "read a file": "Use std::fs::read_to_string.",
    "capital": ["Paris.", "It is Paris."],
}


def asked(talker, *arguments, question=QUESTION, reply="Use std::fs", **options):
    """A chat in which one question was answered."""
    chat = talker(ANSWERS, *arguments, **options)
    chat.wait_for_prompt()
    chat.say(question, reply)
    return chat


def skip_the_fix(chat, rating):
    """Rate with a note, and give no better reply now."""
    chat.say(rating, "Fix it?", "fix>")
    chat.press("s", "Skipped; /review or /fix can do it later")


def clear_the_line(chat):
    chat.interrupt()
    chat.wait(lambda t: t.line() == ">")


def lines_after(chat, start):
    """The block of lines on the screen that begins with a text."""
    lines = [line for line in chat.text().split("\n") if line]
    first = next(place for place, line in enumerate(lines) if line.startswith(start))
    return lines[first:]


class TestTheDialogue:
    def test_a_critical_rating_says_what_was_stored(self, talker, kept):
        chat = asked(talker)
        chat.say("/critical Always handle file I/O errors properly", "Fix it?", "fix>")
        assert lines_after(chat, "🔴")[:6] == [
            "🔴 Feedback recorded (weight: 10x)",
            "   Note: Always handle file I/O errors properly",
            "   Training buffer: 1 example (10.0 weighted)",
            "   9 more until training",
            "   From now on a rule: Always handle file I/O errors properly",
            "Fix it? Enter: let the model rewrite it · e: edit · s: skip",
        ]
        chat.press("s", "Skipped; /review or /fix can do it later")
        chat.leave()
        (example,) = kept().examples.find()
        assert (example.level, example.weight, example.state) == ("critical", 10, "needs review")
        assert (example.rejected, example.target) == ("Use std::fs::read_to_string.", None)
        assert [message.content for message in example.messages] == [QUESTION]

    def test_good_and_the_threshold(self, talker, kept):
        chat = asked(talker, SHAMMAH_EXAMPLES_THRESHOLD="2")
        chat.say("/good This is perfect", "1 more until training")
        assert lines_after(chat, "🟢")[:3] == [
            "🟢 Feedback recorded (weight: 1x)",
            "   Note: This is perfect",
            "   Training buffer: 1 example (1.0 weighted)",
        ]
        chat.say("capital?", "Paris.")
        chat.say("/good", "Training threshold reached: 2 of 2")
        chat.leave()
        assert "From now on a rule" not in chat.text(), "praise is no instruction"
        assert [example.target for example in kept().examples.find()] == ["Paris.", "Use std::fs::read_to_string."]

    @pytest.mark.parametrize(
        ("words", "level", "weight"),
        [("high x", "critical", 10), ("CRITICAL", "critical", 10), ("medium", "medium", 3), ("normal ok", "good", 1)],
    )
    def test_the_words_for_levels(self, talker, kept, words, level, weight):
        chat = asked(talker)
        chat.send(f"/feedback {words}\r")
        chat.wait(f"Feedback recorded (weight: {weight}x)")
        chat.send(CTRL_D)
        chat.send(CTRL_D)
        chat.end()
        assert kept().examples.find()[0].level == level

    def test_a_changed_mind(self, talker, kept):
        chat = asked(talker, SHAMMAH_WEIGHTS_MEDIUM="2.5")
        chat.say("/good", "recorded (weight: 1x)")
        skip_the_fix(chat, "/medium Shorter")
        chat.wait("🟡 Feedback changed (weight: 2.5x)")
        chat.wait("Training buffer: 1 example (2.5 weighted)")
        chat.say("/good", "Feedback changed (weight: 1x)")
        chat.leave()
        (example,) = kept().examples.find()
        assert (example.level, example.target) == ("good", "Use std::fs::read_to_string.")
        assert kept().rules.all() == [], "the rule went with the note"

    def test_a_contradiction_is_shown(self, talker):
        chat = asked(talker)
        chat.say("/rules add Always answer in French", "A rule: Always answer in French")
        chat.say("/critical Never answer in French", "Fix it?", "fix>")
        chat.wait("   It contradicts, and mutes, the rule: Always answer in French")


class TestWhichReply:
    def test_an_earlier_one_by_number(self, talker, kept):
        chat = asked(talker)
        chat.say("capital?", "Paris.")
        chat.say("/good #1 the first", "Note: the first")
        chat.say("/good 2", "2 examples (2.0 weighted)")
        chat.say("/good 2 + 2 is 4", "Note: 2 + 2 is 4")
        chat.say("/good 7", "There is no reply 7 in this conversation. /replies lists them.")
        chat.say("/replies", " 2  [good] capital?  ->  Paris.")
        chat.wait(f" 1  [good] {QUESTION}  ->  Use std::fs::read_to_string.")
        chat.say("/unrate 1", "Rating taken back")
        chat.wait("   Training buffer: 1 example (1.0 weighted)")
        chat.say("/unrate 1", "That reply is not rated")
        chat.leave()
        (example,) = kept().examples.find()
        assert (example.note, example.prompt) == ("2 + 2 is 4", "capital?")

    def test_before_the_model_is_loaded_in_a_resumed_chat(self, talker, kept):
        chat = asked(talker)
        chat.leave()
        again = talker({}, "-c", TALKER_WAITS_FOR="/nothing/there")
        again.wait("Going on with 1 turn")
        again.wait_for_prompt()
        again.say("/good #1 right", "Feedback recorded (weight: 1x)")
        again.leave()
        assert kept().examples.find()[0].note == "right"

    def test_nothing_to_rate(self, talker):
        chat = talker()
        chat.wait_for_prompt()
        chat.say("/good", "There is no reply yet. Ask something first.")
        chat.say("/unrate", "There is no reply yet. Ask something first.")
        chat.say("/feedback", "/feedback takes one of critical, high, medium, good, normal")
        chat.say("/feedback nice", "'nice' is not a level.")
        chat.say("/retry", "There is no reply to try again.")
        chat.say("/undo", "There is nothing to take back.")
        chat.leave()

    @pytest.mark.parametrize(
        "command", ["/good", "/critical no", "/unrate", "/fix x", "/teach a => b", "/rules", "/review"]
    )
    def test_nothing_is_stored(self, talker, home, command):
        chat = asked(talker, "--no-log")
        chat.say(command, "Nothing is stored in this chat (--no-log), so ")
        chat.leave()
        assert not (home / "shammah.db").exists()

    def test_a_turn_that_could_not_be_stored_is_stored_before_it_is_rated(self, talker, home, kept):
        import sqlite3

        chat = asked(talker)
        blocker = sqlite3.connect(home / "shammah.db", isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        chat.send("capital?\r")
        chat.wait("shammah: ", timeout=30)
        blocker.execute("ROLLBACK")
        blocker.close()
        chat.say("/good", "Feedback recorded")
        chat.leave()
        assert kept().examples.find()[0].prompt == "capital?"


class TestKeys:
    @pytest.mark.parametrize(("key", "level"), [("g", "good"), ("m", "medium"), ("c", "critical")])
    def test_a_key_rates_on_an_empty_line(self, talker, home, kept, key, level):
        chat = asked(talker)
        chat.wait("Alt+G good  Alt+M medium  Alt+C critical")
        chat.send(ALT + key)
        chat.wait("Feedback recorded")
        assert f"> /{level}" in chat.text()
        if level != "good":
            chat.wait("What should it have said?")
            chat.send("\r")
        chat.wait(lambda t: t.line() == ">")
        chat.leave()
        assert kept().examples.find()[0].level == level
        assert f"/{level}" not in (home / "history").read_text()

    def test_on_a_line_with_text_it_does_not(self, talker, kept):
        chat = asked(talker)
        chat.send("half" + ALT + "c" + ALT + "g")
        chat.wait(lambda t: t.line() == "> halfg")
        clear_the_line(chat)
        chat.leave()
        assert kept().examples.find() == []

    def test_the_toolbar_counts(self, talker):
        chat = talker(ANSWERS, columns=110)
        chat.wait("smollm2-135m · 0/10 examples, 0 weighted")
        assert "Alt+G" not in chat.text(), "there is nothing to rate yet"
        chat.say(QUESTION, "Use std::fs")
        chat.say("/good", "recorded")
        chat.say("/rules add Answer in verse", "A rule")
        chat.wait(
            "smollm2-135m · ctx 1 % · 1/10 examples, 1 weighted · 1 rule · Alt+G good  Alt+M medium  Alt+C critical"
        )
        chat.leave()

    def test_a_narrow_terminal_drops_what_has_no_room(self, talker):
        chat = asked(talker, columns=40)
        chat.say("/good", "recorded")
        chat.wait(lambda t: t.screen.display[-1].rstrip() == "smollm2-135m · ctx 1 % · 1/10 examples")
        chat.leave()


class TestRules:
    def test_a_rule_changes_the_next_reply_and_muting_it_restores_it(self, talker, home, kept):
        chat = asked(talker)
        skip_the_fix(chat, "/critical Always answer in French")
        chat.say(QUESTION, "Bonjour.")
        chat.say("/rules", " 1  Always answer in French")
        chat.say("/rules mute 1", "Muted: Always answer in French")
        chat.wait("From the next message on the model is given no rule.")
        chat.say(QUESTION, "Use std::fs")
        chat.say("/rules unmute 1", "the model is given 1 rule.")
        chat.say("/rules edit 1 Answer in verse", "The rule is now: Answer in verse")
        chat.say("/rules delete 1", "Deleted: Answer in verse")
        chat.say("/rules", "There is no rule yet")
        chat.say("/rules frobnicate", "/rules does not know 'frobnicate'")
        chat.say("/rules mute 9", "no rule '9'")
        chat.leave()
        turns = list(reversed(Conversations(kept()._database).search(limit=None)))
        assert [turn.rules for turn in turns] == [(), ("Always answer in French",), ()]
        assert turns[1].input_tokens > turns[1].input_tokens - len("Always answer in French") > turns[0].input_tokens
        assert [example.messages[-1].content for example in kept().examples.find()] == [QUESTION]

    def test_status(self, talker, home):
        chat = asked(talker)
        chat.say("/good", "recorded")
        chat.say("/status", "Stored")
        text = chat.text()
        for line in ("Adapter  none", "Buffer   1 example (1.0 weighted)", "Next     9 more until training"):
            assert line in text
        assert re.search(r"Stored   1 turn and 1 example in\s+\S+", text)
        chat.leave()


class TestLessons:
    def test_a_lesson(self, talker, kept):
        chat = talker(ANSWERS, "-s", "Be kind.")
        chat.wait_for_prompt()
        chat.say('/teach "when asked who you are, say I am Shammah."', "Lesson stored (weight: 10x)")
        chat.wait("   Asked: who you are\n   Say: I am Shammah.\n   Training buffer: 1 example (10.0 weighted)")
        chat.say("/teach nonsense", 'Write /teach "when asked X, say Y", or')
        chat.leave()
        (example,) = kept().examples.find()
        assert [(m.role, m.content) for m in example.messages] == [("system", "Be kind."), ("user", "who you are")]
        assert example.target == "I am Shammah."

    def test_a_secret_is_redacted_and_said(self, talker, home, kept):
        key = "AKIA" + "QWERTZUIOPASDFG2"
        chat = asked(talker)
        skip_the_fix(chat, f"/critical The key is {key}")
        chat.wait("1 secret redacted (")
        chat.say(f"capital {key}", "Paris.")
        chat.leave()
        assert key not in (home / "history").read_text() and "[redacted" in (home / "history").read_text()
        assert kept().examples.find()[0].secrets

    def test_the_history_is_kept_as_it_was_typed_where_that_is_wanted(self, talker, home):
        key = "AKIA" + "QWERTZUIOPASDFG2"
        chat = talker(ANSWERS, SHAMMAH_REDACT="false")
        chat.wait_for_prompt()
        chat.say(f"capital {key}", "Paris.")
        chat.leave()
        assert key in (home / "history").read_text()


class TestRetryAndUndo:
    def test_retry_then_good_pairs_the_two(self, talker, kept):
        chat = asked(talker, question="capital?", reply="Paris.")
        chat.say("/retry", "It is Paris.")
        chat.say("/good", "Feedback recorded (weight: 1x)")
        chat.leave()
        (example,) = kept().examples.find()
        assert (example.source, example.target, example.rejected) == ("retry", "It is Paris.", "Paris.")

    def test_undo(self, talker, kept):
        chat = asked(talker)
        chat.say("capital?", "Paris.")
        chat.say("/undo x", "'x' is not a number from 1 on")
        chat.say("/undo", "Took back 1 turn, 1 left.")
        chat.say("/undo 5", "Took back 1 turn, 0 left.")
        chat.say("/good", "There is no reply yet")
        chat.leave()


class TestForget:
    def test_a_text(self, talker, home, kept):
        chat = asked(talker)
        chat.say("capital of Atlantis?", "Paris.")
        skip_the_fix(chat, "/critical It is Poseidonis in Atlantis")
        chat.say("/forget Atlantis", "Forget it for good?", "Forget it for good? y/N")
        chat.press("n", "Nothing was forgotten.")
        assert len(kept().examples.find()) == 1
        chat.say('/forget "atlantis"', "Forget it for good?", "Forget it for good? y/N")
        chat.press("y", "Forgotten: 1 turn")
        chat.send(UP)
        chat.wait(lambda t: t.line() == f"> {QUESTION}")
        clear_the_line(chat)
        chat.say("/replies", "->  Use std::fs")
        assert " 2  " not in chat.text().rsplit("/replies", 1)[1], "the conversation goes on without it"
        chat.say("/forgte Atlantis", "did you mean /forget?")
        chat.leave()
        for file in home.rglob("*"):
            assert not file.is_file() or b"atlantis" not in file.read_bytes().lower(), file

    def test_adapters_that_learned_from_it_are_named(self, talker, home, kept):
        chat = asked(talker)
        chat.say("/good", "Training buffer")
        (example,) = kept().examples.find()
        about = {
            "base": "b", "base_hash": "", "template_hash": "", "shape": {}, "recipe": {}, "seed": 0, "trigger": "user",
            "created": "2026-11-21T13:00:00.000Z", "run_id": "run", "version": 1,
        }  # fmt: skip
        (home / "archive" / "adapters").mkdir(parents=True)
        for name, learned, inherited, where in (
            ("lora_adapter_a", ("another",), (), "adapters"),
            ("lora_adapter_b", ("another", example.id), (), "adapters"),
            ("lora_adapter_c", (example.id,), (), "archive/adapters"),
            ("lora_adapter_d", ("another",), (example.id,), "adapters"),
        ):
            made = Manifest(name=name, example_ids=learned, inherited_ids=inherited, **about)
            write_bundle(home / where, name, {}, made)
        chat.say("/forget", "Forget it for good?", "Forget it for good? y/N")
        chat.press("y", "`/adapters delete lora_adapter_d`")
        chat.leave()
        told = " ".join(chat.text().split())
        assert "lora_adapter_d (v1) has learned from it" in told, "by what it was trained on from"
        assert "lora_adapter_b (v1) has learned from it: `/adapters delete lora_adapter_b`." in told
        assert "lora_adapter_a" not in told and "lora_adapter_c (v1), in the archive, has learned from it" in told

    def test_the_last_turn(self, talker, home, kept):
        chat = asked(talker)
        chat.say("/forget", "Forget it for good?", "Forget it for good? y/N")
        chat.wait(f"This deletes the turn '{QUESTION}': 1 turn")
        chat.press("y", "Forgotten: 1 turn")
        chat.say("/good", "There is no reply yet")
        chat.leave()
        assert b"Rust" not in (home / "shammah.db").read_bytes()

    def test_what_is_not_there(self, talker):
        chat = asked(talker)
        chat.say("/forget unheard-of", "Nothing that is stored holds this text.")
        chat.say("/forget 3", "There is no reply 3")
        chat.leave()


class TestOtherTerminals:
    def test_a_dumb_one(self, talker, kept):
        chat = talker(ANSWERS, TERM="dumb")
        chat.wait_for_prompt()
        chat.say(QUESTION, "Use std::fs")
        chat.say("/critical Name the crate", "Fix it?", "fix>")
        chat.wait("[critical] Feedback recorded (weight: 10x)")
        chat.say("s", "Skipped;")
        chat.leave()
        assert b"\x1b" not in chat.raw and "🔴" not in chat.text()

    def test_one_that_cannot_write_the_pictures(self, talker):
        chat = asked(talker, PYTHONIOENCODING="ascii", PYTHONUTF8="0", LC_ALL="C", PYTHONCOERCECLOCALE="0")
        chat.say("/good", "[good] Feedback recorded (weight: 1x)")
        chat.leave()


def test_help_is_grouped_and_complete(talker):
    from shammah.ui.repl import registry

    chat = talker(rows=60, columns=160)
    chat.wait_for_prompt()
    chat.say("/help", "Machine")
    for command in registry.all():
        assert f"  {command.usage} " in chat.text()
    chat.say("/help retry", "(also /regen)")
    chat.leave()


def test_tab_completes_commands_and_their_words(talker):
    chat = talker()
    chat.wait_for_prompt()
    chat.send("/crit\t")
    chat.wait(lambda t: t.line() == "> /critical")
    clear_the_line(chat)
    chat.send("/rules unm\t")
    chat.wait(lambda t: t.line() == "> /rules unmute")
    clear_the_line(chat)
    chat.leave()
