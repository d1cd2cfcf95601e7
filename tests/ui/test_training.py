"""Training beside a chat in a real terminal: how it begins, what is shown of it, and that typing is left alone."""

import json
import re
import signal
import time
from collections.abc import Callable
from contextlib import closing

import pytest
from support.pupil import ADAPTER

from shammah.store import Database
from shammah.store.runs import Runs

CTRL_D, ENTER = "\x04", "\r"
ANSWERS = {"capital": "Paris.", "colour": "Blue."}
LEARNED = f"Learned from 2 examples in 48 s: {ADAPTER} (loss 2.31 -> 0.12)."


@pytest.fixture
def chat(talker, tmp_path) -> Callable[..., object]:
    """A chat that trains from two examples on. Its run waits before step 31 until `chat.go_on()`."""

    def start(*arguments, holds=True, columns=140, plan=(), **options):
        go = tmp_path / "go"
        plan = {"hold": 31 if holds else 0, "until": str(go), **dict(plan)}
        options.setdefault("SHAMMAH_EXAMPLES_THRESHOLD", "2")
        started = talker(ANSWERS, *arguments, columns=columns, TALKER_TRAINS=json.dumps(plan), **options)
        started.go_on = go.touch
        started.wait_for_prompt()
        return started

    return start


def rate_two(chat, *, auto=True):
    chat.say("capital?", "Paris.")
    chat.say("/good", "1 more until training" if auto else "1 of 2 for training (lora.training.auto is false")
    chat.say("colour?", "Blue.")
    chat.say("/good", "Training threshold reached: 2 of 2" if auto else "2 of 2 for training (lora.training.auto")


def runs(home):
    with closing(Database(home / "shammah.db")) as database:
        return list(reversed(Runs(database).recent()))


def toolbar(chat):
    """The last line of the screen that says something."""
    return next(line.strip() for line in reversed(chat.screen.display) if line.strip())


class TestByItself:
    def test_it_begins_and_ends_above_a_line_that_is_typed(self, chat, home):
        here = chat()
        rate_two(here)
        here.wait("Training starts: 2 new examples. You can go on chatting.")
        here.wait(
            lambda t: toolbar(t).startswith("training epoch 3/5  step 30/60  ██▇▇▆▆▅▅ loss 1.23  38s left · smollm2")
        )
        here.send("half a tho")
        here.wait(lambda t: t.line() == "> half a tho")
        here.go_on()
        here.wait(LEARNED)
        here.wait(
            lambda t: t.line() == "> half a tho" and " 0/2 examples" in toolbar(t) and "training" not in toolbar(t)
        )
        here.send("ught, capital" + ENTER)
        here.wait(lambda t: t.text().count("Paris.") == 2 and t.line() == ">")
        here.leave()
        lines = here.text().splitlines()
        assert lines.index("> half a thought, capital") == lines.index(LEARNED) + 1, "nothing is left of the half line"
        assert here.text().count("Training starts") == 1 and here.text().count(ADAPTER) == 1
        (run,) = runs(home)
        assert (run.state, run.trigger, len(run.example_ids)) == ("finished", "threshold", 2)

    def test_the_chat_answers_meanwhile_and_what_is_rated_waits(self, chat, home):
        here = chat()
        rate_two(here)
        here.wait(lambda t: "step 30/60" in toolbar(t))
        here.say("the capital again?", "Paris.")
        here.say("/good", "Training buffer: 3 examples")
        here.go_on()
        here.wait(LEARNED)
        here.wait(lambda t: " 1/2 examples" in toolbar(t) and "training" not in toolbar(t))
        here.leave()
        assert len(runs(home)) == 1

    def test_a_notice_during_a_reply_waits_for_its_end(self, chat):
        here = chat(holds=False, TALKER_PAUSE="0.2")
        rate_two(here)
        here.send("/train now" + ENTER)
        here.send("what is a day that you do not know of?" + ENTER)
        here.wait(lambda t: t.text().count("I do not know.") == 1 and t.line() == ">")
        here.leave()
        assert "I do not know.\n" in here.text()

    def test_a_failed_run_is_told_once_and_not_begun_again_at_once(self, chat, home):
        here = chat(holds=False, plan={"fails": "The numbers ran away.\nUse a lower rate."})
        rate_two(here)
        here.wait("Training failed: The numbers ran away. Use a lower rate. Your examples are kept.")
        here.say("capital?", "Paris.")
        here.say("/status", "Next     2 new ones until training, beside 2 of the latest run")
        assert "Last run failed: The numbers ran away." in here.text()
        here.leave()
        assert [run.state for run in runs(home)] == ["failed"]
        assert here.text().count("Training starts") == 1

    def test_what_is_no_better_is_told_once_and_not_tried_again_at_once(self, chat, home):
        here = chat(holds=False, plan={"rejected": "10 % worse than the base model"})
        rate_two(here)
        here.wait("Trained, not taken into use: 10 % worse than the base model. Your examples are kept.")
        here.say("capital?", "Paris.")
        here.say("/status", "Next     2 new ones until training, beside 2 of the latest run")
        assert "Last run not taken into use: 10 % worse than the base model." in here.text()
        here.leave()
        assert [run.state for run in runs(home)] == ["rejected"]
        assert here.text().count("Training starts") == 1

    def test_what_keeps_a_run_from_beginning_is_told_once(self, chat, home):
        here = chat(plan={"refuses": "No room left"})
        rate_two(here)
        here.wait("No room left")
        here.say("capital?", "Paris.")
        here.say("colour?", "Blue.")
        here.say("/good", "Training buffer: 3 examples")  # something new
        here.wait(lambda t: t.text().count("No room left") == 2)
        here.leave()
        assert here.text().count("Training starts") == 2 and runs(home) == []

    def test_not_where_that_is_not_wanted(self, chat, home):
        here = chat(holds=False, SHAMMAH_LORA_TRAINING_AUTO="false")
        rate_two(here, auto=False)
        here.say("/status", "Next     2 of 2 for training (lora.training.auto is false")
        here.say("/train now", LEARNED)
        here.leave()
        assert "Training starts: 2" not in here.text()

    def test_it_stops_with_the_chat_and_goes_on_at_the_next_start(self, chat, home):
        here = chat()
        rate_two(here)
        here.wait(lambda t: "step 30/60" in toolbar(t))
        begun = time.monotonic()
        here.leave()
        assert time.monotonic() - begun < 4
        assert here.text().count("Training stops here and goes on at the next start.") == 1
        assert [run.state for run in runs(home)] == ["interrupted"]
        again = chat(holds=False)
        again.wait("Training starts: a run was cut off. You can go on chatting.")  # nobody pressed a key
        again.wait(LEARNED)
        again.wait(lambda t: t.line() == ">")
        again.leave()

    @pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
    def test_it_stops_where_it_stands_when_the_terminal_is_closed(self, chat, home, number):
        here = chat()
        rate_two(here)
        here.wait(lambda t: "step 30/60" in toolbar(t))
        here.process.kill(number)
        assert here.end() == -number
        assert [(run.state, run.step, run.kills) for run in runs(home)] == [("interrupted", 30, 0)]

    def test_not_before_the_model_is_there(self, chat, home, tmp_path):
        first = chat()
        rate_two(first)
        first.wait(lambda t: "step 30/60" in toolbar(t))
        first.leave()
        here = chat(holds=False, TALKER_WAITS_FOR=str(tmp_path / "loaded"))
        here.say("/train", "Next     goes on with the run that was cut off")
        assert "Last run cut off at step 30 of 60" in here.text()
        assert "Training starts" not in here.text()
        (tmp_path / "loaded").touch()
        here.wait(LEARNED)
        here.leave()

    def test_a_narrow_terminal_shows_what_matters_most(self, chat):
        here = chat(columns=52)
        rate_two(here)
        here.wait(lambda t: toolbar(t) == "training epoch 3/5  step 30/60  loss 1.23  38s left")
        here.leave()

    def test_a_dumb_terminal_is_told_with_the_next_line(self, chat, home):
        here = chat(TERM="dumb", holds=False)
        rate_two(here)
        here.wait(lambda t: [run.state for run in runs(home)] == ["finished"])
        here.say("capital?", LEARNED)
        here.send(CTRL_D)
        assert here.end() == 0
        assert b"\x1b" not in here.raw


class TestTheCommand:
    def test_alone_it_says_how_far_the_run_is(self, chat):
        here = chat()
        here.say("/train", "Next     2 more until training")
        rate_two(here)
        here.wait(lambda t: "step 30/60" in toolbar(t))
        here.say("/train", "Next     ")
        assert "Training epoch 3/5, step 30/60, 38s left" in here.text()
        assert re.search(r"Loss     2.31 -> 1.23  [▄▅▆▇█]{30}\n", here.text())
        assert "Speed    1,234 tokens/s" in here.text()
        here.go_on()
        here.wait(LEARNED)
        here.say("/train status", f"Last run {ADAPTER} from 2 examples in 48 s, loss 2.31 -> 0.12")
        here.leave()

    def test_pause_and_resume(self, chat):
        here = chat()
        rate_two(here)
        here.wait(lambda t: "step 30/60" in toolbar(t))
        here.say("/train pause", "Run 1 is paused; `/train resume` goes on.")
        here.wait(lambda t: toolbar(t).startswith("training epoch 3/5  paused  step 30/60"))
        here.say("/train", "Training epoch 3/5, paused, step 30/60")
        here.go_on()
        time.sleep(0.3)
        assert "Learned" not in here.text()
        here.say("/train resume", "Run 1 goes on.")
        here.wait(LEARNED)
        here.leave()

    def test_cancel(self, chat, home):
        here = chat()
        here.say("/train cancel", "No run is under way.")
        rate_two(here)
        here.wait(lambda t: "step 30/60" in toolbar(t))
        here.say("/train cancel 7", "There is no run 7. See `/train queue`.")
        here.say("/train cancel", "Run 1 is cancelled; its examples are kept.")
        here.wait("Training was cancelled at step 30 of 60. Your examples are kept.")
        here.wait(lambda t: " 0/2 examples" in toolbar(t) and "training" not in toolbar(t))
        here.say("/train", "Last run cancelled at step 30 of 60")
        assert "Next     2 new ones until training, beside 2 of the latest run" in here.text()
        here.say("colour?", "Blue.")
        here.say("/good", "   1 new one until training, beside 2 of the latest run")
        here.wait(lambda t: " 1/2 examples, 1 weighted" in toolbar(t) and "training" not in toolbar(t))
        here.leave()
        assert [run.state for run in runs(home)] == ["cancelled"]

    def test_the_queue(self, chat):
        here = chat()
        here.say("/train queue", "No run is under way and none waits.")
        rate_two(here)
        here.wait(lambda t: "step 30/60" in toolbar(t))
        here.say("/train now", "Queued behind run 1.")
        here.say("/train queue", "2  high      asked for")
        assert " 1  now       2 new examples" in here.text()
        here.say("/train", "Queue    1 run waiting")
        here.say("/train cancel 2", "Run 2 is out of the queue.")
        here.leave()

    def test_nothing_to_learn_from(self, chat):
        here = chat()
        here.say("/train now", "There is nothing to learn from yet")
        here.leave()
        assert "stops here" not in here.text()

    def test_where_nothing_is_stored(self, chat):
        here = chat("--no-log")
        refusal = "Nothing is stored in this chat (--no-log), so there is nothing to learn from"
        for line in ("/train", "/train now", "/train status"):
            here.say(line, refusal)
        here.leave()

    def test_what_it_does_not_know(self, chat):
        here = chat()
        here.say("/train frobnicate", "/train does not know 'frobnicate'")
        here.say("/train cancel x", "'x' is not a number")
        here.send("/train p\t")
        here.wait(lambda t: t.line() == "> /train pause")
        here.interrupt()
        here.wait(lambda t: t.line() == ">")
        here.leave()
