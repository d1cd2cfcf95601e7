"""The banner, and what a user is told once."""

from contextlib import closing

import pytest
from support.standing_adapters import FIRST, put_silent

from shammah.app import App
from shammah.store.activations import Activations
from shammah.ui.greeting import Speaker, banner, short_model

ENTER, ALT_G = "\r", "\x1bg"
ANSWERS = {"capital": "Paris.", "colour": "Blue."}
RIGHT = "Was that right? Alt+G says yes;"


class TestBanner:
    def test_it_fits_40_columns(self):
        assert len(banner("smollm2-135m").splitlines()) == 2
        assert max(map(len, banner("smollm2-135m").splitlines())) <= 40

    @pytest.mark.parametrize(
        ("model", "short"),
        [
            ("smollm2-135m", "smollm2-135m"),
            ("/models/mine/", "mine"),
            ("~/x.gguf", "x.gguf"),
            ("org/Name-1B", "Name-1B"),
        ],
    )
    def test_a_model_in_short(self, model, short):
        assert short_model(model) == short

    def test_who_answers_and_what_waits(self, home, an_example):
        with closing(App.build()) as app:
            speaker = Speaker(app)
            assert speaker.words() == ["smollm2-135m"] and speaker.standing() == ""
            put_silent(home, FIRST, version=3)
            Activations(app.database).activate("smollm2-135m", FIRST, actor="user")
            assert speaker.words() == ["smollm2-135m", "v3"] and speaker.standing() == "v3 answers."
            app.desk.examples.put(an_example("Hi"))
            assert speaker.standing() == "v3 answers, 1 of 10 examples wait."
            Activations(app.database).activate("smollm2-135m", FIRST, actor="user", strength=0.5)
            assert speaker.words() == ["smollm2-135m", "v3 at 0.5"]
            Activations(app.database).activate("smollm2-135m", "lora_adapter_gone", actor="user")
            assert speaker.words() == ["smollm2-135m", "gone"], "by its name where its number can't be read"


class TestHints:
    def test_rating_is_taught_by_doing_and_then_never_again(self, talker):
        chat = talker(ANSWERS, columns=40)
        chat.wait_for_prompt()
        assert chat.text().splitlines()[:3] == [
            "Shammah 0.1.0 with smollm2-135m.", "/help shows the commands, Ctrl+D leaves.", ">",
        ]  # fmt: skip
        chat.say("capital?", RIGHT)
        chat.say("colour?", "Blue.")
        chat.press(ALT_G, "At 10 examples Shammah trains by itself\nand tells you. /status shows how far.\n")
        assert "At 10 examples Shammah trains by itself" in chat.text()
        chat.say("/good #1", "Feedback recorded")
        chat.leave()
        assert chat.text().count("Was that right") == chat.text().count("trains by itself") == 1
        again = talker(ANSWERS, columns=60)
        again.wait("2 of 10 examples wait.")
        again.say("capital?", "Paris.")
        again.say("/good", "Feedback recorded")
        again.leave()
        assert "Was that right" not in again.text() and "trains by itself" not in again.text()

    def test_whoever_wants_it_quiet_is_told_nothing(self, talker):
        chat = talker(ANSWERS, "-q")
        chat.wait_for_prompt()
        chat.say("capital?", "Paris.")
        chat.say("/good", "Feedback recorded")
        chat.leave()
        assert chat.text().startswith("> capital?\nParis.\n> /good\n") and "trains by itself" not in chat.text()

    @pytest.mark.parametrize(("arguments", "term"), [((), "dumb"), (("--plain",), "xterm")])
    def test_where_no_keys_are_the_command_is_told(self, talker, arguments, term):
        chat = talker(ANSWERS, *arguments, TERM=term)
        chat.wait_for_prompt()
        chat.send("capital?\n")
        chat.wait("Was that right? /good says yes;")
        chat.send("/help keys\n")
        chat.wait("This chat takes plain lines.")
        assert "Alt+" not in chat.text()
        chat.leave()
