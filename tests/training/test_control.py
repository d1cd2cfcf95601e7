import random
import threading
import time

import pytest

from shammah.errors import TrainingCancelled, TrainingError
from shammah.training.control import Control


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


class Layers(threading.Thread):
    """Checks before every layer, as training does, until it is told to end."""

    def __init__(self, control):
        super().__init__(daemon=True)
        self.control, self.done, self.error = control, 0, None
        self.start()

    def run(self):
        try:
            while self.done < 10_000_000:
                self.control.check()
                self.done += 1
        except TrainingError as error:
            self.error = error

    def ended(self):
        self.join(10)
        return not self.is_alive()


class Told:
    """Keeps what it is told, and lets a test wait for it."""

    def __init__(self):
        self.words, self._changed = [], threading.Condition()

    def __call__(self, word):
        with self._changed:
            self.words.append(word)
            self._changed.notify_all()

    def wait_for(self, *words):
        with self._changed:
            assert self._changed.wait_for(lambda: self.words == list(words), 10), self.words


def test_nothing_happens_as_long_as_nobody_speaks():
    control = Control()
    control.check()
    control.raise_if_cancelled()
    assert (control.cancelled, control.ending, control.paused) == (False, False, "")


def test_each_try_has_all_of_its_time():
    clock = Clock()
    control = Control(limit_minutes=1, clock=clock)
    for _ in range(3):
        control.begin()
        clock.now += 59
        control.check()
    clock.now += 1
    with pytest.raises(TrainingError, match="longer than the limit of 1 minute"):
        control.check()


def test_pause_stops_progress_and_resume_lets_it_go_on():
    told = Told()
    control = Control(on_wait=told)
    layers = Layers(control)
    for round in range(3):
        control.pause("lunch")
        told.wait_for(*["lunch", ""] * round, "lunch")
        assert control.paused == "lunch"
        before = layers.done
        time.sleep(0.05)
        assert layers.done == before
        control.resume()
        told.wait_for(*["lunch", ""] * (round + 1))
        assert control.paused == ""
    control.cancel()
    assert layers.ended()
    assert layers.done > before


def test_cancel_ends_a_paused_run():
    told = Told()
    control = Control(on_wait=told)
    layers = Layers(control)
    control.pause()
    told.wait_for("paused")
    control.cancel()
    assert layers.ended()
    assert isinstance(layers.error, TrainingCancelled)


def test_a_cancelled_run_ends_even_when_paused_again():
    control = Control()
    control.cancel()
    control.pause()
    control.resume()
    for ask in (control.check, control.raise_if_cancelled):
        with pytest.raises(TrainingCancelled):
            ask()


def test_a_pause_without_a_reason_is_one():
    control = Control()
    control.pause("")
    assert control.paused


@pytest.mark.parametrize(
    ("by", "ending"), [([True], True), ([False], False), ([False, True], False), ([True, False], True)]
)
def test_who_cancelled_first_has_said_why(by, ending):
    control = Control()
    for program_ends in by:
        control.cancel(ending=program_ends)
    assert (control.cancelled, control.ending) == (True, ending)
    with pytest.raises(TrainingCancelled) as caught:
        control.check()
    assert ("next start" in caught.value.hint) == ending


def test_cancel_at_any_moment_ends_the_run():
    randomness = random.Random(7)
    for _ in range(20):
        control = Control()
        layers = Layers(control)
        for word in randomness.choices([control.pause, control.resume], k=randomness.randrange(4)):
            word()
            time.sleep(randomness.random() / 200)
        control.cancel()
        assert layers.ended()
        assert isinstance(layers.error, TrainingCancelled)


@pytest.mark.parametrize(("minutes", "words"), [(1, "1 minute"), (2.5, "2.5 minutes")])
def test_a_run_has_a_limit(minutes, words):
    clock = Clock()
    control = Control(limit_minutes=minutes, clock=clock)
    clock.now = 60 * minutes - 0.001
    control.check()
    clock.now = 60 * minutes
    with pytest.raises(TrainingError, match=f"limit of {words}$") as caught:
        control.check()
    assert not isinstance(caught.value, TrainingCancelled)
    assert "lora.training.max_minutes" in caught.value.hint


def test_without_a_limit_it_may_take_for_ever():
    clock = Clock()
    control = Control(clock=clock)
    clock.now = 1e9
    control.check()


def test_the_time_of_a_pause_does_not_count():
    clock = Clock()

    def wait(reason):
        if reason:
            clock.now += 3600
            control.resume()

    control = Control(limit_minutes=1, clock=clock, on_wait=wait)
    clock.now = 59
    control.pause()
    control.check()
    control.check()
    clock.now += 2
    with pytest.raises(TrainingError, match="took longer"):
        control.check()


class Aside:
    """Waits for something else, as long as it is told to."""

    def __init__(self, clock, seconds):
        self.clock, self.seconds = clock, seconds

    def __call__(self, check):
        for _ in range(self.seconds):
            check()
            self.clock.now += 1
        return float(self.seconds)


def test_nor_does_the_time_for_which_it_stood_aside():
    clock = Clock()
    control = Control(limit_minutes=1, clock=clock)
    control.stand_aside(Aside(clock, 3600), "a reply")
    control.check()
    clock.now += 60
    with pytest.raises(TrainingError, match="took longer"):
        control.check()


@pytest.mark.parametrize(("seconds", "words"), [(0, []), (5, []), (6, ["a reply", ""]), (3600, ["a reply", ""])])
def test_standing_aside_is_told_once_it_lasts(seconds, words):
    clock, told = Clock(), []
    Control(clock=clock, on_wait=told.append).stand_aside(Aside(clock, seconds), "a reply")
    assert told == words


def test_who_stands_aside_can_be_cancelled():
    clock, told = Clock(), []
    control = Control(clock=clock, on_wait=lambda reason: told.append(reason) or control.cancel())
    with pytest.raises(TrainingCancelled):
        control.stand_aside(Aside(clock, 3600), "a reply")
    assert (told, clock.now) == (["a reply"], 6)


def test_the_working_time_stands_still_while_it_waits():
    clock = Clock()

    def wait(reason):
        if reason:
            clock.now += 3600
            control.resume()

    control = Control(clock=clock, on_wait=wait)
    clock.now = 10
    control.pause()
    control.check()
    assert control.working_time() == 10
    control.stand_aside(Aside(clock, 5), "a reply")
    clock.now += 2
    assert control.working_time() == 12


def test_who_waits_elsewhere_is_not_made_to_wait_and_may_take_his_time():
    clock = Clock()
    control = Control(limit_minutes=1, clock=clock)
    control.pause()
    clock.now = 3600
    control.raise_if_cancelled()


def test_the_machine_is_asked_now_and_then():
    clock, asked = Clock(), []
    control = Control(hold_reason=lambda: asked.append(clock.now) or "", hold_seconds=10, clock=clock)
    for clock.now in range(25):
        for _ in range(3):
            control.check()
    assert asked == [0, 10, 20]


def test_a_hold_ends_by_itself():
    answers, told = ["hot", "hot", "on battery", ""], []
    control = Control(hold_reason=lambda: answers.pop(0), hold_seconds=0.001, on_wait=told.append)
    control.check()
    assert (answers, told) == ([], ["hot", "on battery", ""])
    assert control.paused == ""


def test_a_hold_does_not_keep_a_run_from_being_cancelled():
    told = Told()
    control = Control(hold_reason=lambda: "hot", hold_seconds=600, on_wait=told)
    layers = Layers(control)
    told.wait_for("hot")
    assert control.paused == "hot"
    control.cancel()
    assert layers.ended()


def test_the_user_and_the_machine_pause_independently():
    told, machine = Told(), {"reason": "hot"}
    control = Control(hold_reason=lambda: machine["reason"], hold_seconds=0.01, on_wait=told)
    layers = Layers(control)
    told.wait_for("hot")
    control.pause("lunch")
    told.wait_for("hot", "lunch")
    control.resume()
    told.wait_for("hot", "lunch", "hot")
    assert layers.done == 0
    machine["reason"] = ""
    told.wait_for("hot", "lunch", "hot", "")
    control.cancel()
    assert layers.ended()


def test_who_is_told_of_a_wait_may_have_others_speak():
    def wait(reason):
        other = threading.Thread(target=control.resume, daemon=True)
        other.start()
        other.join(10)
        assert not other.is_alive()

    control = Control(on_wait=wait)
    control.pause()
    control.check()
    assert control.paused == ""


def test_a_pause_that_is_over_before_it_began_is_not_waited_for():
    control = Control(hold_seconds=600, on_wait=lambda reason: control.resume())
    control.pause()
    check = threading.Thread(target=control.check, daemon=True)
    check.start()
    check.join(10)
    assert not check.is_alive()
