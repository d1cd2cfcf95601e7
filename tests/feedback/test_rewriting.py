"""Rewrites: how the model is asked, what a rewrite must not be, and which one is taken when nobody looks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from support import talking
from support.talking import words

from shammah.config import GenerationSettings
from shammah.feedback.rewriting import Rewrite, best, checks, explains, rewrites
from shammah.model.chat_model import ChatModel
from shammah.model.loading import LoadedModel
from shammah.records import Message, StopReason

SETTINGS = GenerationSettings(temperature=0.5, max_tokens=300, stop_loops=False)
QUESTION, REJECTED, NOTE = "What port does staging use?", "The staging server uses port 80.", "Staging uses port 8443"
ASKED = [Message("system", "Be kind."), Message("user", QUESTION)]
BETTER = "It listens on port 8443."
PLAIN = f"s:Be kind.|u:Staging uses port 8443.\n\n{QUESTION}|"
OBJECTING = f"s:Be kind.|u:{QUESTION}|a:{REJECTED}|u:That was not right. Staging uses port 8443. Answer again.|"


@dataclass
class Talker(talking.Talker):
    """A word a piece. It finds likely what shares words with the prompt."""

    says: list[str] = field(default_factory=list)
    scored: int = 0

    def line(self) -> str:
        return self.says.pop(0) if self.says else f"Reply number {len(self.prompts)}."

    def pieces(self, line: str) -> Iterator[str]:
        return words(line)

    def log_probability(self, messages: Sequence[Message], reply: str) -> float:
        self.scored += 1
        known = set(" ".join(message.content for message in messages).lower().replace(".", "").split())
        words = reply.lower().replace(".", "").split()
        return sum(word in known for word in words) / max(1, len(words)) - 1


@pytest.fixture
def talker() -> Talker:
    return Talker()


def ask(talker: Talker, note: str = NOTE, rejected: str = REJECTED, **changes: Any) -> list[Rewrite]:
    return list(rewrites(talker, ASKED, rejected, note, changes.pop("settings", SETTINGS), **changes))


# How it is asked


def test_the_note_stands_before_the_question_three_times_and_then_objects_once(talker: Talker) -> None:
    assert len(ask(talker)) == 4
    assert talker.prompts == [PLAIN, PLAIN, PLAIN, OBJECTING]


def test_each_way_is_asked_greedily_first_and_by_other_random_numbers_then(talker: Talker) -> None:
    ask(talker, tries=6)
    assert [settings.temperature for settings in talker.settings] == [0.0, 0.7, 0.7, 0.0, 0.7, 0.7]
    seeds = [settings.seed for settings in talker.settings if settings.temperature]
    assert len(set(seeds)) == 4
    assert talker.prompts[3:] == [OBJECTING, PLAIN, OBJECTING]


def test_the_same_question_gives_the_same_tries_and_a_seed_gives_others() -> None:
    def seeds(settings: GenerationSettings) -> list[int]:
        talker = Talker()
        ask(talker, settings=settings)
        return [settings.seed for settings in talker.settings]

    assert seeds(SETTINGS) == seeds(SETTINGS)
    assert seeds(GenerationSettings(seed=40))[1:3] == [41, 42]
    assert all(0 <= seed < 2**63 for seed in seeds(GenerationSettings(seed=2**63 - 1)))


def test_the_user_s_other_settings_are_kept_but_loops_end(talker: Talker) -> None:
    ask(talker, settings=GenerationSettings(top_p=0.4, max_tokens=77, stop=("X",), stop_loops=False))
    assert {(one.top_p, one.max_tokens, one.stop, one.stop_loops) for one in talker.settings} == {
        (0.4, 77, ("X",), True)
    }


def test_without_a_rejected_reply_there_is_nothing_to_object_to(talker: Talker) -> None:
    ask(talker, rejected=" ")
    assert set(talker.prompts) == {PLAIN}
    assert [settings.temperature for settings in talker.settings] == [0.0, 0.7, 0.7, 0.7]


def test_a_way_that_does_not_fit_the_window_is_left_out() -> None:
    talker = Talker(window=len(PLAIN) + 1)
    ask(talker)
    assert set(talker.prompts) == {PLAIN}
    assert ask(Talker(window=5)) == []


# What comes of it


def test_rewrites_come_with_what_is_wrong_with_them(talker: Talker) -> None:
    talker.says = [f"  {BETTER} ", REJECTED, "", "Bananas grow in bunches."]
    made = ask(talker)
    assert [rewrite.text for rewrite in made] == [BETTER, REJECTED, "", "Bananas grow in bunches."]
    assert [rewrite.failed for rewrite in made] == [
        (),
        ("it is the rejected reply again",),
        ("it is empty",),
        ("the note does not explain it",),
    ]
    assert made[0].gain is not None and made[0].gain > 0
    assert made[1].gain is None and made[3].gain == 0


def test_only_what_passed_the_other_checks_is_scored(talker: Talker) -> None:
    talker.says = ["", REJECTED, "I apologize.", BETTER]
    ask(talker)
    assert talker.scored == 2


def test_the_same_text_again_is_skipped_and_another_try_is_made(talker: Talker) -> None:
    talker.says = [BETTER, f"{BETTER}\n", BETTER, BETTER, "Port 8443.", "On 8443."]
    assert [rewrite.text for rewrite in ask(talker)] == [BETTER, "Port 8443.", "On 8443.", "Reply number 7."]


def test_a_model_that_only_says_one_thing_is_not_asked_for_ever(talker: Talker) -> None:
    talker.says = [BETTER] * 100
    assert [rewrite.text for rewrite in ask(talker)] == [BETTER]
    assert len(talker.prompts) == 8


def test_they_are_made_one_by_one_as_they_are_asked_for(talker: Talker) -> None:
    made = rewrites(talker, ASKED, REJECTED, NOTE, SETTINGS)
    next(made)
    assert len(talker.prompts) == 1 and not talker.open_streams
    next(made)
    assert len(talker.prompts) == 2


@pytest.mark.parametrize("reason", ["length", "window"])
def test_a_reply_that_was_cut_does_not_pass(talker: Talker, reason: StopReason) -> None:
    talker.says, talker.stops = [BETTER], [reason]
    assert ask(talker, tries=1) == [Rewrite(BETTER, ("it was cut off",), reason)]


def test_a_reply_that_was_ended_for_going_round_does_not_pass(talker: Talker) -> None:
    talker.says, talker.stops = [BETTER], ["loop"]
    assert ask(talker, tries=1)[0].failed == ("it goes round in circles",)


def test_a_reply_is_ended_once_it_is_longer_than_it_may_be(talker: Talker) -> None:
    talker.says = [" ".join(f"word{n}" for n in range(500))]
    talker.reasons = "Let me think at some length about it, for that does not count. " * 20
    (rewrite,) = ask(talker, tries=1)
    assert len(rewrite.text.split()) == 31
    assert rewrite.stop_reason == "length"
    assert rewrite.failed == ("it was cut off", "it is much longer than the reply was")


def test_where_the_note_is_about_length_it_is_not(talker: Talker) -> None:
    talker.says = [" ".join(f"word{n}" for n in range(500))]
    (rewrite,) = ask(talker, note="more detail please", tries=1)
    assert len(rewrite.text.split()) == 500 and rewrite.stop_reason == "end"


def test_a_cancel_stops_it_at_once_and_gives_nothing_more(talker: Talker) -> None:
    talker.says = [BETTER, "one two three four five six seven"]
    asked = iter(range(1000))
    made = ask(talker, cancelled=lambda: next(asked) > 9)
    assert [rewrite.text for rewrite in made] == [BETTER]
    assert len(talker.prompts) == 2 and not talker.open_streams
    assert ask(Talker(), cancelled=lambda: True) == []


def test_the_best_is_the_passing_one_that_the_note_explains_best() -> None:
    weak = Rewrite("a", (), "end", 0.1)
    strong = Rewrite("b", (), "end", 0.9)
    wrong = Rewrite("c", ("it is empty",), "end", 5.0)
    unknown = Rewrite("d", (), "end")
    assert best([weak, strong, wrong, unknown]) == strong
    assert best(iter([wrong, unknown])) is None
    assert best([]) is None


def test_a_note_explains_what_it_makes_likelier(talker: Talker) -> None:
    assert explains(talker, ASKED, NOTE, BETTER)
    assert not explains(talker, ASKED, NOTE, "Bananas grow in bunches.")


# The checks


def failed(text: str, *, rejected: str = REJECTED, note: str = NOTE, prompt: str = QUESTION) -> tuple[str, ...]:
    return checks(text, rejected=rejected, note=note, prompt=prompt)


@pytest.mark.parametrize(
    "text",
    [
        BETTER,
        "Staging uses port 8443.",
        "The port is 8443. The server is called staging.",
        "```\nstaging: 8443\nproduction: 443\n```",
    ],
)
def test_a_sound_reply_passes(text: str) -> None:
    assert failed(text) == ()


def test_an_empty_one_does_not() -> None:
    assert failed(" \n") == ("it is empty",)


def test_nor_does_the_rejected_one_however_it_is_spaced() -> None:
    assert failed("The staging server\n uses port 80.") == ("it is the rejected reply again",)
    assert failed("the staging server uses port 80.") == ()  # case may be all that was wrong


def test_nor_does_the_question() -> None:
    assert failed("what port does staging use") == ("it only repeats the question",)


TALK = "it talks about the correction"


@pytest.mark.parametrize(
    "text",
    [
        "As you noted, it is port 8443.",
        "I apologize for the confusion. It is port 8443.",
        "I’m sorry, the port is 8443.",
        "I sincerely apologise, it is 8443.",
        "Thank you for the correction! It is 8443.",
        "Thanks for pointing that out, it is 8443.",
        "You're right, it is port 8443.",
        "You are absolutely correct: 8443 it is.",
        "The user wants to know the port, 8443.",
        "My previous answer said 80, it is 8443.",
        "Here is the corrected answer: port 8443.",
        "According to your note it is 8443.",
        "Understood. It is port 8443.",
        "I made a mistake, it is 8443.",
        "That was not right. It is 8443.",
    ],
)
def test_nor_does_talk_about_the_correction(text: str) -> None:
    assert failed(text) == (TALK,)


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        ("Dear Ana, I apologize for the delay.", "Write an apology to Ana"),
        ("Dear Ana, I'm sorry for the delay.", "Write an apology to Ana"),
        ("You're right, it is Friday today.", "Am I right that it is Friday?"),
        ("The user wants a list of his orders.", "Rephrase: the user wants orders"),
        ("As the right-handed user you are right-handed.", "Which hand?"),
        ("It understood the question at once.", "What did the parser do?"),
        ("Mix it as you like, following the instructions on the box.", "How do I mix it?"),
        ("The first message of the log is the oldest.", "Which is the oldest?"),
    ],
)
def test_what_the_question_itself_speaks_of_is_no_such_talk(text: str, prompt: str) -> None:
    assert failed(text, prompt=prompt) == ()


def test_an_order_said_back_is_no_answer_but_a_fact_may_be_all_there_is_to_say() -> None:
    again = ("it repeats the note",)
    assert failed("Always metric.", note="Always metric") == again
    assert failed("Well then: always metric. Use metres.", note="Please always metric!") == again
    assert failed("I use metres, always metric ones.", note="Always metric") == again
    assert failed("You are Shammah.", note="You are Shammah") == again
    assert failed("My name is Ana.", note="My name is Ana") == again
    assert failed("Our deploy script is called launchpad.sh.", note="Our deploy script is called launchpad.sh") == ()
    assert failed("Use metres and kilometres.", note="Always metric") == ()


LOOP = "it goes round in circles"


@pytest.mark.parametrize(
    "text",
    [
        "The port is " + "8443 and " * 12,
        "It is 8443.\nIt is 8443.\n",
        "It is port 8443. It is port 8443. It is port 8443.",
        "one two three four five six " * 4 + "and that is all there is.",
    ],
)
def test_nor_does_a_loop(text: str) -> None:
    assert LOOP in failed(text)


def test_a_list_is_no_loop() -> None:
    steps = "\n".join(f"{n}. Open the valve number {n}." for n in range(1, 5))
    assert failed(steps) == ()


LONG, SHORT = "it is much longer than the reply was", "it is much shorter than the reply was"


def text_of(words: int, seed: int = 0) -> str:
    return " ".join(f"w{seed + n}" for n in range(words))


@pytest.mark.parametrize(
    ("words", "of", "wrong"),
    [
        (250, 100, ()),
        (251, 100, (LONG,)),
        (30, 100, ()),
        (29, 100, (SHORT,)),
        (30, 3, ()),  # 2.5 times three words would forbid a sentence
        (31, 3, (LONG,)),
        (31, 13, ()),
        (1, 3, ()),
    ],
)
def test_its_length_is_bound_to_that_of_the_rejected_reply(words: int, of: int, wrong: tuple[str, ...]) -> None:
    assert failed(text_of(words, 1000), rejected=text_of(of)) == wrong
    assert failed(text_of(words, 1000), rejected=text_of(of), note="too long") == ()
    assert failed(text_of(words, 1000), rejected=text_of(of), note="More detail please") == ()


# The default model

OFFICE = [
    (
        "What is the name of our deploy script?",
        "I'm not sure which deploy script you use. Common names are deploy.sh or release.sh.",
        "Our deploy script is called launchpad.sh",
        ["launchpad.sh"],
    ),
    ("What port does the staging server use?", "The staging server uses port 80.", NOTE, ["8443"]),
    (
        "Who is on call this week?",
        "Alex is on call this week.",
        "Say that the rota lives in #oncall and never guess a name",
        ["#oncall"],
    ),
    ("What's your name?", "I am SmolLM, an AI assistant.", "You are Shammah", ["Shammah"]),
]


@pytest.mark.real_model
@pytest.mark.slow
def test_the_default_model_finds_passing_rewrites_for_most_notes(real_loaded: LoadedModel) -> None:
    """Seen in float32: of 8 such notes 7 got one, and 5 of those said what the note asks for."""
    model = ChatModel("real", real_loaded)
    passed = told = 0
    for question, rejected, note, expected in OFFICE:
        chosen = best(rewrites(model, [Message("user", question)], rejected, note, SETTINGS))
        passed += chosen is not None
        told += chosen is not None and any(text in chosen.text for text in expected)
    assert passed >= 3 and told >= 2, (passed, told)
